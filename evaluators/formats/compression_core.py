"""Compiled closed-form size of one encoded tile.

A format is coded as an int64 array of shape (levels, `FIELDS`), outermost level first, a tensor's
table of formats as (formats, levels, `FIELDS`):

    [0] primitive: one of the constants below, END pads short formats
    [1] width of the coordinate, offset or run field in bits, -1 = derived from the sizes
    [2] width of the count per fiber, -1 = derived
    [3] dimension that runs fastest within the level
    [4 + d] size in dimension d: 0 = not in the level, OPEN = what the inner levels leave

`tile_bits_core(levels, tile, density, word_bits) -> (metadata_bits, payload_bits)` is scalar and
allocates nothing, for use inside other kernels: `levels` is one format, `tile` a tuple of four
extents padded with 1, `density` a coded row of `evaluators.sparsity.density_core`.

Expected bits, levels outer to inner (s = positions of a fiber, q = probability that one position's
subtree is empty, C = expected non-empty positions of the tile, stored = fibers kept so far):

    B    stored * s                               next stored = C
    CP   C * clog2(s) + stored * clog2(s + 1)     C
    RLE  e * r + stored * clog2(s + 1)            e = C + escapes, see evaluators.formats.run_length
    UOP  stored * (s + 1) * clog2(max + 1)        stored * s;  max = positions down to the next
                                                  compressed level; the counts of a CP or RLE
                                                  directly below it are not stored
    None 0                                        stored * s

payload = stored below the last level * word bits. A level of one position costs nothing. The walk
goes from the innermost level outwards and carries bits per stored fiber, so that no state per level
is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.run_length import fiber_escapes
from evaluators.sparsity.density_core import (
    Box,
    box_empty,
    greatest_common_divisor,
)
from spaces.compiled import compiled

FIELDS = 8
OPEN = -1

END = -1
NONE = 0
B = 1
CP = 2
RLE = 3
UOP = 4

FormatCode = NDArray[np.int64]
DensityCode = NDArray[np.float64]


@compiled
def ceil_log2(count: int) -> int:
    """Bits that number `count` values: ceil(log2(count)), 0 for a single one."""
    bits = 0
    left = count - 1
    while left > 0:
        left >>= 1
        bits += 1
    return bits


@compiled
def _size(code: int, extent: int, grain: int) -> int:
    if code == 0:
        return 1
    left = (extent + grain - 1) // grain
    return left if code < 0 else min(code, left)


@compiled
def level_sizes(row: NDArray[np.int64], tile: Box, grain: Box) -> Box:
    """Positions of one level per dimension, given the extents of the subtree below it."""
    return (
        _size(row[4], tile[0], grain[0]),
        _size(row[5], tile[1], grain[1]),
        _size(row[6], tile[2], grain[2]),
        _size(row[7], tile[3], grain[3]),
    )


@compiled
def _start_step(extent: int, grain: int) -> int:
    return grain if extent % grain == 0 else greatest_common_divisor(extent, grain)


@compiled
def _corner(extent: int, grain: int, cut: int) -> tuple[int, int]:
    """Number and extent of the whole (cut = 0) or cut (cut = 1) pieces of `grain` in an extent."""
    if cut == 0:
        return extent // grain, grain
    rest = extent % grain
    return (1, rest) if rest else (0, 1)


@compiled
def nonempty_nodes(density: DensityCode, tile: Box, grain: Box) -> float:
    """Expected number of non-empty boxes of extents `grain` that tile a tile, the cut ones too."""
    whole = tile[0] % grain[0] + tile[1] % grain[1] + tile[2] % grain[2] + tile[3] % grain[3] == 0
    if whole:
        count = float(tile[0] // grain[0]) * (tile[1] // grain[1])
        count *= float(tile[2] // grain[2]) * (tile[3] // grain[3])
        return count * (1.0 - box_empty(density, grain, grain))
    step = (
        _start_step(tile[0], grain[0]),
        _start_step(tile[1], grain[1]),
        _start_step(tile[2], grain[2]),
        _start_step(tile[3], grain[3]),
    )
    total = 0.0
    for cut in range(16):
        c0, x0 = _corner(tile[0], grain[0], cut & 1)
        c1, x1 = _corner(tile[1], grain[1], cut >> 1 & 1)
        c2, x2 = _corner(tile[2], grain[2], cut >> 2 & 1)
        c3, x3 = _corner(tile[3], grain[3], cut >> 3)
        count = float(c0) * c1 * c2 * c3
        if count > 0.0:
            total += count * (1.0 - box_empty(density, (x0, x1, x2, x3), step))
    return total


@compiled
def _positions(extent: int, grain: int) -> int:
    return (extent + grain - 1) // grain


@compiled
def _slow_dimension(sizes: Box, fast: int) -> int:
    """The dimension next to the fastest one in a flattened level, -1 when there is none."""
    for dimension in (3, 2, 1, 0):
        if dimension != fast and sizes[dimension] > 1:
            return dimension
    return -1


@compiled
def _fast_dimension(sizes: Box, listed: int) -> int:
    if sizes[listed] > 1:
        return listed
    for dimension in (3, 2, 1, 0):
        if sizes[dimension] > 1:
            return dimension
    return listed


@compiled
def grown(grain: Box, sizes: Box) -> Box:
    """Extents of a fiber: those of one position's subtree times the positions."""
    return (
        grain[0] * sizes[0],
        grain[1] * sizes[1],
        grain[2] * sizes[2],
        grain[3] * sizes[3],
    )


@compiled
def escape_entries(
    density: DensityCode, tile: Box, grain: Box, sizes: Box, run_field: tuple[int, int]
) -> float:
    """Expected escapes of all fibers of an RLE level; `run_field` = (run bits, fastest dim)."""
    run = 1 << min(run_field[0], 62)
    fast = _fast_dimension(sizes, run_field[1])
    slow = _slow_dimension(sizes, fast)
    whole = grown(grain, sizes)
    total = 0.0
    for cut in range(16):
        c0, x0 = _corner(tile[0], whole[0], cut & 1)
        c1, x1 = _corner(tile[1], whole[1], cut >> 1 & 1)
        c2, x2 = _corner(tile[2], whole[2], cut >> 2 & 1)
        c3, x3 = _corner(tile[3], whole[3], cut >> 3)
        count = float(c0) * c1 * c2 * c3
        if count > 0.0:
            extents = (x0, x1, x2, x3)
            node = (
                min(grain[0], x0),
                min(grain[1], x1),
                min(grain[2], x2),
                min(grain[3], x3),
            )
            rows = _positions(x0, node[0]) * _positions(x1, node[1])
            rows *= _positions(x2, node[2]) * _positions(x3, node[3])
            real = _positions(extents[fast], node[fast])
            rows //= real
            width = sizes[fast] if rows > 1 else real
            right = greatest_common_divisor(whole[fast], tile[fast])
            down = greatest_common_divisor(whole[slow], tile[slow]) if slow >= 0 else 1
            fiber = (fast, width, slow, rows, right, down, extents[fast])
            total += count * fiber_escapes(density, node, fiber, run)
    return total


State = tuple[float, float, float, float, float, int]
"""Walk from the innermost level outwards: settled metadata and payload bits; metadata and payload
bits per fiber of the next level outwards; bits of its count, dropped under a UOP; positions down to
the next compressed level, 0 = none yet."""


@compiled
def first_state(word_bits: float) -> State:
    """Below the innermost level every stored fiber is one word."""
    return (0.0, 0.0, 0.0, word_bits, 0.0, 0)


@compiled
def field_bits(primitive: int, count: int, given: int) -> int:
    """Width of the coordinate or run field of a CP or RLE level, 0 for other primitives."""
    if primitive not in (CP, RLE):
        return 0
    return given if given >= 0 else ceil_log2(count)


@compiled
def add_level(
    state: State, kind: tuple[int, int], entries: float, widths: tuple[int, int]
) -> State:
    """The state one level further out.

    Args:
        state: Of the levels inside this one.
        kind: Primitive and positions per fiber; a level of one position changes nothing.
        entries: Expected children stored by all fibers; used by B, CP and RLE.
        widths: Given widths of field and count, -1 = derived.
    """
    primitive, count = kind
    if count == 1:
        return state
    settled_metadata, settled_payload, metadata, payload, pending, span = state
    if primitive != UOP:
        metadata += pending
    if primitive in (NONE, UOP):
        span *= count
        metadata *= count
        if primitive == UOP and span > 0:
            width = widths[0] if widths[0] >= 0 else ceil_log2(span + 1)
            metadata += (count + 1.0) * width
        return (settled_metadata, settled_payload, metadata, payload * count, 0.0, span)
    settled_metadata += entries * (metadata + field_bits(primitive, count, widths[0]))
    settled_payload += entries * payload
    if primitive == B:
        return (settled_metadata, settled_payload, float(count), 0.0, 0.0, count)
    pending = float(widths[1] if widths[1] >= 0 else ceil_log2(count + 1))
    return (settled_metadata, settled_payload, 0.0, 0.0, pending, count)


@compiled
def tile_bits_core(
    levels: FormatCode, tile: Box, density: DensityCode, word_bits: float
) -> tuple[float, float]:
    """Expected (metadata, payload) bits of one stand-alone tile; see the module's docstring."""
    state = first_state(word_bits)
    grain = (1, 1, 1, 1)
    for index in range(len(levels) - 1, -1, -1):
        row = levels[index]
        primitive = row[0]
        if primitive == END:
            continue
        sizes = level_sizes(row, tile, grain)
        count = sizes[0] * sizes[1] * sizes[2] * sizes[3]
        entries = 0.0
        if count > 1 and primitive in (B, CP, RLE):
            entries = nonempty_nodes(density, tile, grain)
            if primitive == RLE:
                field = (field_bits(RLE, count, row[1]), row[3])
                entries += escape_entries(density, tile, grain, sizes, field)
        state = add_level(state, (primitive, count), entries, (row[1], row[2]))
        grain = grown(grain, sizes)
    return state[0] + state[2] + state[4], state[1] + state[3]


@compiled
def many_tile_bits(
    table: FormatCode,
    format_id: NDArray[np.int64],
    tiles: NDArray[np.int64],
    density: DensityCode,
    word_bits: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`tile_bits_core` of n (format, tile) pairs; tiles of shape (n, 4); two arrays (n,)."""
    count = len(format_id)
    metadata, payload = np.empty(count), np.empty(count)
    for index in range(count):
        tile = (tiles[index, 0], tiles[index, 1], tiles[index, 2], tiles[index, 3])
        levels = table[format_id[index]]
        metadata[index], payload[index] = tile_bits_core(levels, tile, density, word_bits)
    return metadata, payload
