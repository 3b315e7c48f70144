"""Tracks a study in MLflow while it runs: a parent run, and a nested child run per trial.

One background thread writes; the search only rings a bell. What the thread has not written when
the process dies, or while the server is away, is written when the study is resumed.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from spaces.space import Space
from strategies.passwords import redacted, scrubbed
from strategies.reporting.study_result import StudyResult
from strategies.tracking.child_runs import chosen_trials, streamed_quota
from strategies.tracking.mlflow_store import (
    check_store,
    ensure_experiment,
    open_store,
    ui_command,
    ui_link,
)
from strategies.tracking.run_writer import MAX_HISTORY_TRIALS, RunWriter
from strategies.tuning.progress import Progress
from strategies.tuning.trial_batch import TrialBatch
from strategies.tuning.trial_log import TrialLog
from strategies.tuning.trial_reader import TrialReader, open_reader

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 32
"""Trials read and written at a time, so that an interrupt is answered soon."""

PATIENCE_S = 4.0
"""After a study, a longer wait for its tracking is announced [s]."""

LARGE_CHUNK = 1024
"""Trials read at a time once only the histories follow."""

_STATUS = {"interrupted": "KILLED", "error": "FAILED"}


@dataclass(frozen=True)
class TrackingSettings:
    """Where and how a study is tracked.

    Attributes:
        uri: MLflow tracking URI: `sqlite:///file`, `http://host:port`, `postgresql://...`.
        experiment: The question; studies that answer it are compared with one another.
        run_name: The choices that differ and the seed; the study's name when absent.
        max_child_runs: Largest number of trials that each get a run of their own.
        params: Parameters of the parent run, nested or flat.
        tags: Tags of the parent run.
        artifacts: Folder for the artifacts of a database on a server; a SQLite store keeps them
            beside its file, an MLflow server where it was told to.
    """

    uri: str = "sqlite:///outputs/mlflow.db"
    experiment: str = "cosearch"
    run_name: str | None = None
    max_child_runs: int = 500
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: str | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that no study can respect."""
        if self.max_child_runs < 0:
            raise ValueError(f"tracking.max_child_runs: must be >= 0, got {self.max_child_runs}")


class MlflowTracker:
    """Observer that keeps MLflow in step with the trial log; use it as a context manager.

    Leaving the context writes what is missing, the summary and the artifacts, and ends the parent
    run. Trouble with the store never ends a study: it is told in one line, and the next resume
    brings the store up to date.

    Args:
        settings: Where and how.
        log: The study's trial log, on disk.
        space: Describes the designs.

    Raises:
        TrackingError: At once, when the store cannot be reached.
    """

    def __init__(self, settings: TrackingSettings, log: TrialLog, space: Space):
        if log.path is None:
            raise ValueError("tracking: needs a trial log on disk, this one is in memory")
        check_store(settings.uri)
        self.settings = settings
        self.error: str | None = None
        self._path = log.path
        self._meta = log.meta
        self._space = space
        self._writer: RunWriter | None = None
        self._quota = streamed_quota(settings.max_child_runs, None)
        self._result: StudyResult | None = None
        self._artifacts: list[Path] = []
        self._summary: dict[str, float] = {}
        self._bell = threading.Condition()
        self._recorded = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    # --- observer ---------------------------------------------------------------------------

    def study_started(self, log: TrialLog, progress: Progress) -> None:
        """Begin to write, first what an earlier session left unwritten."""
        self._quota = streamed_quota(self.settings.max_child_runs, progress.budget.trials)
        self._recorded = progress.trials
        self._thread.start()

    def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
        """Tell the writer that there is more; returns at once."""
        with self._bell:
            self._recorded = progress.trials
            self._bell.notify()

    def study_ended(self, result: StudyResult) -> None:
        """Remember the outcome for the summary."""
        self._result = result

    # --- additions of the caller ------------------------------------------------------------

    def add_artifacts(self, path: Path) -> None:
        """Attach a file, or the contents of a folder, to the parent run on leaving."""
        self._artifacts.append(path)

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log these metrics on the parent run on leaving, e.g. `breakdown/dram_pj`."""
        self._summary.update(metrics)

    @property
    def command(self) -> str | None:
        """The command that starts the MLflow UI; None when a server runs it."""
        return ui_command(self.settings.uri)

    @property
    def link(self) -> str | None:
        """The view of this experiment with its trials nested; None before it exists."""
        writer = self._writer
        return ui_link(self.settings.uri, writer.experiment_id) if writer else None

    @property
    def parent_id(self) -> str | None:
        """Identifier of the parent run; None before it exists."""
        return self._writer.parent_id if self._writer else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close("error" if kind is not None else None)

    def close(self, ended_by: str | None = None) -> None:
        """Write what is missing and end the parent run; Ctrl-C leaves the rest to a resume."""
        if not self._thread.ident:
            return
        with self._bell:
            self._closing = True
            self._bell.notify()
        try:
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                where = redacted(self.settings.uri)
                print(
                    f"tracking: writing the remaining runs to {where}; Ctrl-C leaves them to a "
                    f"resume",
                    file=sys.stderr,
                )
            self._thread.join()
            if self.error is None and self._writer is not None:
                self._finish(self._writer, ended_by)
        except KeyboardInterrupt:
            self.error = "interrupted while writing; resume the study to complete its tracking"
        except Exception as trouble:
            self._fail(trouble)
        if self.error:
            print(f"tracking: {self.error}", file=sys.stderr)

    # --- the writer thread ------------------------------------------------------------------

    def _work(self) -> None:
        """Open the store, then follow the log until the study ends."""
        try:
            uri = self.settings.uri
            client = open_store(uri)
            folder = self.settings.artifacts
            experiment = ensure_experiment(client, uri, self.settings.experiment, folder)
            writer = RunWriter(client, experiment, self._meta, self._space)
            name = self.settings.run_name or self._meta.name
            writer.open_parent(name, self.settings.params, self.settings.tags)
            self._writer = writer
            self._follow(writer, open_reader(self._path))
        except Exception as trouble:
            self._fail(trouble)

    def _follow(self, writer: RunWriter, reader: TrialReader) -> None:
        """Write trials in the order of their numbers as they are recorded."""
        done = 0
        while True:
            with self._bell:
                while self._recorded <= done and not self._closing:
                    self._bell.wait()
                recorded, closing = self._recorded, self._closing
            last = min(recorded, MAX_HISTORY_TRIALS)
            while done < last:
                stop = min(done + (CHUNK if done < self._quota else LARGE_CHUNK), last)
                self._write(writer, list(reader.batches(done, stop)))
                done = stop
            done = max(done, recorded)
            if closing and done >= self._recorded:
                return

    def _write(self, writer: RunWriter, batches: Sequence[TrialBatch]) -> None:
        """Child runs while the quota lasts, and the histories."""
        writer.write_children(
            (batch, range(batch.first, batch.first + len(batch)))
            for batch in batches
            if batch.first < self._quota
        )
        writer.write_history(batches)

    def _fail(self, trouble: Exception) -> None:
        self.error = (
            f"{redacted(self.settings.uri)}: {scrubbed(trouble, self.settings.uri)}; the study "
            f"itself is safe in {self._path}, resume it to complete its tracking"
        )

    # --- the end of a study -----------------------------------------------------------------

    def _finish(self, writer: RunWriter, ended_by: str | None) -> None:
        """Chosen child runs, summary, table and artifacts; then end the parent run."""
        result = self._result
        if result is not None:
            writer.write_late_gains(result)
            kept = self._write_chosen(writer, result)
            writer.write_summary({**_summary(result), **kept, **self._summary}, _tags(result))
            self._log_table(writer, result.frame())
        for path in self._artifacts:
            if path.is_dir():
                writer.client.log_artifacts(writer.parent_id, str(path))
            else:
                writer.client.log_artifact(writer.parent_id, str(path))
        reason = ended_by or (result.ended_by if result is not None else "error")
        if reason == "error" and self._recorded == 0:
            writer.client.delete_run(writer.parent_id)  # a mistake found at the first batch
            return
        writer.client.set_terminated(writer.parent_id, _STATUS.get(reason, "FINISHED"))

    def _write_chosen(self, writer: RunWriter, result: StudyResult) -> dict[str, float]:
        """Child runs of the trials that matter most; returns how many there are of each kind."""
        n_streamed = len(writer.written)
        if result.n_trials <= self.settings.max_child_runs:
            chosen = {"all": list(range(result.n_trials))}
        else:
            chosen = chosen_trials(result, self.settings.max_child_runs - n_streamed)
        missing = sorted({n for numbers in chosen.values() for n in numbers} - writer.written)
        for start in range(0, len(missing), CHUNK):
            numbers = missing[start : start + CHUNK]
            writer.write_children([(result.reader.trials(numbers), numbers)])
        counts = {f"search/child_runs_{kind}": float(len(v)) for kind, v in chosen.items()}
        return counts | {
            "search/child_runs": float(len(writer.written)),
            "search/child_runs_first": float(n_streamed),
            "search/history_trials": float(min(result.n_trials, MAX_HISTORY_TRIALS)),
        }

    def _log_table(self, writer: RunWriter, frame: pd.DataFrame) -> None:
        """Every trial in one parquet file."""
        mixed = [name for name in frame.columns if frame[name].dtype == object]
        plain = frame.assign(**{name: frame[name].map(_cell) for name in mixed})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trials.parquet"
            plain.to_parquet(path)
            writer.client.log_artifact(writer.parent_id, str(path))


def _cell(value: Any) -> str | None:
    return None if value is None else str(value)


def _summary(result: StudyResult) -> dict[str, float]:
    """Metrics that every study reports under the same names."""
    elapsed_s = result.reader.elapsed_s
    metrics = {f"search/{state}": float(count) for state, count in result.counts.items()}
    metrics |= {
        "search/trials": float(result.n_trials),
        "search/seconds": elapsed_s,
        "search/trials_per_second": result.n_trials / elapsed_s if elapsed_s else 0.0,
        "search/front_size": float(len(result.front)),
    }
    if len(result.goal.objectives) > 1:
        metrics["search/hypervolume"] = result.hypervolume
    for name in result.goal.metrics:
        best = result.best_of(name)
        if best is not None:
            metrics |= {f"best/{name}_trial": float(best.number)}
    return metrics


def _reference_text(result: StudyResult) -> str:
    """The point that bounds the hypervolume, in the objectives' own directions."""
    if len(result.front) == 0:
        return ""
    signs = [1.0 if o.direction == "minimize" else -1.0 for o in result.goal.objectives]
    pairs = zip(result.goal.metrics, signs * result.reference, strict=True)
    return ", ".join(f"{name}={value:.6g}" for name, value in pairs)


def _tags(result: StudyResult) -> dict[str, str]:
    goal = result.goal
    return {
        "ended_by": result.ended_by,
        "objectives": ", ".join(f"{o.direction} {o.metric}" for o in goal.objectives),
        "constraints": ", ".join(c.name for c in goal.constraints),
        "hypervolume_reference": _reference_text(result),
        "model_version": result.reader.meta.model_version,
        "seed": str(result.reader.meta.seed),
    }
