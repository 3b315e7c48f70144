from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.parameter_space import ParameterSpace
from strategies.objective import make_goal
from strategies.tuning.trial_batch import StudyMeta, TrialBatch
from strategies.tuning.trial_log import (
    TrialLog,
    TrialLogError,
    create_log,
    in_memory_log,
    log_bytes,
    resume_log,
)
from strategies.tuning.trial_reader import open_reader

SPACE = ParameterSpace(
    {
        "n": {"low": 0, "high": 5},
        "x": {"low": 0.0, "high": 1.0},
        "kind": {"choices": ["a", 1, True, None]},
        "flag": {"choices": [True, False]},
    }
)
META = StudyMeta("study", SPACE.parameters, make_goal(["loss"]), seed=7, config={"a": {"b": [1]}})


def batch(first: int, n: int = 3, failed: int | None = None) -> TrialBatch:
    rng = np.random.default_rng(first)
    loss = rng.random(n)
    failures = {}
    if failed is not None:
        loss[failed] = np.nan
        failures = {failed: "ValueError: too small"}
    return TrialBatch(
        first=first,
        columns=SPACE.sample(n, rng),
        evaluation=Evaluation({"loss": loss}, {"capacity": rng.random(n) - 0.5}, failures),
        seconds=0.25 * n,
        elapsed_s=float(first + n),
        finished_unix_s=1000.0 + first,
        tags=[{"stage": f"s{first}"}] * n,
    )


def assert_batches_equal(left: TrialBatch, right: TrialBatch) -> None:
    assert left.first == right.first
    for name in SPACE.parameters:
        assert left.columns[name].dtype == right.columns[name].dtype
        pairs = zip(left.columns[name].tolist(), right.columns[name].tolist(), strict=True)
        assert all(type(a) is type(b) and a == b for a, b in pairs)
    np.testing.assert_array_equal(left.evaluation.metrics["loss"], right.evaluation.metrics["loss"])
    np.testing.assert_array_equal(
        left.evaluation.violations["capacity"], right.evaluation.violations["capacity"]
    )
    assert dict(left.evaluation.failures) == dict(right.evaluation.failures)
    assert list(left.tags) == list(right.tags)
    assert left.elapsed_s == right.elapsed_s


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    written = [batch(0), batch(3, n=2, failed=1), batch(5, n=4)]
    with create_log(tmp_path / "t.sqlite", META) as log:
        for part in written:
            log.append(part)
        assert len(log) == 9
    read = list(open_reader(tmp_path / "t.sqlite").batches())
    assert len(read) == 3
    for left, right in zip(read, written, strict=True):
        assert_batches_equal(left, right)


def test_head_survives_a_reopen(tmp_path: Path) -> None:
    create_log(tmp_path / "t.sqlite", META).close()
    with resume_log(tmp_path / "t.sqlite", META) as log:
        recorded = replace(log.meta, study_id="", created_unix_s=0.0)
        assert recorded == META
        assert log.meta.study_id
        assert log.meta.created_unix_s > 0


def test_frame_has_a_row_per_trial_and_states(tmp_path: Path) -> None:
    log = in_memory_log(META)
    log.append(batch(0, n=3, failed=0))
    frame = log.reader.frame()
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["state"].tolist()[0] == "failed"
    assert set(frame["state"].tolist()[1:]) <= {"feasible", "infeasible"}
    assert frame["reason"].tolist()[0] == "ValueError: too small"
    assert {"param/n", "param/x", "metric/loss", "violation/capacity"} <= set(frame.columns)


def test_metrics_that_appear_later_are_nan_before() -> None:
    log = in_memory_log(META)
    log.append(batch(0, n=2))
    later = batch(2, n=1)
    richer = Evaluation({**later.evaluation.metrics, "area_mm2": np.array([4.0])})
    log.append(replace(later, evaluation=richer))
    np.testing.assert_array_equal(log.reader.values("metric/area_mm2"), [np.nan, np.nan, 4.0])


def test_a_batch_is_written_wholly_or_not_at_all() -> None:
    log = in_memory_log(META)
    log.append(batch(0, n=2))
    with pytest.raises(TrialLogError, match="cannot write trial 1"):
        log.append(batch(1, n=2))  # number 1 exists, number 2 would be new
    assert len(log) == 2
    log.append(batch(2, n=2))
    assert len(log) == 4


def test_new_columns_of_a_batch_that_failed_can_be_added_again() -> None:
    log = in_memory_log(META)
    extra = Evaluation({"loss": np.zeros(1), "area_mm2": np.ones(1)})
    log.append(batch(0, n=1))
    with pytest.raises(TrialLogError):
        log.append(replace(batch(0, n=1), evaluation=extra))
    log.append(replace(batch(1, n=1), evaluation=extra))
    assert log.reader.values("metric/area_mm2")[1] == 1.0


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with create_log(path, META), pytest.raises(TrialLogError, match="another process"):
        resume_log(path)
    resume_log(path).close()


def test_an_existing_study_is_not_overwritten(tmp_path: Path) -> None:
    create_log(tmp_path / "t.sqlite", META).close()
    with pytest.raises(TrialLogError, match="resume=study"):
        create_log(tmp_path / "t.sqlite", META)


def test_resume_needs_a_record(tmp_path: Path) -> None:
    with pytest.raises(TrialLogError, match="no recorded study"):
        resume_log(tmp_path / "t.sqlite")
    (tmp_path / "t.sqlite").write_text("something else that is long enough to be read" * 100)
    with pytest.raises(TrialLogError, match="not a trial log"):
        resume_log(tmp_path / "t.sqlite")


def test_resume_names_what_changed_in_the_space(tmp_path: Path) -> None:
    create_log(tmp_path / "t.sqlite", META).close()
    other = ParameterSpace({**SPACE.definitions, "x": {"low": 0.0, "high": 2.0}})
    with pytest.raises(TrialLogError, match=r"another space \(changed: x\)"):
        resume_log(tmp_path / "t.sqlite", replace(META, parameters=other.parameters))
    with pytest.raises(TrialLogError, match="other objectives"):
        resume_log(tmp_path / "t.sqlite", replace(META, goal=make_goal(["loss"], "maximize")))


def test_the_folder_must_be_writable(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(TrialLogError, match="out_dir"):
        create_log(blocked / "sub" / "t.sqlite", META)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    log = create_log(tmp_path / "t.sqlite", META)
    log.append(batch(0))
    pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
    log._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(TrialLogError, match=r"full.*every earlier trial is kept"):
        fill(log)
    recorded = len(log)
    log.close()
    with resume_log(tmp_path / "t.sqlite") as again:
        assert len(again) == recorded >= 3
        assert len(again.reader.states()) == recorded


def fill(log: TrialLog) -> None:
    while True:
        log.append(batch(len(log), n=50))


def test_reads_while_it_is_written(tmp_path: Path) -> None:
    with create_log(tmp_path / "t.sqlite", META) as log:
        log.append(batch(0))
        reader = open_reader(tmp_path / "t.sqlite")
        log.append(batch(3))
        assert reader.n_trials == 6
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM trials")
    assert log_bytes(tmp_path / "t.sqlite") > 0
