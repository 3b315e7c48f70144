"""A dataflow in a file of its own: what `task=import` writes and `dataflow=file` reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml

from spaces.documents import located, read_document, read_text, write_document
from spaces.mappings.dataflow import Dataflow
from spaces.schemas import schema_name
from spaces.validation import field_errors


def read_dataflow(path: str | Path) -> Dataflow:
    """The constraints on mappings in a file.

    Raises:
        FileError: If the file is missing, does not parse, or breaks a rule; one line.
    """
    data = read_document(path, "dataflow")
    with located(path, read_text(path)), field_errors("dataflow"):
        return Dataflow(**{key: value for key, value in data.items() if key != "schema"})


def write_dataflow(path: str | Path, dataflow: Dataflow) -> None:
    """Write a dataflow; what it leaves free is left out."""
    stated = {name: value for name, value in asdict(dataflow).items() if value}
    text = yaml.safe_dump({"schema": schema_name("dataflow"), **stated}, sort_keys=False)
    write_document(path, "dataflow", text)
