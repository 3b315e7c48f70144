"""Prices of counted site choices: energy by part, time, area, and whether the ADC law holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.analog.adc import AdcCost
from evaluators.analog.counts import StageCounts, ceil_div, ceil_log2
from evaluators.analog.site_choices import CountedChoices
from evaluators.analog.technology import AnalogTechnology
from spaces.cim.mapping import MAX_ADC_BITS

Floats = NDArray[np.float64]

ENERGY_PARTS = ("dac", "array", "adc", "shift_add", "accumulate", "buffer", "communication")
"""Parts of the energy of the projections; digital work comes on top."""


@dataclass(frozen=True)
class StagePrice:
    """Price of one stage of k site choices; every attribute has shape (k,) unless said otherwise.

    Attributes:
        energy_pj: Part of `ENERGY_PARTS` -> all layers, one token.
        bits: ADC resolution.
        adc_shortfall: Bits that it lacks for the rows summed, >= 0.
        rounds: Conversions one after another in a step.
        step_ns: One analog step, all slices.
        busy_ns: Busiest array, one token, one layer.
        time_ns: From first input to last result, one token, one layer.
        bound_ns: Busiest array, one token, all layers.
        area_mm2: Arrays with their ADCs.
        arrays: Physical arrays, weight planes counted.
        conversions: All layers, one token.
        unsupported: Of these, conversions outside the range of the ADC law.
    """

    energy_pj: dict[str, Floats]
    bits: NDArray[np.int64]
    adc_shortfall: Floats
    rounds: NDArray[np.int64]
    step_ns: Floats
    busy_ns: Floats
    time_ns: Floats
    bound_ns: Floats
    area_mm2: Floats
    arrays: Floats
    conversions: Floats
    unsupported: Floats


def needed_bits(counts: StageCounts) -> NDArray[np.int64]:
    """Resolution by the published rule: ceil(log2(rows summed)), at least 1."""
    return np.clip(ceil_log2(counts.rows_summed), 1, MAX_ADC_BITS)


def price_stage(counted: CountedChoices, factor: int, technology: AnalogTechnology) -> StagePrice:
    """Price one stage of all choices."""
    counts, values = counted.stages[factor], counted.values
    constants, precision = technology.constants, technology.precision
    needed, fixed = needed_bits(counts), values["adc_bits"]
    bits = np.where(fixed > 0, fixed, needed)
    adc = technology.adc.cost(bits)
    rounds = ceil_div(counts.step_columns, values["adcs_per_array"])
    step = precision.slices * (constants.settle_ns + rounds * adc.time_ns)
    busy = counts.slots * step
    empty = counts.slots == 0
    wait = np.where(empty, 0.0, counts.sum_depth * constants.sum_ns + constants.move_ns)
    conversions = counts.outputs * precision.slices * precision.planes * counted.layers
    return StagePrice(
        energy_pj=_energy(counted, counts, technology, adc),
        bits=bits,
        adc_shortfall=np.maximum(needed - bits, 0).astype(np.float64),
        rounds=rounds,
        step_ns=step,
        busy_ns=busy,
        time_ns=busy + wait,
        bound_ns=counts.busy_slots * step,
        area_mm2=_area(counted, counts, technology, adc),
        arrays=(counts.arrays * precision.planes).astype(np.float64),
        conversions=conversions.astype(np.float64),
        unsupported=np.where(adc.valid, 0.0, conversions),
    )


def _energy(
    counted: CountedChoices, counts: StageCounts, technology: AnalogTechnology, adc: AdcCost
) -> dict[str, Floats]:
    constants, precision = technology.constants, technology.precision
    pairs = precision.slices * precision.planes
    layers = counted.layers
    traffic = counts.drives + counts.accumulates + counts.outputs
    parts = {
        "dac": layers * counts.drives * precision.slices * constants.dac_pj,
        "array": layers * counts.cells_read * pairs * constants.cell_read_pj,
        "adc": layers * counts.outputs * pairs * adc.energy_pj,
        "shift_add": layers * counts.outputs * (pairs - 1) * constants.shift_add_pj,
        "accumulate": layers * counts.accumulates * constants.add_pj,
        "buffer": layers * traffic * constants.buffer_pj,
        "communication": layers * counts.moved * constants.move_pj,
    }
    return {name: np.asarray(part, dtype=np.float64) for name, part in parts.items()}


def _area(
    counted: CountedChoices, counts: StageCounts, technology: AnalogTechnology, adc: AdcCost
) -> Floats:
    constants, size = technology.constants, counted.values["array_size"]
    adcs = np.minimum(counted.values["adcs_per_array"], size)
    array = (
        size * size * constants.cell_um2
        + size * constants.dac_um2
        + constants.periphery_um2
        + adcs * (adc.area_um2 + constants.shift_add_um2)
    )
    return np.asarray(counts.arrays * technology.precision.planes * array * 1e-6)
