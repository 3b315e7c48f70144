"""Least product of sums by priced questions, against every choice, literally."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.exact.model_search import Front
from strategies.model_choice import ModelChoice, Question, Totals
from strategies.model_product import least_product
from strategies.part_search import PartFront, PartResult
from tests.strategies.model_oracle import every_sum, random_fronts


def answers(fronts: list[Front], question: Question, slack: float) -> list[PartFront]:
    """The best alternative of every part; the floor is `slack` too low, as of a cut search."""
    found = []
    for front in fronts:
        price = question.pj_per_cycle
        best = int((front.energy_pj + price * front.latency_cycles).argmin())
        metrics = {
            "energy_pj": float(front.energy_pj[best]),
            "latency_cycles": float(front.latency_cycles[best]),
        }
        costs = np.array([question.costs(metrics)])
        found.append(PartFront((PartResult(None, metrics),), costs, costs * (1 - slack)))
    return found


def solved(fronts: list[Front], slack: float = 0.0) -> tuple[ModelChoice, list[float]]:
    """The choice, and the prices asked for."""
    counts = [front.count for front in fronts]
    least = sum(front.count * front.latency_cycles.min() / 2 for front in fronts)
    search = least_product(Totals(counts, lambda: float(least)))
    question, prices = next(search), []
    while True:
        prices.append(question.pj_per_cycle)
        try:
            question = search.send(answers(fronts, question, slack))
        except StopIteration as end:
            return end.value, prices


def product_of(choice: ModelChoice, fronts: list[Front]) -> float:
    counts = [front.count for front in fronts]
    totals = Totals(counts, lambda: 0.0)
    return totals.sum(choice.parts, "energy_pj") * totals.sum(choice.parts, "latency_cycles")


@pytest.mark.parametrize("seed", range(60))
def test_the_least_product_is_found_and_certified(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    choice, prices = solved(fronts)
    assert choice.certified
    assert product_of(choice, fronts) == pytest.approx((energy * cycles).min())
    assert len(prices) == len(set(prices)) <= 12


def test_without_a_trade_two_questions_do() -> None:
    fronts = [Front(np.array([3.0]), np.array([5.0]), 2), Front(np.array([7.0]), np.array([1.0]))]
    choice, prices = solved(fronts)
    assert choice.gap == 0.0
    assert prices == [0.0, 4.0]  # 13 pJ / 5.5 cycles, rounded up to a power of two


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_search_states_a_gap_that_holds(seed: int) -> None:
    fronts = random_fronts(seed)
    energy, cycles = every_sum(fronts)
    choice, _ = solved(fronts, slack=0.03)
    assert choice.gap > 0.02
    assert product_of(choice, fronts) * (1 - choice.gap) <= (energy * cycles).min()
