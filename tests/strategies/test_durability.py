from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from strategies.random_strategy import RandomStrategy
from strategies.tracking.mlflow_store import open_store
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.trial_reader import open_reader
from strategies.tuning.tuner import Tuner
from tests.strategies.killed_study import BATCH, kill_and_resume
from tests.strategies.problems import bowl_problem
from tests.strategies.tracked import child_runs, parent_runs

TRIALS = 200


def test_a_study_killed_at_random_moments_ends_with_exactly_the_asked_trials(
    tmp_path: Path,
) -> None:
    kill_and_resume(tmp_path, TRIALS, kills=3, rng=random.Random(4))
    reader = open_reader(tmp_path / "trials.sqlite")
    frame = reader.frame()
    assert frame["number"].tolist() == list(range(TRIALS))
    assert (np.diff(frame["batch"].to_numpy()) <= 1).all()

    problem = bowl_problem()
    undisturbed = Tuner(
        problem,
        RandomStrategy(problem.space, seed=0, batch_size=BATCH),
        in_memory_log(problem.meta("t", 0)),
        Budget(trials=TRIALS),
    ).run()
    for name in ("param/scale", "metric/energy_pj"):
        assert frame[name].tolist() == undisturbed.frame()[name].tolist()

    client = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert len(parent_runs(client)) == 1
    assert parent_runs(client)[0].info.status == "FINISHED"
    children = child_runs(client)
    assert sorted(int(run.data.tags["trial"]) for run in children) == list(range(TRIALS))
    assert {run.info.status for run in children} == {"FINISHED"}
    for run in children[::37]:
        number = int(run.data.tags["trial"])
        assert run.data.metrics["energy_pj"] == frame["metric/energy_pj"][number]
