"""Our problems in a plain Optuna study: every kind of parameter, constraints, failures."""

from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from spaces.parameter_space import ParameterSpace
from strategies.plain_study import objective_of, suggested
from tests.strategies.problems import MIXED, Bowl, bowl_problem


def test_every_kind_of_parameter_is_suggested_in_its_range() -> None:
    definitions = {**MIXED, "steps": {"low": 0.0, "high": 1.0, "step": 0.25}}
    space = ParameterSpace({**definitions, "odd": {"choices": [None, True, 1, "a"]}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = []

    def objective(trial: optuna.Trial) -> float:
        points.append(space.decode(suggested(trial, space)))
        return 0.0

    study.optimize(objective, n_trials=30)
    assert {str(point["odd"][0]) for point in points} == {"None", "True", "1", "a"}
    assert all(list(point) == list(space.parameters) for point in points)


def test_constraints_and_failures_reach_the_study() -> None:
    problem = bowl_problem(constraints=["energy_pj >= 3"], evaluator=Bowl(fail_below=4))
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective_of(problem), n_trials=40, catch=(ArithmeticError,))
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE]
    failed = [t for t in study.trials if t.state is TrialState.FAIL]
    assert len(failed) == sum(t.params["tile_m"] < 4 for t in study.trials) > 0
    assert any(value > 0 for t in complete for value in t.constraints.values())
    for trial in study.best_trials:
        assert trial.values[0] >= 3 - 1e-9


def test_an_unknown_kind_of_parameter_is_named() -> None:
    odd = SimpleNamespace(parameters={"x": "any"})
    with pytest.raises(ValueError, match="x: must be int, float or categorical"):
        suggested(optuna.create_study().ask(), odd)
