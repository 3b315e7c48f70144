"""Runs written as rows are those that MLflow's API would have written."""

from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy import text

from strategies.tracking import finished_runs
from strategies.tracking.finished_runs import FinishedRun, write_runs
from strategies.tracking.mlflow_store import ensure_experiment, open_store

TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")
RUNS = [
    FinishedRun(
        name=f"trial {number:05d}",
        status=status,
        began_ms=1_700_000_000_000,
        ended_ms=1_700_000_000_500 + number,
        tags={"role": "trial", "trial": str(number), "mlflow.user": "me"},
        params={"tile": str(number), "long": "x" * 9000},
        metrics={"energy_pj": 1.5 + number, "latency_cycles": 2e9} if status == "FINISHED" else {},
    )
    for number, status in enumerate(["FINISHED", "FAILED", "FINISHED"])
]


def stored(client: Any, experiment_id: str) -> dict[str, list[Any]]:
    """All rows of an experiment's runs by table, names in the place of the runs' identifiers."""
    with client._tracking_client.store.engine.connect() as connection:
        chosen = f"SELECT run_uuid, name FROM runs WHERE experiment_id = {experiment_id}"
        names = {row.run_uuid: row.name for row in connection.execute(text(chosen))}
        found = {}
        for table in TABLES:
            rows = [
                {k: str(v).replace(row["run_uuid"], "") for k, v in row.items()}
                | {"run_uuid": names[row["run_uuid"]], "experiment_id": ""}
                for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()
                if row["run_uuid"] in names
            ]
            found[table] = sorted(sorted(row.items()) for row in rows)
        return found


def test_rows_and_api_leave_the_same_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = open_store(uri)
    rows, api = (ensure_experiment(client, uri, name) for name in ("rows", "api"))
    write_runs(client, rows, RUNS)
    for run in RUNS:
        finished_runs._write_by_api(client, api, run)
    by_rows, by_api = stored(client, rows), stored(client, api)
    assert by_rows == by_api
    assert [len(by_rows[table]) for table in TABLES] == [3, 12, 6, 4, 4]


def test_a_run_that_was_begun_is_finished_and_not_doubled(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = open_store(uri)
    experiment = ensure_experiment(client, uri, "runs")
    begun = client.create_run(experiment, run_name="trial 00000")
    first = FinishedRun(**{**vars(RUNS[0]), "run_id": begun.info.run_id})
    write_runs(client, experiment, [first, RUNS[2]])
    runs = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == ["trial 00000", "trial 00002"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert client.get_run(begun.info.run_id).data.metrics == RUNS[0].metrics


def test_one_bad_name_writes_none_of_the_runs(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = open_store(uri)
    experiment = ensure_experiment(client, uri, "runs")
    bad = FinishedRun(**{**vars(RUNS[1]), "params": {"no%name": "1"}})
    with pytest.raises(MlflowException, match="no%name"):
        write_runs(client, experiment, [RUNS[0], bad])
    assert client.search_runs([experiment]) == []
