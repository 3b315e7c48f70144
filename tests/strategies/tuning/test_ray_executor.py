"""Batches as Ray tasks on a real local cluster: same numbers, failures kept, killed workers."""

import importlib.util
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.parameter_space import ParameterSpace
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.tuning.budget import Budget
from strategies.tuning.executor import SerialExecutor, make_executor
from strategies.tuning.trial_log import create_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import MIXED, Bowl, bowl_problem

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
SPACE = ParameterSpace(MIXED)


@dataclass(frozen=True)
class KillsItsWorker:
    """Sends SIGKILL to the process of the first task that evaluates; later ones succeed."""

    marker: Path

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return Bowl().evaluate(designs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("the process is dead")

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster of two workers for all tests; executors join it."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def points(n: int) -> Mapping[str, np.ndarray]:
    return SPACE.sample(n, np.random.default_rng(0))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_result_is_that_of_one_process(workers) -> None:
    columns = points(101)
    ray_executor = make_executor(SPACE, Bowl(), workers, "ray")
    got, wanted = ray_executor.evaluate(columns), SerialExecutor(SPACE, Bowl()).evaluate(columns)
    ray_executor.close()
    for name, values in wanted.metrics.items():
        np.testing.assert_array_equal(got.metrics[name], values)
    assert got.violations.keys() == wanted.violations.keys()


def test_a_failing_design_fails_alone() -> None:
    columns = points(40)
    evaluator = Bowl(fail_below=3)
    got = make_executor(SPACE, evaluator, 2, "ray").evaluate(columns)
    bad = np.flatnonzero(columns["tile_m"] < 3).tolist()
    assert sorted(got.failures) == bad
    assert "tile_m is too small" in got.failures[bad[0]]


def test_the_tasks_of_a_killed_worker_run_again(tmp_path) -> None:
    """Two workers, one is killed in the middle of a study: no trial is lost or doubled."""
    base = bowl_problem()
    evaluator = KillsItsWorker(tmp_path / "killed")
    problem = Problem(base.space, evaluator, base.goal, workers=2, engine="ray")
    strategy = RandomStrategy(problem.space, seed=0, batch_size=20)
    with create_log(tmp_path / "trials.sqlite", problem.meta("m")) as log:
        result = Tuner(problem, strategy, log, Budget(trials=60)).run()
        assert (tmp_path / "killed").exists()
        assert result.n_trials == 60
        assert result.counts.get("failed", 0) == 0
        numbers = log.reader.frame()["number"].tolist()
    assert numbers == list(range(60))


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match="engine: must be one of processes, ray, got 'slurm'"):
        make_executor(SPACE, Bowl(), 2, "slurm")
