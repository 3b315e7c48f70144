"""Laws of analog-to-digital converters: energy, time and area from the resolution.

No law covers every resolution. Each says where its source supports it (`valid`), and is continued
outside in a stated way, so that a search can cross the border and a report can flag it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spaces.cim.mapping import MAX_ADC_BITS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class AdcCost:
    """Costs of n resolutions; every attribute has shape (n,).

    Attributes:
        energy_pj: Per conversion.
        time_ns: Per conversion.
        area_um2: Per ADC.
        valid: False outside the range that the law's source supports.
    """

    energy_pj: Floats
    time_ns: Floats
    area_um2: Floats
    valid: NDArray[np.bool_]


class AdcLaw(Protocol):
    """Cost from resolution."""

    def cost(self, bits: Ints) -> AdcCost:
        """Costs of resolutions 1..`MAX_ADC_BITS`, shape (n,)."""
        ...


def checked_bits(bits: Ints) -> Floats:
    """Resolutions as floats; `ValueError` outside 1..`MAX_ADC_BITS`."""
    values = np.asarray(bits)
    if values.size and not ((values >= 1) & (values <= MAX_ADC_BITS)).all():
        bad = values[(values < 1) | (values > MAX_ADC_BITS)].ravel()[0]
        raise ValueError(f"adc bits must be in 1..{MAX_ADC_BITS}, got {bad}")
    return values.astype(np.float64)


@dataclass(frozen=True)
class SurveyFit:
    """Best published ADCs: a fit to the survey of B. Murmann, as in Accelergy's ADC plug-in.

    Energy follows the figure of merit that a resolution and rate can reach, area follows energy::

        SNDR = 6.0206 B + 1.7609 dB
        FOM  = min(213.7807 - 2.8719 ln f, 128.3068 + 3.22051 ceil(B)) dB
        E    = exp(26.04962 + 1.880037 ln t - 2.829126 ln B - 1.470202)
               / (2 * 10^((FOM - SNDR) / 10)) pJ
        area = exp(1.346192 + 0.993279 ln t + 0.180715 ln f + 0.299124 ln E) um2

    Source: Accelergy-Project/accelergy-adc-plug-in and arXiv 2404.06553. Valid for 4 bits and more
    and at most 10 GS/s; below 4 bits the fit would *rise*, so the 4-bit cost is kept.

    Attributes:
        node_nm: Technology node t.
        samples_per_s: Rate f of each ADC; a conversion takes 1/f.

    >>> SurveyFit(node_nm=32).cost(np.array([8])).energy_pj.round(3).tolist()
    [1.714]
    """

    node_nm: float = 32.0
    samples_per_s: float = 1e9

    def cost(self, bits: Ints) -> AdcCost:
        """Energy, time and area; 4-bit values below 4 bits."""
        asked = checked_bits(bits)
        b = np.maximum(asked, 4.0)
        sndr = 6.0206 * b + 1.7609
        speed = 213.7807 - 2.87190 * np.log(self.samples_per_s)
        fom = np.minimum(speed, 128.3068 + 3.22051 * np.ceil(b))
        scale = 26.04962 + 1.880037 * np.log(self.node_nm) - 2.829126 * np.log(b) - 1.470202
        energy = np.exp(scale) / (2 * 10 ** ((fom - sndr) / 10))
        area = np.exp(
            1.346192
            + 0.993279 * np.log(self.node_nm)
            + 0.180715 * np.log(self.samples_per_s)
            + 0.299124 * np.log(energy)
        )
        valid = (asked >= 4) & (self.samples_per_s <= 1e10)
        return AdcCost(energy, np.full_like(b, 1e9 / self.samples_per_s), area, valid)


@dataclass(frozen=True)
class Sar28:
    """Successive approximation in 28 nm, as in ZigZag-IMC (`imc_array.py`)::

        E = (100 B + 0.001 * 4^B) V^2 fJ;  t = B (0.00653 rows + 0.640) ns
        area = 10^(1.206 - 0.0369 B) * 2^B um2

    Flagged above 12 bits: the source states no range, capacitive SARs beyond that are rare.

    Attributes:
        rows: Wordlines, whose capacitance slows the comparison.
        voltage_v: Supply.

    >>> Sar28().cost(np.array([8])).time_ns.round(1).tolist()
    [18.5]
    """

    rows: int = 256
    voltage_v: float = 0.9

    def cost(self, bits: Ints) -> AdcCost:
        """Energy, time and area."""
        b = checked_bits(bits)
        energy = (100 * b + 0.001 * 4**b) * self.voltage_v**2 / 1000
        time = b * (0.00653 * self.rows + 0.640)
        area = 10 ** (1.206 - 0.0369 * b) * 2**b
        return AdcCost(energy, time, area, b <= 12)


@dataclass(frozen=True)
class PumaAdc:
    """The shared ADC of ISAAC and PUMA, 32 nm: one sweep over all columns takes 12.5 ns per bit.

    Power 0.25 mW per bit (dynamic + leakage), 0.0012 mm2 whatever the resolution. Supported for
    1..8 bits. Source: PUMA simulator, `include/constants.py`; 8 bits give ISAAC's 1.28 GS/s.

    Attributes:
        columns: Columns of the sweep that the source describes.

    >>> PumaAdc().cost(np.array([8])).energy_pj.tolist()
    [1.5625]
    """

    columns: int = 128

    def cost(self, bits: Ints) -> AdcCost:
        """Energy, time and area."""
        b = checked_bits(bits)
        time = 12.5 * b / self.columns
        return AdcCost(0.25 * b * time, time, np.full_like(b, 1200.0), b <= 8)


@dataclass(frozen=True)
class AdcTable:
    """ADC parts of ISAAC-class accelerators as MNSIM 2.0 lists them (`ADC.py`), 4/6/8/10 bits.

    A resolution between two parts uses the next better part. Supported for the listed ones only.
    The 10-bit part comes without an area; it gets that of the larger 8-bit part.

    >>> AdcTable().cost(np.array([8])).energy_pj.tolist()
    [1.5625]
    """

    bits: tuple[int, ...] = (4, 6, 8, 10)
    power_mw: tuple[float, ...] = (0.7, 1.26, 2.0, 6.92)
    samples_per_ns: tuple[float, ...] = (1.0, 1.0, 1.28, 1.5)
    area_um2: tuple[float, ...] = (500.0, 580.0, 1200.0, 1650.0)

    def cost(self, bits: Ints) -> AdcCost:
        """Energy, time and area of the part that is at least as fine."""
        asked = checked_bits(bits)
        part = np.minimum(np.searchsorted(self.bits, asked), len(self.bits) - 1)
        rate = np.array(self.samples_per_ns)[part]
        energy = np.array(self.power_mw)[part] / rate
        valid = np.isin(asked, self.bits)
        return AdcCost(energy, 1 / rate, np.array(self.area_um2)[part], valid)


@dataclass(frozen=True)
class RampAdc:
    """Counting converters (ramp, current-controlled oscillator): time and energy double per bit.

    HERMES (JSSC 2022, doi 10.1109/JSSC.2022.3140414): 300 ps per LSB, 8 bits and a little more.
    Energy per LSB and area are *assumed* shares (40 % of 12.5 nJ, 30 % of 0.634 mm2, 256 columns)
    of the published core. Flagged above 9 bits ("> 8 bit").

    Attributes:
        lsb_ns: Time of one count.
        lsb_pj: Energy of one count.
        area_um2: Per ADC.

    >>> RampAdc().cost(np.array([3, 8])).time_ns.round(1).tolist()
    [2.4, 76.8]
    """

    lsb_ns: float = 0.3
    lsb_pj: float = 0.0763
    area_um2: float = 743.0

    def cost(self, bits: Ints) -> AdcCost:
        """Energy, time and area."""
        b = checked_bits(bits)
        counts = 2.0**b
        area = np.full_like(b, self.area_um2)
        return AdcCost(counts * self.lsb_pj, counts * self.lsb_ns, area, b <= 9)


@dataclass(frozen=True)
class MixedLaw:
    """Energy and area of one law, time of another; valid where both are.

    The published study prices conversions by the survey fit, which has no time law of its own.

    Attributes:
        energy_and_area: Law of energy and area.
        time: Law of time.
    """

    energy_and_area: AdcLaw
    time: AdcLaw

    def cost(self, bits: Ints) -> AdcCost:
        """Combined costs."""
        first, second = self.energy_and_area.cost(bits), self.time.cost(bits)
        return AdcCost(first.energy_pj, second.time_ns, first.area_um2, first.valid & second.valid)


@dataclass(frozen=True)
class ConstantAdc:
    """The same cost at every resolution: for comparisons with given constants."""

    energy_pj: float
    time_ns: float
    area_um2: float = 0.0

    def cost(self, bits: Ints) -> AdcCost:
        """The constants."""
        one = np.ones_like(checked_bits(bits))
        return AdcCost(
            self.energy_pj * one, self.time_ns * one, self.area_um2 * one, one.astype(bool)
        )


@dataclass(frozen=True)
class LinearTime:
    """Conversion time proportional to the bits (ideal SAR), without energy; for timing studies.

    Attributes:
        bit_ns: Time of one bit.
    """

    bit_ns: float = 1.0

    def cost(self, bits: Ints) -> AdcCost:
        """Time only."""
        b = checked_bits(bits)
        return AdcCost(0 * b, self.bit_ns * b, 0 * b, b > 0)


ADC_LAWS: dict[str, AdcLaw] = {
    "survey": SurveyFit(),
    "survey_ramp": MixedLaw(SurveyFit(node_nm=14.0), RampAdc()),
    "sar_28nm": Sar28(),
    "puma": PumaAdc(),
    "table": AdcTable(),
    "ramp": RampAdc(),
}
"""Laws by name, with their default parameters."""
