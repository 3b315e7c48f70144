"""Writes finished MLflow runs: many in one transaction where this process has the database.

MLflow's API makes, fills and ends one run in four transactions of a dozen queries each (10 ms and
more of processor time). A store that is a database (SQLite, PostgreSQL) therefore gets the rows
themselves, by MLflow's own table classes and under its own rules for names and lengths: a run is
there complete or not at all. A tracking server is spoken to by the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

_USER = "mlflow.user"


@dataclass(frozen=True)
class FinishedRun:
    """All that a run says, known at once.

    Attributes:
        name: Shown by the UI.
        status: `FINISHED` or `FAILED`.
        began_ms: Start [ms since 1970].
        ended_ms: End, and time of every metric [ms since 1970].
        tags: Tag -> text.
        params: Parameter -> text.
        metrics: Metric -> finite value, at step 0.
        run_id: Of a run that was begun and not finished; None = there is none yet.
    """

    name: str
    status: str
    began_ms: int
    ended_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    run_id: str | None = None

    def entities(self) -> tuple[list[Metric], list[Param], list[RunTag]]:
        """Metrics, parameters and tags as MLflow writes them, too long texts cut.

        Raises:
            MlflowException: If MLflow does not accept a name.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
        from mlflow.utils.validation import _validate_batch_log_data

        tags = {**self.tags, MLFLOW_RUN_NAME: self.name}
        entities: tuple[list[Metric], list[Param], list[RunTag]] = _validate_batch_log_data(
            [Metric(name, value, self.ended_ms, 0) for name, value in self.metrics.items()],
            [Param(name, text) for name, text in self.params.items()],
            [RunTag(name, text) for name, text in tags.items()],
        )
        return entities


def write_runs(client: MlflowClient, experiment_id: str, runs: Sequence[FinishedRun]) -> None:
    """Write the runs; into a database new ones together, in one transaction.

    Raises:
        MlflowException: If the store does not take them.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    is_database = type(store) is SqlAlchemyStore
    for run in runs:
        if not is_database or run.run_id is not None:
            _write_by_api(client, experiment_id, run)
    new = [run for run in runs if run.run_id is None]
    if is_database and new:
        _write_rows(store, experiment_id, new)


def _write_by_api(client: MlflowClient, experiment_id: str, run: FinishedRun) -> None:
    """Make the run unless it was begun before, fill it and end it."""
    metrics, params, _ = run.entities()
    run_id = run.run_id
    if run_id is None:
        made = client.create_run(experiment_id, run.began_ms, dict(run.tags), run.name)
        run_id = made.info.run_id
    client.log_batch(run_id, metrics=metrics, params=params)
    client.set_terminated(run_id, run.status, run.ended_ms)


def _write_rows(store: Any, experiment_id: str, runs: Sequence[FinishedRun]) -> None:
    """Insert the rows of all runs, by table, in one transaction."""
    from mlflow.store.tracking.dbmodels.models import (
        SqlLatestMetric,
        SqlMetric,
        SqlParam,
        SqlRun,
        SqlTag,
    )
    from mlflow.utils.uri import append_to_uri_path
    from sqlalchemy import insert

    experiment = store.get_experiment(experiment_id)
    rows: dict[type, list[dict[str, Any]]] = {
        table: [] for table in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
    }
    for run in runs:
        run_id = uuid.uuid4().hex
        own = {"run_uuid": run_id}
        metrics, params, tags = run.entities()
        artifacts = append_to_uri_path(
            experiment.artifact_location, run_id, store.ARTIFACTS_FOLDER_NAME
        )
        rows[SqlRun].append(
            {**own, **_run_row(run), "experiment_id": int(experiment_id), "artifact_uri": artifacts}
        )
        rows[SqlTag] += [{**own, "key": tag.key, "value": tag.value} for tag in tags]
        rows[SqlParam] += [{**own, "key": param.key, "value": param.value} for param in params]
        values = [{**own, **_metric_row(metric)} for metric in metrics]
        rows[SqlMetric] += values
        rows[SqlLatestMetric] += values
    with store.ManagedSessionMaker(read_only=False) as session:
        for table, entries in rows.items():
            if entries:
                session.execute(insert(table), entries)


def _run_row(run: FinishedRun) -> dict[str, Any]:
    """The row of a run as the API leaves it, but for its identifiers."""
    from mlflow.entities import LifecycleStage, SourceType

    return {
        "name": run.name,
        "user_id": run.tags.get(_USER, "unknown"),
        "status": run.status,
        "start_time": run.began_ms,
        "end_time": run.ended_ms,
        "lifecycle_stage": LifecycleStage.ACTIVE,
        "source_type": SourceType.to_string(SourceType.UNKNOWN),
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
    }


def _metric_row(metric: Metric) -> dict[str, Any]:
    return {
        "key": metric.key,
        "value": metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": False,
    }
