from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategies.passwords import redacted, scrubbed
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.reporting.study_result import StudyResult
from strategies.tracking.child_runs import plain_name, streamed_quota
from strategies.tracking.mlflow_store import (
    TrackingError,
    check_store,
    open_store,
    ui_command,
    ui_link,
)
from strategies.tracking.tracking import MlflowTracker, TrackingSettings
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import create_log, in_memory_log, resume_log
from strategies.tuning.tuner import Tuner
from tests.strategies.killed_study import ROOT
from tests.strategies.problems import Bowl, bowl_problem
from tests.strategies.tracked import child_runs, parent_runs


@dataclass
class Tracked:
    """Runs studies in one folder, tracked or not."""

    folder: Path
    problem: Problem

    @property
    def settings(self) -> TrackingSettings:
        return TrackingSettings(
            uri=f"sqlite:///{self.folder}/mlflow.db",
            experiment="which bowl",
            run_name="bowl-0",
            params={"strategy": {"batch_size": 8}},
            tags={"team": "a"},
        )

    @property
    def client(self) -> Any:
        return open_store(self.settings.uri)

    def run(
        self,
        trials: int,
        settings: TrackingSettings | None = None,
        before_close: Callable[[MlflowTracker], None] = lambda tracker: None,
    ) -> tuple[StudyResult, MlflowTracker]:
        path = self.folder / "trials.sqlite"
        log = resume_log(path) if path.exists() else create_log(path, self.problem.meta("s", 0))
        with log, MlflowTracker(settings or self.settings, log, self.problem.space) as tracker:
            strategy = RandomStrategy(self.problem.space, seed=0, batch_size=8)
            tuner = Tuner(self.problem, strategy, log, Budget(trials=trials), [tracker])
            given = self.problem.space.sample(1, np.random.default_rng(5))
            tuner.enqueue(given, {"baseline": "csr"})
            result = tuner.run()
            before_close(tracker)
        return result, tracker

    def run_untracked(self, trials: int) -> None:
        with create_log(self.folder / "trials.sqlite", self.problem.meta("s", 0)) as log:
            strategy = RandomStrategy(self.problem.space, seed=0, batch_size=8)
            Tuner(self.problem, strategy, log, Budget(trials=trials)).run()


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its schema and no experiment; copying it is faster than making it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(f"sqlite:///{path}")._tracking_client.store.engine.dispose()
    return path


@pytest.fixture
def tracked(tmp_path: Path, fresh_store: Path) -> Tracked:
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    return Tracked(tmp_path, bowl_problem(constraints=["energy_pj <= 150"]))


def test_every_trial_is_a_nested_child_run(tracked: Tracked) -> None:
    tracked.problem = bowl_problem(evaluator=Bowl(fail_below=2))
    _, tracker = tracked.run(40)
    assert tracker.error is None
    (parent,) = parent_runs(tracked.client)
    children = child_runs(tracked.client)
    frame = pd.read_parquet(artifact(tracked, parent, "trials.parquet"))
    assert (
        [int(run.data.tags["trial"]) for run in children] == list(range(40)) == list(frame.number)
    )
    for run, row in zip(children, frame.to_dict("records"), strict=True):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["state"] == row["state"]
        assert run.data.params["format"] == row["param/format"]
        if row["state"] == "failed":
            assert run.info.status == "FAILED"
            assert "too small" in run.data.tags["reason"]
        else:
            assert run.info.status == "FINISHED"
            assert run.data.metrics["energy_pj"] == row["metric/energy_pj"]
            assert run.data.metrics["violation/capacity"] == row["violation/capacity"]
    assert children[0].data.tags["baseline"] == "csr"


def artifact(tracked: Tracked, run: Any, name: str) -> str:
    path: str = tracked.client.download_artifacts(run.info.run_id, name, str(tracked.folder))
    return path


def test_the_parent_tells_the_study(tracked: Tracked) -> None:
    extra = tracked.folder / "extra"
    extra.mkdir()
    (extra / "note.txt").write_text("hello")

    def add(tracker: MlflowTracker) -> None:
        tracker.add_artifacts(extra)
        tracker.add_metrics({"breakdown/dram_pj": 3.0, "nothing": float("nan")})

    result, tracker = tracked.run(30, before_close=add)
    (parent,) = parent_runs(tracked.client)
    assert parent.info.run_name == "bowl-0"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["strategy.batch_size"] == "8"
    tags, metrics = parent.data.tags, parent.data.metrics
    assert tags["team"] == "a"
    assert tags["ended_by"] == "trials"
    best = result.best_of("energy_pj")
    assert best is not None
    assert metrics["best/energy_pj"] == best.metrics["energy_pj"]
    assert metrics["best/energy_pj_trial"] == best.number
    assert metrics["search/trials"] == 30 == metrics["search/child_runs"]
    assert metrics["search/hypervolume"] == pytest.approx(result.hypervolume)
    assert metrics["breakdown/dram_pj"] == 3.0
    assert "nothing" not in metrics
    names = {entry.path for entry in tracked.client.list_artifacts(parent.info.run_id)}
    assert names == {"trials.parquet", "note.txt"}
    history = tracked.client.get_metric_history(parent.info.run_id, "search/energy_pj")
    assert [entry.step for entry in sorted(history, key=lambda e: e.step)] == list(range(30))
    assert tracker.link is not None
    assert f"#/experiments/{parent.info.experiment_id}/runs?" in tracker.link
    assert "orderByKey=attributes.start_time" in tracker.link


def test_a_large_study_keeps_the_first_the_front_the_best_and_the_winners(tracked: Tracked) -> None:
    settings = replace(tracked.settings, max_child_runs=150)
    result, _ = tracked.run(400, settings)
    (parent,) = parent_runs(tracked.client)
    numbers = {int(run.data.tags["trial"]) for run in child_runs(tracked.client)}
    assert set(range(120)) <= numbers
    assert len(result.front) <= 30
    assert set(result.front.tolist()) <= numbers
    metrics = parent.data.metrics
    assert metrics["search/child_runs"] == len(numbers) < 400
    assert metrics["search/child_runs_front"] == len(result.front)
    assert metrics["search/trials"] == 400
    assert len(pd.read_parquet(artifact(tracked, parent, "trials.parquet"))) == 400
    history = tracked.client.get_metric_history(parent.info.run_id, "search/energy_pj")
    assert len(history) == 400


def test_gains_beyond_the_histories_are_logged(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strategies.tracking import run_writer, tracking

    monkeypatch.setattr(run_writer, "MAX_HISTORY_TRIALS", 40)
    monkeypatch.setattr(tracking, "MAX_HISTORY_TRIALS", 40)
    settings = replace(tracked.settings, max_child_runs=10)
    result, _ = tracked.run(600, settings)
    (parent,) = parent_runs(tracked.client)
    history = tracked.client.get_metric_history(parent.info.run_id, "search/energy_pj")
    assert len(history) == 40 == parent.data.metrics["search/history_trials"]
    best = sorted(
        tracked.client.get_metric_history(parent.info.run_id, "best/energy_pj"),
        key=lambda entry: entry.step,
    )
    losses = result.losses[:, 0]
    gains = [i for i in range(600) if losses[i] < losses[:i].min(initial=np.inf)]
    assert max(gains) > 60
    assert [entry.step for entry in best] == gains
    assert [entry.value for entry in best] == losses[gains].tolist()


def test_a_resumed_study_is_reconciled_and_nothing_is_doubled(tracked: Tracked) -> None:
    tracked.run_untracked(20)
    tracked.run(20)
    tracked.run(30)
    half = child_runs(tracked.client)[7]
    tracked.client.update_run(half.info.run_id, status="RUNNING")  # as if killed while writing
    tracked.run(35)
    assert len(parent_runs(tracked.client)) == 1
    children = child_runs(tracked.client)
    assert [int(run.data.tags["trial"]) for run in children] == list(range(35))
    assert {run.info.status for run in children} == {"FINISHED"}
    (parent,) = parent_runs(tracked.client)
    history = tracked.client.get_metric_history(parent.info.run_id, "search/energy_pj")
    assert sorted(entry.step for entry in history) == list(range(35))


def test_a_store_that_breaks_does_not_end_the_study(
    tracked: Tracked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from strategies.tracking import run_writer

    def broken(*arguments: object) -> None:
        raise ConnectionError("gone: http://me:secret@host/api")

    with monkeypatch.context() as patch:
        patch.setattr(run_writer, "write_runs", broken)
        result, tracker = tracked.run(25)
    assert result.n_trials == 25
    assert tracker.error is not None
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "the study itself is safe" in lines[0]
    assert "secret" not in lines[0]
    tracked.run(25)
    assert len(child_runs(tracked.client)) == 25


def test_a_store_of_another_kind_is_refused_without_its_password() -> None:
    with pytest.raises(TrackingError, match=r"must begin with sqlite://.* got redis://me:\*\*\*@h"):
        check_store("redis://me:secret@host/0")


def test_a_server_that_is_down_is_one_line_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(TrackingError, match=f"server http://127.0.0.1:{port} does not answer"):
        check_store(f"http://127.0.0.1:{port}")
    assert time.monotonic() - started < 6.0


def test_a_database_that_is_down_is_named_without_its_password() -> None:
    with pytest.raises(TrackingError) as caught:
        check_store("postgresql://me:secret@127.0.0.1:1/runs")
    assert "secret" not in str(caught.value)
    assert "postgresql://me:***@127.0.0.1:1/runs" in str(caught.value)


def test_passwords_are_never_shown() -> None:
    uri = "postgresql+psycopg2://me:p%40ss:word@db/runs"
    assert "word" not in redacted(f"cannot open {uri}!")
    assert "p%40ss" not in scrubbed(ValueError(f"bad {uri}"), uri)
    assert "secret" not in (ui_command("postgresql://me:secret@db/runs") or "")
    assert "secret" not in ui_link("https://me:secret@host:5000", "1")


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"tracking\.uri: cannot make"):
        check_store(f"sqlite:///{tmp_path}/file/sub/mlflow.db")
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(TrackingError, match=r"tracking\.uri: cannot open"):
        open_store(f"sqlite:///{tmp_path}/mlflow.db")


def test_several_processes_may_create_one_store(tmp_path: Path) -> None:
    code = (
        "import sys; from strategies.tracking.mlflow_store import ensure_experiment, open_store;"
        "print(ensure_experiment(open_store(sys.argv[1]), sys.argv[1], 'together'))"
    )
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    words = [sys.executable, "-c", code, uri]
    started = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in started]
    assert len(set(answers)) == 1
    assert answers[0]
    with open_store(uri)._tracking_client.store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_a_log_in_memory_cannot_be_tracked(tracked: Tracked) -> None:
    log = in_memory_log(tracked.problem.meta("s"))
    with pytest.raises(ValueError, match="needs a trial log on disk"):
        MlflowTracker(tracked.settings, log, tracked.problem.space)


def test_names_are_those_mlflow_accepts() -> None:
    assert plain_name("latency_cycles<=1e+06") == "latency_cycles at most 1e06"
    assert plain_name("odd[name]%") == "odd_name__"
    assert streamed_quota(500, None) == 400


def test_tables_half_made_by_a_killed_process_are_made_again(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db.new") as half:
        half.execute("CREATE TABLE _alembic_tmp_tags (key VARCHAR(250))")
    half.close()
    client = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert [e.name for e in client.search_experiments()] == ["Default"]
    assert not list(tmp_path.glob("mlflow.db.new*"))
