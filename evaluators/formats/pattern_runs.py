"""Compiled expectation of run-length escapes where rows or columns are independent.

A fiber is a grid of positions that runs row by row: `rows` rows of `width` positions, position =
one node of the subtree below the level. As in `evaluators.formats.run_length` a non-empty position
costs floor(z / R) escapes, z = empty positions directly before it in its fiber, and

    E[escapes] = sum over j >= 1 and starts x of P(jR empty from x on) - P(jR + 1 empty from x on)

* `independent_row_escapes`, N:M along the rows, and random zeros where rows are padded: a window is
  a product over rows; every phase of its start against the M-blocks is visited once.
* `column_pattern_escapes`, N:M across the rows: columns are independent, so a window is a product
  of three powers, whose sum over the start column is geometric.

Sums are exact and end where what is left is negligible. Both return the mean of one fiber over
where fibers may start. Where a tile cuts a fiber its rows are padded with positions that are always
empty; gaps run through the padding.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity.density_core import (
    BERNOULLI,
    HYPERGEOMETRIC,
    N_M,
    Box,
    greatest_common_divisor,
    hypergeometric_empty,
    pattern_empty,
)
from spaces.compiled import compiled

NEGLIGIBLE = 1e-9
"""Events less likely than this end a sum."""

Fiber = tuple[int, int, int, int, int, int, int]
"""Fastest dimension and its positions (width of a row), padding included; next dimension (-1: none)
and rows; the extents of whose multiples fibers start at, in either; elements of a row."""


@compiled
def _geometric(ratio: float, terms: int) -> float:
    """1 + ratio + ... + ratio^(terms - 1), for a ratio of at most 1."""
    if terms <= 0:
        return 0.0
    if ratio > 1.0 - 1e-9:
        return float(terms)
    return (1.0 - float(ratio**terms)) / (1.0 - ratio)


@compiled
def _mixed_powers(x: float, y: float, first: int, last: int, total: int) -> float:
    """Sum over c in first..last of x^c * y^(total - c)."""
    if last < first:
        return 0.0
    if x >= y:
        lead = float(x**last * y ** (total - last))
        return lead * _geometric(y / x if x > 0.0 else 0.0, last - first + 1)
    return float(x**first * y ** (total - first)) * _geometric(x / y, last - first + 1)


# --- rows that know nothing of one another -----------------------------------------------------

Segments = tuple[int, int, int, int, float]
"""Phase of a row against the M-blocks, elements of a position along it, positions and elements of a
row, lines of a position."""


@compiled
def _segment(row: Segments, start: int, end: int) -> int:
    """Elements along one row of the positions start..end-1."""
    _, grain, _, elements, _ = row
    return max(0, min(end * grain, elements) - start * grain)


@compiled
def _window(row: Segments, start: int, window: int) -> tuple[int, int, int]:
    """Positions of a window in the row it starts in, whole rows after it, positions in the last."""
    head = min(window, row[2] - start)
    return head, (window - head) // row[2], (window - head) % row[2]


@compiled
def _rows_empty(code: NDArray[np.float64], row: Segments, start: int, window: int) -> float:
    """P0 of `window` positions from position `start` of a row on."""
    phase, grain, _, elements, lines = row
    head, whole, tail = _window(row, start, window)
    first = _segment(row, start, start + head)
    last = _segment(row, 0, tail)
    if int(code[0]) == BERNOULLI:
        return exp(code[1] * (first + whole * elements + last) * lines)
    if int(code[0]) == HYPERGEOMETRIC:
        drawn = (first + whole * elements + last) * lines
        return hypergeometric_empty(code[1], code[2], drawn)
    value = pattern_empty(code, phase + start * grain, first) ** lines
    if whole > 0 and value > 0.0:
        value *= pattern_empty(code, phase, elements) ** (lines * whole)
    return float(value * pattern_empty(code, phase, last) ** lines)


@compiled
def independent_row_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """Escapes of a fiber whose rows are independent: N:M along them, or random zeros."""
    fast, width, _, rows, fast_step, _, elements = fiber
    grain, block = node[fast], int(code[2]) if int(code[0]) == N_M else 1
    lines = float(node[0]) * node[1] * node[2] * node[3] / grain
    step = greatest_common_divisor(fast_step, block)
    period = block // greatest_common_divisor(grain, block)
    positions = rows * width
    total = 0.0
    for phase in range(0, block, step):
        row = (phase, grain, width, elements, lines)
        for index in range(1, (positions - 1) // run + 1):
            window, found = index * run, 0.0
            inside = max(0, elements // grain - window)
            for start in range(min(inside, period)):
                weight = rows * ((inside - 1 - start) // period + 1)
                here = _rows_empty(code, row, start, window)
                found += weight * (here - _rows_empty(code, row, start, window + 1))
            for start in range(inside, width):
                weight = (positions - window - 1 - start) // width + 1
                here = _rows_empty(code, row, start, window)
                if here > 0.0 and weight > 0:
                    found += weight * (here - _rows_empty(code, row, start, window + 1))
            total += found
            if found < NEGLIGIBLE:
                break
    return total * step / block


# --- N:M across the rows ----------------------------------------------------------------------


Columns = tuple[float, float, float, float, int]
"""P0 of a rows of one column from this row on and from the next one on, the same of a + 1 rows;
positions of a row."""


@compiled
def _column_windows(columns: Columns, places: int, rest: int) -> float:
    """Sum of P0 of the windows that start in the first `places` places of a row.

    A window of a*W + b positions (b = `rest`) from column c on covers, of every column, a or a + 1
    rows: rows from the next one on in columns before c, from this one on in the others.
    """
    here, below, here_longer, below_longer, width = columns
    turn = min(places, width - rest + 1)
    first = here_longer**rest * _mixed_powers(below, here, 0, turn - 1, width - rest)
    wrapped = places - turn
    if wrapped <= 0:
        return float(first)
    second = _mixed_powers(below_longer, here_longer, 1, wrapped, rest)
    return float(first + below ** (width - rest) * second)


@compiled
def _real_columns(first: int, end: int, real: float) -> float:
    """Columns among first..end-1 that are no padding, `real` of a row, a cut one as a part."""
    return max(0.0, min(float(end), real) - first)


@compiled
def _padded_column_windows(columns: Columns, places: int, rest: int, real: float) -> float:
    """`_column_windows` where the last columns of a row are padding."""
    here, below, here_longer, below_longer, width = columns
    total = 0.0
    for start in range(places):
        end = start + rest
        before, after = (below, here) if end <= width else (below_longer, here_longer)
        between = here_longer if end <= width else below
        low, high = (start, end) if end <= width else (end - width, start)
        value = before ** _real_columns(0, low, real)
        value *= between ** _real_columns(low, high, real)
        total += value * after ** _real_columns(high, width, real)
    return total


@compiled
def _windows_from(
    code: NDArray[np.float64], row: Segments, fast_grain: int, places: int, window: int
) -> float:
    """Sum of P0 of the windows from the first places of a row on; the row's phase is that of its
    elements across."""
    phase, grain, width, elements, lines = row
    whole, rest = window // width, window % width
    columns = (
        pattern_empty(code, phase, whole * grain) ** lines,
        pattern_empty(code, phase + grain, whole * grain) ** lines,
        pattern_empty(code, phase, (whole + 1) * grain) ** lines,
        pattern_empty(code, phase + grain, (whole + 1) * grain) ** lines,
        width,
    )
    if elements == width * fast_grain:
        return _column_windows(columns, places, rest)
    return _padded_column_windows(columns, places, rest, elements / fast_grain)


@compiled
def column_pattern_escapes(code: NDArray[np.float64], node: Box, fiber: Fiber, run: int) -> float:
    """Escapes of a flattened fiber whose next dimension is the one of N:M."""
    fast, width, slow, rows, _, slow_step, elements = fiber
    block, grain = int(code[2]), node[slow]
    lines = float(node[0]) * node[1] * node[2] * node[3] / grain
    step = greatest_common_divisor(slow_step, block)
    period = block // greatest_common_divisor(grain, block)
    positions = rows * width
    total = 0.0
    for phase in range(0, block, step):
        for index in range(1, (positions - 1) // run + 1):
            window, found = index * run, 0.0
            last_row, last_column = divmod(positions - window - 1, width)
            phases = 1 if grain == 1 and window + 1 < width else period
            for turn in range(min(last_row + 1, phases) + 1):
                full = (last_row - turn + phases - 1) // phases
                places = width
                if turn == min(last_row + 1, phases):  # the last row, up to where windows fit
                    turn, full, places = last_row, 1, last_column + 1
                row = (phase + turn * grain, grain, width, elements, lines)
                gain = _windows_from(code, row, node[fast], places, window)
                gain -= _windows_from(code, row, node[fast], places, window + 1)
                found += full * gain
            total += found
            if found < NEGLIGIBLE:
                break
    return total * step / block
