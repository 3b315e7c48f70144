"""The parts of a design file as plain data: operator, hardware, densities, formats.

Hardware is written with the keys of `conf/hardware` (`spaces.hardware_config`), in bits, bits per
cycle, hertz and picojoules, so that no digit is lost.
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
from spaces.validation import check_choice, check_keys
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass, require_positive

OPERATOR_KEYS = ("name", "ranks", "tensors", "count", "layers", "tags")
"""Keys of `operator`; name, ranks and tensors are required."""

TENSOR_KEYS = ("dimensions", "class")
"""Keys of a tensor, both required."""

HARDWARE_KEYS = ("name", "levels", "compute", "clock", "technology_node")
"""Keys of `hardware`; name and levels are required."""

DENSITY_KEYS = ("model", "density", "parameters", "source")
"""Keys of a density; a plain number means unstructured zeros."""

_TERM = re.compile(r"(?:(\d+)\*)?([A-Za-z_]\w*)")


def required(field: str, data: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """The value of a key that must be there and of this type.

    Raises:
        ValueError: Names the field, the rule and the value.
    """
    if key not in data:
        raise ValueError(f"{field}: key {key!r} is missing")
    return typed(f"{field}.{key}", data[key], kind)


def typed(field: str, value: Any, kind: type | tuple[type, ...]) -> Any:
    """The value, checked to be of this type; `ValueError` otherwise."""
    words = {Mapping: "a mapping", str: "a text", list: "a list", int: "a whole number"}
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(words.get(one, one.__name__) for one in kinds)
        raise ValueError(f"{field}: must be {wanted}, got {value!r}")
    return value


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
    """The operator of this data.

    Raises:
        ValueError: Names the field, the rule and the value.
    """
    check_keys(field, data, OPERATOR_KEYS)
    ranks = required(field, data, "ranks", Mapping)
    for rank, size in ranks.items():
        require_positive({f"{field}.ranks.{rank}": size})
    tensors = required(field, data, "tensors", Mapping)
    if len(tensors) < 2:
        raise ValueError(f"{field}.tensors: must be operands and, last, the result, got {tensors}")
    count = typed(f"{field}.count", data.get("count", 1), int)
    require_positive({f"{field}.count": count})
    return Operator(
        name=required(field, data, "name", str),
        ranks={str(rank): int(size) for rank, size in ranks.items()},
        tensors=tuple(
            _tensor(
                f"{field}.tensors.{name}",
                str(name),
                typed(f"{field}.tensors.{name}", t, Mapping),
                ranks,
            )
            for name, t in tensors.items()
        ),
        count=count,
        tags=dict(typed(f"{field}.tags", data.get("tags", {}), Mapping)),
        layers=tuple(typed(f"{field}.layers", data.get("layers", []), list)),
    )


def _tensor(field: str, name: str, data: Mapping[str, Any], ranks: Mapping[str, int]) -> Tensor:
    check_keys(field, data, TENSOR_KEYS)
    texts = required(field, data, "dimensions", list)
    label = required(field, data, "class", str)
    check_choice(f"{field}.class", label, [role.value for role in TensorClass])
    dimensions = tuple(_dimension(f"{field}.dimensions", text, ranks) for text in texts)
    return Tensor(name, dimensions, TensorClass(label))


def _dimension_text(dimension: Dimension) -> str:
    return "+".join(r if c == 1 else f"{c}*{r}" for r, c in dimension.terms)


def _dimension(field: str, text: Any, ranks: Mapping[str, int]) -> Dimension:
    terms = []
    for part in str(text).replace(" ", "").split("+"):
        match = _TERM.fullmatch(part)
        if match is None:
            raise ValueError(f"{field}: must read like K or 2*P+R, got {text!r}")
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
    """The hardware of this data; quantities may have any unit people write.

    Raises:
        ValueError: Names the field, the rule and the value.
    """
    check_keys(field, data, HARDWARE_KEYS)
    levels = required(field, data, "levels", Mapping)
    if not levels:
        raise ValueError(f"{field}.levels: must have at least one level")
    for name, level in levels.items():
        typed(f"{field}.levels.{name}", level or {}, Mapping)
    return build_hardware(
        name=required(field, data, "name", str),
        levels=levels,
        compute=typed(f"{field}.compute", data.get("compute") or {}, Mapping),
        clock=data.get("clock", "1GHz"),
        technology_node=data.get("technology_node", "28nm"),
    )


def densities_to_data(densities: Mapping[str, DensitySpec]) -> dict[str, Any]:
    """Densities as plain data."""
    return {name: asdict(spec) for name, spec in densities.items()}


def densities_from_data(
    data: Mapping[str, Any], operator: Operator, field: str = "densities"
) -> dict[str, DensitySpec]:
    """Density of each tensor; a plain number means unstructured zeros.

    Raises:
        ValueError: Names the field, the rule and the value.
    """
    check_keys(field, data, [tensor.name for tensor in operator.tensors])
    return {name: _density(f"{field}.{name}", value) for name, value in data.items()}


def _density(field: str, value: Any) -> DensitySpec:
    if isinstance(value, Mapping):
        check_keys(field, value, DENSITY_KEYS)
        _check_fraction(f"{field}.density", value.get("density", 1.0))
        typed(f"{field}.parameters", value.get("parameters", {}), Mapping)
    else:
        _check_fraction(field, value)
    try:
        return unstructured(value) if not isinstance(value, Mapping) else DensitySpec(**value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _check_fraction(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        hint = "; write 1.0e-2, not 1e-2" if isinstance(value, str) and "e" in value else ""
        raise ValueError(f"{field}: density must be between 0 and 1, got {value!r}{hint}")


def formats_from_data(
    data: Mapping[str, Any], operator: Operator, hardware: Hardware, field: str = "formats"
) -> dict[str, dict[str, Format]]:
    """Tensor -> level -> format.

    Raises:
        ValueError: If a tensor or level does not exist or a format does not parse.
    """
    check_keys(field, data, [tensor.name for tensor in operator.tensors])
    formats: dict[str, dict[str, Format]] = {}
    for name, by_level in data.items():
        typed(f"{field}.{name}", by_level, Mapping)
        check_keys(f"{field}.{name}", by_level, hardware.level_names)
        dimensions = [dimension.name for dimension in operator.tensor(name).dimensions]
        formats[name] = {
            level: _format(f"{field}.{name}.{level}", text, dimensions)
            for level, text in by_level.items()
        }
    return formats


def _format(field: str, text: Any, dimensions: Sequence[str]) -> Format:
    if text is None:
        return UNCOMPRESSED
    try:
        return parse_format(typed(field, text, str), dimensions)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(field) else f"{field}: {message}") from None


def _amount(value: float | None, unit: str) -> str | None:
    """A number with its unit, every digit kept; None for what is not given or unbounded."""
    if value is None or isinf(value):
        return None
    number = int(value) if value == int(value) else float(value)
    return f"{number!r}{unit}"


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
