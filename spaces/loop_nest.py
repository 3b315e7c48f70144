"""Mappings: one loop nest per design and a placement per (tensor, level).

A nest is an ordered list of loops, outermost first; each has a rank, a trip count, and a kind:
temporal, or spatial at one fan-out axis of the hardware. Level l keeps tensor T at one position of
the nest, or bypasses it. Position p means: loops 0..p-1 stand above the tile, loops p.. below it.
Timeloop's even mapping has all tensors of a level at one position.
"""

from __future__ import annotations

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
        keep_at: Position of the tile in the nest, 0..slots, or `BYPASS`; shape (n, tensors, levels).
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
