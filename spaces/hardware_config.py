"""Hardware from a config file: named levels, quantities as people write them, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.quantities import (
    Quantity,
    bandwidth_bits_per_cycle,
    data_bits,
    energy_pj,
    frequency_hz,
    length_nm,
)
from spaces.validation import check_choice, check_keys, field_errors
from spaces.workloads.workload import TensorClass

LEVEL_KEYS = (
    "kind", "capacity", "access_width", "bandwidth", "read_bandwidth", "write_bandwidth", "port",
    "fan_out", "may_keep", "must_keep", "read_energy", "write_energy", "gated_energy",
    "metadata_access_width", "metadata_read_energy", "metadata_write_energy",
)  # fmt: skip
"""What a level of a config file may state."""

COMPUTE_KEYS = ("macs_per_cycle", "energy", "gated_energy")
"""What the compute unit of a config file may state."""

PORTS = ("shared", "separate")


def build_hardware(
    name: str,
    levels: Mapping[str, Mapping[str, Any]],
    compute: Mapping[str, Any] | None = None,
    clock: Quantity = "1GHz",
    technology_node: Quantity = "28nm",
) -> Hardware:
    """Build a `Hardware` from plain values.

    Args:
        name: Preset name.
        levels: Level name -> its keys (`LEVEL_KEYS`), outermost first. `bandwidth` sets both
            directions; `port` is shared or separate; an absent capacity or bandwidth is unbounded,
            an absent energy comes from the technology.
        compute: Keys of `COMPUTE_KEYS`.
        clock: For example "1GHz".
        technology_node: For example "28nm".

    Raises:
        FieldError: Names the level, the key, the rule and the value.

    >>> tiny = build_hardware("tiny", {"DRAM": {"kind": "dram", "bandwidth": "8GB/s"}})
    >>> tiny.levels[0].read_bits_per_cycle
    64.0
    """
    clock_hz = frequency_hz(clock, "hardware.clock")
    unit = dict(compute or {})
    check_keys("hardware.compute", unit, COMPUTE_KEYS)
    return Hardware(
        name=name,
        levels=tuple(_level(label, spec or {}, clock_hz) for label, spec in levels.items()),
        compute=ComputeUnit(
            macs_per_cycle=float(unit.get("macs_per_cycle", 1.0)),
            energy_pj=_energy(unit, "energy", "hardware.compute"),
            gated_energy_pj=_energy(unit, "gated_energy", "hardware.compute"),
        ),
        clock_hz=clock_hz,
        technology_nm=length_nm(technology_node, "hardware.technology_node"),
    )


def _energy(spec: Mapping[str, Any], key: str, where: str) -> float | None:
    return None if spec.get(key) is None else energy_pj(spec[key], f"{where}.{key}")


def _classes(spec: Mapping[str, Any], key: str, where: str) -> frozenset[TensorClass]:
    for label in spec[key]:
        check_choice(f"{where}.{key}", label, [tensor_class.value for tensor_class in TensorClass])
    return frozenset(TensorClass(label) for label in spec[key])


def _level(name: str, spec: Mapping[str, Any], clock_hz: float) -> Level:
    where = f"hardware.levels.{name}"
    check_keys(where, spec, LEVEL_KEYS)
    port = spec.get("port", "separate")
    check_choice(f"{where}.port", port, PORTS)
    both = spec.get("bandwidth")

    def bandwidth(key: str) -> float:
        return bandwidth_bits_per_cycle(spec.get(key, both), clock_hz, f"{where}.{key}")

    metadata_width = spec.get("metadata_access_width")
    with field_errors(where):
        return Level(
            name=name,
            kind=str(spec.get("kind", "sram")),
            capacity_bits=data_bits(spec.get("capacity"), f"{where}.capacity"),
            access_bits=int(data_bits(spec.get("access_width", 64), f"{where}.access_width")),
            read_bits_per_cycle=bandwidth("read_bandwidth"),
            write_bits_per_cycle=bandwidth("write_bandwidth"),
            shared_port=port == "shared",
            fan_out={str(axis): int(size) for axis, size in (spec.get("fan_out") or {}).items()},
            may_keep=None if spec.get("may_keep") is None else _classes(spec, "may_keep", where),
            must_keep=_classes(spec, "must_keep", where) if spec.get("must_keep") else frozenset(),
            read_energy_pj=_energy(spec, "read_energy", where),
            write_energy_pj=_energy(spec, "write_energy", where),
            gated_energy_pj=_energy(spec, "gated_energy", where),
            metadata_access_bits=None
            if metadata_width is None
            else int(data_bits(metadata_width, f"{where}.metadata_access_width")),
            metadata_energy_pj=_energy(spec, "metadata_read_energy", where),
            metadata_write_energy_pj=_energy(spec, "metadata_write_energy", where),
        )
