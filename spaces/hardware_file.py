"""Hardware in a file of its own: what `task=import` writes and `hardware=file` reads.

::

    schema: cosearch.hardware/1
    name: mine
    clock: 1GHz
    levels: {DRAM: {kind: dram, bandwidth: 25.6GB/s}, GLB: {capacity: 512KiB}}
"""

from __future__ import annotations

from pathlib import Path

import yaml

from spaces.documents import located, read_document, read_text, write_document
from spaces.hardware import Hardware
from spaces.mappings.design_fields import hardware_from_data, hardware_to_data
from spaces.schemas import schema_name


def read_hardware(path: str | Path) -> Hardware:
    """The hardware of a file; a file of `conf/hardware` is one too.

    Raises:
        FileError: If the file is missing, does not parse, or breaks a rule; one line.
    """
    data = read_document(path, "hardware")
    with located(path, read_text(path)):
        return hardware_from_data(data)


def write_hardware(path: str | Path, hardware: Hardware) -> None:
    """Write hardware by itself, in bits, cycles and picojoules."""
    data = {"schema": schema_name("hardware"), **hardware_to_data(hardware)}
    write_document(path, "hardware", yaml.safe_dump(data, sort_keys=False))
