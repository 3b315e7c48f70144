from __future__ import annotations

from itertools import product
from math import comb, prod

import numpy as np
import pytest

from spaces.choice_forest import choice_forest, distinct_rows, row_index
from spaces.mappings import tiling
from spaces.mappings.loop_order import block_orders, lexicographic_number
from spaces.mappings.tiling import (
    AxisRule,
    TileLimits,
    compositions,
    padded_sizes,
    prime_factors,
    spatial_table,
    temporal_choices,
)


@pytest.mark.parametrize("size", [1, 2, 97, 2049, 4096, 11008, 50257, 128256])
def test_prime_factors_multiply_to_the_size(size: int) -> None:
    factors = prime_factors(size)
    assert prod(prime**count for prime, count in factors.items()) == size
    assert all(all(p % d for d in range(2, int(p**0.5) + 1)) for p in factors)


@pytest.mark.parametrize(("total", "parts"), [(0, 3), (1, 1), (5, 1), (4, 3), (12, 4)])
def test_compositions_are_all_the_ordered_sums(total: int, parts: int) -> None:
    rows = compositions(total, parts)
    assert len(rows) == comb(total + parts - 1, parts - 1)
    assert (rows.sum(axis=1) == total).all()
    assert (rows >= 0).all()
    assert rows.tolist() == [list(row) for row in sorted(set(map(tuple, rows.tolist())))]


@pytest.mark.parametrize("size", [3, 7, 2047, 2049, 11008, 32000, 50257])
def test_padded_sizes_stay_within_the_loss_and_contain_the_size(size: int) -> None:
    options = padded_sizes(size, [12, 14, 168], 0.1)
    assert options[0] == size
    assert options[-1] <= size * 1.1
    assert list(options) == sorted(set(options))


def test_awkward_sizes_can_fill_a_sixteen_wide_axis() -> None:
    for size in (50257, 2049, 2047, 11008):
        assert any(option % 16 == 0 for option in padded_sizes(size, [16, 256], 0.15))


def test_unrollings_are_every_product_that_fits() -> None:
    axes = [AxisRule("X", 1, 6, (0, 1)), AxisRule("Y", 1, 4, (1,))]
    table = spatial_table([(12,), (8,)], axes, 0.0)
    wanted = {
        ((a, b), (1, c))
        for a, b, c in product(range(1, 13), range(1, 9), range(1, 9))
        if 12 % a == 0 and 8 % (b * c) == 0 and a * b <= 6 and c <= 4
    }
    found = [tuple(map(tuple, trips)) for trips in table.trips.tolist()]
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_minimum_utilisation_falls_back_to_the_best_reachable() -> None:
    axes = [AxisRule("X", 0, 16, (0,))]
    full = spatial_table([(4096,)], axes, 0.5)
    assert sorted(full.trips[:, 0, 0].tolist()) == [8, 16]
    best = spatial_table([(6,)], axes, 0.9)
    assert best.trips[:, 0, 0].tolist() == [6]


def test_too_many_unrollings_leave_the_emptiest_out(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = [AxisRule("X", 0, 16, (0, 1)), AxisRule("Y", 0, 16, (0, 1))]
    sizes = [(4096,), (4096,)]
    every = spatial_table(sizes, axes, 0.0)
    assert (len(every.trips), every.least_fill) == (225, 0.0)  # C(6, 2) = 15 per axis
    monkeypatch.setattr(tiling, "MAXIMUM_SPATIAL_CHOICES", 100)
    fuller = spatial_table(sizes, axes, 0.0)
    lanes = every.trips.prod(axis=(1, 2))
    assert fuller.least_fill == 1 / 2
    assert len(fuller.trips) == (lanes >= 128).sum() <= 100 < (lanes >= 64).sum()
    monkeypatch.setattr(tiling, "MAXIMUM_SPATIAL_CHOICES", 3)
    with pytest.raises(ValueError, match="space: more than 3 spatial unrollings; restrict"):
        spatial_table(sizes, axes, 0.0)


def test_tilings_multiply_to_the_padded_size() -> None:
    axes = [AxisRule("X", 1, 4, (0, 1))]
    table = spatial_table([(6, 8), (5,)], axes, 0.0)
    free = TileLimits(np.full(3, 10**9), np.ones(3, dtype=np.int64))
    choices, possible = temporal_choices(0, table, [1], [(0, 2), (0, 1, 2)], free)
    assert possible.all()
    for row in range(len(table.padded)):
        for mask, active in enumerate([(0, 2), (0, 1, 2)]):
            root = choices.case_of[row] * 2 + mask
            rows = choices.trips[
                choices.forest.first_row[root] : choices.forest.first_row[root + 1]
            ]
            rest = table.padded[row, 0] // table.trips[row, 0, 0]
            assert (rows.prod(axis=1) == rest).all()
            expected = prod(comb(m + len(active) - 1, m) for m in prime_factors(rest).values())
            assert len(rows) == expected
            assert (rows[:, [level for level in range(3) if level not in active]] == 1).all()


def test_tile_limits_hold_for_active_levels_only() -> None:
    table = spatial_table([(16,)], [AxisRule("X", 1, 2, (0,))], 1.0)
    limits = TileLimits(np.array([99, 2, 99]), np.array([1, 1, 4]))
    choices, possible = temporal_choices(0, table, [1], [(0, 1), (0, 1, 2)], limits)
    assert possible.all()
    first = choices.forest.first_row
    without, within = choices.trips[first[0] : first[1]], choices.trips[first[1] : first[2]]
    assert without.tolist() == [[4, 2, 1], [8, 1, 1]]
    assert (within[:, 2] >= 4).all()
    assert (within[:, 1] <= 2).all()
    assert len(within) == 3  # 8 = 2 x 1 x 4, 1 x 2 x 4 or 1 x 1 x 8


def test_a_forest_reaches_every_row_and_its_ordinals_lead_back() -> None:
    rng = np.random.default_rng(0)
    table = np.unique(rng.integers(0, 4, (60, 4)), axis=0)
    roots, columns = table[:, 0], table[:, 1:]
    forest = choice_forest(roots, columns, 4)
    assert forest.walk(roots, forest.ordinals).tolist() == list(range(len(table)))
    points = np.stack([rng.integers(0, width, 500) for width in forest.widths], axis=1)
    start = rng.integers(0, 4, 500)
    reached = forest.walk(start, points)
    assert (roots[reached] == start).all()
    assert (forest.ordinals[reached] <= points).all()  # canonical = smallest


def test_a_row_index_finds_rows_and_nothing_else() -> None:
    table = np.array(list(product([1, 5, 9], [2, 3], [7, 8])))[:-1]
    index = row_index(table)
    assert index.find(table).tolist() == list(range(len(table)))
    assert index.find(np.array([[9, 3, 8], [2, 2, 7], [1, 2, 99]])).tolist() == [-1, -1, -1]


def test_lexicographic_numbers_count_up() -> None:
    orders = block_orders(np.zeros((4, 4), dtype=bool)).orders
    assert lexicographic_number(orders).tolist() == list(range(24))


def test_orders_respect_precedence_and_count_distinct_nests() -> None:
    outside = np.zeros((3, 3), dtype=bool)
    outside[0, 2] = True
    block = block_orders(outside)
    assert len(block.orders) == 3
    assert all(list(order).index(0) < list(order).index(2) for order in block.orders.tolist())
    assert block.count.tolist() == [1, 1, 1, 2, 1, 1, 2, 3]  # {0, 2} has one order only


def test_canonical_orders_are_the_same_nest() -> None:
    block = block_orders(np.zeros((3, 3), dtype=bool))
    for mask in range(8):
        for number, order in enumerate(block.orders.tolist()):
            first = block.orders[block.canonical[mask, number]].tolist()
            assert [r for r in order if mask >> r & 1] == [r for r in first if mask >> r & 1]


def test_contradicting_orders_and_too_many_ranks_are_refused() -> None:
    both = np.array([[False, True], [True, False]])
    with pytest.raises(ValueError, match=r"dataflow.order: the orders asked for contradict"):
        block_orders(both)
    with pytest.raises(ValueError, match="at most 7 ranks, got 8"):
        block_orders(np.zeros((8, 8), dtype=bool))


def test_distinct_rows_are_those_of_numpy() -> None:
    table = np.random.default_rng(0).integers(0, 3, (200, 3))
    rows, number = distinct_rows(table)
    wanted, inverse = np.unique(table, axis=0, return_inverse=True)
    np.testing.assert_array_equal(rows, wanted)
    np.testing.assert_array_equal(number, inverse.ravel())
