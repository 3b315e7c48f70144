"""Writes a study's parent run and child runs to MLflow, from the study's trial log.

The log is the queue: the writer reads what it has not written yet, so memory stays flat and a
resumed study is reconciled by the same code. Every write may be repeated: a run is found by its
tags, timestamps come from the log, and MLflow ignores a metric it already has.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spaces.space import Space
from strategies.reporting.study_result import StudyResult
from strategies.tracking.child_runs import flattened, plain_name, shown_metrics, shown_params
from strategies.tracking.finished_runs import FinishedRun, write_runs
from strategies.tuning.trial_batch import StudyMeta, TrialBatch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

STUDY_ID_TAG = "study_id"
TRIAL_TAG = "trial"
HISTORY_TAG = "history_trials"
PARENT_TAG = "mlflow.parentRunId"

MAX_HISTORY_TRIALS = 20_000
"""Trials in the metric histories (0.6 ms each); gains in `best/` are logged beyond it too."""

_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000


class RunWriter:
    """Writes runs of one study with one client; used by one thread at a time.

    Args:
        client: Client of the store.
        experiment_id: Where the runs belong.
        meta: Head of the study's log.
        space: Decodes and describes the trials' designs.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, meta: StudyMeta, space: Space):
        self.client = client
        self.experiment_id = experiment_id
        self.meta = meta
        self.space = space
        self.parent_id = ""
        self.written: set[int] = set()
        self._unfinished: dict[int, str] = {}
        self._best: dict[str, float] = {}
        self._history_from = 0

    def open_parent(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Find the study's parent run and its children, or make the parent."""
        own = {STUDY_ID_TAG: self.meta.study_id, "role": "study", **_source_tags(), **tags}
        found = self._search(
            f"tags.{STUDY_ID_TAG} = '{self.meta.study_id}' and tags.role = 'study'"
        )
        if found:
            self.parent_id = found[0].info.run_id
            self._history_from = int(found[0].data.tags.get(HISTORY_TAG, 0))
            self._find_children()
            self.client.update_run(self.parent_id, status="RUNNING")
        else:
            started_ms = int(self.meta.created_unix_s * 1000)
            run = self.client.create_run(
                self.experiment_id, start_time=started_ms, tags=own, run_name=name
            )
            self.parent_id = run.info.run_id
        self._log_params(self.parent_id, {} if found else params)

    def _find_children(self) -> None:
        """Remember which trials have a finished child run, and which only a begun one."""
        for run in self._search(f"tags.`{PARENT_TAG}` = '{self.parent_id}'"):
            number = int(run.data.tags[TRIAL_TAG])
            if run.info.status in ("FINISHED", "FAILED"):
                self.written.add(number)
            else:
                self._unfinished[number] = run.info.run_id

    def _search(self, condition: str) -> list[Any]:
        """All active runs of the experiment that meet the condition."""
        runs: list[Any] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], condition, max_results=1000, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def write_children(self, trials: Iterable[tuple[TrialBatch, Sequence[int]]]) -> None:
        """Write a child run, all of them together, for every trial that has none.

        Args:
            trials: Batches, each with the numbers of its trials.
        """
        runs: dict[int, FinishedRun] = {}
        for batch, numbers in trials:
            todo = [i for i, number in enumerate(numbers) if number not in self.written]
            for index, design in zip(todo, _described(self.space, batch, todo), strict=True):
                runs[numbers[index]] = self._child(batch, index, numbers[index], design)
        write_runs(self.client, self.experiment_id, list(runs.values()))
        self.written |= set(runs)

    def _child(
        self, batch: TrialBatch, index: int, number: int, design: Mapping[str, Any]
    ) -> FinishedRun:
        """What the child run of one trial says."""
        ended_ms = int(batch.finished_unix_s * 1000)
        return FinishedRun(
            name=f"trial {number:05d}",
            status="FAILED" if index in batch.evaluation.failures else "FINISHED",
            began_ms=int((batch.finished_unix_s - batch.seconds / len(batch)) * 1000),
            ended_ms=ended_ms,
            tags={**self._child_tags(batch, index, number), PARENT_TAG: self.parent_id},
            params=shown_params(design),
            metrics=shown_metrics(batch, index),
            run_id=self._unfinished.get(number),
        )

    def _child_tags(self, batch: TrialBatch, index: int, number: int) -> dict[str, str]:
        state = "feasible" if batch.evaluation.feasible[index] else "infeasible"
        tags = {**_source_tags(), "role": "trial", TRIAL_TAG: str(number), "state": state}
        if index in batch.evaluation.failures:
            tags |= {"state": "failed", "reason": batch.evaluation.failures[index][:500]}
        return tags | (dict(batch.tags[index]) if batch.tags else {})

    def write_history(self, batches: Sequence[TrialBatch]) -> None:
        """Add trials to the parent's metric histories: `search/` always, `best/` on a gain."""
        from mlflow.entities import RunTag

        metrics = [
            m for batch in batches for m in (*self._improvements(batch), *self._values(batch))
        ]
        stop = batches[-1].first + len(batches[-1]) if batches else 0
        if stop > self._history_from:
            self._log_metrics(metrics)
            self.client.log_batch(self.parent_id, tags=[RunTag(HISTORY_TAG, str(stop))])

    def _log_metrics(self, metrics: Sequence[Metric]) -> None:
        """Log metrics of the parent run in as few calls as MLflow allows."""
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            part = metrics[start : start + _METRICS_PER_CALL]
            self.client.log_batch(self.parent_id, metrics=part)

    def write_late_gains(self, result: StudyResult) -> None:
        """Add the gains of trials beyond the histories to `best/`."""
        from mlflow.entities import Metric

        late = result.losses[MAX_HISTORY_TRIALS:]
        for index, objective in enumerate(self.meta.goal.objectives if len(late) else ()):
            known = result.losses[:MAX_HISTORY_TRIALS, index].min()
            best = np.minimum.accumulate(np.concatenate([[known], late[:, index]]))
            gains = np.flatnonzero(best[1:] < best[:-1]) + MAX_HISTORY_TRIALS
            name = f"best/{plain_name(objective.metric)}"
            for number in gains[-_METRICS_PER_CALL:].tolist():
                trial = result.reader.trials([number])
                value = float(trial.evaluation.metrics[objective.metric][0])
                metric = Metric(name, value, int(trial.finished_unix_s * 1000), number)
                self.client.log_batch(self.parent_id, metrics=[metric])

    def _values(self, batch: TrialBatch) -> Iterable[Metric]:
        """Finite objectives of the trials that have no history yet."""
        from mlflow.entities import Metric

        ended_ms = int(batch.finished_unix_s * 1000)
        for name in self.meta.goal.metrics:
            for index, value in enumerate(batch.evaluation.metrics[name].tolist()):
                step = batch.first + index
                if np.isfinite(value) and step >= self._history_from:
                    yield Metric(f"search/{plain_name(name)}", value, ended_ms, step)

    def _improvements(self, batch: TrialBatch) -> Iterable[Metric]:
        """Feasible trials that beat all before them in one objective."""
        from mlflow.entities import Metric

        ended_ms = int(batch.finished_unix_s * 1000)
        losses = self.meta.goal.losses(batch.evaluation)
        losses = np.where(batch.evaluation.feasible[:, None], losses, np.inf)
        for name, column in zip(self.meta.goal.metrics, losses.T, strict=True):
            for index, loss in enumerate(column.tolist()):
                if loss < self._best.get(name, np.inf):
                    self._best[name] = loss
                    value = float(batch.evaluation.metrics[name][index])
                    yield Metric(f"best/{plain_name(name)}", value, ended_ms, batch.first + index)

    def write_summary(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log final metrics and tags on the parent run."""
        import time

        from mlflow.entities import Metric, RunTag

        now_ms = int(time.time() * 1000)
        entries = [
            Metric(plain_name(k), float(v), now_ms, 0) for k, v in metrics.items() if np.isfinite(v)
        ]
        texts = [RunTag(k, str(v)[:5000]) for k, v in tags.items()]
        self._log_metrics(entries)
        self.client.log_batch(self.parent_id, tags=texts)

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(plain_name(k), str(v)[:500]) for k, v in flattened(dict(params))]
        for start in range(0, len(entries), _PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=entries[start : start + _PARAMS_PER_CALL])


def _described(space: Space, batch: TrialBatch, indices: Sequence[int]) -> list[Mapping[str, Any]]:
    """Readable designs; the raw parameters of a batch whose designs cannot be decoded."""
    if not indices:
        return []
    try:
        designs = space.decode(batch.columns)
        return [space.describe(designs, index) for index in indices]
    except Exception:  # such a batch holds failed trials, whose reason their tags tell
        lists = {name: np.asarray(values).tolist() for name, values in batch.columns.items()}
        return [{name: values[index] for name, values in lists.items()} for index in indices]


def _source_tags() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = "unknown"
    return {
        "mlflow.user": user,
        "mlflow.source.name": "run.py",
        "mlflow.source.type": "LOCAL",
    }
