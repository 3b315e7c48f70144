"""Kills a tracked study at random moments, resumes it each time, and counts what is left.

    python benchmarks/kill_resume.py [--kills 20] [--trials 400] [--seed 0]

The last line is JSON; the exit status is 1 unless exactly the asked trials are in the log and in
MLflow, numbered without a gap.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from strategies.tracking.mlflow_store import open_store
from strategies.tuning.trial_reader import open_reader
from tests.strategies.killed_study import kill_and_resume
from tests.strategies.tracked import child_runs, parent_runs


def main() -> None:
    """Kill, resume, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        started = time.monotonic()
        kill_and_resume(path, arguments.trials, arguments.kills, random.Random(arguments.seed))
        elapsed_s = time.monotonic() - started
        frame = open_reader(path / "trials.sqlite").frame()
        client = open_store(f"sqlite:///{path}/mlflow.db")
        tracked = sorted(int(run.data.tags["trial"]) for run in child_runs(client))
        parents = len(parent_runs(client))
    asked = list(range(arguments.trials))
    found = {
        "kills": arguments.kills,
        "trials": arguments.trials,
        "log_gapless": frame["number"].tolist() == asked,
        "mlflow_gapless": tracked == asked,
        "parent_runs": parents,
        "seconds": round(elapsed_s, 1),
    }
    for name, value in found.items():
        print(f"{name:20}{value!s:>10}")
    print(json.dumps({"benchmark": "kill_resume", **found}))
    raise SystemExit(not (found["log_gapless"] and found["mlflow_gapless"] and parents == 1))


if __name__ == "__main__":
    main()
