"""Dense access counts of a loop nest: who reads and writes how many words where.

Everything here is exact integer arithmetic on trip counts (held in float64, exact below 2**53).
With a tile of tensor T kept by level l at position p of the nest::

    tile      = product over T's dimensions of the extents spanned by the loops at positions >= p
    fetches   = product of the temporal trips above p            (explicit stationarity)
              = the same up to the innermost loop relevant to T  (implicit stationarity)
    distinct  = product of the temporal trips above p that are relevant to T
    parent    = fetches * tile * (spatial trips relevant to T between parent and child)
                * (instances of the parent)

Spatial loops irrelevant to an input are multicast, those irrelevant to the output are spatially
reduced; a re-fetched partial sum is multicast to the group that reduces it. An output tile's first
visit fetches nothing. The innermost keeper serves every MAC.

Assumptions: one resident tile per (tensor, level); neighbouring tiles share nothing, so a halo is
read again; padded trips are executed, only the extents of a tile are clipped to the tensor.
Checked against a literal loop walk and the golden files in
tests/evaluators/accelerator/test_traffic.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.mapping_check import check_mappings
from spaces.compiled import compiled
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import Operator

STATIONARITIES = ("implicit", "explicit")
"""Conventions: does a tile that did not change count as fetched again?"""


class Access(IntEnum):
    """Kinds of access, kept apart so that any tool's convention can be composed from them."""

    READ = 0
    """Operand words read from this level by the next keeper inwards, or by the MACs."""
    FILL = 1
    """Words written here from the parent: operands, and partial sums fetched again."""
    DRAIN_WRITE = 2
    """Output words written here by the next keeper inwards."""
    REFETCH_READ = 3
    """Partial sums read from this level by the next keeper inwards."""
    DRAIN_READ = 4
    """Output words read here to be drained to the parent."""
    ACCUMULATE_READ = 5
    """Partial sums read here by the MACs (innermost keeper)."""
    ACCUMULATE_WRITE = 6
    """Partial sums written here by the MACs (innermost keeper)."""


TILE, FETCHES, DISTINCT, ABOVE, ABOVE_RELEVANT = range(5)
"""Columns of the reuse table: tile words, fetches and distinct tiles per instance, instances (all,
and those that hold different data)."""

REUSE_COLUMNS = 5


@dataclass(frozen=True)
class OperatorTable:
    """An operator as flat arrays, for compiled code. T tensors, R ranks, D dimensions, K terms.

    Attributes:
        sizes: Rank sizes, shape (R,).
        relevant: True where a rank indexes a tensor, shape (T, R).
        dimensions: Dimensions of each tensor, shape (T,).
        term_rank: Rank of every term of every dimension, -1 = none; shape (T, D, K).
        term_coefficient: Its coefficient, same shape.
    """

    sizes: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    dimensions: NDArray[np.int64]
    term_rank: NDArray[np.int64]
    term_coefficient: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The fields as compiled code takes them."""
        return (
            self.sizes,
            self.relevant,
            self.dimensions,
            self.term_rank,
            self.term_coefficient,
        )


def operator_table(operator: Operator) -> OperatorTable:
    """Flatten an operator's projections."""
    ranks = {rank: index for index, rank in enumerate(operator.rank_names)}
    tensors = operator.tensors
    depth = max(len(tensor.dimensions) for tensor in tensors)
    width = max(len(dim.terms) for tensor in tensors for dim in tensor.dimensions)
    term_rank = np.full((len(tensors), depth, width), -1, dtype=np.int64)
    term_coefficient = np.zeros_like(term_rank)
    relevant = np.zeros((len(tensors), len(ranks)), dtype=np.bool_)
    for t, tensor in enumerate(tensors):
        for d, dimension in enumerate(tensor.dimensions):
            for k, (rank, coefficient) in enumerate(dimension.terms):
                term_rank[t, d, k] = ranks[rank]
                term_coefficient[t, d, k] = coefficient
                relevant[t, ranks[rank]] = True
    return OperatorTable(
        sizes=np.array(list(operator.ranks.values()), dtype=np.int64),
        relevant=relevant,
        dimensions=np.array([len(tensor.dimensions) for tensor in tensors], dtype=np.int64),
        term_rank=term_rank,
        term_coefficient=term_coefficient,
    )


@compiled
def fill_tile(spans, table, place, reuse, extents):  # type: ignore[no-untyped-def]
    """Write the extents and the words of the tile at `place` = (design, tensor, level)."""
    dimensions, term_rank, term_coefficient = table
    i, t, level = place
    words = 1.0
    for d in range(dimensions[t]):
        extent = 1
        for k in range(term_rank.shape[2]):
            rank = term_rank[t, d, k]
            if rank >= 0:
                extent += term_coefficient[t, d, k] * (spans[rank] - 1)
        extents[i, t, level, d] = extent
        words *= extent
    reuse[i, t, level, TILE] = words


@compiled
def count_reuse(batch, table, implicit, start, geometry):  # type: ignore[no-untyped-def]
    """Fill fetches, distinct tiles and instances, walking every nest outermost to innermost.

    Args:
        batch: loop_rank, loop_trip, loop_kind (n, slots) and keep_at (n, T, L).
        table: sizes, relevant, dimensions, term_rank, term_coefficient.
        implicit: Whether unchanged tiles are not fetched again.
        start: First design; the geometry's length says how many.
        geometry: reuse (c, T, L, REUSE_COLUMNS), extents (c, T, L, 4), totals (c, 2 + T): temporal
            trips, spatial trips, and per tensor its relevant spatial trips.
    """
    ranks, trips, kinds, keep_at = batch
    relevant = table[1]
    reuse, _, totals = geometry
    slots = ranks.shape[1]
    tensors, levels = keep_at.shape[1:]
    for i in range(min(reuse.shape[0], ranks.shape[0] - start)):
        n = start + i
        for t in range(tensors):
            level, temporal, fetches, distinct = 0, 1.0, 1.0, 1.0
            spatial, spatial_relevant = 1.0, 1.0
            for p in range(slots + 1):
                while level < levels and keep_at[n, t, level] <= p:
                    reuse[i, t, level, FETCHES] = fetches if implicit else temporal
                    reuse[i, t, level, DISTINCT] = distinct
                    reuse[i, t, level, ABOVE] = spatial
                    reuse[i, t, level, ABOVE_RELEVANT] = spatial_relevant
                    level += 1
                if p == slots or trips[n, p] == 1:
                    continue
                trip = trips[n, p]
                is_relevant = relevant[t, ranks[n, p]]
                if kinds[n, p] != 0:
                    spatial *= trip
                    if is_relevant:
                        spatial_relevant *= trip
                    continue
                temporal *= trip
                if is_relevant:
                    fetches = temporal
                    distinct *= trip
            totals[i, 0] = temporal
            totals[i, 1] = spatial
            totals[i, 2 + t] = spatial_relevant


@compiled
def measure_tiles(batch, table, spans, start, geometry):  # type: ignore[no-untyped-def]
    """Fill the tiles, walking every nest innermost to outermost; `spans` is scratch, (R,).

    Levels that bypass a tensor get the tile of the position they were asked at; nobody reads it.
    """
    ranks, trips, _, keep_at = batch
    sizes, _, dimensions, term_rank, term_coefficient = table
    reuse, extents, _ = geometry
    projection = (dimensions, term_rank, term_coefficient)
    tensors, levels = keep_at.shape[1:]
    for i in range(min(reuse.shape[0], ranks.shape[0] - start)):
        n = start + i
        for t in range(tensors):
            spans[:] = 1
            level = levels - 1
            for p in range(ranks.shape[1], -1, -1):
                if p < ranks.shape[1] and trips[n, p] > 1:
                    rank = ranks[n, p]
                    spans[rank] = min(spans[rank] * trips[n, p], sizes[rank])
                while level >= 0 and (keep_at[n, t, level] == p or keep_at[n, t, level] < 0):
                    if keep_at[n, t, level] >= 0:
                        fill_tile(spans, projection, (i, t, level), reuse, extents)
                    level -= 1


@compiled
def next_keeper(keep_at, n, t, level):  # type: ignore[no-untyped-def]
    """The next level inwards of `level` that keeps tensor t of design n; -1 = none."""
    for inner in range(level + 1, keep_at.shape[2]):
        if keep_at[n, t, inner] >= 0:
            return inner
    return -1


@compiled
def count_operands(keep_at, geometry, words):  # type: ignore[no-untyped-def]
    """Words of the inputs by level and kind; `words` has shape (n, T, L, kinds)."""
    reuse, _, totals = geometry
    for n in range(keep_at.shape[0]):
        for t in range(keep_at.shape[1] - 1):
            level = 0
            while level >= 0:
                row = reuse[n, t, level]
                child = next_keeper(keep_at, n, t, level)
                if child >= 0:
                    inner = reuse[n, t, child]
                    moved = inner[FETCHES] * inner[TILE]
                    words[n, t, child, 1] = moved * inner[ABOVE]
                    share = row[ABOVE] * inner[ABOVE_RELEVANT] / row[ABOVE_RELEVANT]
                    words[n, t, level, 0] = moved * share
                else:
                    words[n, t, level, 0] = leaf_accesses(totals, reuse, n, t, level)
                level = child


@compiled
def count_output(keep_at, geometry, words):  # type: ignore[no-untyped-def]
    """Words of the output by level and kind; `words` has shape (n, T, L, kinds)."""
    reuse, _, totals = geometry
    t = keep_at.shape[1] - 1
    for n in range(keep_at.shape[0]):
        level = 0
        while level >= 0:
            row = reuse[n, t, level]
            child = next_keeper(keep_at, n, t, level)
            if child >= 0:
                inner = reuse[n, t, child]
                drained = inner[FETCHES] * inner[TILE]
                again = (inner[FETCHES] - inner[DISTINCT]) * inner[TILE]
                share = row[ABOVE] * inner[ABOVE_RELEVANT] / row[ABOVE_RELEVANT]
                words[n, t, child, 1] = again * inner[ABOVE]
                words[n, t, child, 4] = drained * inner[ABOVE]
                words[n, t, level, 2] = drained * share
                words[n, t, level, 3] = again * share
            else:
                written = leaf_accesses(totals, reuse, n, t, level)
                first = row[DISTINCT] * row[TILE] * row[ABOVE]
                words[n, t, level, 5] = max(written - first, 0.0)
                words[n, t, level, 6] = written
            level = child


@compiled
def leaf_accesses(totals, reuse, i, t, level):  # type: ignore[no-untyped-def]
    """Words that the MACs read (or write) of tensor t at its innermost keeper.

    One per MAC, shared by the MACs under one instance that use the same element.
    """
    own = reuse[i, t, level, ABOVE] / reuse[i, t, level, ABOVE_RELEVANT]
    return totals[i, 0] * totals[i, 2 + t] * own


def new_geometry(designs: int, tensors: int, levels: int) -> tuple[NDArray[Any], ...]:
    """Arrays that `count_reuse` and `measure_tiles` fill: reuse, extents, totals."""
    return (
        np.ones((designs, tensors, levels, REUSE_COLUMNS)),
        np.ones((designs, tensors, levels, 4), dtype=np.int64),
        np.ones((designs, 2 + tensors)),
    )


@dataclass(frozen=True)
class AccessCounts:
    """Dense words moved by each of n mappings, summed over the instances of a level.

    Attributes:
        words: By tensor, level and `Access` kind, shape (n, T, L, kinds).
        reuse: Tile words, fetches, distinct tiles, instances, instances with different data;
            shape (n, T, L, 5), zero where a level does not keep the tensor.
        extents: Tile extents per dimension, padded with 1, shape (n, T, L, 4).
        compute_cycles: Temporal trips of the whole nest, shape (n,).
        macs: Computes issued, padding included, shape (n,).
    """

    words: NDArray[np.float64]
    reuse: NDArray[np.float64]
    extents: NDArray[np.int64]
    compute_cycles: NDArray[np.float64]
    macs: NDArray[np.float64]


def access_counts(
    operator: Operator, hardware: Hardware, mappings: MappingBatch, stationarity: str = "implicit"
) -> AccessCounts:
    """Count the dense accesses of a batch of mappings.

    Args:
        operator: What is computed.
        hardware: The levels that `keep_at` and the fan-out axes that `loop_kind` refer to.
        mappings: n mappings.
        stationarity: "implicit" (Timeloop: an unchanged tile is not fetched again) or "explicit"
            (AccelForge: every temporal loop above a tile fetches it again).

    Raises:
        ValueError: If the convention is unknown or a mapping is malformed.
    """
    if stationarity not in STATIONARITIES:
        raise ValueError(f"stationarity must be implicit or explicit, got {stationarity!r}")
    check_mappings(operator, hardware, mappings)
    n, tensors, levels = mappings.keep_at.shape
    batch = (mappings.loop_rank, mappings.loop_trip, mappings.loop_kind, mappings.keep_at)
    table = operator_table(operator).arrays
    geometry = new_geometry(n, tensors, levels)
    words = np.zeros((n, tensors, levels, len(Access)))
    count_reuse(batch, table, stationarity == "implicit", 0, geometry)
    measure_tiles(batch, table, np.ones(len(operator.ranks), dtype=np.int64), 0, geometry)
    count_operands(mappings.keep_at, geometry, words)
    count_output(mappings.keep_at, geometry, words)
    reuse, extents, totals = geometry
    reuse[mappings.keep_at < 0] = 0.0
    return AccessCounts(words, reuse, extents, totals[:, 0], totals[:, 0] * totals[:, 1])
