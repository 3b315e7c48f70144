"""Combinations of operator fronts against every choice, literally."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.exact.model_search import Front, merge_fronts, merge_hulls, undominated
from tests.strategies.model_oracle import every_sum, random_fronts


@pytest.mark.parametrize("seed", range(30))
def test_a_vertex_of_the_hull_has_the_least_product_of_all_sums(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    hull = merge_hulls(fronts)
    least = (hull.energy_pj * hull.latency_cycles).min()
    assert least == pytest.approx((energy * cycles).min())


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
