"""What searches at some prices of latency prove at others, against a list of mappings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from strategies.priced_search import PricedSearch

OFFERED = (((1,),),)


@dataclass(frozen=True)
class Found:
    """One mapping; the energy has its priced latency in it, as leakage would be."""

    energy_pj: np.ndarray
    latency_cycles: np.ndarray
    certified: bool = True


class Listed:
    """An inner search over a list of (energy, cycles)."""

    def __init__(self, *costs: tuple[float, float], certified: bool = True) -> None:
        self.costs = np.array(costs)
        self.certified = certified
        self.asked: list[tuple[str, float]] = []

    def __call__(self, objective: str, price: float, offered: object) -> Found:
        self.asked.append((objective, price))
        totals = self.costs @ [1.0, price]
        best = [int(totals.argmin())]
        return Found(totals[best], self.costs[best, 1], self.certified)

    def best(self, price: float) -> float:
        return float((self.costs @ [1.0, price]).min())


@pytest.mark.parametrize("seed", range(20))
def test_every_price_gets_its_best_with_few_searches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    listed = Listed(*rng.uniform(1.0, 9.0, (12, 2)).tolist())
    priced = PricedSearch(listed, least_cycles=float(listed.costs[:, 1].min()))
    prices = np.concatenate([[0.0, 1e3], rng.uniform(0.0, 4.0, 60)])
    for price in prices:
        found = priced.asked("energy", float(price))(OFFERED)
        mine = found.latency_cycles[0]
        (row,) = np.flatnonzero(listed.costs[:, 1] == mine)
        assert listed.costs[row] @ [1.0, price] == pytest.approx(listed.best(price), rel=1e-11)
    assert len(listed.asked) < 25  # of 62: hull vertices and their edges


def test_the_fastest_of_least_energy_needs_one_search_for_all_prices_and_the_front() -> None:
    listed = Listed((3.0, 5.0), (4.0, 6.0))
    priced = PricedSearch(listed, least_cycles=5.0)
    for price in (0.0, 7.0, 0.5):
        assert priced.asked("energy", price)(OFFERED).energy_pj[0] == 3.0
    assert priced.asked("pareto", 0.0)(OFFERED).latency_cycles.tolist() == [5.0]
    assert listed.asked == [("energy", 0.0)]


def test_a_trade_may_hide_behind_slower_mappings() -> None:
    listed = Listed((3.0, 5.0), (9.0, 4.0))
    priced = PricedSearch(listed, least_cycles=2.0)
    assert priced.asked("energy", 0.0)(OFFERED).latency_cycles[0] == 5.0
    assert priced.asked("energy", 8.0)(OFFERED).latency_cycles[0] == 4.0
    priced.asked("pareto", 0.0)(OFFERED)
    priced.asked("latency", 0.0)(OFFERED)
    assert [objective for objective, _ in listed.asked] == ["energy"] * 2 + ["pareto", "latency"]


def test_a_cut_search_proves_nothing() -> None:
    listed = Listed((3.0, 5.0), certified=False)
    priced = PricedSearch(listed, least_cycles=5.0)
    for _ in range(2):
        priced.asked("energy", 0.0)(OFFERED)
    assert len(listed.asked) == 2
