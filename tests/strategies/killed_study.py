"""A tracked study in a process of its own, to be killed and started again.

`python -m tests.strategies.killed_study FOLDER TRIALS SECONDS_PER_BATCH` starts or resumes it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from strategies.random_strategy import RandomStrategy
from strategies.tracking.tracking import MlflowTracker, TrackingSettings
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import create_log, resume_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import Bowl, bowl_problem

ROOT = Path(__file__).parents[2]
BATCH = 8


def run_study(folder: Path, trials: int, seconds: float) -> None:
    """Search to the end, from wherever an earlier process was killed."""
    problem = bowl_problem(evaluator=Bowl(seconds=seconds))
    path = folder / "trials.sqlite"
    meta = problem.meta("killed", 0)
    try:
        log = resume_log(path, meta)
    except ValueError:  # killed before there was a record
        log = create_log(path, meta)
    settings = TrackingSettings(uri=f"sqlite:///{folder}/mlflow.db", experiment="kill")
    with log, MlflowTracker(settings, log, problem.space) as tracker:
        strategy = RandomStrategy(problem.space, seed=0, batch_size=BATCH)
        Tuner(problem, strategy, log, Budget(trials=trials), [tracker]).run()
    if tracker.error:
        raise SystemExit(tracker.error)


def start(folder: Path, trials: int, seconds: float) -> subprocess.Popen[bytes]:
    """Start the study in its own process."""
    words = [sys.executable, "-m", "tests.strategies.killed_study"]
    return subprocess.Popen([*words, str(folder), str(trials), str(seconds)], cwd=ROOT)


def kill_and_resume(folder: Path, trials: int, kills: int, rng: random.Random) -> list[float]:
    """Kill the study at random moments, then let it finish; returns those moments [s].

    They fall on imports, on the creation of the record and of the store, on search and tracking.
    """
    moments: list[float] = []
    while len(moments) < kills:
        process = start(folder, trials, seconds=0.1)
        moment = rng.uniform(0.5, 4.0)
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append(moment)
    finished = start(folder, trials, seconds=0.0)
    if finished.wait() != 0:
        raise RuntimeError(f"the last start ended with status {finished.returncode}")
    return moments


def main() -> None:
    run_study(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))


if __name__ == "__main__":
    main()
