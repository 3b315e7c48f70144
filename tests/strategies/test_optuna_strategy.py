from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from evaluators.evaluation import Evaluation
from strategies.optuna_strategy import STAGE, OptunaStrategy
from strategies.random_strategy import RandomStrategy
from strategies.strategy import Strategy
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import DISCRETE, bowl_problem


def best_energy(strategy: Strategy, trials: int) -> float:
    problem = bowl_problem(["energy_pj"])
    log = in_memory_log(problem.meta("t"))
    best = Tuner(problem, strategy, log, Budget(trials=trials)).run().best
    assert best is not None
    return best.metrics["energy_pj"]


def test_tpe_beats_random_search_on_average() -> None:
    problem = bowl_problem(["energy_pj"])
    tpe = [best_energy(OptunaStrategy(partial(TPESampler), problem, s), 60) for s in range(4)]
    random = [best_energy(RandomStrategy(problem.space, s), 60) for s in range(4)]
    assert np.mean(tpe) < np.mean(random)


def test_constraints_reach_the_sampler_natively() -> None:
    problem = bowl_problem(["energy_pj"], ["latency_cycles <= 60"])
    strategy = OptunaStrategy(partial(TPESampler, n_startup_trials=5), problem, 0)
    log = in_memory_log(problem.meta("t"))
    Tuner(problem, strategy, log, Budget(trials=20)).run()
    trials = strategy.study.trials
    violations = log.reader.values("violation/latency_cycles<=60")
    told = [trial.constraints["latency_cycles<=60"] for trial in trials]
    np.testing.assert_array_equal(told, violations)
    assert all("capacity" in trial.constraints for trial in trials)


def test_a_sampler_that_ignores_constraints_is_told_a_penalty() -> None:
    problem = bowl_problem(["energy_pj"], ["latency_cycles <= 60"], definitions=DISCRETE)
    strategy = OptunaStrategy(partial(CmaEsSampler), problem, 0)
    log = in_memory_log(problem.meta("t"))
    result = Tuner(problem, strategy, log, Budget(trials=30)).run()
    states = result.reader.states()
    told = np.array([trial.value for trial in strategy.study.trials])
    assert {"feasible", "infeasible"} <= set(states)
    recorded = result.reader.values("metric/energy_pj")
    np.testing.assert_array_equal(told[states == "feasible"], recorded[states == "feasible"])
    assert (told[states == "infeasible"] > recorded[states == "infeasible"]).all()


def test_directions_are_those_of_the_goal() -> None:
    from strategies.objective import make_goal
    from strategies.problem import Problem

    base = bowl_problem()
    goal = make_goal(["energy_pj", "latency_cycles"], ["maximize", "minimize"])
    problem = Problem(base.space, base.evaluator, goal)
    strategy = OptunaStrategy(RandomSampler(seed=0), problem)
    assert [d.name for d in strategy.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    log = in_memory_log(problem.meta("t"))
    result = Tuner(problem, strategy, log, Budget(trials=10)).run()
    best = result.best_of("energy_pj")
    assert best is not None
    assert best.metrics["energy_pj"] == result.reader.values("metric/energy_pj").max()
    assert strategy.study.trials[3].values[0] == result.reader.values("metric/energy_pj")[3]


def test_failed_trials_are_failed_in_optuna_too() -> None:
    problem = bowl_problem()
    strategy = OptunaStrategy(RandomSampler(seed=0), problem, batch_size=2)
    columns = strategy.ask(2)
    metrics = {"energy_pj": np.array([1.0, np.nan]), "latency_cycles": np.array([1.0, np.nan])}
    strategy.tell(columns, Evaluation(metrics, failures={1: "broken"}))
    assert [t.state for t in strategy.study.trials] == [TrialState.COMPLETE, TrialState.FAIL]


def test_given_points_are_added_and_abandoned_proposals_closed() -> None:
    problem = bowl_problem()
    strategy = OptunaStrategy(RandomSampler(seed=0), problem, batch_size=2)
    strategy.ask(2)
    given = problem.space.sample(1, np.random.default_rng(0))
    strategy.tell(given, problem.evaluator.evaluate(given))
    states = [t.state for t in strategy.study.trials]
    assert states == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert strategy.study.trials[2].params["tile_m"] == given["tile_m"][0]


def test_an_exhaustive_sampler_ends_the_study() -> None:
    problem = bowl_problem(
        ["energy_pj"],
        definitions={"x": {"low": 0, "high": 4}, "k": {"choices": ["a", "b"]}},
    )
    strategy = OptunaStrategy(partial(optuna.samplers.BruteForceSampler), problem, 0)
    log = in_memory_log(problem.meta("t"))
    result = Tuner(problem, strategy, log, Budget(trials=100)).run()
    assert (result.ended_by, result.n_trials) == ("finished", 10)


class StagedSampler(RandomSampler):
    """Says in which stage it proposes."""

    def __init__(self, space: object, seed: int):
        super().__init__(seed)
        self.space = space

    def before_trial(self, study: optuna.Study, trial: Any) -> None:
        study._storage.set_trial_user_attr(trial._trial_id, STAGE, "formats")


def test_a_sampler_factory_gets_what_it_names_and_its_stages_become_tags() -> None:
    problem = bowl_problem()
    strategy = OptunaStrategy(StagedSampler, problem, seed=3)
    assert isinstance(strategy.sampler, StagedSampler)
    assert strategy.sampler.space is problem.space
    log = in_memory_log(problem.meta("t"))
    Tuner(problem, strategy, log, Budget(trials=3)).run()
    assert log.reader.tags() == [{"stage": "formats"}] * 3
    assert strategy.tags() == ()


def test_a_sampler_for_one_objective_is_refused_for_two_before_any_trial() -> None:
    with pytest.raises(ValueError, match="CmaEsSampler needs one objective, this study has 2"):
        OptunaStrategy(CmaEsSampler(), bowl_problem())


def test_what_is_no_sampler_is_refused() -> None:
    def not_a_sampler() -> BaseSampler:
        return 3  # type: ignore[return-value]

    with pytest.raises(ValueError, match="must be an Optuna sampler, got int"):
        OptunaStrategy(not_a_sampler, bowl_problem())
    with pytest.raises(ValueError, match=r"strategy\.batch_size: must be >= 1, got 0"):
        OptunaStrategy(RandomSampler(), bowl_problem(), batch_size=0)
