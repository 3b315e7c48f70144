"""Least energy within a latency against every choice, literally."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.exact.model_budget import least_energy_within
from strategies.exact.model_search import Front
from tests.strategies.model_oracle import every_sum, random_fronts


@pytest.mark.parametrize("seed", range(40))
def test_every_budget_is_met_with_the_least_energy(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    for budget in np.quantile(cycles, [0.0, 0.05, 0.2, 0.5, 0.9]):
        found = least_energy_within(fronts, float(budget))
        assert found.gap == 0.0
        assert found.latency_cycles[0] <= budget * (1 + 1e-12)
        assert found.energy_pj[0] == pytest.approx(energy[cycles <= budget].min())
        picked = [f.count * f.energy_pj[i] for f, i in zip(fronts, found.choices[0], strict=True)]
        assert sum(picked) == pytest.approx(found.energy_pj[0])


def test_a_budget_that_nothing_meets_gives_the_fastest_choice() -> None:
    fronts = random_fronts(1)
    _, cycles = every_sum(fronts)
    found = least_energy_within(fronts, float(cycles.min()) / 2)
    assert found.latency_cycles[0] == pytest.approx(cycles.min())


def trading_fronts(seed: int, parts: int, points: int) -> list[Front]:
    """Parts that all trade energy for latency, about inversely."""
    rng = np.random.default_rng(seed)
    cycles = np.sort(rng.uniform(1, 100, (parts, points)), axis=1)
    return [Front(1e4 / each + rng.uniform(0, 1, points), each) for each in cycles]


def test_a_cut_search_states_a_gap_that_holds() -> None:
    """With one partial choice at a time the best is missed now and then, never beyond the gap."""
    missed = 0
    for seed in range(30):
        fronts = trading_fronts(seed, parts=5, points=6)
        energy, cycles = every_sum(fronts)
        budget = float(np.quantile(cycles, 0.1))
        found = least_energy_within(fronts, budget, limit=1)
        least = energy[cycles <= budget].min()
        assert found.energy_pj[0] * (1 - found.gap) <= least * (1 + 1e-12)
        if found.energy_pj[0] > least * (1 + 1e-9):
            missed += 1
            assert found.gap > 0
    assert missed


def test_many_operators_with_long_fronts_stay_exact() -> None:
    """The knapsack's worst habit, ever more partial sums, is held down by the bound."""
    found = least_energy_within(trading_fronts(3, parts=20, points=60), 600.0)
    assert found.gap == 0.0
    assert 0.99 * 600 < found.latency_cycles[0] <= 600.0
