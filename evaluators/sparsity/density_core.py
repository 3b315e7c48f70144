"""Compiled probabilities that a box of a sparse tensor is empty.

A density model is one float64 row, `code`, so that any kernel can carry it:

    code[0]             the kind, one of the constants below
    DENSE               nothing more
    BERNOULLI           log(1 - density)
    HYPERGEOMETRIC      elements of the tensor, non-zeros of the tensor
    FIXED_STRUCTURED    density
    N_M                 dimension, M, M*2M values P0(length, phase), M*2M values P0(length, step)
    BLOCK               log(1 - block density), block edge of each dimension
    BANDED              edge of the square, half bandwidth, row dimension, column dimension
    DEAD_COLUMNS        dimension, dead fraction, log(1 - density of the live columns)
    TABLE               rungs of each dimension, the rungs, P0 at every combination of rungs

A box is a tuple of `MAX_DIMENSIONS` extents, padded with 1. Beside the box stands `step`: boxes
start at multiples of it, per dimension (for aligned tiles the step is the box itself). Nothing here
allocates, and no cost depends on the size of a box.
"""

from __future__ import annotations

from math import exp, floor, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled

MAX_DIMENSIONS = 4
"""Dimensions of a tensor that the kernels carry."""

DENSE = 0
BERNOULLI = 1
HYPERGEOMETRIC = 2
FIXED_STRUCTURED = 3
N_M = 4
BLOCK = 5
BANDED = 6
DEAD_COLUMNS = 7
TABLE = 8

Box = tuple[int, int, int, int]

_DIRECT_PRODUCT = 16
"""Up to this many factors the ratio of binomials is multiplied out."""


@compiled
def _stirling_tail(x: float) -> float:
    """log Gamma(x + 1) less its leading Stirling terms, for x >= 16 (error below 1e-12)."""
    inverse = 1.0 / x
    square = inverse * inverse
    return inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0))


@compiled
def _shrinking_product(total: float, zeros: float, drawn: float) -> float:
    product = 1.0
    for index in range(int(drawn)):
        product *= (zeros - index) / (total - index)
    return product


@compiled
def hypergeometric_empty(total: float, nonzeros: float, drawn: float) -> float:
    """Probability that `drawn` of `total` elements hold none of the `nonzeros`.

    C(total - nonzeros, drawn) / C(total, drawn), by Stirling differences whose large terms cancel
    analytically, so that it is stable at 1e9 elements and beyond.
    """
    zeros = total - nonzeros
    if nonzeros <= 0.0 or drawn <= 0.0:
        return 1.0
    if drawn > zeros:
        return 0.0
    if drawn <= _DIRECT_PRODUCT:
        return _shrinking_product(total, zeros, drawn)
    if nonzeros <= _DIRECT_PRODUCT:
        return _shrinking_product(total, total - drawn, nonzeros)
    left = zeros - drawn
    if left < _DIRECT_PRODUCT:
        return exp(
            lgamma(zeros + 1) - lgamma(left + 1) - lgamma(total + 1) + lgamma(total - drawn + 1)
        )
    value = drawn * log1p(-nonzeros / total)
    value -= (left + 0.5) * log1p(-drawn / zeros)
    value += (total - drawn + 0.5) * log1p(-drawn / total)
    value += _stirling_tail(zeros) - _stirling_tail(left)
    value += _stirling_tail(total - drawn) - _stirling_tail(total)
    return exp(value)


@compiled
def greatest_common_divisor(a: int, b: int) -> int:
    """Euclid's algorithm; gcd(a, 0) = a."""
    while b:
        a, b = b, a % b
    return a


@compiled
def _line_empty(code: NDArray[np.float64], length: int, step: int) -> float:
    """P0 of `length` neighbours along the N:M dimension, started at multiples of `step`."""
    block = int(code[2])
    if length >= 2 * block:
        return 0.0
    stride = greatest_common_divisor(step, block)
    return float(code[3 + 2 * block * block + (stride - 1) * 2 * block + length])


@compiled
def pattern_empty(code: NDArray[np.float64], phase: int, length: int) -> float:
    """P0 of `length` neighbours along the N:M dimension, from a place `phase` into an M-block."""
    block = int(code[2])
    if length >= 2 * block:
        return 0.0
    return float(code[3 + phase % block * 2 * block + length]) if length > 0 else 1.0


@compiled
def _n_m_empty(code: NDArray[np.float64], box: Box, step: Box) -> float:
    dimension = int(code[1])
    length = box[dimension]
    line = _line_empty(code, length, step[dimension])
    lines = box[0] * box[1] * box[2] * box[3] / length
    return line**lines if line > 0.0 else 0.0


@compiled
def _touched_blocks(extent: int, step: int, edge: int) -> tuple[float, float]:
    """Blocks of `edge` that an interval touches: the smaller count, and the chance of one more."""
    stride = greatest_common_divisor(step, edge)
    least = (extent + edge - 1) // edge
    fitting = (edge * least - extent) // stride + 1
    return float(least), 1.0 - min(1.0, fitting * stride / edge)


@compiled
def _block_empty(code: NDArray[np.float64], box: Box, step: Box) -> float:
    least0, more0 = _touched_blocks(box[0], step[0], int(code[2]))
    least1, more1 = _touched_blocks(box[1], step[1], int(code[3]))
    least2, more2 = _touched_blocks(box[2], step[2], int(code[4]))
    least3, more3 = _touched_blocks(box[3], step[3], int(code[5]))
    total = 0.0
    for corner in range(16):
        weight = more0 if corner & 1 else 1.0 - more0
        weight *= more1 if corner & 2 else 1.0 - more1
        weight *= more2 if corner & 4 else 1.0 - more2
        weight *= more3 if corner & 8 else 1.0 - more3
        if weight > 0.0:
            blocks = (least0 + (corner & 1)) * (least1 + (corner >> 1 & 1))
            blocks *= (least2 + (corner >> 2 & 1)) * (least3 + (corner >> 3))
            total += weight * exp(code[1] * blocks)
    return total


@compiled
def _floor_sum(n: int, divisor: int, slope: int, offset: int) -> int:
    """Sum of floor((slope*i + offset) / divisor) over i in 0..n-1, offset >= 0, in O(log) steps."""
    total = 0
    while n > 0:
        total += (n - 1) * n // 2 * (slope // divisor) + n * (offset // divisor)
        slope %= divisor
        offset %= divisor
        top = slope * n + offset
        n = top // divisor
        offset = top % divisor
        divisor, slope = slope, divisor
    return total


@compiled
def _capped_sum(n: int, divisor: int, slope: int, offset: int, cap: int) -> int:
    """Sum of min(cap, floor((slope*i + offset) / divisor)) over i in 0..n-1, negatives as 0."""
    first = 0 if offset >= 0 else (-offset + slope - 1) // slope
    last = (cap * divisor - offset + slope - 1) // slope
    last = min(n, max(first, last))
    if first >= n:
        return 0
    inside = _floor_sum(last - first, divisor, slope, offset + slope * first)
    return inside + cap * (n - last)


@compiled
def _banded_empty(code: NDArray[np.float64], box: Box, step: Box) -> float:
    """Share of the boxes (a*step rows, b*step columns) that the band |i - j| <= w does not meet."""
    edge, half = int(code[1]), int(code[2])
    rows, columns = int(code[3]), int(code[4])
    height, width = min(box[rows], edge), min(box[columns], edge)
    down, across = step[rows], step[columns]
    tall = (edge - height) // down + 1
    wide = (edge - width) // across + 1
    below = _capped_sum(tall, across, down, height - 1 + half + across, wide)
    above = _capped_sum(tall, across, down, across - width - half, wide)
    return 1.0 - (below - above) / (tall * wide)


@compiled
def _dead_columns_empty(code: NDArray[np.float64], box: Box) -> float:
    extent = box[int(code[1])]
    depth = box[0] * box[1] * box[2] * box[3] / extent
    return float((code[2] + (1.0 - code[2]) * exp(code[3] * depth)) ** extent)


@compiled
def _rung(code: NDArray[np.float64], start: int, count: int, extent: int) -> tuple[int, float]:
    """Rung below an extent and the fraction of the way, in log extent, to the next one."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if code[start + middle] <= extent:
            low = middle
        else:
            high = middle - 1
    base = code[start + low]
    if low == count - 1 or base >= extent:
        return low, 0.0
    return low, log(extent / base) / log(code[start + low + 1] / base)


@compiled
def _table_empty(code: NDArray[np.float64], box: Box) -> float:
    n0, n1, n2, n3 = int(code[1]), int(code[2]), int(code[3]), int(code[4])
    start = 1 + MAX_DIMENSIONS
    r0, f0 = _rung(code, start, n0, box[0])
    r1, f1 = _rung(code, start + n0, n1, box[1])
    r2, f2 = _rung(code, start + n0 + n1, n2, box[2])
    r3, f3 = _rung(code, start + n0 + n1 + n2, n3, box[3])
    base = start + n0 + n1 + n2 + n3
    total = 0.0
    for corner in range(16):
        weight = f0 if corner & 1 else 1.0 - f0
        weight *= f1 if corner & 2 else 1.0 - f1
        weight *= f2 if corner & 4 else 1.0 - f2
        weight *= f3 if corner & 8 else 1.0 - f3
        if weight > 0.0:
            row = ((r0 + (corner & 1)) * n1 + r1 + (corner >> 1 & 1)) * n2 + r2
            place = (row + (corner >> 2 & 1)) * n3 + r3 + (corner >> 3)
            total += weight * code[base + place]
    return total


@compiled
def box_empty(code: NDArray[np.float64], box: Box, step: Box) -> float:
    """Probability that every element of a box is zero.

    Args:
        code: Coded density model, see the module's table.
        box: Extents of the box, padded with 1 to `MAX_DIMENSIONS`.
        step: Boxes start at multiples of it; aligned boxes have step = box.
    """
    kind = int(code[0])
    elements = float(box[0]) * box[1] * box[2] * box[3]
    if kind == BERNOULLI:
        return exp(code[1] * elements)
    if kind == HYPERGEOMETRIC:
        return hypergeometric_empty(code[1], code[2], elements)
    if kind == FIXED_STRUCTURED:
        return max(0.0, 1.0 - elements * float(code[1]))
    if kind == N_M:
        return _n_m_empty(code, box, step)
    if kind == BLOCK:
        return _block_empty(code, box, step)
    if kind == BANDED:
        return _banded_empty(code, box, step)
    if kind == DEAD_COLUMNS:
        return _dead_columns_empty(code, box)
    if kind == TABLE:
        return _table_empty(code, box)
    return 0.0


@compiled
def boxes_empty(
    code: NDArray[np.float64], boxes: NDArray[np.int64], steps: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`box_empty` of many boxes and steps of shape (n, MAX_DIMENSIONS); shape (n,)."""
    result = np.empty(len(boxes))
    for index in range(len(boxes)):
        box = (boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3])
        step = (steps[index, 0], steps[index, 1], steps[index, 2], steps[index, 3])
        result[index] = box_empty(code, box, step)
    return result


def line_tables(kept: int, block: int) -> NDArray[np.float64]:
    """P0 of 0..2M-1 neighbours along an N:M dimension, by phase, then averaged by step.

    Returns: shape (2, M, 2M): [0, phase, length] and [1, step - 1, length] where the mean is over
        the phases that are multiples of the step (rows whose step does not divide M are unused).
    """
    by_phase = np.zeros((block, 2 * block))
    for phase in range(block):
        for length in range(2 * block):
            by_phase[phase, length] = _covered_empty(kept, block, phase, length)
    by_step = np.zeros_like(by_phase)
    for step in range(1, block + 1):
        if block % step == 0:
            by_step[step - 1] = by_phase[::step].mean(axis=0)
    return np.stack([by_phase, by_step])


def _covered_empty(kept: int, block: int, phase: int, length: int) -> float:
    probability = 1.0
    position = phase
    while position < phase + length:
        end = min((floor(position / block) + 1) * block, phase + length)
        probability *= hypergeometric_empty(float(block), float(kept), float(end - position))
        position = end
    return probability
