from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spaces.parameter_space import ParameterSpace
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.reporting.study_result import StudyResult
from strategies.tasks.warm_start import adapted, best_trials, warm_start
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import create_log, in_memory_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import Bowl, bowl_problem


def recorded(path: Path, problem: Problem) -> StudyResult:
    with create_log(path, problem.meta("earlier", 0)) as log:
        return Tuner(problem, RandomStrategy(problem.space, 0), log, Budget(trials=200)).run()


def test_the_front_comes_first_then_what_lies_behind_it(tmp_path: Path) -> None:
    result = recorded(tmp_path / "t.sqlite", bowl_problem())
    few = best_trials(result, 5)
    assert len(few) == 5
    assert set(few) <= set(result.front)
    many = best_trials(result, len(result.front) + 10)
    assert set(result.front) < set(many)
    assert len(set(many.tolist())) == len(many) == len(result.front) + 10


def test_a_new_study_begins_with_the_best_of_the_earlier_one(tmp_path: Path) -> None:
    problem = bowl_problem(["energy_pj"])
    earlier = recorded(tmp_path / "t.sqlite", problem)
    given = warm_start(tmp_path / "t.sqlite", problem.space, limit=4)
    log = in_memory_log(problem.meta("new", 1))
    tuner = Tuner(problem, RandomStrategy(problem.space, 1), log, Budget(trials=4))
    tuner.enqueue(given, {"warm_start": "earlier"})
    result = tuner.run()
    assert earlier.best is not None
    assert result.best is not None
    assert result.best.metrics == earlier.best.metrics
    assert result.reader.tags()[0] == {"origin": "given", "warm_start": "earlier"}


def test_values_move_to_the_nearest_in_a_changed_space() -> None:
    old = {
        "gone": np.array([1, 2]),
        "tile": np.array([0, 64]),
        "even": np.array([3, 9]),
        "scale": np.array([0.001, 0.5]),
        "format": np.array(["bitmap", "csr"], dtype=object),
        "became_text": np.array([1, 2]),
    }
    space = ParameterSpace(
        {
            "tile": {"low": 1, "high": 32},
            "even": {"low": 2, "high": 8, "step": 2},
            "scale": {"low": 0.01, "high": 1.0, "log": True},
            "format": {"choices": ["none", "bitmap"]},
            "became_text": {"choices": ["a", "b"]},
            "new": {"low": 0.0, "high": 1.0},
        }
    )
    columns = adapted(old, space.parameters, np.random.default_rng(0))
    space.decode(columns)  # checks every value
    assert list(columns) == list(space.parameters)
    assert columns["tile"].tolist() == [1, 32]
    assert columns["even"].tolist() in ([2, 8], [4, 8])
    assert columns["scale"].tolist() == [0.01, 0.5]
    assert columns["format"][0] == "bitmap"


def test_the_same_seed_draws_the_same_new_values(tmp_path: Path) -> None:
    recorded(tmp_path / "t.sqlite", bowl_problem())
    wider = ParameterSpace({"tile_m": {"low": 0, "high": 3}, "new": {"low": 0.0, "high": 1.0}})
    first = warm_start(tmp_path / "t.sqlite", wider, seed=3)
    second = warm_start(tmp_path / "t.sqlite", wider, seed=3)
    assert first["new"].tolist() == second["new"].tolist()
    assert first["tile_m"].max() <= 3


def test_what_cannot_be_started_from_is_named(tmp_path: Path) -> None:
    space = bowl_problem().space
    with pytest.raises(ValueError, match="no recorded study"):
        warm_start(tmp_path / "none.sqlite", space)
    recorded(tmp_path / "bad.sqlite", bowl_problem(evaluator=Bowl(fail_below=99)))
    with pytest.raises(ValueError, match="no feasible trial"):
        warm_start(tmp_path / "bad.sqlite", space)
    with pytest.raises(ValueError, match=r"warm_start\.limit: must be >= 1, got 0"):
        warm_start(tmp_path / "bad.sqlite", space, limit=0)
