"""Compiled expectation of the escape entries of a run-length level.

An RLE level codes a fiber of s positions as (run, child) entries. The run field has r bits, so it
counts up to R - 1 empty positions, R = 2^r; a longer gap takes an escape, run R - 1 with a null
child, which covers R positions. Empty positions after the last non-empty one are not coded: the
count per fiber ends it. A non-empty position x therefore costs one entry and floor(z / R) escapes,
z = empty positions directly before x in its fiber, and

    E[escapes per fiber] = sum_{j >= 1, jR < s} (s - jR) * (W(jR) - W(jR + 1))

W(m) = probability that m neighbouring positions are empty. Empty fibers contribute nothing, so the
same sum holds under a parent that has dropped them. For W(m) = q^m it has a closed form; where
zeros have a structure, W depends on where the window starts, and the exact sums of
`evaluators.formats.pattern_runs` and `evaluators.formats.structured_runs` take over.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.pattern_runs import Fiber, column_pattern_escapes, independent_row_escapes
from evaluators.formats.structured_runs import (
    band_escapes,
    block_escapes,
    blocks_are_aligned,
    dead_row_escapes,
)
from evaluators.sparsity.density_core import (
    BANDED,
    BERNOULLI,
    BLOCK,
    DEAD_COLUMNS,
    DENSE,
    FIXED_STRUCTURED,
    HYPERGEOMETRIC,
    N_M,
    Box,
    box_empty,
    greatest_common_divisor,
    hypergeometric_empty,
)
from spaces.compiled import compiled

_NEGLIGIBLE = 1e-8
"""Windows less likely than this end the sum."""

_DIRECT_TERMS = 4
_ROUGH_TERMS = 32
_SHORT_SUM = 64


@compiled
def _weighted_geometric(first: float, step: float, ratio: float, terms: int) -> float:
    """Sum over i in 0..terms-1 of (first - step*i) * ratio^i."""
    if terms <= _SHORT_SUM and (ratio > 0.9 or terms <= 4):
        total, power = 0.0, 1.0
        for index in range(terms):
            total += (first - step * index) * power
            power *= ratio
        return total
    if ratio >= 1.0:
        return terms * (first - step * (terms - 1) / 2.0)
    gap = 1.0 - ratio
    last = ratio**terms
    plain = (1.0 - last) / gap
    weighted = (ratio * (1.0 - last) / gap - terms * last) / gap
    return first * plain - step * weighted


@compiled
def _independent_escapes(positions: int, run: int, empty: float) -> float:
    """Escapes of a fiber whose positions are empty independently, with probability `empty`."""
    terms = (positions - 1) // run
    if empty <= 0.0 or empty >= 1.0 or terms < 1:
        return 0.0
    ratio = empty**run
    total = _weighted_geometric(float(positions - run), float(run), ratio, terms)
    return (1.0 - empty) * ratio * total


@compiled
def _nearly_independent(code: NDArray[np.float64], node: float, positions: int) -> bool:
    """True when drawing without replacement is as good as independent (5e-4 in any window)."""
    total, nonzeros = float(code[1]), float(code[2])
    if nonzeros <= 0.0 or nonzeros >= total:
        return True
    reach = min(positions * node, 10.0 * total / nonzeros)
    return reach * reach * nonzeros < 1e-3 * total * (total - nonzeros)


@compiled
def _stretched(node: Box, dimension: int, count: int, other: int, rows: int) -> Box:
    n0 = node[0] * (count if dimension == 0 else (rows if other == 0 else 1))
    n1 = node[1] * (count if dimension == 1 else (rows if other == 1 else 1))
    n2 = node[2] * (count if dimension == 2 else (rows if other == 2 else 1))
    n3 = node[3] * (count if dimension == 3 else (rows if other == 3 else 1))
    return (n0, n1, n2, n3)


@compiled
def window_empty(code: NDArray[np.float64], node: Box, fiber: Fiber, window: int) -> float:
    """Probability that `window` neighbouring positions of a fiber are empty, wherever it starts.

    A window of a flattened level holds whole rows and a part of one: different places in a row are
    taken to be independent, and a third flattened dimension counts as more rows of the second.
    Flattened runs over a real mask, or over blocks that positions cut, are therefore rough here:
    the codec and the uncounted forms `None(..)-RLE(..)` are the ones to trust there.
    """
    if int(code[0]) <= FIXED_STRUCTURED:
        elements = float(node[0]) * node[1] * node[2] * node[3] * window
        return box_empty(code, (int(elements), 1, 1, 1), (1, 1, 1, 1))
    fast, width, slow = fiber[0], fiber[1], fiber[2]
    rows, rest = window // width, window % width
    if slow < 0 or rows == 0:
        return box_empty(code, _stretched(node, fast, window, -1, 1), node)
    value = box_empty(code, _stretched(node, fast, width, slow, rows), node)
    if rest > 0 and value > 0.0:
        value *= box_empty(code, _stretched(node, fast, rest, slow, rows + 1), node)
        value /= box_empty(code, _stretched(node, fast, rest, slow, rows), node)
    return value


@compiled
def _first_after(code: NDArray[np.float64], node: Box, fiber: Fiber, window: int) -> float:
    """Probability that `window` nodes are empty and the next one is not."""
    before = window_empty(code, node, fiber, window)
    if before < _NEGLIGIBLE:
        return 0.0
    if int(code[0]) == HYPERGEOMETRIC:
        elements = float(node[0]) * node[1] * node[2] * node[3]
        left = code[1] - window * elements
        return before * (1.0 - hypergeometric_empty(left, code[2], elements))
    return max(0.0, before - window_empty(code, node, fiber, window + 1))


@compiled
def _summed_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """The defining sum; beyond the first terms they are interpolated geometrically."""
    positions = fiber[1] * fiber[3]
    terms = (positions - 1) // run
    direct = _DIRECT_TERMS if int(code[0]) <= FIXED_STRUCTURED else _ROUGH_TERMS
    index = 1
    current = _first_after(code, node, fiber, run) if terms >= 1 else 0.0
    total = 0.0
    while index <= terms and current > 0.0:
        stride = 1 if index < direct else max(1, index // 2)
        stride = min(stride, terms + 1 - index)
        following = index + stride
        ahead = 0.0
        if following <= terms:
            ahead = _first_after(code, node, fiber, run * following)
        ratio = exp(log(ahead / current) / stride) if ahead > 0.0 else 0.0
        if ahead <= 0.0 and stride > 1:
            ratio, stride = 0.0, 1
            ahead = _first_after(code, node, fiber, run * (index + 1)) if index < terms else 0.0
        first = float(positions - index * run)
        total += current * _weighted_geometric(first, float(run), ratio, stride)
        index += stride
        current = ahead
    return total


@compiled
def _block_line_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """The defining sum along one dimension of a block-sparse tensor, over exact window starts."""
    fast, positions, fast_step = fiber[0], fiber[1], fiber[4]
    edge, grain = int(code[2 + fast]), node[fast]
    phase = greatest_common_divisor(fast_step, edge)
    period = edge // greatest_common_divisor(grain, edge)
    across = 1
    for dimension in range(4):
        if dimension != fast:
            across *= (node[dimension] + int(code[2 + dimension]) - 1) // int(code[2 + dimension])
    total = 0.0
    for index in range(1, (positions - 1) // run + 1):
        starts, length = positions - index * run, index * run * grain
        if exp(code[1] * across * (length // edge)) < _NEGLIGIBLE:
            break
        for turn in range(min(starts, period)):
            weight = float(starts // period + (1 if turn < starts % period else 0))
            for first in range(0, edge, phase):
                start = first + turn * grain
                here = (start + length - 1) // edge - start // edge + 1
                longer = (start + length + grain - 1) // edge - start // edge + 1
                gain = exp(code[1] * across * here) - exp(code[1] * across * longer)
                total += weight * gain * phase / edge
    return total


@compiled
def fiber_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """Expected escape entries of one RLE fiber.

    Args:
        code: Coded density.
        node: Extents of the subtree of one position.
        fiber: Its positions, see `evaluators.formats.pattern_runs`.
        run: R = 2^(run bits).
    """
    kind, fast, slow = int(code[0]), fiber[0], fiber[2]
    positions = fiber[1] * fiber[3]
    if run >= positions or kind == DENSE:
        return 0.0
    elements = float(node[0]) * node[1] * node[2] * node[3]
    padded = fiber[3] > 1 and fiber[6] < fiber[1] * node[fast]
    if padded and kind in (BERNOULLI, HYPERGEOMETRIC):
        return independent_row_escapes(code, node, fiber, run)
    if kind == BERNOULLI:
        return _independent_escapes(positions, run, exp(code[1] * elements))
    if kind == HYPERGEOMETRIC and _nearly_independent(code, elements, positions):
        empty = hypergeometric_empty(code[1], code[2], elements)
        return _independent_escapes(positions, run, empty)
    if kind == N_M and int(code[1]) == fast:
        return independent_row_escapes(code, node, fiber, run)
    if kind == N_M and int(code[1]) == slow:
        return column_pattern_escapes(code, node, fiber, run)
    if kind == BANDED:
        return band_escapes(code, node, fiber, run)
    if kind == BLOCK and slow < 0:
        return _block_line_escapes(code, node, fiber, run)
    if kind == BLOCK and blocks_are_aligned(code, node, fiber):
        return block_escapes(code, node, fiber, box_empty(code, node, node), run)
    if kind == DEAD_COLUMNS and int(code[1]) == slow and node[slow] == 1:
        return dead_row_escapes(code, node, fiber, run)
    return _summed_escapes(code, node, fiber, run)
