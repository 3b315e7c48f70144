"""From choices to loop nests and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import IntArray
from spaces.mappings.loop_nest import BYPASS, TEMPORAL, MappingBatch
from spaces.mappings.loop_order import lexicographic_number
from spaces.mappings.mapping_tables import MappingChoices, MappingTables


def nests(choices: MappingChoices, tables: MappingTables) -> MappingBatch:
    """The loop nests of n choices, in canonical form whatever the form of the choices."""
    settled, trips, masks = tables.settle(choices)
    n, layout = len(choices), tables.layout
    loop_rank = np.zeros((n, layout.slots), dtype=np.int8)
    loop_trip = np.ones((n, layout.slots), dtype=np.int64)
    loop_kind = np.zeros((n, layout.slots), dtype=np.int8)
    ranks = len(tables.ranks)
    operator_rank = tables.ranks.astype(np.int8)
    for level, start in enumerate(layout.block_start):
        block = tables.orders[level].settled[masks[:, level], settled.order[:, level]]
        loop_rank[:, start : start + ranks] = operator_rank[block]
        loop_trip[:, start : start + ranks] = np.take_along_axis(
            trips[:, :, level], block.astype(np.intp), axis=1
        )
    for slot, axis, rank in layout.spatial:
        loop_rank[:, slot] = operator_rank[rank]
        loop_trip[:, slot] = tables.spatial.trips[settled.unrolling, axis, rank]
        loop_kind[:, slot] = 1 + axis
    position = settled.offset + np.array(layout.block_start)
    keep_at = np.where(settled.keep, position, BYPASS).astype(np.int8)
    return MappingBatch(
        loop_rank, loop_trip, loop_kind, keep_at, settled.format_id.astype(np.int16)
    )


def choices_of(batch: MappingBatch, tables: MappingTables) -> MappingChoices:
    """Choices that make these nests, where there are any; the caller compares the outcome.

    A nest outside the space gets the choices of a close one: loops of one rank in one block are
    joined at the outermost of them, so that the tiles between them shrink.
    """
    keep = batch.keep_at != BYPASS
    level_of = _block_of_loops(batch)
    trips, first_slot = _block_trips(batch, level_of, tables)
    unrolling = _find_unrolling(batch, trips, tables)
    roots = tables.roots(keep, unrolling)
    tiling = np.stack(
        [
            temporal.index.find(np.concatenate([roots[:, [r]], trips[:, r]], axis=1))
            for r, temporal in enumerate(tables.temporal)
        ],
        axis=1,
    )
    return MappingChoices(
        keep=keep,
        unrolling=unrolling,
        tiling=np.maximum(tiling, 0),
        order=_find_orders(trips, first_slot, tables),
        offset=_offsets(batch, level_of, first_slot),
        format_id=batch.format_id.astype(np.int64),
    )


def lowered(batch: MappingBatch, relevant: NDArray[np.bool_]) -> MappingBatch:
    """The mappings with every tile moved inwards over the irrelevant temporal loops below it.

    A tile stops at the first loop that indexes its tensor, at a spatial loop, and at the next
    inner tile of its tensor. `relevant` is of shape (T, operator ranks).
    """
    slots = batch.loop_rank.shape[1]
    n, tensors, levels = batch.keep_at.shape
    keep_at = batch.keep_at.astype(np.int64)
    passable = relevant.T[batch.loop_rank.astype(np.intp)]  # (n, slots, T)
    passable = (batch.loop_kind == TEMPORAL)[:, :, None] & ~passable
    passable |= (batch.loop_trip == 1)[:, :, None]
    stop = np.full((n, tensors), slots)
    row = np.arange(n)[:, None]
    tensor = np.arange(tensors)
    for level in reversed(range(1, levels)):
        here = keep_at[:, :, level]
        kept = here != BYPASS
        for _ in range(slots):
            at = np.clip(here, 0, slots - 1)
            free = kept & (here < stop) & passable[row, at, tensor]
            here = here + free
        keep_at[:, :, level] = here
        stop = np.where(kept, here, stop)
    return replace(batch, keep_at=keep_at.astype(batch.keep_at.dtype))


def _block_starts(batch: MappingBatch) -> IntArray:
    """Position of each level's highest tensor; past the end for a level that keeps none."""
    slots = batch.loop_rank.shape[1]
    return np.asarray(
        np.where(batch.keep_at == BYPASS, slots + 1, batch.keep_at).astype(np.int64).min(axis=1)
    )


def _block_of_loops(batch: MappingBatch) -> IntArray:
    """The innermost level whose block has begun at each slot, shape (n, slots)."""
    starts = _block_starts(batch)
    slot = np.arange(batch.loop_rank.shape[1])
    level_of = np.zeros(batch.loop_rank.shape, dtype=np.int64)
    for level in range(starts.shape[1]):
        level_of[starts[:, level, None] <= slot] = level
    return level_of


def _block_trips(
    batch: MappingBatch, level_of: IntArray, tables: MappingTables
) -> tuple[IntArray, IntArray]:
    """Temporal trips and the first slot of each rank in each block, both shape (n, R, L)."""
    n, slots = batch.loop_rank.shape
    number = np.zeros(int(max(tables.ranks.max(), batch.loop_rank.max(initial=0))) + 1, np.int64)
    number[tables.ranks] = np.arange(len(tables.ranks))
    shape = (n, len(tables.ranks), len(tables.orders))
    trips = np.ones(shape, dtype=np.int64)
    first = np.full(shape, slots, dtype=np.int64)
    row = np.arange(n)
    for slot in reversed(range(slots)):
        exists = (batch.loop_kind[:, slot] == TEMPORAL) & (batch.loop_trip[:, slot] > 1)
        at = (row[exists], number[batch.loop_rank[exists, slot]], level_of[exists, slot])
        trips[at] *= batch.loop_trip[exists, slot]
        first[at] = slot
    return trips, first


def _find_unrolling(batch: MappingBatch, trips: IntArray, tables: MappingTables) -> IntArray:
    n, slots = batch.loop_rank.shape
    spatial = np.ones((n, len(tables.axes), len(tables.ranks)), dtype=np.int64)
    for slot in range(slots):
        for rank, operator_rank in enumerate(tables.ranks):
            for axis in range(len(tables.axes)):
                here = (batch.loop_kind[:, slot] == 1 + axis) & (
                    batch.loop_rank[:, slot] == operator_rank
                )
                spatial[:, axis, rank] *= np.where(here, batch.loop_trip[:, slot], 1)
    padded = trips.prod(axis=2) * spatial.prod(axis=1)
    found = tables.spatial_index.find(np.concatenate([padded, spatial.reshape(n, -1)], axis=1))
    return np.maximum(found, 0)


def _find_orders(trips: IntArray, first_slot: IntArray, tables: MappingTables) -> IntArray:
    n, ranks, levels = trips.shape
    orders = np.zeros((n, levels), dtype=np.int64)
    bits = np.int64(1) << np.arange(ranks)
    for level in range(levels):
        exists = trips[:, :, level] > 1
        key = np.where(exists, first_slot[:, :, level], first_slot.max(initial=0) + 1)
        settled = np.argsort(key, axis=1, kind="stable")
        number = lexicographic_number(settled)
        found = tables.orders[level].number_of[(exists * bits).sum(axis=1), number]
        orders[:, level] = np.maximum(found, 0)
    return orders


def _offsets(batch: MappingBatch, level_of: IntArray, first_slot: IntArray) -> IntArray:
    """Ranks looped over between a level's block start and each tensor, shape (n, T, L)."""
    exists = np.zeros((len(batch), batch.loop_trip.shape[1] + 1), dtype=bool)
    np.put_along_axis(exists, first_slot.reshape(len(batch), -1), True, axis=1)
    exists = exists[:, :-1]  # the last slot stands for "no loop"
    above = np.concatenate([np.zeros((len(batch), 1), np.int64), exists.cumsum(axis=1)], axis=1)
    starts = np.minimum(_block_starts(batch), level_of.shape[1])
    at_start = np.take_along_axis(above, starts, axis=1)
    n, tensors, levels = batch.keep_at.shape
    spots = np.maximum(batch.keep_at, 0).reshape(n, -1).astype(np.int64)
    at_tensor = np.take_along_axis(above, spots, axis=1).reshape(n, tensors, levels)
    return np.where(batch.keep_at == BYPASS, 0, at_tensor - at_start[:, None, :])
