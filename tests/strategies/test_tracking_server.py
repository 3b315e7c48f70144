"""A study against a real MLflow server, which goes away and comes back."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.reporting.study_result import StudyResult
from strategies.tracking.mlflow_store import open_store
from strategies.tracking.tracking import MlflowTracker, TrackingSettings
from strategies.tuning.budget import Budget
from strategies.tuning.progress import Progress
from strategies.tuning.trial_batch import TrialBatch
from strategies.tuning.trial_log import create_log, resume_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import bowl_problem
from tests.strategies.tracked import child_runs, parent_runs

START_SECONDS = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server on this port, ended with all its workers."""
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_up(port)
        yield process
    finally:
        end(process)


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the MLflow server did not start")


def end(process: subprocess.Popen[bytes]) -> None:
    import psutil

    if process.poll() is None:
        workers = psutil.Process(process.pid).children(recursive=True)
        for running in (*workers, psutil.Process(process.pid)):
            running.kill()
        process.wait()


class EndsServer:
    """Observer that ends the server after some trials."""

    def __init__(self, process: subprocess.Popen[bytes], after: int):
        self.process = process
        self.after = after

    def study_started(self, log: object, progress: Progress) -> None:
        pass

    def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
        if progress.trials >= self.after:
            end(self.process)

    def study_ended(self, result: StudyResult) -> None:
        pass


def tracked_study(
    path: Path, uri: str, trials: int, others: tuple[EndsServer, ...] = ()
) -> tuple[int, str | None]:
    """Run or resume the study; returns its number of trials and the tracker's trouble."""
    problem: Problem = bowl_problem()
    log = resume_log(path) if path.exists() else create_log(path, problem.meta("s", 0))
    settings = TrackingSettings(uri=uri, experiment="server")
    with log, MlflowTracker(settings, log, problem.space) as tracker:
        strategy = RandomStrategy(problem.space, seed=0, batch_size=4)
        tuner = Tuner(problem, strategy, log, Budget(trials=trials), [tracker, *others])
        result = tuner.run()
    return result.n_trials, tracker.error


def test_a_server_that_goes_away_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    uri, path = f"http://127.0.0.1:{port}", tmp_path / "trials.sqlite"
    with server(tmp_path, port) as process:
        assert tracked_study(path, uri, 12) == (12, None)
        assert capsys.readouterr().out == ""  # MLflow prints nothing per run
        trials, trouble = tracked_study(path, uri, 40, (EndsServer(process, after=16),))
        assert trials == 40
        assert trouble is not None
        assert uri in trouble
        assert "the study itself is safe" in capsys.readouterr().err.strip().splitlines()[-1]
    with server(tmp_path, port):
        assert tracked_study(path, uri, 44) == (44, None)
        client = open_store(uri)
        assert [int(run.data.tags["trial"]) for run in child_runs(client)] == list(range(44))
        (parent,) = parent_runs(client)
        assert parent.info.status == "FINISHED"
        names = [entry.path for entry in client.list_artifacts(parent.info.run_id)]
        assert names == ["trials.parquet"]
