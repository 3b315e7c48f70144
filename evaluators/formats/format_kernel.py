"""Compiled prices of many formats of one tensor over the tiles in use.

Formats come as the arrays of a `FormatBatch`. All patterns of one dimension allocation stand
together, so the probabilities (expected entries of each level, escapes for each run width) are
computed once per allocation and tile; a pattern then costs a few additions per level.

An RLE level without run bits takes, of the candidates, the ones that add the fewest weighted bits:
a level's width changes only its own level and what each entry carries from inside, so choosing
level by level, from the inside out, is optimal for the whole format.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.compression_core import (
    RLE,
    add_level,
    escape_entries,
    grown,
    nonempty_nodes,
)
from evaluators.sparsity.density_core import Box
from spaces.compiled import compiled

METADATA, PAYLOAD, FIBER_METADATA, FIBER_PAYLOAD, FIBER_COUNT, SPAN, FIBERS = range(7)
"""Columns of the states of `priced_formats`: the `State` of `evaluators.formats.compression_core`,
and the expected number of fibers that are not empty, which every outer level stores at least."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Memo = tuple[Ints, Floats]
"""Hash table of one tile: keys (slots, 2), -1 = free, and entries (slots, candidates + 1)."""

MEMO_SLOTS = 1 << 15
_PROBES = 8


@compiled
def _one_size(size: int, extent: int, grain: int, outermost: int) -> int:
    left = (extent + grain - 1) // grain
    if size == 1:
        return 1
    return left if outermost else min(left, size)


@compiled
def _placed(sizes: NDArray[np.int32], tile: Box, grain: Box, outer: Ints) -> Box:
    """Positions of one level over a tile; the outermost sub-dimension takes what is left."""
    return (
        _one_size(int(sizes[0]), tile[0], grain[0], outer[0]),
        _one_size(int(sizes[1]), tile[1], grain[1], outer[1]),
        _one_size(int(sizes[2]), tile[2], grain[2], outer[2]),
        _one_size(int(sizes[3]), tile[3], grain[3], outer[3]),
    )


@compiled
def _is_outermost(chain: NDArray[np.int32], level: int, outer: Ints) -> None:
    """Mark per dimension whether no level outside `level` holds a part of it."""
    for dimension in range(4):
        outer[dimension] = 1
        for above in range(level):
            if chain[above, dimension] > 1:
                outer[dimension] = 0


@compiled
def _fastest(sizes: NDArray[np.int32]) -> int:
    for dimension in (3, 2, 1, 0):
        if sizes[dimension] > 1:
            return dimension
    return 0


@compiled
def _linear(box: Box, tile: Box) -> int:
    """A number that tells boxes within a tile apart."""
    row = box[0] * (tile[1] + 1) + box[1]
    return (row * (tile[2] + 1) + box[2]) * (tile[3] + 1) + box[3]


@compiled
def _remembered(
    tensor: tuple[Floats, Ints], place: tuple[Box, Box, Box, int], memo: Memo, entries: Floats
) -> None:
    """Entries of one level, without and with run lengths, computed once per (grain, sizes).

    `place` = tile, grain, sizes and fastest dimension. A full neighbourhood of the table forgets.
    """
    density, candidates = tensor
    tile, grain, sizes, fast = place
    keys, values = memo
    first, second = _linear(grain, tile), _linear(sizes, tile)
    slot = ((first * 0x9E3779B1) ^ (second * 0x85EBCA77)) & (len(keys) - 1)
    for _ in range(_PROBES):
        if keys[slot, 0] == first and keys[slot, 1] == second:
            entries[:] = values[slot]
            return
        if keys[slot, 0] < 0:
            break
        slot = (slot + 1) & (len(keys) - 1)
    nonempty = nonempty_nodes(density, tile, grain)
    entries[0] = nonempty
    for column in range(len(candidates)):
        field = (candidates[column], fast)
        entries[column + 1] = nonempty + escape_entries(density, tile, grain, sizes, field)
    keys[slot, 0], keys[slot, 1] = first, second
    values[slot] = entries


@compiled
def _tabulate(
    chain: NDArray[np.int32],
    tile: Box,
    tensor: tuple[Floats, Ints],
    whole: bool,
    table: tuple[Ints, Floats, Memo],
) -> float:
    """Positions and entries of every level of one allocation; expected non-empty fibers outside."""
    counts, entries, memo = table
    density, _ = tensor
    outer = np.zeros(4, dtype=np.int64)
    grain = (1, 1, 1, 1)
    for level in range(len(chain) - 1, -1, -1):
        if whole:
            _is_outermost(chain, level, outer)
        sizes = _placed(chain[level], tile, grain, outer)
        counts[level] = sizes[0] * sizes[1] * sizes[2] * sizes[3]
        entries[level] = 0.0
        if counts[level] > 1:
            place = (tile, grain, sizes, _fastest(chain[level]))
            _remembered(tensor, place, memo, entries[level])
        grain = grown(grain, sizes)
    return 1.0 if whole else nonempty_nodes(density, tile, grain)


@compiled
def _best_run(
    states: Floats, level: int, weights: Floats, candidates: Ints, entries: Floats
) -> int:
    """Column of the run width with the fewest weighted bits over all tiles."""
    best, least = 1, np.inf
    for column in range(1, len(candidates) + 1):
        cost = 0.0
        for use in range(len(weights)):
            carried = states[use, 2] + states[use, 3] + states[use, 4] + candidates[column - 1]
            cost += weights[use] * entries[use, level, column] * carried
        if cost < least:
            best, least = column, cost
    return best


@compiled
def _column_of(candidates: Ints, run_bits: int) -> int:
    column = 0
    for place in range(len(candidates)):
        if candidates[place] == run_bits:
            column = place + 1
    return column


@compiled
def _extend(states: Floats, use: int, kind: tuple[int, int], entries: float, width: int) -> None:
    """Add one level to the state of one tile."""
    before = (
        states[use, 0],
        states[use, 1],
        states[use, 2],
        states[use, 3],
        states[use, 4],
        int(states[use, 5]),
    )
    after = add_level(before, kind, entries, (width, -1))
    states[use, 0], states[use, 1], states[use, 2] = after[0], after[1], after[2]
    states[use, 3], states[use, 4], states[use, 5] = after[3], after[4], float(after[5])


@compiled
def _same_chain(sizes: NDArray[np.int32], one: int, other: int) -> bool:
    for level in range(sizes.shape[1]):
        for dimension in range(sizes.shape[2]):
            if sizes[one, level, dimension] != sizes[other, level, dimension]:
                return False
    return True


@compiled
def _reset(states: Floats, word_bits: float) -> None:
    states[:] = 0.0
    states[:, 3] = word_bits


@compiled
def priced_formats(
    formats: tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int32]],
    tiles: Ints,
    tensor: tuple[Floats, float, Floats, Ints],
    memo: Memo,
    whole: bool,
) -> tuple[Floats, NDArray[np.int8]]:
    """Bits of n formats over the tiles in use.

    Args:
        formats: primitive, run bits (n, levels), sizes (n, levels, 4).
        tiles: Extents, shape (uses, 4).
        tensor: Coded density, word bits, weight of a bit per use, candidate run bits; run bits
            other than 0 must be among the candidates.
        memo: Tables of all tiles, keys (uses, slots, 2), -1 = free, and values (uses, slots,
            candidates + 1); they may be kept for the next call with the same tiles and tensor.
        whole: True for formats of the whole tensor, False for inner parts of formats, whose sizes
            are taken as they are.

    Returns: states (n, uses, 7), see the constants, and run bits in use (n, levels).
    """
    primitive, run_bits, sizes = formats
    density, word_bits, weights, candidates = tensor
    n, levels, uses = len(primitive), primitive.shape[1], len(tiles)
    states = np.empty((n, uses, 7))
    runs = np.zeros((n, levels), dtype=np.int8)
    counts = np.ones((uses, levels), dtype=np.int64)
    entries = np.zeros((uses, levels, len(candidates) + 1))
    fibers = np.ones(uses)
    for index in range(n):
        if index == 0 or not _same_chain(sizes, index, index - 1):
            for use in range(uses):
                tile = (tiles[use, 0], tiles[use, 1], tiles[use, 2], tiles[use, 3])
                table = (counts[use], entries[use], (memo[0][use], memo[1][use]))
                chain = sizes[index]
                fibers[use] = _tabulate(chain, tile, (density, candidates), whole, table)
        here = states[index]
        _reset(here, word_bits)
        here[:, 6] = fibers
        for level in range(levels - 1, -1, -1):
            code, column, width = primitive[index, level], 0, -1
            if code < 0:
                continue
            if code == RLE:
                column = _column_of(candidates, run_bits[index, level])
                if column == 0:
                    column = _best_run(here, level, weights, candidates, entries)
                width = candidates[column - 1]
                runs[index, level] = width
            for use in range(uses):
                kind = (int(code), counts[use, level])
                _extend(here, use, kind, entries[use, level, column], width)
    return states, runs
