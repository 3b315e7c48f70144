"""What few-bit cells, DACs and ADCs do to the numbers of one analog step.

Values are signed; a cell is a differential pair and a conversion yields sign and magnitude, so b
bits are magnitude bits. Weights are cut into planes of `cell_bits`, inputs into slices of
`dac_bits`; every (slice, plane) pair is converted on its own and shift-added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ADC_RANGES = ("unit", "full")
"""`unit`: one ADC step = one input step x one cell step, clipping above 2^b - 1 (the rule behind
bits = log2(rows)). `full`: the range covers the largest sum that the programmed rows of a column
can reach, with coarser steps."""


@dataclass(frozen=True)
class Nonidealities:
    """Precision of the analog path.

    Attributes:
        weight_bits, cell_bits: Magnitude bits of a weight and of one cell; 0 = exact weights.
        input_bits, dac_bits: The same of inputs.
        adc_bits: Magnitude bits of a conversion; 0 = as the command says, -1 = exact.
        adc_range: Of `ADC_RANGES`.
        weight_noise: Standard deviation of programmed weights, relative to the largest weight of
            the array.
        seed: Of the noise.
    """

    weight_bits: int = 0
    cell_bits: int = 1
    input_bits: int = 0
    dac_bits: int = 1
    adc_bits: int = -1
    adc_range: str = "unit"
    weight_noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.adc_range not in ADC_RANGES:
            raise ValueError(f"adc_range must be unit or full, got {self.adc_range!r}")
        if self.adc_bits >= 0 and not (self.weight_bits and self.input_bits):
            raise ValueError(
                "adc_bits needs weight_bits and input_bits, got 0: an ADC counts steps"
            )
        if min(self.cell_bits, self.dac_bits) < 1 or self.weight_noise < 0:
            raise ValueError(
                f"cell_bits and dac_bits must be >= 1 and weight_noise >= 0, got "
                f"{self.cell_bits}, {self.dac_bits}, {self.weight_noise}"
            )

    @property
    def slices(self) -> tuple[int, int]:
        """Input slices and weight planes; 1 where values are exact."""
        inputs = -(-self.input_bits // self.dac_bits) if self.input_bits else 1
        planes = -(-self.weight_bits // self.cell_bits) if self.weight_bits else 1
        return inputs, planes

    def programmed(self, cells: Array) -> Array:
        """Cells after programming: noise proportional to each array's largest weight."""
        if self.weight_noise == 0:
            return cells
        noise = np.random.default_rng(self.seed).standard_normal(cells.shape)
        largest = np.abs(cells).max(axis=(1, 2), keepdims=True)
        return cells + np.where(cells != 0, self.weight_noise * largest * noise, 0.0)


IDEAL = Nonidealities()
"""Float64 arithmetic."""


def bitline_sums(values: Array, cells: Array, command_bits: int, effects: Nonidealities) -> Array:
    """Column results of one analog step.

    Args:
        values: Inputs of the driven rows, shape (batch, rows).
        cells: Their cells, shape (rows, columns).
        command_bits: ADC resolution of the command.
        effects: Precision.

    Returns:
        Shape (batch, columns).
    """
    inputs, input_step = quantise(values, effects.input_bits)
    weights, weight_step = quantise(cells, effects.weight_bits)
    if effects.adc_bits < 0:
        return inputs @ weights * (input_step * weight_step)
    bits = effects.adc_bits or command_bits
    dac, cell = effects.dac_bits, effects.cell_bits
    slices, planes = effects.slices
    summed = int((cells != 0).sum(axis=0).max(initial=1))
    largest = summed * (2**dac - 1) * (2**cell - 1)
    total = np.zeros((len(values), cells.shape[1]))
    for i in range(slices):
        part = digit(inputs, i, dac)
        for j in range(planes):
            sums = part @ digit(weights, j, cell)
            total += convert(sums, bits, largest, effects.adc_range) * 2.0 ** (i * dac + j * cell)
    return total * (input_step * weight_step)


def quantise(values: Array, bits: int) -> tuple[Array, float]:
    """Integers of `bits` magnitude bits and their step; 0 bits = the values themselves, step 1.

    >>> quantise(np.array([-1.0, 0.5]), 2)
    (array([-3.,  2.]), 0.3333333333333333)
    """
    largest = float(np.abs(values).max(initial=0.0))
    if bits == 0 or largest == 0:
        return values, 1.0
    step = largest / (2**bits - 1)
    return np.rint(values / step), step


def digit(values: Array, position: int, bits: int) -> Array:
    """Signed digit of integers in base 2^bits, position 0 = least significant.

    >>> digit(np.array([-6.0, 5.0]), 1, 1)
    array([-1.,  0.])
    """
    magnitude = np.floor(np.abs(values) / 2 ** (bits * position)) % 2**bits
    return np.asarray(np.sign(values) * magnitude)


def convert(sums: Array, bits: int, largest: int, adc_range: str) -> Array:
    """An ADC of sign and `bits` magnitude bits on integer sums of at most `largest`.

    >>> convert(np.array([8.0, -3.0]), 3, 8, "unit")
    array([ 7., -3.])
    """
    top = 2**bits - 1
    step = 1.0 if adc_range == "unit" else max(largest / top, 1.0)
    return np.asarray(np.clip(np.rint(sums / step), -top, top) * step)
