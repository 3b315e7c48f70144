"""One explicit design in a file that people can read and write: YAML, or JSON by its suffix.

::

    schema: cosearch.design/1
    operator: {name: q_proj, ranks: {M: 1, K: 64, N: 64}, tensors: {
      A: {dimensions: [M, K], class: activation}, W: {dimensions: [K, N], class: weight},
      Z: {dimensions: [M, N], class: output}}}          # the last tensor is the result
    hardware: {name: tiny, levels: {DRAM: {kind: dram}, RF: {capacity: 512B}}}
    nest: [DRAM keeps A W Z, for N in 64, RF keeps W Z, for K in 64]
    formats: {W: {DRAM: "B(K,N)"}}                      # elsewhere uncompressed
    densities: {W: 0.5}                                 # elsewhere dense
    bits: {weight: 8, activation: 8, kv: 8, psum: 24}
    conventions: {stationarity: implicit, accounting: codec}
    evaluator: {}                                       # settings kept for whoever prices it

Errors are one line: file, field, rule, value, and the nearest valid key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.hardware import Hardware
from spaces.mappings.design_fields import (
    densities_from_data,
    densities_to_data,
    formats_from_data,
    hardware_from_data,
    hardware_to_data,
    operator_from_data,
    operator_to_data,
    required,
    typed,
)
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.nest_text import nest_items, read_nest_items
from spaces.sparsity.sparsity import DensitySpec
from spaces.validation import check_choice, check_keys
from spaces.workloads.workload import Operator, Precision

SCHEMA = "cosearch.design/1"
"""Version of the file's layout; a reader refuses others."""

DESIGN_KEYS = (
    "schema", "operator", "hardware", "nest", "formats", "densities", "bits", "conventions",
    "evaluator",
)  # fmt: skip
"""Keys of a design; the first four are required."""

CONVENTIONS = {"stationarity": ("implicit", "explicit"), "accounting": ("codec", "sparseloop")}
"""Conventions and their values, the default first."""


class DesignFileError(ValueError):
    """A design file that cannot be read; the message is one line."""


@dataclass(frozen=True)
class Design:
    """One operator, mapped onto one hardware, with everything its price depends on.

    Attributes:
        operator, hardware: What runs where.
        mapping: A batch of one.
        formats: Tensor -> formats that `mapping.format_id` counts, the first uncompressed.
        densities: Tensor -> its zeros; absent = dense.
        precision: Word widths.
        stationarity: "implicit" or "explicit".
        accounting: "codec" or "sparseloop".
        evaluator: Further settings of the evaluator as plain data, kept unread.
    """

    operator: Operator
    hardware: Hardware
    mapping: MappingBatch
    formats: Mapping[str, tuple[Format, ...]] = field(default_factory=dict)
    densities: Mapping[str, DensitySpec] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    stationarity: str = "implicit"
    accounting: str = "codec"
    evaluator: Mapping[str, Any] = field(default_factory=dict)


def read_design(path: str | Path) -> Design:
    """Read a design file.

    Raises:
        DesignFileError: If the file is missing, does not parse, or breaks a rule; one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise DesignFileError(f"{path}: cannot be read: {reason}") from None
    try:
        data = json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise DesignFileError(f"{path}: {_syntax(error)}") from None
    try:
        return design_from_data(typed("design", data, Mapping))
    except ValueError as error:
        raise DesignFileError(f"{path}: {error}") from None


def write_design(path: str | Path, design: Design) -> None:
    """Write a design file, complete or not at all; `.json` chooses JSON."""
    target = Path(path)
    if target.suffix == ".json":
        text = json.dumps(design_to_data(design), indent=1, allow_nan=False) + "\n"
    else:
        text = design_to_yaml(design)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)


def design_to_yaml(design: Design) -> str:
    """A design as the text of a YAML file; empty sections are left out."""
    data = design_to_data(design)
    return "".join(_yaml({key: value}) for key, value in data.items() if value != {})


def design_to_data(design: Design) -> dict[str, Any]:
    """A design as plain data, JSON-serialisable, in the layout of the file."""
    formats: dict[str, dict[str, str]] = {}
    for t, level in np.argwhere(design.mapping.format_id[0] > 0):
        name = design.operator.tensors[t].name
        number = int(design.mapping.format_id[0, t, level])
        by_level = formats.setdefault(name, {})
        by_level[design.hardware.levels[level].name] = str(design.formats[name][number])
    data = {
        "schema": SCHEMA,
        "operator": operator_to_data(design.operator),
        "hardware": hardware_to_data(design.hardware),
        "nest": nest_items(design.operator, design.hardware, design.mapping),
        "formats": formats,
        "densities": densities_to_data(design.densities),
        "bits": asdict(design.precision),
        "conventions": {name: getattr(design, name) for name in CONVENTIONS},
        "evaluator": dict(design.evaluator),
    }
    plain: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return plain


def design_from_data(data: Mapping[str, Any]) -> Design:
    """The design of this data.

    Raises:
        ValueError: Names the field, the rule, the value and the nearest valid key.
    """
    check_keys("design", data, DESIGN_KEYS)
    schema = required("design", data, "schema", str)
    if schema != SCHEMA:
        raise ValueError(f"schema: must be {SCHEMA}, got {schema!r}")
    operator = operator_from_data(required("design", data, "operator", Mapping))
    hardware = hardware_from_data(required("design", data, "hardware", Mapping))
    nest = read_nest_items(required("design", data, "nest", list), operator, hardware)
    formats = formats_from_data(_section(data, "formats"), operator, hardware)
    tables = {name: _format_table(by_level) for name, by_level in formats.items()}
    return Design(
        operator=operator,
        hardware=hardware,
        mapping=_with_formats(nest, formats, tables, (operator, hardware)),
        formats=tables,
        densities=densities_from_data(_section(data, "densities"), operator),
        precision=_precision(_section(data, "bits")),
        evaluator=dict(_section(data, "evaluator")),
        **_conventions(_section(data, "conventions")),
    )


def _section(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section: Mapping[str, Any] = typed(key, data.get(key) or {}, Mapping)
    return section


def _format_table(by_level: Mapping[str, Format]) -> tuple[Format, ...]:
    return tuple(dict.fromkeys([UNCOMPRESSED, *by_level.values()]))


def _with_formats(
    nest: MappingBatch,
    formats: Mapping[str, Mapping[str, Format]],
    tables: Mapping[str, tuple[Format, ...]],
    target: tuple[Operator, Hardware],
) -> MappingBatch:
    operator, hardware = target
    names = [tensor.name for tensor in operator.tensors]
    format_id = nest.format_id.copy()
    for name, by_level in formats.items():
        for level_name, chosen in by_level.items():
            t, level = names.index(name), hardware.level_names.index(level_name)
            if nest.keep_at[0, t, level] < 0 and chosen.levels:
                raise ValueError(f"formats.{name}.{level_name}: the level does not keep {name}")
            format_id[0, t, level] = tables[name].index(chosen)
    return replace(nest, format_id=format_id)


def _precision(data: Mapping[str, Any]) -> Precision:
    check_keys("bits", data, [item.name for item in fields(Precision)])
    return Precision(**data)


def _conventions(data: Mapping[str, Any]) -> dict[str, str]:
    check_keys("conventions", data, CONVENTIONS)
    for name, value in data.items():
        check_choice(f"conventions.{name}", value, CONVENTIONS[name])
    return {name: str(data.get(name, values[0])) for name, values in CONVENTIONS.items()}


def _yaml(section: Mapping[str, Any]) -> str:
    """One section: innermost collections on one line, but one line per item of the nest."""
    flow = None if all(isinstance(value, Mapping) for value in section.values()) else False
    return str(yaml.safe_dump(section, sort_keys=False, default_flow_style=flow, width=100))


def _syntax(error: json.JSONDecodeError | yaml.YAMLError) -> str:
    """Where a file stops being YAML or JSON, on one line."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    mark = getattr(error, "problem_mark", None)
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"is not YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}{place}"
