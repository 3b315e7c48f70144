"""How many distinct mappings there are, and how to list them all.

Distinct means different nests: loops of trip count 1 do not count, and a bypassed tensor has no
format. Counting multiplies, per unrolling, the ways to give each rank's primes to the levels with
the orders and positions that the loops then present allow; a small dynamic programme over ranks
carries how many loops each block has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import IntArray, distinct_rows
from spaces.mappings.loop_order import BlockOrders
from spaces.mappings.mapping_tables import MappingChoices, MappingTables
from spaces.mappings.placement import PlacementTable

LISTABLE = 2**61
"""Ordinals stay below this; an enumeration would take centuries to get there."""

LevelPlacement = tuple[int, bool]
"""Of a level: how many kept tensors are movable, and whether another one holds the head."""


def count_mappings(tables: MappingTables) -> int:
    """Number of distinct mappings, exact."""
    total = 0
    by_set: dict[int, Counter[tuple[LevelPlacement, ...]]] = {}
    for keep in tables.placement.patterns():
        number = _active_number(keep, tables)
        ways = prod(len(ids) for ids in _kept_formats(keep, tables.placement))
        by_set.setdefault(number, Counter())[_level_placements(keep, tables.placement)] += ways
    for number, patterns in by_set.items():
        tilings = _tilings_by_loops(tables, number)
        for levels, ways in patterns.items():
            weights = [
                _orders_and_places(orders, level, tilings.shape[position])
                for position, (orders, level) in enumerate(zip(tables.orders, levels, strict=True))
            ]
            total += ways * _weighted(tilings, weights)
    return total


def list_mappings(tables: MappingTables, batch: int) -> Iterator[MappingChoices]:
    """Every distinct mapping once, in batches of at most `batch`."""
    for keep in tables.placement.patterns():
        for unrolling, tiling in _list_tilings(keep, tables, batch):
            yield from _list_variants(keep, (unrolling, tiling), tables, batch)


def _active_number(keep: NDArray[np.bool_], tables: MappingTables) -> int:
    return int(tables.active_number[(keep.any(axis=0) << np.arange(keep.shape[1])).sum()])


def _level_placements(
    keep: NDArray[np.bool_], placement: PlacementTable
) -> tuple[LevelPlacement, ...]:
    movable = (keep & placement.movable).sum(axis=0)
    fixed = (keep & ~placement.movable).sum(axis=0)
    pairs = zip(movable.tolist(), fixed.tolist(), strict=True)
    return tuple((count, held > 0) for count, held in pairs)


def _kept_formats(keep: NDArray[np.bool_], placement: PlacementTable) -> list[IntArray]:
    return [ids for (t, level), ids in placement.formats.items() if keep[t, level]]


def _places(loops: int, level: LevelPlacement) -> int:
    """Ways to place the tensors of a level over a block of this many loops."""
    movable, held = level
    free = (loops + 1) ** movable
    return free if held or movable == 0 else int(free - loops**movable)


def _orders_and_places(orders: BlockOrders, level: LevelPlacement, states: int) -> list[int]:
    """Orders times places per state of a block: its number of loops, or the mask of them."""
    ranks = orders.orders.shape[1]
    by_mask = states == 2**ranks and not _is_free(orders)
    masks = range(2**ranks) if by_mask else [2**loops - 1 for loops in range(ranks + 1)]
    return [int(orders.count[mask]) * _places(mask.bit_count(), level) for mask in masks]


def _is_free(orders: BlockOrders) -> bool:
    """Whether the number of orders depends on the number of loops alone: no rule restricts it."""
    return bool(len(orders.orders) == orders.number_of.shape[1])


def _weighted(tilings: NDArray[Any], weights: list[list[int]]) -> int:
    """Sum of tilings times the weights of their states, in exact integers."""
    summed = tilings.astype(object)
    for weight in reversed(weights):
        summed = (summed * np.array(weight, dtype=object)).sum(axis=-1)
    return int(summed)


def _tilings_by_loops(tables: MappingTables, number: int) -> NDArray[Any]:
    """Number of (unrolling, tiling) pairs per state of the blocks, summed over unrollings."""
    levels = len(tables.orders)
    ranks = len(tables.ranks)
    free = [_is_free(orders) for orders in tables.orders]
    histograms = [_supports(tables, rank, number) for rank in range(ranks)]
    kinds = np.stack([kind for _, kind in histograms], axis=1)
    groups, group = distinct_rows(kinds)
    weight = np.bincount(group, minlength=len(groups))
    per_group = np.prod([h.sum(axis=1)[groups[:, r]] for r, (h, _) in enumerate(histograms)], 0)
    exact = float((per_group.astype(float) * weight).sum()) < LISTABLE
    dtype: Any = np.int64 if exact else object
    states = np.zeros((len(groups), *(ranks + 1 if f else 2**ranks for f in free)), dtype=dtype)
    states.reshape(len(groups), -1)[:, 0] = weight
    for rank, (histogram, _) in enumerate(histograms):
        grown = np.zeros_like(states)
        for support in np.flatnonzero(histogram.any(axis=0)).tolist():
            shift = [
                (1 if f else 1 << rank) * (support >> level & 1) for level, f in enumerate(free)
            ]
            ways = histogram[groups[:, rank], support].reshape(-1, *[1] * levels)
            target = tuple(slice(s, None) for s in shift)
            source = tuple(
                slice(None, size - s) for s, size in zip(shift, states.shape[1:], strict=True)
            )
            grown[(slice(None), *target)] += states[(slice(None), *source)] * ways
        states = grown
    return np.asarray(states.sum(axis=0))


def _supports(tables: MappingTables, rank: int, number: int) -> tuple[IntArray, IntArray]:
    """Tilings of a rank by which levels have its loop, and each unrolling's row of that table."""
    choices = tables.temporal[rank]
    levels, sets = choices.trips.shape[1], len(tables.active_sets)
    counts = choices.forest.counts()
    root = np.repeat(np.arange(len(counts)), counts)
    support = ((choices.trips > 1) << np.arange(levels)).sum(axis=1)
    table = np.bincount(root * 2**levels + support, minlength=len(counts) * 2**levels)
    of_case = table.reshape(len(counts), -1)[number::sets]
    distinct, kind = distinct_rows(of_case)
    return distinct, kind[choices.case_of]


def _list_tilings(
    keep: NDArray[np.bool_], tables: MappingTables, batch: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Every (unrolling, tiling of each rank) under one pattern of kept tensors."""
    number, sets = _active_number(keep, tables), len(tables.active_sets)
    roots = np.stack([t.case_of * sets + number for t in tables.temporal], axis=1)
    counts = np.stack(
        [t.forest.counts()[roots[:, r]] for r, t in enumerate(tables.temporal)], axis=1
    )
    first = np.stack(
        [t.forest.first_row[roots[:, r]] for r, t in enumerate(tables.temporal)], axis=1
    )
    for row, ordinal in _ordinals(counts, batch):
        digits = _digits(ordinal, counts[row])
        yield row, first[row] + digits


def _list_variants(
    keep: NDArray[np.bool_],
    tilings: tuple[IntArray, IntArray],
    tables: MappingTables,
    batch: int,
) -> Iterator[MappingChoices]:
    """Every order, position and format of these tilings."""
    unrolling, tiling = tilings
    placement, levels = tables.placement, keep.shape[1]
    exists = tables.temporal_trips(tiling) > 1
    masks = (exists << np.arange(exists.shape[1])[:, None]).sum(axis=1)
    loops = exists.sum(axis=1)
    at_level = _level_placements(keep, placement)
    orders = [tables.orders[level].count[masks[:, level]] for level in range(levels)]
    places = [
        np.array([_places(k, at_level[level]) for k in range(exists.shape[1] + 1)])[loops[:, level]]
        for level in range(levels)
    ]
    formats = [np.full(len(tiling), len(ids)) for ids in _kept_formats(keep, placement)]
    radices = np.stack([*orders, *places, *formats], axis=1)
    for row, ordinal in _ordinals(radices, batch):
        digits = _digits(ordinal, radices[row])
        order = np.stack(
            [
                tables.orders[level].distinct[masks[row, level], digits[:, level]]
                for level in range(levels)
            ],
            axis=1,
        )
        yield MappingChoices(
            keep=np.repeat(keep[None], len(row), axis=0),
            unrolling=unrolling[row],
            tiling=tiling[row],
            order=order,
            offset=_offsets(keep, placement, loops[row], digits[:, levels : 2 * levels]),
            format_id=_formats(keep, placement, digits[:, 2 * levels :]),
        )


def _offsets(
    keep: NDArray[np.bool_], placement: PlacementTable, loops: IntArray, digit: IntArray
) -> IntArray:
    offsets = np.zeros((len(loops), *keep.shape), dtype=np.int64)
    for level, (movable, held) in enumerate(_level_placements(keep, placement)):
        tensors = np.flatnonzero((keep & placement.movable)[:, level])
        for k in np.unique(loops[:, level]).tolist():
            rows = np.flatnonzero(loops[:, level] == k)
            ways = _offset_ways(k, movable, held)[digit[rows, level]]
            offsets[rows[:, None], tensors[None], level] = ways
    return offsets


@lru_cache(maxsize=256)
def _offset_ways(loops: int, movable: int, held: bool) -> IntArray:
    """Every placement of the movable tensors of a level, shape (`_places`, movable)."""
    ways = [
        way
        for way in product(range(loops + 1), repeat=movable)
        if held or movable == 0 or min(way) == 0
    ]
    return np.array(ways, dtype=np.int64).reshape(len(ways), movable)


def _formats(keep: NDArray[np.bool_], placement: PlacementTable, digits: IntArray) -> IntArray:
    chosen = np.zeros((len(digits), *keep.shape), dtype=np.int64)
    kept = [at for at in placement.formats if keep[at]]
    for column, (t, level) in enumerate(kept):
        chosen[:, t, level] = placement.formats[t, level][digits[:, column]]
    return placement.settled_formats(chosen, np.repeat(keep[None], len(digits), axis=0))


def _ordinals(radices: IntArray, batch: int) -> Iterator[tuple[IntArray, IntArray]]:
    """(row, ordinal within the row) over all rows of mixed radices, shape (rows, digits)."""
    most = LISTABLE // len(radices)
    sizes = radices.astype(float).prod(axis=1)
    totals = np.where(sizes < most, radices.prod(axis=1), most)
    ends = np.cumsum(totals)
    for start in range(0, int(ends[-1]), batch):
        number = np.arange(start, min(start + batch, int(ends[-1])), dtype=np.int64)
        row = np.searchsorted(ends, number, side="right")
        yield row, number - (ends[row] - totals[row])


def _digits(ordinal: IntArray, radices: IntArray) -> IntArray:
    """Mixed-radix digits of each ordinal, the last fastest, shape (n, digits)."""
    digits = np.empty_like(radices)
    rest = ordinal
    for column in reversed(range(radices.shape[1])):
        rest, digits[:, column] = np.divmod(rest, radices[:, column])
    return digits
