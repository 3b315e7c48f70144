"""Pricing a study again, from its folder and from a bundle; every tampering must be found."""

import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest

from strategies.tasks import bundle, reproduce, study
from strategies.tasks.recorded_study import open_study
from strategies.tasks.reproduce import check_text
from strategies.tuning.trial_reader import open_reader
from tests.strategies.small_study import COST, small_config


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study `mine`: a constraint, and one design that fails."""
    where = tmp_path_factory.mktemp("reproduce")
    (where / "cost.py").write_text(COST.replace("dram =", "assert x != 4\n    dram ="))
    study.run(
        small_config(
            where,
            "name=mine",
            "strategy=exhaustive",
            "objective.constraints=['latency_cycles <= 15']",
        )
    )
    return where


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the study that a test may change; the cost function stays the recorded file."""
    shutil.copytree(recorded / "out", tmp_path / "out")
    return tmp_path


def checks(capsys, folder: Path, *overrides: str) -> dict[str, dict]:
    capsys.readouterr()
    reproduce.run(small_config(folder, *overrides))
    return {row["what"]: row for row in json.loads(capsys.readouterr().out)["checks"]}


def test_an_untouched_study_is_reproduced_exactly(folder, capsys) -> None:
    found = checks(capsys, folder, "study=mine")
    assert found["state"]["numbers"] == 20
    assert found["metric/energy_pj"]["numbers"] == 20
    assert found["violation/latency_cycles<=15"]["numbers"] == 20
    assert {"designs/best_design.json", "summary.json", "tables/pareto_front.csv"} <= set(found)
    assert all(row["different"] == 0 for row in found.values())


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "out" / "mine" / "trials.sqlite") as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE trials SET "metric/energy_pj" = "metric/energy_pj" * 1.00001 WHERE number = 7',
        'UPDATE trials SET "violation/latency_cycles<=15" = 0.5 WHERE number = 3',
        "UPDATE trials SET state = 'feasible' WHERE state = 'failed' AND number < 10",
        'UPDATE trials SET "param/x" = 5 WHERE number = 0',
    ],
)
def test_a_changed_record_is_found(folder, capsys, statement) -> None:
    change(folder, statement)
    with pytest.raises(ValueError, match=r"reproduce: \d+ of \d+ numbers differ beyond 1e-09"):
        checks(capsys, folder, "study=mine")
    rows = json.loads(capsys.readouterr().out)["checks"]
    assert sum(row["different"] for row in rows) >= 1


def test_the_first_different_trial_is_named(folder, capsys) -> None:
    change(folder, 'UPDATE trials SET "metric/energy_pj" = 1 WHERE number = 7')
    with pytest.raises(ValueError, match="differ"):
        checks(capsys, folder, "study=mine")
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    assert rows["metric/energy_pj"]["where"] == "first at 7"


@pytest.mark.parametrize("name", ["tables/pareto_front.csv", "summary.json"])
def test_a_changed_artifact_is_found(folder, capsys, name) -> None:
    path = folder / "out" / "mine" / "artifacts" / name
    path.write_text(
        path.read_text().replace("15.0", "14.0").replace('"feasible": ', '"feasible": 1')
    )
    with pytest.raises(ValueError, match="reproduce: "):
        checks(capsys, folder, "study=mine")


def test_a_looser_tolerance_forgives(folder, capsys) -> None:
    change(
        folder,
        'UPDATE trials SET "metric/energy_pj" = "metric/energy_pj" * 1.00001 WHERE number=19',
    )
    found = checks(capsys, folder, "study=mine", "reproduce.tolerance=0.001")
    assert found["metric/energy_pj"]["largest deviation"] == pytest.approx(1e-5, rel=1e-3)


def test_texts_are_compared_word_by_word_and_number_by_number(tmp_path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("name,pj\nDRAM,2.0\n")
    assert check_text("t", path, "name,pj\nDRAM,2.0\n", 0.0).different == 0
    assert check_text("t", path, "name,pj\nDRAM,4.0\n", 0.0).worst == 0.5
    assert check_text("t", path, "name,pj\nGLB,2.0\n", 0.0).where == "another text"


def bundled(folder: Path) -> Path:
    study_ = open_study("mine", folder / "out")
    return bundle.write_bundle(study_, folder / "mine.zip")


def test_a_bundle_is_reproduced_without_the_folder(folder, capsys) -> None:
    path = bundled(folder)
    shutil.rmtree(folder / "out")
    found = checks(capsys, folder, f"study={path}")
    assert found["metric/energy_pj"]["numbers"] == 20
    assert all(row["different"] == 0 for row in found.values())


def test_a_bundle_says_what_is_inside_and_is_the_same_twice(folder) -> None:
    first = bundled(folder).read_bytes()
    with zipfile.ZipFile(folder / "mine.zip") as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("manifest.json"))
        versions = json.loads(archive.read("versions.json"))
    assert {"config.yaml", "trials.sqlite", "artifacts/report.html", "inputs/0"} <= names
    assert set(manifest["sha256"]) == names - {"manifest.json"}
    assert versions["numpy"] == np.__version__
    assert bundled(folder).read_bytes() == first


def test_a_bundle_is_complete_while_the_write_ahead_log_is_not_folded_in(folder) -> None:
    source = folder / "out" / "mine" / "trials.sqlite"
    writer = sqlite3.connect(source)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE trials SET tags = 'null'")
    writer.commit()
    with bundle.unpacked(bundled(folder)) as unpacked:
        assert open_reader(unpacked / "trials.sqlite").n_trials == 20
        assert set(open_reader(unpacked / "trials.sqlite").tags()) == {None}
    writer.close()


def test_passwords_stay_out_of_a_bundle(folder) -> None:
    config = folder / "out" / "mine" / "config.yaml"
    config.write_text(config.read_text() + "\nstorage: postgresql://me:hunter2@db/runs\n")
    change(
        folder,
        "UPDATE meta SET value = json_set(value, '$.storage', 'postgresql://me:hunter2@db/runs')"
        " WHERE key = 'config'",
    )
    with bundle.unpacked(bundled(folder)) as unpacked:
        for path in unpacked.rglob("*"):
            assert path.is_dir() or b"hunter2" not in path.read_bytes()
        assert "me:***@db" in (unpacked / "config.yaml").read_text()


def test_a_changed_bundle_is_refused(folder, tmp_path) -> None:
    path = bundled(folder)
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content + b" " if name == "config.yaml" else content)
    with pytest.raises(ValueError, match=r"config\.yaml in the bundle is not what was bundled"):
        reproduce.run(small_config(folder, f"study={changed}"))


def test_a_changed_input_file_is_named(folder, recorded) -> None:
    path, cost = bundled(folder), recorded / "cost.py"
    original = cost.read_text()
    try:
        cost.write_text(original + "\n# changed\n")
        with pytest.raises(ValueError, match=r"cost\.py has changed; inputs/0 in the bundle"):
            reproduce.run(small_config(folder, f"study={path}"))
    finally:
        cost.write_text(original)


def test_mistakes_are_named(folder) -> None:
    (folder / "no.zip").write_text("text")
    with pytest.raises(ValueError, match=r"no\.zip is not a bundle"):
        reproduce.run(small_config(folder, f"study={folder}/no.zip"))
    with pytest.raises(ValueError, match="study: needs at least 1 study"):
        reproduce.run(small_config(folder))
    with pytest.raises(ValueError, match=r"tolerance: must be in \[0, 1\), got 2"):
        reproduce.run(small_config(folder, "study=mine", "reproduce.tolerance=2"))
