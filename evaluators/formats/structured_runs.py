"""Compiled expectation of run-length escapes where zeros come in blocks, dead rows or a band.

Fibers, escapes and padding are those of `evaluators.formats.pattern_runs`; here the gaps
themselves are counted, so that the sums are exact too:

* `block_escapes`, `dead_row_escapes`: a row is a chain of cells that are empty independently; it
  repeats over the rows of a block, then an independent one follows.
* `band_escapes`: the band is not random; gaps are counted along its diagonals.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.pattern_runs import NEGLIGIBLE, Fiber
from evaluators.sparsity.density_core import Box, greatest_common_divisor
from spaces.compiled import compiled

# --- blocks and dead rows ---------------------------------------------------------------------

Row = tuple[int, int, int, int, int, float, float]
"""Cells of a row; positions of its first, of an inner and of its last cell, and of the padding
after it; probability that a cell is empty, and that the row is live."""


@compiled
def _edge_gap(cells: int, at_edge: int, inner: int) -> int:
    """Positions of empty cells at an end of a row."""
    return at_edge + (cells - 1) * inner if cells else 0


@compiled
def _inner_escapes(row: Row, run: int) -> float:
    """Escapes between two non-empty cells of one row."""
    cells, _, inner, _, _, empty, live = row
    total, power = 0.0, 1.0
    for gap in range(1, cells - 1):
        power *= empty
        total += (cells - 1 - gap) * power * (gap * inner // run)
        if power * (gap + 1) < NEGLIGIBLE:
            break
    return total * live * (1.0 - empty) ** 2


@compiled
def _seam_escapes(row: Row, between: int, same: bool, run: int) -> float:
    """Escapes in the gap from the last non-empty cell of a row to the first one of a later row.

    Args:
        row: Both rows are non-empty with this law.
        between: Empty positions of the rows between them.
        same: The later row repeats the earlier one; False: it is independent.
        run: R.
    """
    cells, first, inner, last, padding, empty, live = row
    between += padding
    total, power = 0.0, 1.0
    for gap in range(cells if same else 2 * cells - 1):
        weight = power
        if same and gap == cells - 1:  # a single non-empty cell ends both gaps
            weight = power / (1.0 - empty)
        low, high = max(1, gap - cells + 1), min(gap - 1, cells - 1)
        if high >= low:
            reach = _edge_gap(low, last, inner) + _edge_gap(gap - low, first, inner)
            total += weight * (high - low + 1) * ((between + reach) // run)
        if gap == 0:
            total += weight * (between // run)
        elif gap < cells:
            total += weight * ((between + _edge_gap(gap, last, inner)) // run)
            total += weight * ((between + _edge_gap(gap, first, inner)) // run)
        power *= empty
        if power * (gap + 1) < NEGLIGIBLE:
            break
    return total * (1.0 - empty) ** 2 * (live if same else live * live)


@compiled
def _leading_escapes(row: Row, before: int, run: int) -> float:
    """Escapes before the first non-empty cell of a fiber, `before` = positions of empty rows."""
    cells, first, inner, _, _, empty, live = row
    total, power = 0.0, 1.0
    for gap in range(cells):
        total += power * ((before + _edge_gap(gap, first, inner)) // run)
        power *= empty
        if power * (gap + 1) < NEGLIGIBLE:
            break
    return total * live * (1.0 - empty)


@compiled
def repeated_row_escapes(row: Row, rows: int, heights: tuple[int, int], run: int) -> float:
    """Escapes of a fiber whose rows repeat in groups.

    Args:
        row: Law of one row.
        rows: Rows of the fiber.
        heights: Rows of the first group and of those after it; the last one may be cut.
        run: R.
    """
    cells, first, inner, last, padding, empty, live = row
    if empty >= 1.0 or (empty <= 0.0 and live >= 1.0):
        return 0.0
    top, height = min(rows, heights[0]), heights[1]
    groups = 1 + (rows - top + height - 1) // height
    width = padding + (last if cells == 1 else first + (cells - 2) * inner + last)
    blank = 1.0 - live + live * empty**cells
    total = rows * _inner_escapes(row, run)
    if rows > groups:
        total += (rows - groups) * _seam_escapes(row, 0, True, run)
    share = 1.0
    for passed in range(groups):
        before = 0 if passed == 0 else (top + (passed - 1) * height) * width
        total += share * _leading_escapes(row, before, run)
        if passed < groups - 1:
            between = passed * height * width
            total += (groups - 1 - passed) * share * _seam_escapes(row, between, False, run)
        share *= blank
        if share * groups * rows * width < NEGLIGIBLE:
            break
    return total


@compiled
def _aligned(node: int, edge: int, step: int) -> bool:
    """True when no position holds a part of a block and a part of another one."""
    if node >= edge:
        return node % edge == 0 and step % edge == 0
    return edge % node == 0 and greatest_common_divisor(step, edge) % node == 0


@compiled
def blocks_are_aligned(code: NDArray[np.float64], node: Box, fiber: Fiber) -> bool:
    """True when `block_escapes` applies."""
    fast, _, slow, _, fast_step, slow_step, _ = fiber
    across, down = int(code[2 + fast]), int(code[2 + slow])
    return _aligned(node[fast], across, fast_step) and _aligned(node[slow], down, slow_step)


@compiled
def block_escapes(
    code: NDArray[np.float64], node: Box, fiber: Fiber, empty: float, run: int
) -> float:
    """Escapes of a flattened fiber of a block-sparse tensor, `empty` = P0 of one position.

    Fibers may start at any multiple of their step, so within a block too.
    """
    fast, width, slow, rows, fast_step, slow_step, elements = fiber
    real = (elements + node[fast] - 1) // node[fast]
    inner = max(1, int(code[2 + fast]) // node[fast])
    height = max(1, int(code[2 + slow]) // node[slow])
    right = greatest_common_divisor(max(1, fast_step // node[fast]), inner)
    below = greatest_common_divisor(max(1, slow_step // node[slow]), height)
    total = 0.0
    for column in range(0, inner, right):
        cells = (column + real + inner - 1) // inner
        first = min(real, inner - column)
        last = column + real - (cells - 1) * inner if cells > 1 else real
        row = (cells, first, inner, last, width - real, empty, 1.0)
        for line in range(0, height, below):
            total += repeated_row_escapes(row, rows, (height - line, height), run)
    return total * right * below / (inner * height)


@compiled
def dead_row_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """Escapes of a flattened fiber whose rows are dead or live, for nodes of one row."""
    _, width, _, rows, _, _, elements = fiber
    grain = node[fiber[0]]
    real = (elements + grain - 1) // grain
    empty = exp(code[3] * node[0] * node[1] * node[2] * node[3])
    row = (real, 1, 1, 1, width - real, empty, 1.0 - float(code[2]))
    return repeated_row_escapes(row, rows, (1, 1), run)


# --- bands ------------------------------------------------------------------------------------


@compiled
def _inverse(value: int, modulus: int) -> int:
    """The multiplicative inverse of a value modulo a number prime to it."""
    old, new, left, right = 0, 1, modulus, value % modulus
    while right:
        share = left // right
        old, new = new, old - share * new
        left, right = right, left - share * right
    return old % modulus


@compiled
def _hits(bounds: tuple[int, int], slope: int, offset: int, modulus: int) -> int:
    """Number of j in bounds (both included) with slope*j + offset divisible by the modulus."""
    low, high = bounds
    common = greatest_common_divisor(slope, modulus)
    if high < low or offset % common:
        return 0
    period = modulus // common
    place = -(offset // common) * _inverse(slope // common, period) % period
    return (high - place) // period - (low - 1 - place) // period


@compiled
def band_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """Escapes of a fiber of a band |row - column| <= w, the mean over the tiles of the square.

    Rows of nodes are told apart by u = first row - first column of the tile. With nodes of h x g
    elements a row holds the node columns floor((u - w) / g) .. floor((u + h - 1 + w) / g).
    """
    fast, width, _, rows, _, _, across = fiber
    edge, half = int(code[1]), int(code[2])
    tall, wide = node[1 - fast], node[fast]
    high, real = tall * rows, (across + wide - 1) // wide
    down, right = max(1, edge // high), max(1, edge // across)
    least, most = 1 - tall - half, half + across - 1
    total = 0
    step = greatest_common_divisor(tall, across)
    for u in range(least + -least % step, most - tall + 1, step):
        end = min(real, (u + tall - 1 + half) // wide + 1)
        gap = width - end + max(0, (u + tall - half) // wide)
        if gap >= run:
            bounds = (max(0, (-u + across - 1) // across), (down * high - 1 - u) // across)
            bounds = (bounds[0], min(right - 1, bounds[1]))
            seams = _hits(bounds, across, u, tall) - _hits(bounds, across, u + tall, high)
            total += seams * (gap // run)
    step = greatest_common_divisor(high, across)
    lowest = least - high + 1
    for u in range(lowest + -lowest % step, most + 1, step):
        passed = max(0, (least - u + tall - 1) // tall)
        here = u + passed * tall
        gap = passed * width + max(0, (here - half) // wide)
        if passed < rows and here <= most and gap >= run:
            bounds = (max(0, (-u + across - 1) // across), (down * high - 1 - u) // across)
            bounds = (bounds[0], min(right - 1, bounds[1]))
            total += _hits(bounds, across, u, high) * (gap // run)
    return total / (down * right)
