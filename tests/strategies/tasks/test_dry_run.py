"""The plan of a study: nothing is written, and what is announced is what the study then writes."""

import json
from pathlib import Path

import pytest

from strategies.tasks import dry_run, study
from tests.strategies.small_study import small_config


def plan(capsys: pytest.CaptureFixture[str], folder: Path, *overrides: str) -> dict[str, list]:
    dry_run.run(small_config(folder, "name=mine", *overrides))
    return json.loads(capsys.readouterr().out)["tables"]


def facts(tables: dict[str, list]) -> dict[str, str]:
    return {row["what"]: row["value"] for row in tables["Study mine"]}


def test_the_announced_files_are_the_written_ones(tmp_path: Path, capsys) -> None:
    tables = plan(capsys, tmp_path)
    folder = tmp_path / "out" / "mine"
    assert not folder.parent.exists()
    announced = {row["file"] for row in tables[f"Would be written to {folder}"]}
    study.run(small_config(tmp_path, "name=mine"))
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    locks = {name for name in written if name.startswith("trials.sqlite") and "-" in name}
    assert announced == written - locks - {"trials.sqlite.lock"}


def test_tracking_is_announced_and_not_touched(tmp_path: Path, capsys) -> None:
    tables = plan(capsys, tmp_path, "tracking=local", "tracking.max_child_runs=30")
    assert [row["what"] for row in tables["Would be tracked"]] == [
        "run mine, with every file above but the record",
        "20 nested runs, one per trial",
    ]
    assert not (tmp_path / "out").exists()


def test_size_objectives_strategy_and_budget_are_said(tmp_path: Path, capsys) -> None:
    said = facts(plan(capsys, tmp_path, "strategy=tpe", "seed=3"))
    assert said["searched"] == "space of 20 designs"
    assert said["objectives"] == "minimize energy_pj, minimize latency_cycles"
    assert said["strategy"] == "OptunaStrategy(TPESampler)"
    assert said["seed, workers"] == "3, 1"
    assert said["budget"] == "20 trials"


def test_the_estimate_scales_with_the_budget(tmp_path: Path, capsys) -> None:
    (tmp_path / "cost.py").write_text(
        "import time\ndef evaluate(x, kind):\n    time.sleep(0.01)\n"
        "    return {'energy_pj': x, 'latency_cycles': -x}\n"
    )
    said = facts(plan(capsys, tmp_path, "budget.trials=1000"))
    assert 10 <= float(said["expected"].split()[0]) < 60
    said = facts(plan(capsys, tmp_path, "budget.trials=1000", "budget.seconds=4"))
    assert float(said["expected"].split()[0]) < 30


def test_an_exhaustive_study_ends_before_its_budget(tmp_path: Path, capsys) -> None:
    tables = plan(capsys, tmp_path, "strategy=exhaustive", "budget.trials=1000")
    rows = {row["file"]: row["what"] for row in tables[f"Would be written to {tmp_path}/out/mine"]}
    assert rows["trials.sqlite"] == "the record: 20 trials"


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"budget\.trials: must be a whole number >= 1, got 0"):
        dry_run.run(small_config(tmp_path, "budget.trials=0"))
