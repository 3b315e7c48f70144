"""An accelerator with a mapping as a design file, and back: `task=evaluate design=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluators.accelerator.evaluator_settings import evaluator_arguments, evaluator_settings
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import MODEL_VERSION, CostTerms
from spaces.mappings.design_file import Design, design_to_data, read_design
from spaces.mappings.loop_nest import MappingBatch
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


def design_of(part: SparseAccelerator, mapping: MappingBatch) -> Design:
    """The design, for a file, of an evaluator and a mapping, a batch of one."""
    return Design(
        operator=part.operator,
        hardware=part.hardware,
        mapping=mapping,
        formats={name: tuple(formats) for name, formats in part.formats.items()},
        densities=part.densities,
        precision=part.precision,
        stationarity=part.stationarity,
        evaluator=evaluator_settings(part),
    )


def problem_of(part: SparseAccelerator, terms: CostTerms, mapping: MappingBatch) -> dict[str, Any]:
    """The problem that a certificate is about, as plain data; everything that prices depend on.

    Args:
        part: The evaluator.
        terms: Its cost terms, with the formats offered.
        mapping: Any mapping of the problem, a batch of one.

    Returns:
        `design` (see `spaces.mappings.design_file`), `formats` (tensor -> names by format id),
        `offered` (tensor -> level -> format ids) and `one_format` (tensors with one on all levels).
    """
    tensors = [tensor.name for tensor in part.operator.tensors]
    return {
        "design": design_to_data(design_of(part, mapping)),
        "formats": {name: [str(f) for f in part.formats_of(name)] for name in tensors},
        "offered": {
            name: dict(zip(part.hardware.level_names, map(list, row), strict=True))
            for name, row in zip(tensors, terms.format_choices, strict=True)
        },
        "one_format": [tensors[t] for t in terms.one_format.nonzero()[0]],
    }
