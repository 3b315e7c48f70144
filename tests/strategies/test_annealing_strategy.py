"""Annealing and the random mapper: they improve, obey constraints, and the mapper gives up."""

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.annealing_strategy import AnnealingStrategy
from strategies.mapper_strategy import MapperStrategy
from strategies.tuning.batches import batch_length, evaluate_points
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import DISCRETE, bowl_problem


def best_of(strategy, problem, trials: int) -> float:
    log = in_memory_log(problem.meta("test"))
    result = Tuner(problem, strategy, log, Budget(trials=trials)).run()
    return float(result.best.metrics["energy_pj"])


def test_annealing_beats_random_search_on_a_wide_space() -> None:
    wide = {f"x{i}": {"low": 0, "high": 40} for i in range(8)} | {"k": {"choices": ["a", "b"]}}
    problem = bowl_problem(["energy_pj"], definitions=wide)
    found = [best_of(AnnealingStrategy(problem, seed=s), problem, 800) for s in range(3)]
    drawn = [best_of(MapperStrategy(problem, 10**6, seed=s), problem, 800) for s in range(3)]
    assert max(found) < min(drawn)


def test_annealing_moves_towards_feasible_points() -> None:
    problem = bowl_problem(["energy_pj"], ["energy_pj >= 30", "latency_cycles <= 90"])
    assert 30 <= best_of(AnnealingStrategy(problem, seed=0), problem, 300) < 60


@pytest.mark.parametrize(
    ("settings", "said"), [({"chains": 0}, "chains: must be >= 1"), ({"cooling": 1.0}, "cooling")]
)
def test_annealing_refuses_settings_that_cannot_work(settings, said) -> None:
    with pytest.raises(ValueError, match=said):
        AnnealingStrategy(bowl_problem(["energy_pj"]), **settings)


def told(strategy, problem, feasible: bool, most: int = 10_000) -> int:
    """Points proposed until the strategy ends, all of one kind."""
    count = 0
    while count < most and batch_length(columns := strategy.ask(7)):
        found = evaluate_points(problem.space, problem.evaluator, columns)
        violation = np.full(len(found), -1.0 if feasible else 1.0)
        metrics = {name: np.full(len(found), 5.0) for name in found.metrics}
        strategy.tell(columns, Evaluation(metrics, {"capacity": violation}))
        count += len(found)
    return count


def test_the_mapper_ends_without_luck() -> None:
    problem = bowl_problem(["energy_pj"], definitions=DISCRETE)
    feasible = MapperStrategy(problem, victory_condition=20, timeout=50, seed=0)
    assert 21 <= told(feasible, problem, feasible=True) < 21 + 7
    infeasible = MapperStrategy(problem, victory_condition=20, timeout=50, seed=0)
    assert 50 <= told(infeasible, problem, feasible=False) < 50 + 7
    with pytest.raises(ValueError, match="victory_condition: must be >= 1, got 0"):
        MapperStrategy(problem, victory_condition=0)
