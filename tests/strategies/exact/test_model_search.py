"""Combinations of operator fronts against every choice, literally."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from strategies.exact.model_search import (
    Front,
    best_product,
    least_energy_within,
    merge_fronts,
    undominated,
)


def random_fronts(seed: int) -> list[Front]:
    rng = np.random.default_rng(seed)
    return [
        Front(rng.uniform(1, 9, n), rng.uniform(1, 9, n), int(rng.integers(1, 4)))
        for n in rng.integers(1, 7, size=4)
    ]


def every_sum(fronts: list[Front]) -> tuple[np.ndarray, np.ndarray]:
    rows = list(product(*(range(len(f.energy_pj)) for f in fronts)))
    energy = [sum(f.count * f.energy_pj[i] for f, i in zip(fronts, r, strict=True)) for r in rows]
    cycles = [
        sum(f.count * f.latency_cycles[i] for f, i in zip(fronts, r, strict=True)) for r in rows
    ]
    return np.array(energy), np.array(cycles)


@pytest.mark.parametrize("seed", range(30))
def test_best_product_equals_enumeration(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    found = best_product(fronts)
    assert found.energy_pj[0] * found.latency_cycles[0] == pytest.approx((energy * cycles).min())


@pytest.mark.parametrize("seed", range(30))
def test_merged_front_equals_enumeration(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    want = undominated(energy, cycles)
    found = merge_fronts(fronts)
    assert found.gap == 0.0
    assert found.energy_pj == pytest.approx(energy[want])
    assert found.latency_cycles == pytest.approx(cycles[want])


def test_thinned_front_is_within_its_gap() -> None:
    rng = np.random.default_rng(0)
    fronts = [Front(100 / np.arange(1, 40) + rng.uniform(0, 1e-3, 39), np.arange(1.0, 40))] * 3
    exact, thin = merge_fronts(fronts), merge_fronts(fronts, limit=50)
    assert thin.gap > 0.0
    for energy, cycles in zip(exact.energy_pj, exact.latency_cycles, strict=True):
        near = thin.latency_cycles <= cycles * (1 + thin.gap) * (1 + 1e-9)
        assert thin.energy_pj[near].min() <= energy * (1 + 1e-9)


def test_budget_that_nothing_meets_says_by_how_much() -> None:
    merged = merge_fronts(random_fronts(1))
    with pytest.raises(ValueError, match=r"latency budget must be at least .* over\)"):
        least_energy_within(merged, float(merged.latency_cycles.min()) / 2)
