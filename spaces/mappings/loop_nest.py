"""Mappings: one loop nest per design and a placement per (tensor, level).

A nest is an ordered list of loops, outermost first; each has a rank, a trip count, and a kind:
temporal, or spatial at one fan-out axis of the hardware. Level l keeps tensor T at one position of
the nest, or bypasses it. Position p means: loops 0..p-1 stand above the tile, loops p.. below it.
Timeloop's even mapping has all tensors of a level at one position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEMPORAL = 0
"""`loop_kind` of a temporal loop; a spatial loop at axis a of `Hardware.axes` has kind 1 + a."""

BYPASS = -1
"""`keep_at` of a tensor that a level does not hold."""


@dataclass(frozen=True)
class MappingBatch:
    """n mappings of one operator on one hardware, padded to a common number of loop slots.

    Trip counts of a rank multiply to at least its size; more means padding (imperfect tiles).

    Attributes:
        loop_rank: Index into `operator.rank_names`, shape (n, slots).
        loop_trip: Trip count, 1 = no loop, shape (n, slots).
        loop_kind: `TEMPORAL` or 1 + axis number, shape (n, slots).
        keep_at: Position of the tile in the nest, 0..slots, or `BYPASS`; (n, tensors, levels).
            Positions of one tensor never decrease inwards; the outermost level is at 0.
        format_id: Index into the evaluator's format table, 0 = uncompressed; same shape.
    """

    loop_rank: NDArray[np.int8]
    loop_trip: NDArray[np.int64]
    loop_kind: NDArray[np.int8]
    keep_at: NDArray[np.int8]
    format_id: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.loop_rank)

    def take(self, indices: NDArray[np.intp]) -> MappingBatch:
        """The mappings of a subset, in the order of `indices`."""
        return MappingBatch(
            self.loop_rank[indices],
            self.loop_trip[indices],
            self.loop_kind[indices],
            self.keep_at[indices],
            self.format_id[indices],
        )


def concatenate(batches: Sequence[MappingBatch]) -> MappingBatch:
    """One batch of all mappings in order; short nests are padded with loops of trip 1."""
    if len(batches) == 1:
        return batches[0]
    slots = max(batch.loop_rank.shape[1] for batch in batches)
    wide = [_widened(batch, slots) for batch in batches]
    return MappingBatch(
        loop_rank=np.concatenate([batch.loop_rank for batch in wide]),
        loop_trip=np.concatenate([batch.loop_trip for batch in wide]),
        loop_kind=np.concatenate([batch.loop_kind for batch in wide]),
        keep_at=np.concatenate([batch.keep_at for batch in wide]),
        format_id=np.concatenate([batch.format_id for batch in wide]),
    )


def _widened(batch: MappingBatch, slots: int) -> MappingBatch:
    if batch.loop_rank.shape[1] == slots:
        return batch
    padding = ((0, 0), (0, slots - batch.loop_rank.shape[1]))
    return MappingBatch(
        np.pad(batch.loop_rank, padding),
        np.pad(batch.loop_trip, padding, constant_values=1),
        np.pad(batch.loop_kind, padding),
        batch.keep_at,
        batch.format_id,
    )


def compacted(batch: MappingBatch) -> MappingBatch:
    """The same mappings in normal form: equal nests become equal arrays.

    Loops of trip count 1 move to the end (as rank 0, temporal), positions count the loops that
    exist, and spatial loops that stand together are sorted by axis and rank: the order of
    hardware that runs at once has no meaning.
    """
    exists = batch.loop_trip > 1
    above = np.concatenate([np.zeros((len(batch), 1), np.int64), exists.cumsum(axis=1)], axis=1)
    spots = np.where(batch.keep_at == BYPASS, 0, batch.keep_at).reshape(len(batch), -1)
    moved = np.take_along_axis(above, spots.astype(np.int64), axis=1).reshape(batch.keep_at.shape)
    order = np.lexsort((_together(batch, exists), ~exists))
    kept = np.take_along_axis(exists, order, axis=1)
    return MappingBatch(
        np.where(kept, np.take_along_axis(batch.loop_rank, order, axis=1), 0).astype(np.int8),
        np.take_along_axis(batch.loop_trip, order, axis=1),
        np.where(kept, np.take_along_axis(batch.loop_kind, order, axis=1), 0).astype(np.int8),
        np.where(batch.keep_at == BYPASS, BYPASS, moved).astype(np.int8),
        batch.format_id,
    )


def _together(batch: MappingBatch, exists: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sort key of each loop: temporal loops by slot, runs of spatial loops by axis and rank."""
    slots = batch.loop_rank.shape[1]
    temporal = exists & (batch.loop_kind == TEMPORAL)
    run = temporal.cumsum(axis=1) * 2 + np.where(temporal, 0, 1)
    within = np.where(temporal, 0, batch.loop_kind.astype(np.int64) * 128 + batch.loop_rank)
    return np.asarray((run * 2**15 + within) * slots + np.arange(slots))
