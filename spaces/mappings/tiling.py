"""Tilings: how the size of each rank is divided over the loops of a nest.

A rank's size, possibly padded to a friendlier one, is first divided over the fan-out axes, then the
prime factors of the rest over the temporal blocks of the levels: one number per rank and prime,
which counts the compositions of the prime's multiplicity. Both steps are rows of a `ChoiceForest`,
so that no axis is ever exceeded, minimum utilisation and tile limits hold by construction, and
designs can be counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import (
    ChoiceForest,
    IntArray,
    RowIndex,
    choice_forest,
    distinct_rows,
    row_index,
)

MAXIMUM_SPATIAL_CHOICES = 200_000
"""Joint unrollings listed at most; above it, those that leave most of the array idle go first."""

LEAST_FILLS = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""Fractions of all lanes that unrollings must reach when there are too many to list."""


def prime_factors(size: int) -> dict[int, int]:
    """Prime -> multiplicity, ascending.

    >>> prime_factors(11008)
    {2: 8, 43: 1}
    """
    factors: dict[int, int] = {}
    prime, rest = 2, size
    while prime * prime <= rest:
        while rest % prime == 0:
            factors[prime] = factors.get(prime, 0) + 1
            rest //= prime
        prime += 1
    if rest > 1:
        factors[rest] = factors.get(rest, 0) + 1
    return factors


def padded_sizes(size: int, multiples: Sequence[int], maximum_loss: float) -> tuple[int, ...]:
    """The size and the friendlier ones it may be padded to, ascending.

    Candidates are the next multiples of the given numbers and of the powers of four; one is kept
    when it wastes at most `maximum_loss` (padded / size - 1).

    >>> padded_sizes(50257, [16], 0.02)
    (50257, 50260, 50272, 50304, 50432, 51200)
    >>> padded_sizes(4096, [16], 0.15)
    (4096,)
    """
    powers = [4**i for i in range(1, 20)]
    candidates = {-(-size // multiple) * multiple for multiple in (1, *multiples, *powers)}
    return tuple(sorted(c for c in candidates if c <= size * (1 + maximum_loss)))


@lru_cache(maxsize=512)
def compositions(total: int, parts: int) -> NDArray[np.int64]:
    """Every way to write `total` as an ordered sum of `parts` terms >= 0, shape (ways, parts).

    Lexicographic, the first row putting everything last; C(total + parts - 1, parts - 1) rows.

    >>> compositions(2, 2).tolist()
    [[0, 2], [1, 1], [2, 0]]
    """
    bars = combinations(range(total + parts - 1), parts - 1)
    rows = [np.diff((-1, *bar, total + parts - 1)) - 1 for bar in bars]
    return np.array(rows, dtype=np.int64).reshape(-1, parts)


@dataclass(frozen=True)
class AxisRule:
    """One fan-out axis: its size, the level it stands below, and which ranks it may unroll."""

    name: str
    level: int
    size: int
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class SpatialTable:
    """Every joint choice of padded sizes and spatial unrolling, one per row.

    Attributes:
        columns: Branch labels: the ranks' padded-size numbers, then the axes' unrollings; sorted.
        padded: Padded size per rank, shape (rows, R).
        trips: Spatial trip count per axis and rank, shape (rows, A, R).
        least_fill: Fraction of all lanes below which unrollings were left out, 0..1.
    """

    columns: IntArray
    padded: IntArray
    trips: IntArray
    least_fill: float

    def take(self, rows: NDArray[np.bool_]) -> SpatialTable:
        """The rows that are marked."""
        return SpatialTable(
            self.columns[rows], self.padded[rows], self.trips[rows], self.least_fill
        )

    def forest(self) -> ChoiceForest:
        """The table as one tree."""
        return choice_forest(np.zeros(len(self.columns), dtype=np.int64), self.columns, 1)

    def signature(self) -> IntArray:
        """Padded sizes and trips of each row, side by side: what identifies it."""
        return np.concatenate([self.padded, self.trips.reshape(len(self.trips), -1)], axis=1)


def spatial_table(
    sizes: Sequence[Sequence[int]], axes: Sequence[AxisRule], minimum_utilisation: float
) -> SpatialTable:
    """List the unrollings of ranks with these size options over these axes.

    Where there are more than `MAXIMUM_SPATIAL_CHOICES`, the minimum utilisation is raised to the
    next of `LEAST_FILLS` until there are not.

    Args:
        sizes: Per rank, its padded sizes.
        axes: The fan-out axes, outermost first.
        minimum_utilisation: Fraction of all lanes in use, 0..1, or the best reachable if less.

    Raises:
        ValueError: If there are too many even among the fullest.
    """
    stricter = [fill for fill in LEAST_FILLS if fill > minimum_utilisation]
    for least in (minimum_utilisation, *stricter):
        table = _unrollings(sizes, axes, least)
        if table is None:
            continue
        if len(table.columns):
            return table
        every = _unrollings(sizes, axes, 0.0)
        if every is not None:
            lanes = every.trips.prod(axis=(1, 2))
            return every.take(lanes == lanes.max())
    raise ValueError(
        f"space: more than {MAXIMUM_SPATIAL_CHOICES} spatial unrollings; restrict "
        "dataflow.spatial to fewer ranks per axis, or lower maximum_padding"
    )


def _unrollings(
    sizes: Sequence[Sequence[int]], axes: Sequence[AxisRule], least: float
) -> SpatialTable | None:
    """The unrollings that use this fraction of all lanes; None when there are too many."""
    columns = np.array(list(product(*[range(len(options)) for options in sizes])), dtype=np.int64)
    options = [np.array(option)[columns[:, r]] for r, option in enumerate(sizes)]
    padded = np.stack(options, axis=1)
    rest = padded
    trips = np.ones((len(columns), 0, len(sizes)), dtype=np.int64)
    for number, axis in enumerate(axes):
        unrolled = _axis_unrollings(axis, sizes)
        lanes = trips.prod(axis=(1, 2))
        needed = least * prod(axis.size for axis in axes[: number + 1]) - 1e-9
        pairs = _divisible(rest, unrolled, lanes, needed)
        if pairs is None:
            return None
        parent, which = pairs
        rest, padded = rest[parent] // unrolled[which], padded[parent]
        trips = np.concatenate([trips[parent], unrolled[which][:, None, :]], axis=1)
        columns = np.concatenate([columns[parent], which[:, None]], axis=1)
    return SpatialTable(columns, padded, trips, least)


def _axis_unrollings(axis: AxisRule, sizes: Sequence[Sequence[int]]) -> IntArray:
    """Trip counts per rank whose product fits the axis, lexicographic, shape (ways, R)."""
    rows = [[1] * len(sizes)]
    for rank in axis.ranks:
        divisors = sorted(
            {d for size in sizes[rank] for d in range(1, axis.size + 1) if size % d == 0}
        )
        rows = [
            [*row[:rank], d, *row[rank + 1 :]]
            for row in rows
            for d in divisors
            if prod(row) * d <= axis.size
        ]
    return np.array(sorted(rows), dtype=np.int64)


def _divisible(
    rest: IntArray, unrolled: IntArray, lanes: IntArray, needed: float
) -> tuple[IntArray, IntArray] | None:
    """Pairs (row of rest, row of unrolled) where the latter divides the former in every rank.

    Args:
        rest: What is left of each rank, shape (rows, R).
        unrolled: Trips per rank, shape (ways, R).
        lanes: In use so far, shape (rows,).
        needed: Lanes that must be in use afterwards.

    Returns:
        The two row numbers of every pair; None when there are too many.
    """
    parents, choices = [], []
    step = max(1, 2_000_000 // unrolled.size)
    found = 0
    used = unrolled.prod(axis=1)
    for start in range(0, len(rest), step):
        part = slice(start, start + step)
        fits = lanes[part, None] * used[None] >= needed
        for rank in np.flatnonzero((unrolled > 1).any(axis=0)):
            fits &= rest[part, None, rank] % unrolled[None, :, rank] == 0
        parent, choice = np.nonzero(fits)
        found += len(parent)
        if found > MAXIMUM_SPATIAL_CHOICES:
            return None
        parents.append(parent + start)
        choices.append(choice)
    if not parents:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(parents), np.concatenate(choices)


@dataclass(frozen=True)
class TemporalChoices:
    """Every division of one rank's remaining size over the temporal blocks.

    A *case* is one (padded size, spatial trips) of the rank; each case has one root per mask of
    active levels, at `case * masks + mask`.

    Attributes:
        forest: Depths are the rank's prime slots; rows are tilings.
        slot_names: Per depth, the prime, or odd1, odd2... where padding changes the primes.
        case_of: The case of each spatial row, shape (spatial rows,).
        trips: Temporal trips per level, shape (rows, L).
        index: Finds a row by (root, trips).
    """

    forest: ChoiceForest
    slot_names: tuple[str, ...]
    case_of: IntArray
    trips: IntArray
    index: RowIndex


@dataclass(frozen=True)
class TileLimits:
    """Limits of one rank per level, each of shape (L,): largest trip, least tile extent."""

    maximum_trip: IntArray
    minimum_tile: IntArray

    def satisfied(self, trips: IntArray, spatial_below: IntArray, padded: int) -> NDArray[np.bool_]:
        """Whether each level of each row of trips is within its limits, shape (rows, L).

        Args:
            trips: Temporal trips per level, shape (rows, L).
            spatial_below: Product of the spatial trips below each level, shape (L,).
            padded: The rank's padded size.
        """
        extent = np.cumprod(trips[:, ::-1], axis=1)[:, ::-1] * spatial_below
        least = np.minimum(self.minimum_tile, padded)
        within = (trips <= self.maximum_trip) & (extent >= least)
        return np.asarray(within)


def temporal_choices(
    rank: int,
    spatial: SpatialTable,
    axis_levels: Sequence[int],
    masks: Sequence[Sequence[int]],
    limits: TileLimits,
) -> tuple[TemporalChoices, NDArray[np.bool_]]:
    """List the temporal tilings of one rank for every case, and which cases have any.

    Args:
        rank: Column of the rank in `spatial`.
        spatial: The joint spatial choices.
        axis_levels: The level each axis stands below.
        masks: The sets of active levels that may occur, each ascending and with level 0.
        limits: Of this rank.
    """
    signature = np.concatenate([spatial.padded[:, [rank]], spatial.trips[:, :, rank]], axis=1)
    cases, case_of = distinct_rows(signature)
    slots, names = _prime_slots(tuple(int(size) for size in np.unique(cases[:, 0])))
    levels = len(limits.minimum_tile)
    roots, columns, trips = [], [], []
    possible = np.ones(len(cases), dtype=bool)
    for case, (padded, *factors) in enumerate(cases.tolist()):
        below = _spatial_below(factors, axis_levels, levels)
        primes = slots[padded]
        rest = padded // prod(factors)
        for number, active in enumerate(masks):
            labels, tiling = _tilings(_multiplicities(rest, primes), primes, tuple(active), levels)
            good = limits.satisfied(tiling, below, padded)[:, list(active)].all(axis=1)
            possible[case] &= bool(good.any())
            roots.append(np.full(int(good.sum()), case * len(masks) + number, dtype=np.int64))
            columns.append(labels[good])
            trips.append(tiling[good])
    root, all_trips = np.concatenate(roots), np.concatenate(trips)
    forest = choice_forest(root, np.concatenate(columns), len(cases) * len(masks))
    index = row_index(np.concatenate([root[:, None], all_trips], axis=1))
    return TemporalChoices(forest, names, case_of, all_trips, index), possible[case_of]


def _prime_slots(sizes: tuple[int, ...]) -> tuple[dict[int, tuple[int, ...]], tuple[str, ...]]:
    """Per padded size the prime of each slot (1 = none), and the slots' names.

    >>> _prime_slots((11008,))
    ({11008: (2, 43)}, ('2', '43'))
    >>> _prime_slots((2049, 2064))
    ({2049: (2, 3, 683), 2064: (2, 3, 43)}, ('2', 'odd1', 'odd2'))
    """
    primes = {size: tuple(prime_factors(size)) or (2,) for size in sizes}
    if len(sizes) == 1:
        return primes, tuple(str(prime) for prime in primes[sizes[0]])
    odd = {size: [p for p in found if p > 2] for size, found in primes.items()}
    count = max(len(found) for found in odd.values())
    slots = {size: (2, *found, *[1] * (count - len(found))) for size, found in odd.items()}
    return slots, ("2", *(f"odd{i + 1}" for i in range(count)))


def _multiplicities(rest: int, primes: Sequence[int]) -> tuple[int, ...]:
    factors = prime_factors(rest)
    return tuple(factors.get(prime, 0) for prime in primes)


@lru_cache(maxsize=4096)
def _tilings(
    multiplicities: tuple[int, ...], primes: tuple[int, ...], active: tuple[int, ...], levels: int
) -> tuple[IntArray, IntArray]:
    """Composition number per prime, and trips per level, of every tiling; lexicographic."""
    options = [compositions(m, len(active)) for m in multiplicities]
    picks = np.indices([len(option) for option in options]).reshape(len(options), -1).T
    trips = np.ones((len(picks), levels), dtype=np.int64)
    for slot, prime in enumerate(primes):
        trips[:, list(active)] *= prime ** options[slot][picks[:, slot]]
    return picks.astype(np.int64), trips


def _spatial_below(factors: Sequence[int], axis_levels: Sequence[int], levels: int) -> IntArray:
    """Product of the factors of the axes at or below each level, shape (L,)."""
    return np.array(
        [
            prod(f for f, at in zip(factors, axis_levels, strict=True) if at >= level)
            for level in range(levels)
        ],
        dtype=np.int64,
    )
