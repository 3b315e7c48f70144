"""Physical quantities as people write them: 512KiB, 25.6GB/s, 1GHz, 28nm, 0.5pJ, 160ms.

Bytes are upper-case B, bits are lower-case b or the word "bit"; K, M, G are decimal, Ki, Mi, Gi
binary. A plain number is taken in the unit the reader asks for.
"""

from __future__ import annotations

import re
from math import inf

_PREFIXES = {
    "": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(.*?)\s*$")
_DATA = re.compile(r"(k|K|M|G|T|Ki|Mi|Gi|Ti)?(B|b|bits?|bytes?)$")
_FREQUENCY = {"Hz": 1.0, "kHz": 1e3, "KHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_ENERGY = {"fJ": 1e-3, "pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "mJ": 1e9, "J": 1e12}
_TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LENGTH = {"nm": 1.0, "um": 1e3}

Quantity = str | float | int | None
"""A number with a unit, a plain number, or None for unbounded where that makes sense."""


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{what} must be a number with a unit such as {example}, got {text!r}")
    return float(match[1]), match[2]


def _scaled(value: Quantity, units: dict[str, float], what: str, example: str) -> float:
    if isinstance(value, int | float):
        return float(value)
    number, unit = _split(str(value), what, example)
    if unit not in units:
        known = ", ".join(units)
        raise ValueError(f"{what} must have one of the units {known} ({example}), got {value!r}")
    return number * units[unit]


def frequency_hz(value: Quantity, what: str = "frequency") -> float:
    """Cycles per second.

    >>> frequency_hz("1.2GHz")
    1200000000.0
    """
    return _scaled(value, _FREQUENCY, what, "1GHz")


def energy_pj(value: Quantity, what: str = "energy") -> float:
    """Picojoules.

    >>> energy_pj("120fJ")
    0.12
    """
    return _scaled(value, _ENERGY, what, "0.5pJ")


def time_s(value: Quantity, what: str = "time") -> float:
    """Seconds.

    >>> time_s("160ms")
    0.16
    """
    return _scaled(value, _TIME, what, "160ms")


def length_nm(value: Quantity, what: str = "length") -> float:
    """Nanometres.

    >>> length_nm("28nm")
    28.0
    """
    return _scaled(value, _LENGTH, what, "28nm")


def data_bits(value: Quantity, what: str = "capacity") -> float:
    """Bits; None is unbounded.

    >>> data_bits("512KiB"), data_bits("64bit"), data_bits("2kb"), data_bits(None)
    (4194304.0, 64.0, 2000.0, inf)
    """
    if value is None:
        return inf
    if isinstance(value, int | float):
        return float(value)
    number, unit = _split(str(value), what, "512KiB")
    match = _DATA.match(unit)
    if match is None:
        raise ValueError(f"{what} must be an amount of data such as 512KiB or 64bit, got {value!r}")
    bits = 8.0 if match[2] in ("B", "byte", "bytes") else 1.0
    return number * _PREFIXES[match[1] or ""] * bits


def bandwidth_bits_per_cycle(value: Quantity, clock_hz: float, what: str = "bandwidth") -> float:
    """Bits per clock cycle, from data per second (25.6GB/s) or per cycle (64B/cycle).

    >>> bandwidth_bits_per_cycle("25.6GB/s", 1e9), bandwidth_bits_per_cycle("64B/cycle", 1e9)
    (204.8, 512.0)
    >>> bandwidth_bits_per_cycle(None, 1e9)
    inf
    """
    if value is None:
        return inf
    if isinstance(value, int | float):
        return float(value)
    data, slash, period = str(value).partition("/")
    period = period.strip()
    if not slash or period not in ("s", "cycle"):
        raise ValueError(f"{what} must be data per s or cycle such as 25.6GB/s, got {value!r}")
    bits = data_bits(data, what)
    return bits / clock_hz if period == "s" else bits
