"""How much a ratio depends on constants that nobody published: one at a time, low to high."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from evaluators.analog.adc import ADC_LAWS
from evaluators.analog.technology import AnalogTechnology

Ratios = Callable[[AnalogTechnology], Mapping[str, float]]
"""Figures of merit, by name, as a function of the technology."""


@dataclass(frozen=True)
class Swing:
    """Effect of one assumption on a ratio.

    Attributes:
        name: Constant, or `adc`.
        low, high: The assumption's ends: numbers with unit, or law names.
        at_low, at_high: The ratio there.
        base: The ratio with all assumptions at their own values.
        source: Where the assumption's value comes from.
    """

    name: str
    low: str
    high: str
    at_low: float
    at_high: float
    base: float
    source: str

    @property
    def span(self) -> float:
        """Distance between the two ends."""
        return abs(self.at_high - self.at_low)

    def row(self) -> dict[str, str | float]:
        """For tables."""
        return {
            "assumption": self.name,
            "low": self.low,
            "high": self.high,
            "ratio at low": round(self.at_low, 3),
            "ratio at high": round(self.at_high, 3),
            "base": round(self.base, 3),
            "source": self.source,
        }


def tornado(technology: AnalogTechnology, ratios: Ratios) -> dict[str, list[Swing]]:
    """Swings of every ratio over the constants' ranges and over the ADC laws, largest first.

    Constants that do not move a ratio are left out.
    """
    base = ratios(technology)
    found: dict[str, list[Swing]] = {name: [] for name in base}
    for name, swing in _adc_swings(technology, ratios, base).items():
        found[name].append(swing)
    for constant, quantity in technology.quantities.items():
        low, high = (
            ratios(replace(technology, constants=technology.constants.with_values({constant: end})))
            for end in (quantity.low, quantity.high)
        )
        ends = [f"{end:g} {quantity.unit}" for end in (quantity.low, quantity.high)]
        for name in base:
            found[name].append(
                Swing(
                    constant, ends[0], ends[1], low[name], high[name], base[name], quantity.source
                )
            )
    return {name: _sorted(swings) for name, swings in found.items()}


def _sorted(swings: list[Swing]) -> list[Swing]:
    moving = [swing for swing in swings if swing.span > 1e-9 * abs(swing.base)]
    return sorted(moving, key=lambda swing: -swing.span)


def _adc_swings(
    technology: AnalogTechnology, ratios: Ratios, base: Mapping[str, float]
) -> dict[str, Swing]:
    """Lowest and highest ratio over the named ADC laws."""
    by_law = {law: ratios(replace(technology, adc=ADC_LAWS[law])) for law in ADC_LAWS}
    swings = {}
    for name in base:
        ordered = sorted(by_law, key=lambda law, name=name: by_law[law][name])  # type: ignore[misc]
        low, high = ordered[0], ordered[-1]
        ends = by_law[low][name], by_law[high][name]
        swings[name] = Swing(
            "adc", low, high, *ends, base[name], "laws of evaluators/analog/adc.py"
        )
    return swings
