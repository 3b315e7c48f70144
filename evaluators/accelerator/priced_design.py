"""Prices one explicit design from a file: `task=evaluate design=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluators.accelerator.evaluator_settings import evaluator_arguments
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import MODEL_VERSION
from spaces.mappings.design_file import Design, read_design
from spaces.mappings.nest_text import describe_mapping, loop_nest_text


def price_design(path: str | Path) -> dict[str, Any]:
    """Full breakdown of the design in a file, JSON-serialisable, with its loop nest as text.

    Raises:
        ValueError: In one line, when the file is missing, does not parse or breaks a rule.
    """
    design = read_design(path)
    if design.accounting != "codec":
        raise ValueError(
            f"{path}: conventions.accounting must be codec here, got {design.accounting!r}; "
            "benchmarks/fidelity.py prices designs under the reference's own accounting"
        )
    part = accelerator_of(design)
    nest = loop_nest_text(design.operator, design.hardware, design.mapping, 0, design.formats)
    padding = describe_mapping(design.operator, design.hardware, design.mapping)["padding"]
    return {
        "model_version": MODEL_VERSION,
        "nest": nest,
        "padding": padding,
        **part.explain(design.mapping),
    }


def accelerator_of(design: Design) -> SparseAccelerator:
    """The evaluator that a design file describes; its settings are those of
    `evaluators.accelerator.evaluator_settings`."""
    return SparseAccelerator(
        operator=design.operator,
        hardware=design.hardware,
        densities=design.densities,
        formats=design.formats,
        precision=design.precision,
        stationarity=design.stationarity,
        **evaluator_arguments(design.evaluator),
    )
