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

Errors are one line: file, line, field, rule, value, and the nearest valid key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spaces.documents import located, read_document, read_text, write_document
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
)
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.mappings.nest_text import nest_items, read_nest_items
from spaces.mappings.residency import at_home, from_home
from spaces.schemas import CONVENTIONS, check_data, schema_name
from spaces.sparsity.sparsity import DensitySpec
from spaces.validation import FieldError, field_errors
from spaces.workloads.workload import Operator, Precision


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
        FileError: If the file is missing, does not parse, or breaks a rule; one line.
    """
    data = read_document(path, "design")
    with located(path, read_text(path)):
        return _build(data)


def write_design(path: str | Path, design: Design) -> None:
    """Write a design file, complete or not at all; `.json` chooses JSON."""
    if Path(path).suffix == ".json":
        text = json.dumps(design_to_data(design), indent=1, allow_nan=False) + "\n"
    else:
        text = design_to_yaml(design)
    write_document(path, "design", text)


def design_to_yaml(design: Design) -> str:
    """A design as the text of a YAML file; empty sections are left out."""
    data = design_to_data(design)
    return "".join(_yaml({key: value}) for key, value in data.items() if value != {})


def design_to_data(design: Design) -> dict[str, Any]:
    """A design as plain data, JSON-serialisable, in the layout of the file."""
    formats: dict[str, dict[str, str]] = {}
    format_id = at_home(design.operator, design.mapping.format_id[0], 0)
    for t, level in np.argwhere(format_id > 0):
        name = design.operator.tensors[t].name
        number = int(format_id[t, level])
        by_level = formats.setdefault(name, {})
        by_level[design.hardware.levels[level].name] = str(design.formats[name][number])
    data = {
        "schema": schema_name("design"),
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
        FieldError: Names the field, the rule, the value and the nearest valid key.
    """
    check_data("design", data)
    return _build(data)


def _build(data: Mapping[str, Any]) -> Design:
    """The design of data that the schema allows."""
    operator = operator_from_data(data["operator"])
    hardware = hardware_from_data(data["hardware"])
    with field_errors("nest"):
        nest = read_nest_items(data["nest"], operator, hardware)
    formats = formats_from_data(data.get("formats", {}), operator, hardware)
    tables = {name: _format_table(by_level) for name, by_level in formats.items()}
    conventions = data.get("conventions", {})
    return Design(
        operator=operator,
        hardware=hardware,
        mapping=_with_formats(nest, formats, tables, (operator, hardware)),
        formats=tables,
        densities=densities_from_data(data.get("densities", {}), operator),
        precision=Precision(**data.get("bits", {})),
        evaluator=dict(data.get("evaluator", {})),
        **{name: conventions.get(name, values[0]) for name, values in CONVENTIONS.items()},
    )


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
    kept = at_home(operator, nest.keep_at[0], BYPASS)
    format_id = np.zeros_like(nest.format_id[0])
    for name, by_level in formats.items():
        for level_name, chosen in by_level.items():
            t, level = names.index(name), hardware.level_names.index(level_name)
            if kept[t, level] == BYPASS and chosen.levels:
                place = f"formats.{name}.{level_name}"
                raise FieldError(f"{place}: the level does not keep {name}", place)
            format_id[t, level] = tables[name].index(chosen)
    return replace(nest, format_id=from_home(operator, format_id, 0)[None])


def _yaml(section: Mapping[str, Any]) -> str:
    """One section: innermost collections on one line, but one line per item of the nest."""
    flow = None if all(isinstance(value, Mapping) for value in section.values()) else False
    return str(yaml.safe_dump(section, sort_keys=False, default_flow_style=flow, width=100))
