"""Turn tiles and spatial trips into a mapping of the standard encoding.

A plan is what a search decides: the extents of every node (a tensor's tile at a level), outermost
first, and the spatial trips of every fan-out axis. The loops follow: between two neighbouring nodes
stands what the outer tile has more than the inner one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spaces.mappings.loop_nest import BYPASS, TEMPORAL, MappingBatch

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """One storage level of a plan: its nodes, then the fan-out below it.

    Attributes:
        nodes: (tensor, rank extents of its tile) outermost first; level 0's are the whole operator.
        axis_trips: (axis number, trips per rank) of the fan-out's axes.
    """

    nodes: tuple[tuple[int, IntArray], ...]
    axis_trips: tuple[tuple[int, IntArray], ...] = ()


@dataclass(frozen=True)
class Plan:
    """A mapping in terms of tiles.

    Attributes:
        blocks: Outermost level first.
        sizes: Padded rank sizes, shape (R,).
        tensors: Number of tensors.
        formats: Format ids, shape (T, L).
        innermost: By level, the ranks whose loops stand innermost between two neighbouring nodes of
            its block; absent = any.
    """

    blocks: tuple[Block, ...]
    sizes: IntArray
    tensors: int
    formats: IntArray
    innermost: tuple[tuple[int, ...], ...] = ()


@dataclass
class _Nest:
    """Loops and positions written so far, outermost first."""

    loops: list[tuple[int, int, int]] = field(default_factory=list)
    keep: dict[tuple[int, int], int] = field(default_factory=dict)

    def temporal(self, outer: IntArray, inner: IntArray, last: tuple[int, ...]) -> None:
        """Write the loops that lead from one tile to the next smaller one, ranks `last` last."""
        trips = outer // inner
        order = sorted(range(len(trips)), key=lambda rank: rank in last)
        self.loops += [(rank, int(trips[rank]), TEMPORAL) for rank in order if trips[rank] > 1]


def _below(plan: Plan) -> list[IntArray]:
    """Extents just above each level's first node (spatial trips above it taken off)."""
    current = np.ones_like(plan.sizes)
    tops: list[IntArray] = []
    for block in reversed(plan.blocks):
        for _, trips in block.axis_trips:
            current = current * trips
        for _, extent in reversed(block.nodes):
            current = np.maximum(current, extent)
        tops.append(current)
    return tops[::-1]


def build_nest(plan: Plan) -> tuple[list[tuple[int, int, int]], IntArray]:
    """Loops (rank, trip, kind) outermost first, and positions of shape (T, L)."""
    nest = _Nest()
    levels = len(plan.blocks)
    tops = _below(plan)
    for level, block in enumerate(plan.blocks):
        spatial = np.ones_like(plan.sizes)
        for _, trips in block.axis_trips:
            spatial = spatial * trips
        base = spatial * (tops[level + 1] if level + 1 < levels else np.ones_like(plan.sizes))
        current = plan.sizes if level == 0 else tops[level]
        last = plan.innermost[level] if level < len(plan.innermost) else ()
        for tensor, extent in block.nodes:
            nest.temporal(current, extent, last)
            current = extent
            nest.keep[tensor, level] = len(nest.loops)
        nest.temporal(current, base, last)
        for axis, trips in block.axis_trips:
            nest.loops += [(r, int(n), 1 + axis) for r, n in enumerate(trips) if n > 1]
    keep = np.full((plan.tensors, levels), BYPASS, dtype=np.int64)
    for where, position in nest.keep.items():
        keep[where] = position
    return nest.loops, keep


def build_mappings(plans: Sequence[Plan], shape: tuple[int, int]) -> MappingBatch:
    """The batch of these plans, padded to the longest nest (at least one slot).

    Args:
        plans: Any number, also none.
        shape: Tensors and levels.
    """
    nests = [build_nest(plan) for plan in plans]
    slots = max([1, *(len(loops) for loops, _ in nests)])
    rank = np.zeros((len(plans), slots), dtype=np.int8)
    trip = np.ones((len(plans), slots), dtype=np.int64)
    kind = np.zeros((len(plans), slots), dtype=np.int8)
    for i, (loops, _) in enumerate(nests):
        for slot, (r, n, k) in enumerate(loops):
            rank[i, slot], trip[i, slot], kind[i, slot] = r, n, k
    keep_at = np.zeros((len(plans), *shape), dtype=np.int8)
    formats = np.zeros((len(plans), *shape), dtype=np.int16)
    for i, (_, keep) in enumerate(nests):
        keep_at[i], formats[i] = keep, plans[i].formats
    return MappingBatch(rank, trip, kind, keep_at, formats)
