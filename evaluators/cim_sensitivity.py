"""How much a ratio depends on constants that nobody published: one at a time, low to high."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from evaluators.adc import ADC_LAWS
from evaluators.analog_technology import AnalogTechnology

Ratio = Callable[[AnalogTechnology], float]
"""A figure of merit as a function of the technology."""


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


def tornado(technology: AnalogTechnology, ratio: Ratio) -> list[Swing]:
    """Swing of a ratio over every constant's range and over the ADC laws, largest first.

    Constants that do not move the ratio are left out.
    """
    base = ratio(technology)
    swings = [_adc_swing(technology, ratio, base)]
    for name, quantity in technology.quantities.items():
        ends = [
            ratio(replace(technology, constants=technology.constants.with_values({name: value})))
            for value in (quantity.low, quantity.high)
        ]
        low, high = (f"{value:g} {quantity.unit}" for value in (quantity.low, quantity.high))
        swings.append(Swing(name, low, high, ends[0], ends[1], base, quantity.source))
    moving = [swing for swing in swings if swing.span > 1e-9 * abs(base)]
    return sorted(moving, key=lambda swing: -swing.span)


def _adc_swing(technology: AnalogTechnology, ratio: Ratio, base: float) -> Swing:
    """Lowest and highest ratio over the named ADC laws."""
    ratios: Mapping[str, float] = {
        name: ratio(replace(technology, adc=law)) for name, law in ADC_LAWS.items()
    }
    low, high = (
        min(ratios, key=lambda name: ratios[name]),
        max(ratios, key=lambda name: ratios[name]),
    )
    return Swing("adc", low, high, ratios[low], ratios[high], base, "laws of evaluators/adc.py")
