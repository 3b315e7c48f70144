"""Two machines share a study through a real PostgreSQL; one is killed; trials are counted."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from strategies.tasks.user_errors import CONFIG_DIR
from strategies.tracking.mlflow_store import open_store
from strategies.tuning.budget import Budget
from strategies.tuning.shared_study import SharedOptunaStrategy
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.trial_reader import open_reader
from strategies.tuning.tuner import Tuner
from tests.strategies.postgres_server import postgres_folder, postgres_server
from tests.strategies.problems import MIXED, Bowl, bowl_problem

ROOT = CONFIG_DIR.parent
TOGETHER = 24
SLOW_COST = """
import time
def evaluate(x, kind):
    time.sleep(0.15)
    return {'energy_pj': (x - 3.0) ** 2 + (kind == 'b'), 'latency_cycles': 20.0 - x}
"""

needs_postgres = [
    pytest.mark.postgres,
    pytest.mark.skipif(postgres_folder() is None, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg2") is None, reason="the extra `postgres` is not installed"
    ),
]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    folder = postgres_folder()
    assert folder is not None
    with postgres_server(folder) as url:
        yield url


def strategy(url: str, trials: int = 10, heartbeat_s: int = 1, name: str = "mine"):
    sampler = optuna.samplers.RandomSampler()
    return SharedOptunaStrategy(sampler, bowl_problem(), url, name, trials, heartbeat_s=heartbeat_s)


def evaluated(url: str, name: str) -> list[FrozenTrial]:
    trials = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    return [t for t in trials if t.state == TrialState.COMPLETE or t.user_attrs.get("failed")]


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def search(shared: SharedOptunaStrategy, log, trials: int | None = None) -> str:
    result = Tuner(bowl_problem(), shared, log, Budget(trials=trials)).run()
    return result.ended_by


def test_two_machines_in_turn_end_with_exactly_the_asked_trials(sqlite) -> None:
    meta = bowl_problem().meta("m")
    first, second = in_memory_log(meta), in_memory_log(meta)
    assert search(strategy(sqlite), first, trials=4) == "trials"
    assert search(strategy(sqlite), second) == "finished"
    assert (len(first), len(second)) == (4, 6)
    assert len(evaluated(sqlite, "mine")) == 10


def test_a_restarted_machine_doubles_nothing(sqlite) -> None:
    log = in_memory_log(bowl_problem().meta("m"))
    search(strategy(sqlite), log, trials=4)
    search(strategy(sqlite), log)
    assert len(log) == 10
    assert len(evaluated(sqlite, "mine")) == 10


def test_a_trial_recorded_but_not_reported_is_made_good(sqlite) -> None:
    """A kill between the record and the report leaves the trial only in the machine's log."""
    log = in_memory_log(bowl_problem().meta("m"))
    search(strategy(sqlite), log, trials=4)
    elsewhere = f"{sqlite}2"
    search(strategy(elsewhere), log)
    assert len(log) == 10
    assert len(evaluated(elsewhere, "mine")) == 10


def test_the_open_trial_of_a_dead_machine_is_made_up_for(sqlite) -> None:
    dead = strategy(sqlite, trials=3)
    dead.ask(1)
    dead.close()  # no more signs of life
    alive = in_memory_log(bowl_problem().meta("m"))
    assert search(strategy(sqlite, trials=3), alive) == "finished"
    assert len(alive) == 3
    states = [t.state for t in optuna.load_study(study_name="mine", storage=sqlite).trials]
    assert states.count(TrialState.COMPLETE) == 3
    assert states.count(TrialState.FAIL) == 1


def test_a_failed_evaluation_counts_and_is_not_redone(sqlite) -> None:
    problem = bowl_problem(evaluator=Bowl(fail_below=6))
    shared = SharedOptunaStrategy(
        optuna.samplers.RandomSampler(seed=1), problem, sqlite, "mine", 12, heartbeat_s=1
    )
    log = in_memory_log(problem.meta("m"))
    Tuner(problem, shared, log, Budget()).run()
    failed = log.reader.counts()["failed"]
    assert 0 < failed < 12
    assert len(log) == 12
    assert sum(t.state == TrialState.FAIL for t in evaluated(sqlite, "mine")) == failed


def test_the_open_trial_of_a_slow_machine_is_waited_for(sqlite) -> None:
    slow, other = strategy(sqlite, trials=1), strategy(sqlite, trials=1)
    columns = slow.ask(1)
    problem = bowl_problem()
    time.sleep(4)  # longer than three heartbeats, but it is alive
    slow.tell(columns, problem.evaluator.evaluate(problem.space.decode(columns)))
    assert other.ask(1) == {}
    assert len(evaluated(sqlite, "mine")) == 1


def test_another_space_or_objective_under_the_same_name_is_refused(sqlite) -> None:
    strategy(sqlite)
    definitions = {**MIXED, "tile_m": {"low": 0, "high": 5}}
    with pytest.raises(ValueError, match="'mine' in the database has another space"):
        SharedOptunaStrategy(
            optuna.samplers.RandomSampler(),
            bowl_problem(definitions=definitions),
            sqlite,
            "mine",
            5,
        )


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="must not hold a password") as caught:
        strategy("postgresql+psycopg2://me:hunter2@127.0.0.1/db")
    assert "hunter2" not in str(caught.value)


def start_machine(folder: Path, url: str, name: str) -> subprocess.Popen[str]:
    (folder / "cost.py").write_text(SLOW_COST)
    words = [
        "space=parameters",
        "space.definitions={x: {low: 0, high: 9}, kind: {choices: [a, b]}}",
        "evaluator=function",
        f"evaluator.path={folder}/cost.py",
        "strategy=shared",
        f"strategy.storage={url}",
        "strategy.study=together",
        f"strategy.trials={TOGETHER}",
        "strategy.heartbeat_s=1",
        "budget.trials=null",
        f"tracking.uri={url.rpartition('/')[0]}/tracking",
        "quiet=true",
        f"out_dir={folder}/out",
        f"name={name}",
    ]
    return subprocess.Popen(
        [sys.executable, "run.py", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )


def wait_for_trials(path: Path, trials: int, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.is_file():
            try:
                if open_reader(path).n_trials >= trials:
                    return
            except ValueError:  # not initialised yet
                pass
        time.sleep(0.05)
    raise AssertionError(f"{path} never held {trials} trials")


class TestPostgreSQL:
    pytestmark = needs_postgres

    @pytest.fixture(scope="class")
    def finished(self, database, tmp_path_factory) -> Path:
        """Two machines on one study, tracked in PostgreSQL too; one was killed on the way."""
        import psycopg2

        address = database.replace("postgresql+psycopg2", "postgresql")
        connection = psycopg2.connect(address)
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE tracking")
        connection.close()
        folder = tmp_path_factory.mktemp("machines")
        killed = start_machine(folder, database, "killed")
        survivor = start_machine(folder, database, "survivor")
        wait_for_trials(folder / "out" / "killed" / "trials.sqlite", 3)
        wait_for_trials(folder / "out" / "survivor" / "trials.sqlite", 3)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=30)
        _, trouble = survivor.communicate(timeout=120)
        assert survivor.returncode == 0, trouble
        return folder

    def test_exactly_the_asked_trials_are_evaluated(self, database, finished) -> None:
        trials = evaluated(database, "together")
        assert len(trials) == TOGETHER
        assert all(trial.state == TrialState.COMPLETE for trial in trials)
        everyone = optuna.load_study(study_name="together", storage=database).trials
        assert [trial.number for trial in everyone] == list(range(len(everyone)))
        assert not [trial for trial in everyone if trial.state == TrialState.RUNNING]

    def test_what_was_reported_done_is_in_both_records(self, database, finished) -> None:
        logs = [open_reader(finished / "out" / n / "trials.sqlite") for n in ("killed", "survivor")]
        assert min(log.n_trials for log in logs) >= 3
        # The killed machine may have recorded one trial that it could no longer report.
        assert TOGETHER <= sum(log.n_trials for log in logs) <= TOGETHER + 1
        recorded = np.concatenate([log.values("metric/energy_pj") for log in logs])
        for trial in evaluated(database, "together"):
            assert trial.values[0] in recorded

    def test_the_survivor_is_tracked_completely(self, database, finished) -> None:
        client = open_store(f"{database.rpartition('/')[0]}/tracking")
        experiment = client.get_experiment_by_name("cosearch")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        parents = {r.info.run_name: r for r in runs if r.data.tags["role"] == "study"}
        parent = parents["survivor"].info.run_id
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent]
        log = open_reader(finished / "out" / "survivor" / "trials.sqlite")
        assert parents["survivor"].info.status == "FINISHED"
        assert sorted(int(r.data.tags["trial"]) for r in children) == list(range(log.n_trials))
