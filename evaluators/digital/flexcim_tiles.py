"""Compression of a masked weight matrix into the cells, metadata and selects of FlexCiM tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.nm_sparsity import NMPattern

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

IDLE = -1
"""Input group of a cell row that no group uses."""


@dataclass(frozen=True)
class MacroGeometry:
    """P sub-macros of R rows and C columns."""

    sub_macros: int
    rows: int
    columns: int

    def slot(self, group: int, kept: int, position: int) -> tuple[int, int]:
        """(row, sub-macro) of the `position`-th kept weight of a group.

        Up to P kept weights share a row and several groups stand side by side; more kept weights
        continue in the rows below.

        >>> MacroGeometry(4, 32, 32).slot(group=1, kept=2, position=0)
        (0, 2)
        """
        if kept <= self.sub_macros:
            beside = self.sub_macros // kept
            return group // beside, (group % beside) * kept + position
        rows = -(-kept // self.sub_macros)
        return group * rows + position // self.sub_macros, position % self.sub_macros

    def groups(self, kept: int) -> int:
        """Groups of `kept` weights that one column of a macro holds."""
        if kept <= self.sub_macros:
            return self.rows * (self.sub_macros // kept)
        return self.rows // -(-kept // self.sub_macros)


@dataclass(frozen=True)
class FlexCimTile:
    """The content of one macro.

    Attributes:
        weights: Stored weights, shape (R, P, C).
        lane: In-cell metadata bit: which input of the pair, shape (R, P, C).
        pair: Pair select, shape (R, P, 1) when all columns share it, else (R, P, C).
        group: Input group that feeds a row of a sub-macro, or `IDLE`; shape (R, P).
        first_group: Number of the first input group of the tile.
        outputs: The tile's output channels.
    """

    weights: IntArray
    lane: IntArray
    pair: IntArray
    group: IntArray
    first_group: int
    outputs: slice


def compress_tiles(
    weights: IntArray,
    mask: BoolArray,
    pattern: NMPattern,
    geometry: MacroGeometry,
    selects: str,
) -> list[FlexCimTile]:
    """Cut a masked matrix into tiles, output tiles innermost.

    Args:
        weights: Integer weights, shape (K, Nout).
        mask: True where a weight is kept, same shape; at most N of every M along K.
        pattern: A native N:M of the macro, M even (dense is 1:1).
        geometry: The macro.
        selects: "shared" (one pair select per row and sub-macro for all columns of a tile) or
            "per_column".

    Raises:
        ValueError: If K is not divisible by M, M needs more than P pairs, the mask keeps more than
            N of M, or the columns of a tile need more pairs than they can share.
    """
    kept, group = (2, 2) if pattern.is_dense else (pattern.n, pattern.m)
    _check(weights, mask, (kept, group), geometry)
    if selects not in ("shared", "per_column"):
        raise ValueError(f"selects must be shared or per_column, got {selects!r}")
    k, outputs = weights.shape
    grouped = mask.reshape(k // group, group, outputs)
    per_tile = geometry.groups(kept)
    tiles = []
    for first in range(0, k // group, per_tile):
        for start in range(0, outputs, geometry.columns):
            chosen = slice(start, min(start + geometry.columns, outputs))
            part = grouped[first : first + per_tile, :, chosen]
            values = weights.reshape(grouped.shape)[first : first + per_tile, :, chosen]
            tiles.append(_tile(values, part, kept, geometry, (first, chosen, selects)))
    return tiles


def _check(
    weights: IntArray, mask: BoolArray, nm: tuple[int, int], geometry: MacroGeometry
) -> None:
    kept, group = nm
    if weights.shape != mask.shape:
        raise ValueError(f"weights and mask differ in shape: {weights.shape} and {mask.shape}")
    if weights.shape[0] % group:
        raise ValueError(
            f"reduction size {weights.shape[0]} is not divisible by M = {group}; pad the layer"
        )
    if group % 2 or group // 2 > max(geometry.sub_macros, 1):
        raise ValueError(
            f"a group of M = {group} needs {group / 2:g} pairs, {geometry.sub_macros} sub-macros "
            f"select among {geometry.sub_macros}"
        )
    if geometry.groups(kept) == 0:
        raise ValueError(f"{kept} kept weights do not fit in {geometry.rows} rows")
    counts = mask.reshape(-1, group, mask.shape[1]).sum(axis=1)
    if counts.size and counts.max() > kept:
        raise ValueError(f"the mask keeps {counts.max()} of a group, the pattern {kept}:{group}")


def _tile(
    values: IntArray,
    mask: BoolArray,
    kept: int,
    geometry: MacroGeometry,
    place: tuple[int, slice, str],
) -> FlexCimTile:
    """Place the groups of one tile; `values` and `mask` have shape (groups, M, columns)."""
    first, outputs, selects = place
    shared = selects == "shared"
    r, p, c = geometry.rows, geometry.sub_macros, geometry.columns
    weights, lane = np.zeros((r, p, c), dtype=np.int64), np.zeros((r, p, c), dtype=np.int64)
    pair = np.zeros((r, p, 1 if shared else c), dtype=np.int64)
    group = np.full((r, p), IDLE, dtype=np.int64)
    for index in range(len(mask)):
        slots = [geometry.slot(index, kept, position) for position in range(kept)]
        if shared:
            common = shared_pairs(mask[index], kept)
            for slot, chosen in zip(slots, common, strict=True):
                pair[slot][0] = chosen
        for column in range(mask.shape[2]):
            pairs = common if shared else _own_pairs(mask[index, :, column], kept)
            for element, position in _assign(mask[index, :, column], pairs):
                slot = slots[position]
                weights[slot][column] = values[index, element, column]
                lane[slot][column] = element % 2
            if not shared:
                for slot, chosen in zip(slots, pairs, strict=True):
                    pair[slot][column] = chosen
        for slot in slots:
            group[slot] = index
    return FlexCimTile(weights, lane, pair, group, first, outputs)


def shared_pairs(mask: BoolArray, kept: int) -> list[int]:
    """Pairs that the `kept` slots of a group select so that every column finds its weights.

    Args:
        mask: Of one group, shape (M, columns).
        kept: Slots of the group.

    Raises:
        ValueError: If the columns together need more than `kept` selects.

    >>> shared_pairs(np.array([[True, False], [False, True], [True, True], [False, False]]), 2)
    [0, 1]
    """
    per_pair = mask.reshape(len(mask) // 2, 2, -1).sum(axis=1).max(axis=1)
    pairs = [int(pair) for pair, count in enumerate(per_pair) for _ in range(int(count))]
    if len(pairs) > kept:
        raise ValueError(
            f"the columns of a tile need {len(pairs)} pair selects of a group, {kept} are shared; "
            "prune with the shared-pair constraint or use per-column selects"
        )
    return pairs + [0] * (kept - len(pairs))


def _own_pairs(mask: BoolArray, kept: int) -> list[int]:
    """Pairs of one column's kept weights, padded with pair 0."""
    pairs = [int(element) // 2 for element in np.flatnonzero(mask)]
    return pairs + [0] * (kept - len(pairs))


def _assign(mask: BoolArray, pairs: list[int]) -> list[tuple[int, int]]:
    """(element, slot) for every kept element: the first free slot that selects its pair."""
    free = list(range(len(pairs)))
    assigned = []
    for element in np.flatnonzero(mask):
        position = next(slot for slot in free if pairs[slot] == element // 2)
        free.remove(position)
        assigned.append((int(element), position))
    return assigned
