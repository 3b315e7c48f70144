"""The page that sets a bare Optuna study beside ours: the files are shown, the trials agree."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from strategies.tracking.mlflow_store import open_store
from strategies.tuning.trial_reader import open_reader
from tests.strategies.tracked import child_runs

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
TRIALS = 24  # more than the sampler's random start, so that what it learns counts


def test_the_page_shows_the_files_as_they_are() -> None:
    page = (ROOT / "docs" / "bare_optuna.md").read_text()
    for name in ("bare_study.py", "bare_sampler.py", "experiment/my_study.yaml"):
        assert (EXAMPLES / name).read_text() in page


def test_our_sampler_starts_at_the_optimum_in_a_bare_study() -> None:
    printed = run(ROOT, str(EXAMPLES / "bare_sampler.py"), "3").splitlines()
    assert printed[0].startswith("0 [")
    assert printed[0].endswith("joint")
    assert printed[1] == "DRAM keeps A 1x4096, W 4096x4096, Z 1x4096"


def test_both_search_the_same_trials(tmp_path: Path) -> None:
    run(tmp_path, str(EXAMPLES / "bare_study.py"), str(TRIALS))
    words = ["run.py", "--config-dir", str(EXAMPLES), "+experiment=my_study", "quiet=true"]
    ours = [*words, f"budget.trials={TRIALS}", f"out_dir={tmp_path}", "name=ours"]
    run(ROOT, *ours)
    found = open_reader(tmp_path / "ours" / "trials.sqlite").frame()
    tracked = trials_of(open_store(f"sqlite:///{tmp_path}/bare.db"))
    ours_tracked = child_runs(open_store(f"sqlite:///{tmp_path}/mlflow.db"))
    assert len(tracked) == TRIALS == len(found) == len(ours_tracked)
    for bare, row in zip(tracked, found.to_dict("records"), strict=True):
        assert bare.data.params == {
            name: str(row[f"param/{name}"]) for name in ("tile", "banks", "policy")
        }
        assert bare.data.metrics["energy_pj"] == row["metric/energy_pj"]


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def trials_of(client: MlflowClient) -> list:
    """Nested runs of the bare study in the order of their trials."""
    experiment = client.get_experiment_by_name("bare")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "run_name LIKE 'trial %'")
    return sorted(runs, key=lambda run: str(run.info.run_name))
