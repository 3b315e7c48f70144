"""A multirun gives studies that compare well: common tag, what differs, one summary."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strategies.tasks import study, sweep
from strategies.tasks.recorded_study import known_studies, study_in
from strategies.tasks.sweep import seed_rows
from strategies.tasks.user_errors import CONFIG_DIR
from strategies.tracking.mlflow_store import open_store
from tests.strategies.small_study import small_config
from tests.test_run import run

ROOT = CONFIG_DIR.parent


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and printed lines of a multirun of two objectives by two seeds."""
    where = tmp_path_factory.mktemp("sweep")
    config = small_config(where)
    words = [
        "-m",
        "space=parameters",
        "space.definitions={x: {low: 0, high: 9}, kind: {choices: [a, b]}}",
        "evaluator=function",
        f"evaluator.path={config.evaluator.path}",
        "strategy=random,exhaustive",
        "seed=3,4",
        "budget.trials=20",
        "quiet=true",
        f"out_dir={where}/out",
    ]
    done = subprocess.run(
        [sys.executable, "run.py", *words],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return where / "out", done.stdout


def test_every_study_of_a_sweep_shares_its_name(swept) -> None:
    out, _ = swept
    studies = [study_in(out / name) for name in known_studies(out)]
    names = {str(s.config.sweep) for s in studies}
    assert len(studies) == 4
    assert len(names) == 1
    assert (out / "sweeps" / names.pop() / "report.html").is_file()


def test_the_summary_has_a_row_per_study_and_per_setting(swept) -> None:
    _, printed = swept
    summary = json.loads(printed.splitlines()[-1])
    rows = summary["tables"]["Studies of the sweep"]
    assert [(row["strategy"], row["seed"]) for row in rows] == [
        ("random", "3"),
        ("random", "4"),
        ("exhaustive", "3"),
        ("exhaustive", "4"),
    ]
    assert rows[2]["best energy_pj"] == 24.0
    assert rows[2]["hypervolume"] == pytest.approx(1.0)
    (random, exhaustive) = summary["tables"]["Mean and standard deviation over seeds"]
    assert random["seeds"] == 2
    assert exhaustive["best energy_pj"] == "24 ± 0"
    for name in ("figures/best.png", "figures/fronts.pdf", "tables/studies_of_the_sweep.csv"):
        assert (Path(summary["artifacts"]) / name).stat().st_size > 0


def test_parent_runs_carry_the_tag_and_what_differs(swept) -> None:
    out, _ = swept
    client = open_store(f"sqlite:///{out}/mlflow.db")
    (experiment,) = (e for e in client.search_experiments() if e.name == "cosearch")
    name = str(study_in(out / known_studies(out)[0]).config.sweep)
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{name}'")
    roles = sorted(run.data.tags["role"] for run in runs)
    assert roles == ["study"] * 4 + ["sweep"]
    parents = [run for run in runs if run.data.tags["role"] == "study"]
    differing = {(r.data.params["set.strategy"], r.data.params["set.seed"]) for r in parents}
    assert differing == {(s, n) for s in ("random", "exhaustive") for n in ("3", "4")}
    metrics = [set(run.data.metrics) for run in parents]
    assert all(names == metrics[0] for names in metrics)
    (summary,) = (run for run in runs if run.data.tags["role"] == "sweep")
    assert "report.html" in {f.path for f in client.list_artifacts(summary.info.run_id)}


def test_a_sweep_can_be_summarised_again_by_its_name(tmp_path, capsys) -> None:
    study.run(small_config(tmp_path, "name=one", "sweep=mine", "seed=1"))
    study.run(small_config(tmp_path, "name=two", "sweep=mine", "seed=2"))
    study.run(small_config(tmp_path, "name=other"))
    capsys.readouterr()
    sweep.run(small_config(tmp_path, "sweep=mine"))
    rows = json.loads(capsys.readouterr().out)["tables"]["Studies of the sweep"]
    assert [row["study"] for row in rows] == ["one", "two"]


def test_a_study_without_a_feasible_trial_keeps_its_row(tmp_path, capsys) -> None:
    limit = "objective.constraints=['latency_cycles <= 1']"
    study.run(small_config(tmp_path, "name=none", "sweep=mine", limit))
    study.run(small_config(tmp_path, "name=some", "sweep=mine"))
    capsys.readouterr()
    sweep.run(small_config(tmp_path, "sweep=mine"))
    rows = json.loads(capsys.readouterr().out)["tables"]["Studies of the sweep"]
    assert rows[0]["best energy_pj"] is None
    assert rows[0]["hypervolume"] == 0.0
    assert rows[1]["best energy_pj"] >= 24.0


def test_an_unknown_sweep_is_named(tmp_path) -> None:
    study.run(small_config(tmp_path, "name=one", "sweep=mine"))
    with pytest.raises(ValueError, match="no study of a sweep 'other'"):
        sweep.run(small_config(tmp_path, "sweep=other"))
    with pytest.raises(ValueError, match=r"needs the name of a sweep; known: \['mine'\]"):
        sweep.run(small_config(tmp_path))


def test_deviation_over_seeds_is_the_sample_one() -> None:
    settings = [{"seed": "0", "hardware": "edge"}, {"seed": "1", "hardware": "edge"}]
    (row,) = seed_rows(settings, [{"best": 1.0}, {"best": 3.0}])
    assert row == {"hardware": "edge", "seeds": 2, "best": "2 ± 1.4"}
    (row,) = seed_rows(settings, [{"best": 1600.0}, {"best": 2000.0}])
    assert row["best"] == "1800 ± 280"


def test_a_job_with_a_mistake_does_not_keep_the_others_from_running(tmp_path) -> None:
    words = ["-m", "--config-dir", "docs/examples", "+experiment=my_study", "budget.trials=3"]
    words += ["space.definitions.tile.high=8,64", "tracking=none", "quiet=true", "sweep=mixed"]
    done = run(*words, out=tmp_path)
    assert done.returncode == 2
    assert "tile: low must be <= high, got low=16, high=8" in done.stderr.splitlines()[0]
    assert "sweep: 1 failed:" in done.stderr
    assert len(known_studies(tmp_path)) == 1
    assert json.loads(done.stdout.splitlines()[-1])
