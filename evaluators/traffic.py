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
Checked against a literal loop walk and the golden files in tests/evaluators/test_traffic.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from evaluators.mapping_check import check_mappings
from spaces.hardware import Hardware
from spaces.loop_nest import MappingBatch
from spaces.workload import Operator

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


@njit(cache=True)
def tile_extents(spans, t, dimensions, term_rank, term_coefficient, out):  # type: ignore[no-untyped-def]
    """Write the extents of tensor t's dimensions for rank extents `spans`; return their product."""
    elements = 1.0
    for d in range(dimensions[t]):
        extent = 1
        for k in range(term_rank.shape[2]):
            rank = term_rank[t, d, k]
            if rank >= 0:
                extent += term_coefficient[t, d, k] * (spans[rank] - 1)
        out[d] = extent
        elements *= extent
    return elements


@njit(cache=True)
def walk_inwards(loop_rank, loop_trip, loop_kind, keep_at, relevant, implicit, reuse, totals):  # type: ignore[no-untyped-def]
    """Fill the fetches, distinct tiles and instances of one design, walking outermost to innermost.

    Args:
        loop_rank, loop_trip, loop_kind: One design, shape (slots,).
        keep_at: Shape (T, L).
        relevant: Shape (T, R).
        implicit: Whether unchanged tiles are not fetched again.
        reuse: Written, shape (T, L, REUSE_COLUMNS).
        totals: Written: temporal trips, spatial trips, then per tensor its relevant spatial trips.
    """
    slots = loop_rank.shape[0]
    tensors, levels = keep_at.shape
    spatial_all = 1.0
    for t in range(tensors):
        level, temporal, fetches, distinct = 0, 1.0, 1.0, 1.0
        spatial, spatial_relevant = 1.0, 1.0
        for p in range(slots + 1):
            while level < levels and keep_at[t, level] <= p:
                if keep_at[t, level] >= 0:
                    row = reuse[t, level]
                    row[FETCHES] = fetches if implicit else temporal
                    row[DISTINCT] = distinct
                    row[ABOVE] = spatial
                    row[ABOVE_RELEVANT] = spatial_relevant
                level += 1
            if p == slots or loop_trip[p] == 1:
                continue
            is_relevant = relevant[t, loop_rank[p]]
            if loop_kind[p] != 0:
                spatial *= loop_trip[p]
                if is_relevant:
                    spatial_relevant *= loop_trip[p]
                continue
            temporal *= loop_trip[p]
            if is_relevant:
                fetches = temporal
                distinct *= loop_trip[p]
        totals[2 + t] = spatial_relevant
        totals[0] = temporal
        spatial_all = spatial
    totals[1] = spatial_all


@njit(cache=True)
def walk_outwards(  # type: ignore[no-untyped-def]
    loop_rank,
    loop_trip,
    keep_at,
    sizes,
    dimensions,
    term_rank,
    term_coefficient,
    spans,
    reuse,
    extents,
):
    """Fill the tiles of one design, walking innermost to outermost; `spans` is scratch, (R,)."""
    slots = loop_rank.shape[0]
    tensors, levels = keep_at.shape
    for t in range(tensors):
        spans[:] = 1
        level = levels - 1
        for p in range(slots, -1, -1):
            if p < slots and loop_trip[p] > 1:
                rank = loop_rank[p]
                spans[rank] = min(spans[rank] * loop_trip[p], sizes[rank])
            while level >= 0 and (keep_at[t, level] == p or keep_at[t, level] < 0):
                if keep_at[t, level] >= 0:
                    reuse[t, level, TILE] = tile_extents(
                        spans, t, dimensions, term_rank, term_coefficient, extents[t, level]
                    )
                level -= 1


@njit(cache=True)
def keepers(keep_at, t, out):  # type: ignore[no-untyped-def]
    """Write the levels that keep tensor t, outermost first; return how many."""
    count = 0
    for level in range(keep_at.shape[1]):
        if keep_at[t, level] >= 0:
            out[count] = level
            count += 1
    return count


@njit(cache=True)
def count_operand(reuse_t, chain, length, macs_read, out):  # type: ignore[no-untyped-def]
    """Words of one input by level and kind; out has shape (L, kinds)."""
    for j in range(1, length):
        child, parent = reuse_t[chain[j]], reuse_t[chain[j - 1]]
        moved = child[FETCHES] * child[TILE]
        out[chain[j], 1] = moved * child[ABOVE]
        out[chain[j - 1], 0] = (
            moved * parent[ABOVE] * child[ABOVE_RELEVANT] / parent[ABOVE_RELEVANT]
        )
    out[chain[length - 1], 0] = macs_read


@njit(cache=True)
def count_output(reuse_t, chain, length, macs_written, out):  # type: ignore[no-untyped-def]
    """Words of the output by level and kind; out has shape (L, kinds)."""
    for j in range(1, length):
        child, parent = reuse_t[chain[j]], reuse_t[chain[j - 1]]
        drained = child[FETCHES] * child[TILE]
        again = (child[FETCHES] - child[DISTINCT]) * child[TILE]
        share = parent[ABOVE] * child[ABOVE_RELEVANT] / parent[ABOVE_RELEVANT]
        out[chain[j], 1] = again * child[ABOVE]
        out[chain[j], 4] = drained * child[ABOVE]
        out[chain[j - 1], 2] = drained * share
        out[chain[j - 1], 3] = again * share
    leaf = reuse_t[chain[length - 1]]
    first = leaf[DISTINCT] * leaf[TILE] * leaf[ABOVE]
    out[chain[length - 1], 5] = max(macs_written - first, 0.0)
    out[chain[length - 1], 6] = macs_written


@njit(cache=True)
def leaf_accesses(totals, leaf, t):  # type: ignore[no-untyped-def]
    """Words that the MACs read (or write) of tensor t at its innermost keeper.

    One per MAC, shared by the MACs under one instance that use the same element.
    """
    return totals[0] * leaf[ABOVE] * totals[2 + t] / leaf[ABOVE_RELEVANT]


@njit(cache=True)
def _count_batch(ranks, trips, kinds, keep_at, table, implicit, reuse, counts, totals):  # type: ignore[no-untyped-def]
    sizes, relevant, dimensions, term_rank, term_coefficient = table
    n, tensors, levels = keep_at.shape
    extents = np.ones((tensors, levels, term_rank.shape[1]), dtype=np.int64)
    spans = np.ones(len(sizes), dtype=np.int64)
    chain = np.zeros(levels, dtype=np.int64)
    for i in range(n):
        walk_inwards(
            ranks[i], trips[i], kinds[i], keep_at[i], relevant, implicit, reuse[i], totals[i]
        )
        walk_outwards(
            ranks[i], trips[i], keep_at[i], sizes, dimensions, term_rank, term_coefficient,
            spans, reuse[i], extents,
        )  # fmt: skip
        for t in range(tensors):
            length = keepers(keep_at[i], t, chain)
            moved = leaf_accesses(totals[i], reuse[i, t, chain[length - 1]], t)
            if t == tensors - 1:
                count_output(reuse[i, t], chain, length, moved, counts[i, t])
            else:
                count_operand(reuse[i, t], chain, length, moved, counts[i, t])


@dataclass(frozen=True)
class AccessCounts:
    """Dense words moved by each of n mappings, summed over the instances of a level.

    Attributes:
        words: By tensor, level and `Access` kind, shape (n, T, L, kinds).
        reuse: Tile words, fetches, distinct tiles, instances, instances with different data;
            shape (n, T, L, 5), zero where a level does not keep the tensor.
        compute_cycles: Temporal trips of the whole nest, shape (n,).
        macs: Computes issued, padding included, shape (n,).
    """

    words: NDArray[np.float64]
    reuse: NDArray[np.float64]
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
    table = operator_table(operator)
    reuse = np.zeros((n, tensors, levels, REUSE_COLUMNS))
    words = np.zeros((n, tensors, levels, len(Access)))
    totals = np.ones((n, 2 + tensors))
    _count_batch(
        mappings.loop_rank,
        mappings.loop_trip,
        mappings.loop_kind,
        mappings.keep_at,
        (
            table.sizes,
            table.relevant,
            table.dimensions,
            table.term_rank,
            table.term_coefficient,
        ),
        stationarity == "implicit",
        reuse,
        words,
        totals,
    )
    return AccessCounts(words, reuse, totals[:, 0], totals[:, 0] * totals[:, 1])
