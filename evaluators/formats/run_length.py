"""Compiled expectation of the escape entries of a run-length level.

An RLE level codes a fiber of s positions as (run, child) entries. The run field has r bits, so it
counts up to R - 1 empty positions, R = 2^r; a longer gap takes an escape, run R - 1 with a null
child, which covers R positions. Empty positions after the last non-empty one are not coded: the
count per fiber ends it. A non-empty position x therefore costs one entry and floor(z / R) escapes,
z = empty positions directly before x in its fiber, and

    E[escapes per fiber] = sum_{j >= 1, jR < s} (s - jR) * (W(jR) - W(jR + 1))

W(m) = probability that m neighbouring positions are empty. Empty fibers contribute nothing, so the
same sum holds under a parent that has dropped them. For W(m) = q^m it has a closed form.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity.density_core import (
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
_START_SAMPLES = 32
_START_PHASES = 4
_GOLDEN = 0.6180339887498949
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
def _start_column(turn: int, width: int, edge: int) -> int:
    """Start columns that stand for all: every one of a narrow row, else all places in a block of
    `edge` in turn, in blocks spread over the row."""
    if width <= _START_SAMPLES:
        return turn
    cells = max(1, width // edge)
    return min(width - 1, int(cells * ((turn * _GOLDEN + 0.5) % 1.0)) * edge + turn % edge)


@compiled
def _blocks_in_row(first: int, last: int, edge: int) -> int:
    return last // edge - first // edge + 1


@compiled
def _touched(start: tuple[int, int], window: int, width: int, edges: tuple[int, int]) -> int:
    """Blocks that a window of a flattened level touches.

    Args:
        start: Row within its block row, column.
        window: Positions, row by row.
        width: Positions of a row.
        edges: Block edges, rows and columns.
    """
    phase, column = start
    all_blocks = _blocks_in_row(0, width - 1, edges[1])
    head = min(window, width - column)
    head_blocks = _blocks_in_row(column, column + head - 1, edges[1])
    if window == head:
        return head_blocks
    whole, tail = (window - head) // width, (window - head) % width
    tail_blocks = _blocks_in_row(0, tail - 1, edges[1]) if tail else 0
    rows = 1 + whole + (1 if tail else 0)
    block_rows = (phase + rows - 1) // edges[0] + 1
    if block_rows == 1:
        return all_blocks if whole else min(all_blocks, head_blocks + tail_blocks)
    first = all_blocks if whole and edges[0] - phase >= 2 else head_blocks
    ends_inside = (phase + rows - 1) % edges[0] >= 1
    last = all_blocks if not tail or (whole and ends_inside) else tail_blocks
    return first + last + (block_rows - 2) * all_blocks


@compiled
def _block_window(code: NDArray[np.float64], node: Box, shape: Box, window: int) -> float:
    """P0 of a window over rows of a block-sparse tensor, the mean over where it may start."""
    fast, width, slow = shape[0], shape[1], shape[2]
    across = max(1, int(code[2 + fast]) // node[fast])
    down = max(1, int(code[2 + slow]) // node[slow])
    columns = min(width, _START_SAMPLES)
    rounds = min(down, _START_PHASES) if width <= _START_SAMPLES else 1
    total = 0.0
    for turn in range(columns):
        for place in range(rounds):
            phase = (place * down // rounds + turn // across + turn) % down
            start = (phase, _start_column(turn, width, across))
            total += exp(code[1] * _touched(start, window, width, (down, across)))
    return total / (columns * rounds)


@compiled
def _wrapped_window(code: NDArray[np.float64], node: Box, shape: Box, window: int) -> float:
    """P0 of a window over rows that are independent, the mean over where it may start."""
    fast, width, slow = shape[0], shape[1], shape[2]
    columns = min(width, _START_SAMPLES)
    total = 0.0
    for turn in range(columns):
        head = min(window, width - _start_column(turn, width, 1))
        whole, tail = (window - head) // width, (window - head) % width
        value = box_empty(code, _stretched(node, fast, head, -1, 1), node)
        if whole:
            value *= box_empty(code, _stretched(node, fast, width, slow, whole), node)
        if tail:
            value *= box_empty(code, _stretched(node, fast, tail, -1, 1), node)
        total += value
    return total / columns


@compiled
def _column_window(code: NDArray[np.float64], node: Box, shape: Box, window: int) -> float:
    """P0 of a window where different places in a row are independent: a rows and b more places."""
    fast, width, slow = shape[0], shape[1], shape[2]
    rows, rest = window // width, window % width
    if rows == 0:
        return box_empty(code, _stretched(node, fast, window, -1, 1), node)
    value = box_empty(code, _stretched(node, fast, width, slow, rows), node)
    if rest > 0 and value > 0.0:
        value *= box_empty(code, _stretched(node, fast, rest, slow, rows + 1), node)
        value /= box_empty(code, _stretched(node, fast, rest, slow, rows), node)
    return value


@compiled
def window_empty(code: NDArray[np.float64], node: Box, shape: Box, window: int) -> float:
    """Probability that `window` neighbouring nodes of a (flattened) fiber are empty.

    Args:
        code: Coded density.
        node: Extents of one position's subtree.
        shape: Fastest dimension of the level, its positions, next dimension (-1 = none), and the
            extent of which fibers start at multiples in the fastest dimension.
        window: Number of neighbours.

    A window of a flattened level runs over whole and cut rows; where zeros are correlated it is
    averaged over its start, which for wide rows is sampled. Blocks are taken to be aligned with
    the tile and with whole nodes; a third flattened dimension counts as more rows of the second.
    Flattened runs over a band, or over a real mask inside kernels, are rough approximations: the
    codec and the uncounted forms `None(..)-RLE(..)` are the ones to trust there.
    """
    kind = int(code[0])
    if kind <= FIXED_STRUCTURED:
        elements = float(node[0]) * node[1] * node[2] * node[3] * window
        return box_empty(code, (int(elements), 1, 1, 1), (1, 1, 1, 1))
    fast, slow = shape[0], shape[2]
    if slow < 0:
        return box_empty(code, _stretched(node, fast, window, -1, 1), node)
    if kind == BLOCK:
        return _block_window(code, node, shape, window)
    if kind == DEAD_COLUMNS and int(code[1]) != fast:
        return _wrapped_window(code, node, shape, window)
    return _column_window(code, node, shape, window)


@compiled
def _first_after(code: NDArray[np.float64], node: Box, shape: Box, window: int) -> float:
    """Probability that `window` nodes are empty and the next one is not."""
    before = window_empty(code, node, shape, window)
    if before < _NEGLIGIBLE:
        return 0.0
    if int(code[0]) == HYPERGEOMETRIC:
        elements = float(node[0]) * node[1] * node[2] * node[3]
        left = code[1] - window * elements
        return before * (1.0 - hypergeometric_empty(left, code[2], elements))
    return max(0.0, before - window_empty(code, node, shape, window + 1))


@compiled
def _summed_escapes(
    code: NDArray[np.float64], node: Box, shape: Box, positions: int, run: int
) -> float:
    """The defining sum; beyond the first terms they are interpolated geometrically."""
    terms = (positions - 1) // run
    direct = _DIRECT_TERMS if int(code[0]) <= FIXED_STRUCTURED else _ROUGH_TERMS
    index = 1
    current = _first_after(code, node, shape, run) if terms >= 1 else 0.0
    total = 0.0
    while index <= terms and current > 0.0:
        stride = 1 if index < direct else max(1, index // 2)
        stride = min(stride, terms + 1 - index)
        following = index + stride
        ahead = 0.0
        if following <= terms:
            ahead = _first_after(code, node, shape, run * following)
        ratio = exp(log(ahead / current) / stride) if ahead > 0.0 else 0.0
        if ahead <= 0.0 and stride > 1:
            ratio, stride = 0.0, 1
            ahead = _first_after(code, node, shape, run * (index + 1)) if index < terms else 0.0
        first = float(positions - index * run)
        total += current * _weighted_geometric(first, float(run), ratio, stride)
        index += stride
        current = ahead
    return total


@compiled
def _block_line_escapes(
    code: NDArray[np.float64], node: Box, shape: Box, positions: int, run: int
) -> float:
    """The defining sum along one dimension of a block-sparse tensor, over exact window starts."""
    edge, grain = int(code[2 + shape[0]]), node[shape[0]]
    phase = greatest_common_divisor(shape[3], edge)
    period = edge // greatest_common_divisor(grain, edge)
    across = 1
    for dimension in range(4):
        if dimension != shape[0]:
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
                here = _blocks_in_row(start, start + length - 1, edge)
                longer = _blocks_in_row(start, start + length + grain - 1, edge)
                gain = exp(code[1] * across * here) - exp(code[1] * across * longer)
                total += weight * gain * phase / edge
    return total


@compiled
def _line_window(
    code: NDArray[np.float64], phase: int, start: int, length: int, lines: float
) -> float:
    """P0 of `lines` windows along the N:M dimension, the mean over fiber phases `phase`*i."""
    block = int(code[2])
    if length >= 2 * block:
        return 0.0
    total = 0.0
    for first in range(0, block, phase):
        total += code[3 + (first + start) % block * 2 * block + length] ** lines
    return total * phase / block


@compiled
def _n_m_escapes(
    code: NDArray[np.float64], node: Box, shape: Box, positions: int, run: int
) -> float:
    """The defining sum along the N:M dimension, over the exact phases of the window starts.

    In a flattened level rows are taken to hold whole M-blocks.
    """
    block, grain = int(code[2]), node[shape[0]]
    phase = greatest_common_divisor(shape[3], block)
    period = block // greatest_common_divisor(grain, block)
    lines = float(node[0]) * node[1] * node[2] * node[3] / grain
    total = 0.0
    for index in range(1, (positions - 1) // run + 1):
        starts, length = positions - index * run, index * run * grain
        if length >= 2 * block:
            break
        for turn in range(min(starts, period)):
            weight = starts // period + (1 if turn < starts % period else 0)
            here = _line_window(code, phase, turn * grain, length, lines)
            longer = _line_window(code, phase, turn * grain, length + grain, lines)
            total += weight * (here - longer)
    return total


@compiled
def fiber_escapes(
    code: NDArray[np.float64], node: Box, shape: Box, positions: int, run: int
) -> float:
    """Expected escape entries of one RLE fiber.

    Args:
        code: Coded density.
        node: Extents of the subtree of one position.
        shape: As `window_empty`.
        positions: Positions of the fiber.
        run: R = 2^(run bits).
    """
    kind = int(code[0])
    if run >= positions or kind == DENSE:
        return 0.0
    elements = float(node[0]) * node[1] * node[2] * node[3]
    if kind == BERNOULLI:
        return _independent_escapes(positions, run, exp(code[1] * elements))
    if kind == HYPERGEOMETRIC and _nearly_independent(code, elements, positions):
        empty = hypergeometric_empty(code[1], code[2], elements)
        return _independent_escapes(positions, run, empty)
    if kind == N_M and int(code[1]) == shape[0]:
        return _n_m_escapes(code, node, shape, positions, run)
    if kind == BLOCK and shape[2] < 0:
        return _block_line_escapes(code, node, shape, positions, run)
    return _summed_escapes(code, node, shape, positions, run)
