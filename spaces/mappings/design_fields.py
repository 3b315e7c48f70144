"""The parts of our files as plain data: operator, hardware, densities, formats.

What is read here has passed its JSON Schema (`spaces.schemas`). Hardware is written with the keys
of `conf/hardware` (`spaces.hardware_config`), in bits, bits per cycle, hertz and picojoules, so
that no digit is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isinf
from typing import Any

from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware, Level
from spaces.hardware_config import build_hardware
from spaces.sparsity.sparsity import DensitySpec, unstructured
from spaces.validation import FieldError, check_choice, check_keys, field_errors
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass

_TERM = re.compile(r"(?:(\d+)\*)?([A-Za-z_]\w*)")


def operator_to_data(operator: Operator) -> dict[str, Any]:
    """An operator as plain data; its last tensor is the result."""
    data: dict[str, Any] = {
        "name": operator.name,
        "ranks": dict(operator.ranks),
        "tensors": {
            tensor.name: {
                "dimensions": [_dimension_text(dimension) for dimension in tensor.dimensions],
                "class": tensor.tensor_class.value,
            }
            | ({"resident": True} if tensor.resident else {})
            for tensor in operator.tensors
        },
        "count": operator.count,
    }
    if operator.layers:
        data["layers"] = list(operator.layers)
    if operator.tags:
        data["tags"] = dict(operator.tags)
    return data


def operator_from_data(data: Mapping[str, Any], field: str = "operator") -> Operator:
    """The operator of this data, of the form that the schema allows.

    Raises:
        FieldError: Names the field, the rule and the value.
    """
    ranks = {str(rank): int(size) for rank, size in data["ranks"].items()}
    with field_errors(field):
        return Operator(
            name=data["name"],
            ranks=ranks,
            tensors=tuple(
                _tensor(f"{field}.tensors.{name}", str(name), tensor, ranks)
                for name, tensor in data["tensors"].items()
            ),
            count=data.get("count", 1),
            tags=dict(data.get("tags", {})),
            layers=tuple(data.get("layers", ())),
        )


def _tensor(field: str, name: str, data: Mapping[str, Any], ranks: Mapping[str, int]) -> Tensor:
    dimensions = tuple(
        _dimension(f"{field}.dimensions", text, ranks) for text in data["dimensions"]
    )
    return Tensor(name, dimensions, TensorClass(data["class"]), data.get("resident", False))


def _dimension_text(dimension: Dimension) -> str:
    return "+".join(r if c == 1 else f"{c}*{r}" for r, c in dimension.terms)


def _dimension(field: str, text: Any, ranks: Mapping[str, int]) -> Dimension:
    terms = []
    for part in str(text).replace(" ", "").split("+"):
        match = _TERM.fullmatch(part)
        if match is None:
            raise FieldError(f"{field}: must read like K or 2*P+R, got {text!r}", field)
        check_choice(field, match[2], ranks)
        terms.append((match[2], int(match[1] or 1)))
    return Dimension(tuple(terms))


def hardware_to_data(hardware: Hardware) -> dict[str, Any]:
    """Hardware as the plain data that `build_hardware` reads."""
    compute = {
        "macs_per_cycle": hardware.compute.macs_per_cycle,
        "energy": _amount(hardware.compute.energy_pj, "pJ"),
        "gated_energy": _amount(hardware.compute.gated_energy_pj, "pJ"),
    }
    return {
        "name": hardware.name,
        "clock": _amount(hardware.clock_hz, "Hz"),
        "technology_node": _amount(hardware.technology_nm, "nm"),
        "levels": {level.name: _level_to_data(level) for level in hardware.levels},
        "compute": _given(compute),
    }


def _level_to_data(level: Level) -> dict[str, Any]:
    return _given(
        {
            "kind": level.kind,
            "capacity": _amount(level.capacity_bits, "bit"),
            "access_width": _amount(level.access_bits, "bit"),
            "read_bandwidth": _amount(level.read_bits_per_cycle, "bit/cycle"),
            "write_bandwidth": _amount(level.write_bits_per_cycle, "bit/cycle"),
            "port": "shared" if level.shared_port else "separate",
            "fan_out": dict(level.fan_out) or None,
            "may_keep": None if level.may_keep is None else sorted(map(str, level.may_keep)),
            "must_keep": sorted(map(str, level.must_keep)) or None,
            "read_energy": _amount(level.read_energy_pj, "pJ"),
            "write_energy": _amount(level.write_energy_pj, "pJ"),
            "gated_energy": _amount(level.gated_energy_pj, "pJ"),
            "metadata_access_width": _amount(level.metadata_access_bits, "bit"),
            "metadata_read_energy": _amount(level.metadata_energy_pj, "pJ"),
            "metadata_write_energy": _amount(level.metadata_write_energy_pj, "pJ"),
        }
    )


def hardware_from_data(data: Mapping[str, Any], field: str = "hardware") -> Hardware:
    """The hardware of this data, of the form that the schema allows, in any units people write.

    Raises:
        FieldError: Names the field, the rule and the value.
    """
    with field_errors(field):
        return build_hardware(**{key: value for key, value in data.items() if key != "schema"})


def densities_to_data(densities: Mapping[str, DensitySpec]) -> dict[str, Any]:
    """Densities as plain data."""
    return {name: asdict(spec) for name, spec in densities.items()}


def densities_from_data(
    data: Mapping[str, Any], operator: Operator, field: str = "densities"
) -> dict[str, DensitySpec]:
    """Density of each tensor; a plain number means unstructured zeros.

    Raises:
        FieldError: Names the field, the rule and the value.
    """
    check_keys(field, data, [tensor.name for tensor in operator.tensors])
    return {name: _density(f"{field}.{name}", value) for name, value in data.items()}


def _density(field: str, value: float | Mapping[str, Any]) -> DensitySpec:
    with field_errors(field):
        return DensitySpec(**value) if isinstance(value, Mapping) else unstructured(value)


def formats_from_data(
    data: Mapping[str, Any], operator: Operator, hardware: Hardware, field: str = "formats"
) -> dict[str, dict[str, Format]]:
    """Tensor -> level -> format.

    Raises:
        FieldError: If a tensor or level does not exist or a format does not parse.
    """
    check_keys(field, data, [tensor.name for tensor in operator.tensors])
    formats: dict[str, dict[str, Format]] = {}
    for name, by_level in data.items():
        check_keys(f"{field}.{name}", by_level, hardware.level_names)
        dimensions = [dimension.name for dimension in operator.tensor(name).dimensions]
        formats[name] = {
            level: _format(f"{field}.{name}.{level}", text, dimensions)
            for level, text in by_level.items()
        }
    return formats


def _format(field: str, text: str | None, dimensions: Sequence[str]) -> Format:
    with field_errors(field):
        return UNCOMPRESSED if text is None else parse_format(text, dimensions)


def _amount(value: float | None, unit: str) -> str | None:
    """A number with its unit, every digit kept; None for what is not given or unbounded."""
    if value is None or isinf(value):
        return None
    number = int(value) if value == int(value) else float(value)
    return f"{number!r}{unit}"


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
