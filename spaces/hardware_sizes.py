"""Hardware with some of its sizes replaced: what a study of buffers and arrays decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spaces.hardware import Hardware, Level
from spaces.quantities import bandwidth_bits_per_cycle, data_bits
from spaces.validation import check_choice


def resized(hardware: Hardware, sizes: Mapping[str, Any]) -> Hardware:
    """The hardware with other sizes.

    Args:
        hardware: What is changed.
        sizes: `LEVEL.capacity` ("256KiB"), `LEVEL.bandwidth` ("64B/cycle", both directions) or
            `LEVEL.AXIS` (instances along a fan-out axis) -> value.

    Raises:
        ValueError: If there is no such level, or no such size of it.

    >>> from spaces.hardware_config import build_hardware
    >>> edge = build_hardware("edge", {"GLB": {"capacity": "512KiB", "fan_out": {"X": 16}}})
    >>> small = resized(edge, {"GLB.capacity": "128KiB", "GLB.X": 8})
    >>> small.levels[0].capacity_bits, dict(small.levels[0].fan_out)
    (1048576.0, {'X': 8})
    """
    levels = {level.name: level for level in hardware.levels}
    for name, value in sizes.items():
        level, _, size = name.partition(".")
        check_choice("hardware size", level, levels)
        levels[level] = _with_size(levels[level], size, value, hardware.clock_hz)
    return replace(hardware, levels=tuple(levels.values()))


def _with_size(level: Level, size: str, value: Any, clock_hz: float) -> Level:
    """The level with one size replaced."""
    where = f"hardware size {level.name}.{size}"
    check_choice(f"hardware size of {level.name}", size, ("capacity", "bandwidth", *level.fan_out))
    if size == "capacity":
        return replace(level, capacity_bits=data_bits(value, where))
    if size == "bandwidth":
        rate = bandwidth_bits_per_cycle(value, clock_hz, where)
        return replace(level, read_bits_per_cycle=rate, write_bits_per_cycle=rate)
    return replace(level, fan_out={**level.fan_out, size: int(value)})
