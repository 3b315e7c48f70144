from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.ga import GA

from evaluators.evaluation import Evaluation
from strategies.pymoo_strategy import PymooStrategy, spread_directions
from strategies.random_strategy import RandomStrategy
from strategies.tuning.batches import batch_length, evaluate_points
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import bowl_problem


def test_finds_a_better_front_than_random_search() -> None:
    problem = bowl_problem()
    fronts = []
    for strategy in (
        PymooStrategy(partial(NSGA2, pop_size=40), problem, seed=0),
        RandomStrategy(problem.space, seed=0),
    ):
        log = in_memory_log(problem.meta("t"))
        fronts.append(Tuner(problem, strategy, log, Budget(trials=800)).run())
    reference = np.array([300.0, 300.0])
    from strategies.pareto import hypervolume

    volumes = [hypervolume(result.losses[result.front], reference) for result in fronts]
    assert volumes[0] > volumes[1]


def test_constraints_are_respected_natively() -> None:
    problem = bowl_problem(["energy_pj"], ["latency_cycles <= 60"])
    log = in_memory_log(problem.meta("t"))
    strategy = PymooStrategy(partial(GA, pop_size=40), problem, seed=0)
    result = Tuner(problem, strategy, log, Budget(trials=1200)).run()
    late = result.reader.states()[-200:]
    assert (late == "feasible").mean() > 0.4
    assert result.best is not None
    assert result.best.metrics["latency_cycles"] <= 60


def test_an_algorithm_without_constraints_sees_penalties() -> None:
    problem = bowl_problem(constraints=["latency_cycles <= 60"])
    log = in_memory_log(problem.meta("t"))
    strategy = PymooStrategy(partial(ParallelMOEAD), problem, seed=0, reference_directions=40)
    result = Tuner(problem, strategy, log, Budget(trials=1200)).run()
    late = result.reader.states()[-200:]
    assert (late == "feasible").mean() > (result.reader.states()[:200] == "feasible").mean()


def test_generations_hold_no_duplicates() -> None:
    problem = bowl_problem(["energy_pj"])
    strategy = PymooStrategy(partial(GA, pop_size=50), problem, seed=0)
    for _ in range(4):
        columns = strategy.ask(50)
        points = set(zip(*(np.asarray(v).tolist() for v in columns.values()), strict=True))
        assert len(points) == batch_length(columns)
        strategy.tell(columns, evaluate_points(problem.space, problem.evaluator, columns))


def test_given_points_join_the_next_generation_without_being_proposed_again() -> None:
    problem = bowl_problem(["energy_pj"])
    strategy = PymooStrategy(partial(GA, pop_size=20), problem, seed=0)
    given = problem.space.sample(4, np.random.default_rng(0))
    strategy.tell(given, Evaluation({"energy_pj": np.array([-5.0, -4.0, -3.0, -2.0])}))
    columns = strategy.ask(50)
    assert batch_length(columns) == 16
    strategy.tell(columns, evaluate_points(problem.space, problem.evaluator, columns))
    assert strategy.algorithm.pop.get("F").min() == -5.0


def test_single_objective_algorithms_refuse_several() -> None:
    with pytest.raises(ValueError, match="GA needs one objective, this study has 2"):
        PymooStrategy(partial(GA), bowl_problem())
    with pytest.raises(ValueError, match="at least two objectives"):
        spread_directions(1, 10)


@pytest.mark.parametrize(("m", "points"), [(2, 100), (3, 91), (3, 100), (4, 10)])
def test_directions_are_spread_on_the_simplex(m: int, points: int) -> None:
    directions = spread_directions(m, points)
    assert m <= len(directions) <= points
    np.testing.assert_allclose(directions.sum(axis=1), 1.0)
