"""What the tuner itself costs: per trial, per tracked run, and in memory.

    python benchmarks/tuner_overhead.py [--repeats 5] [--runs 200]

Own cost = wall time of a study less the time inside `ask`, `tell`, `decode` and `evaluate`. The
same runs written by MLflow's fluent API into the same kind of store are the baseline. The last line
is JSON. Figures are medians; a machine that does other work shows larger ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluators.evaluation import Evaluation
from spaces.parameter_space import ParameterSpace
from spaces.space import Columns
from strategies.objective import make_goal
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.strategy import Strategy
from strategies.tracking.mlflow_store import ensure_experiment, open_store
from strategies.tracking.run_writer import RunWriter
from strategies.tracking.tracking import MlflowTracker, TrackingSettings
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import create_log
from strategies.tuning.trial_reader import open_reader
from strategies.tuning.tuner import Tuner

N_PARAMETERS = 20
SPACE = ParameterSpace({f"tile_{i}": {"low": 0, "high": 9} for i in range(N_PARAMETERS)})
GOAL = make_goal(["energy_pj", "latency_cycles"], constraints=["latency_cycles <= 1e4"])
BARS = {
    "one_by_one_us": 200.0,
    "batched_us": 5.0,
    "log_trials_per_second": 100_000.0,
    "child_runs_per_second": 50.0,
    "search_slowdown_by_tracking": 1.25,
    "memory_growth_mb": 20.0,
}
"""Upper bars, but lower bars for the rates."""


class Stopwatch:
    """Adds up the time spent in other people's code."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started


class TimedStrategy:
    """A strategy whose own time is measured."""

    def __init__(self, strategy: Strategy, watch: Stopwatch):
        self.strategy = strategy
        self.watch = watch

    def ask(self, n: int) -> Columns:
        """See `Strategy`."""
        with self.watch.running():
            return self.strategy.ask(n)

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """See `Strategy`."""
        with self.watch.running():
            self.strategy.tell(columns, evaluation)


class TimedSum:
    """A cheap evaluator whose own time is measured; may wait to imitate a dear one."""

    def __init__(self, watch: Stopwatch, wait_s: float = 0.0):
        self.watch = watch
        self.wait_s = wait_s

    def evaluate(self, designs: Columns) -> Evaluation:
        """See `Evaluator`."""
        with self.watch.running():
            if self.wait_s:
                time.sleep(self.wait_s)
            tiles = np.stack(list(designs.values()), axis=1).astype(np.float64)
            energy, latency = tiles.sum(axis=1), (9.0 - tiles).sum(axis=1)
            return Evaluation({"energy_pj": energy, "latency_cycles": latency})

    def explain(self, design: Any) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return {}


class TimedSpace(ParameterSpace):
    """A space whose decoding is not the tuner's cost."""

    def decode(self, columns: Columns) -> Columns:
        """The columns unchecked: the tuner's strategies stay in range."""
        return columns


def study_seconds(folder: Path, trials: int, batch: int) -> tuple[float, float]:
    """Wall time of a study with its log and the tuner's own share of it [s]."""
    watch = Stopwatch()
    problem = Problem(TimedSpace(SPACE.definitions), TimedSum(watch), GOAL)
    with create_log(folder / "trials.sqlite", problem.meta("overhead", 0)) as log:
        strategy = TimedStrategy(RandomStrategy(problem.space, 0, batch), watch)
        started = time.perf_counter()
        Tuner(problem, strategy, log, Budget(trials=trials)).run()
        wall_s = time.perf_counter() - started
    return wall_s, wall_s - watch.seconds


def in_fresh_folder(measure: Callable[[Path], float]) -> float:
    """Run a measurement in a folder that is removed after it."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def own_cost_us(trials: int, batch: int) -> Callable[[Path], float]:
    """Measurement of the tuner's own time per trial [us]."""
    return lambda folder: study_seconds(folder, trials, batch)[1] / trials * 1e6


def log_rate(folder: Path) -> float:
    """Trials per second recorded in batches of 1024, evaluation and all."""
    trials = 50 * 1024
    return trials / study_seconds(folder, trials, 1024)[0]


def child_run_rate(runs: int) -> Callable[[Path], float]:
    """Measurement of child runs written per second on a local SQLite store."""

    def measure(folder: Path) -> float:
        study_seconds(folder, runs, 64)
        uri = f"sqlite:///{folder}/mlflow.db"
        client = open_store(uri)
        reader = open_reader(folder / "trials.sqlite")
        writer = RunWriter(client, ensure_experiment(client, uri, "speed"), reader.meta, SPACE)
        writer.open_parent("speed", {}, {})
        started = time.perf_counter()
        for batch in reader.batches():
            writer.write_children([(batch, range(batch.first, batch.first + len(batch)))])
        return runs / (time.perf_counter() - started)

    return measure


def fluent_run_rate(runs: int) -> Callable[[Path], float]:
    """Measurement of the same runs per second by MLflow's fluent API, for comparison."""

    def measure(folder: Path) -> float:
        import mlflow

        uri = f"sqlite:///{folder}/mlflow.db"
        experiment = ensure_experiment(open_store(uri), uri, "speed")
        mlflow.set_tracking_uri(uri)
        designs = SPACE.sample(runs, np.random.default_rng(0))
        started = time.perf_counter()
        with mlflow.start_run(experiment_id=experiment):
            for number in range(runs):
                params = {name: values[number] for name, values in designs.items()}
                with mlflow.start_run(run_name=f"trial {number}", nested=True):
                    mlflow.log_params(params)
                    mlflow.log_metrics({"energy_pj": 1.0, "latency_cycles": 2.0})
        return runs / (time.perf_counter() - started)

    return measure


def slowdown_by_tracking(folder: Path) -> float:
    """Search time with tracking over search time without, for evaluations of 20 ms."""
    times = []
    for tracked in (False, True):
        watch = Stopwatch()
        problem = Problem(SPACE, TimedSum(watch, wait_s=0.02), GOAL)
        own = folder / f"tracked-{tracked}"
        settings = TrackingSettings(uri=f"sqlite:///{own}/mlflow.db")
        with create_log(own / "trials.sqlite", problem.meta("s", 0)) as log:
            tracker = MlflowTracker(settings, log, SPACE)
            strategy = RandomStrategy(SPACE, 0, 1)
            observers = [tracker] if tracked else []
            tuner = Tuner(problem, strategy, log, Budget(trials=150), observers)
            started = time.perf_counter()
            tuner.run()
            times.append(time.perf_counter() - started)
            tracker.close()
    return times[1] / times[0]


def memory_growth_mb(folder: Path) -> float:
    """Growth of resident memory from trial 1,000 to trial 10,000 of a tracked study [MB]."""
    problem = Problem(SPACE, TimedSum(Stopwatch()), GOAL)
    settings = TrackingSettings(uri=f"sqlite:///{folder}/mlflow.db", max_child_runs=50)
    sizes = []
    with create_log(folder / "trials.sqlite", problem.meta("m", 0)) as log:
        for trials in (1_000, 10_000):
            with MlflowTracker(settings, log, SPACE) as tracker:
                strategy = RandomStrategy(SPACE, 0, 8)
                Tuner(problem, strategy, log, Budget(trials=trials), [tracker]).run()
            sizes.append(float(psutil.Process().memory_info().rss) / 1e6)
    return sizes[1] - sizes[0]


def main() -> None:
    """Measure, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=200, help="child runs written")
    arguments = parser.parse_args()
    measures: dict[str, tuple[int, Callable[[Path], float]]] = {
        "one_by_one_us": (arguments.repeats, own_cost_us(2_000, 1)),
        "batched_us": (arguments.repeats, own_cost_us(50 * 1024, 1024)),
        "log_trials_per_second": (arguments.repeats, log_rate),
        "child_runs_per_second": (2, child_run_rate(arguments.runs)),
        "fluent_runs_per_second": (1, fluent_run_rate(arguments.runs // 4)),
        "search_slowdown_by_tracking": (1, slowdown_by_tracking),
        "memory_growth_mb": (1, memory_growth_mb),
    }
    found = {
        name: median(in_fresh_folder(measure) for _ in range(repeats))
        for name, (repeats, measure) in measures.items()
    }
    print(f"{'quantity':32}{'measured':>14}{'bar':>14}")
    for name, value in found.items():
        bar = f"{BARS[name]:14,.2f}" if name in BARS else f"{'baseline':>14}"
        print(f"{name:32}{value:14,.2f}{bar}")
    print(json.dumps({"benchmark": "tuner_overhead", **{k: round(v, 3) for k, v in found.items()}}))


if __name__ == "__main__":
    main()
