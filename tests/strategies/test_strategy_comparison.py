"""Whole searches as trials: reproducible, compared over seeds, and drawn."""

from functools import partial

import numpy as np
import pytest

from strategies.annealing_strategy import AnnealingStrategy
from strategies.mapper_strategy import MapperStrategy
from strategies.strategy_comparison import Search, StrategyComparison, significance_text
from tests.strategies.problems import bowl_problem

WIDE = {f"x{i}": {"low": 0, "high": 40} for i in range(8)} | {"k": {"choices": ["a", "b"]}}
SEEDS = 5


@pytest.fixture(scope="module")
def comparison() -> StrategyComparison:
    problem = bowl_problem(["energy_pj"], definitions=WIDE)
    strategies = {"mapper": MapperStrategy, "annealing": partial(AnnealingStrategy, chains=4)}
    return StrategyComparison(
        problem.space, problem.evaluator, problem.goal, strategies, trials=200
    )


def designs() -> dict[str, np.ndarray]:
    names = [name for name in ("mapper", "annealing") for _ in range(SEEDS)]
    return {"strategy": np.array(names, object), "run_seed": np.tile(np.arange(SEEDS), 2)}


def test_a_search_is_reproducible_and_keeps_its_budget(comparison) -> None:
    first = comparison.evaluate(designs()).metrics
    comparison._done.clear()
    again = comparison.evaluate(designs()).metrics
    assert set(first["evaluations"]) == {200}
    for name, values in first.items():
        assert values.tolist() == again[name].tolist()


def test_the_survey_ranks_draws_and_tells_chance_from_skill(comparison) -> None:
    found = comparison.survey(designs())
    (rows,) = found["tables"].values()
    assert [row["strategy"] for row in rows] == ["annealing", "mapper"]
    assert rows[0]["median best / best of all"] >= 1
    assert 0 < rows[1]["hypervolume / best"] <= rows[0]["hypervolume / best"] <= 1
    (said,) = found["texts"].values()
    assert "annealing is better than mapper" in said
    axes = found["figures"]["best_against_evaluations"].axes[0]
    assert [line.get_label() for line in axes.lines] == ["mapper", "annealing"]
    for line in axes.lines:
        drawn = np.asarray(line.get_ydata(), float)
        assert (np.diff(drawn[np.isfinite(drawn)]) <= 1e-12).all()


def search(values: list[float]) -> Search:
    losses = np.array(values)
    return Search(losses, np.stack([losses, losses], axis=1), np.arange(len(values)) + 1.0)


def test_equal_results_are_not_called_different() -> None:
    groups = {name: [search([3.0, 2.0 + 0.1 * seed]) for seed in range(5)] for name in "ab"}
    assert "a is not distinguishable from b (p = 1)" in significance_text(groups)
    apart = {"a": groups["a"], "b": [search([9.0 + seed]) for seed in range(5)]}
    assert "a is better than b (p = 0.00794)" in significance_text(apart)
