"""The durable record of a study: one append-only SQLite file in WAL mode.

Table `meta` (key, value as JSON) heads the file; table `trials` has one row per trial and one
column per parameter (`param/NAME`), metric (`metric/NAME`) and constraint (`violation/NAME`). A
batch is one transaction, so a process killed at any moment loses at most the batch it had not
reported. With `synchronous=NORMAL` a power failure may also lose the last transactions, never the
file. Numbers are gapless because one writer at a time holds a lock beside the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution

from strategies.tuning.trial_batch import StudyMeta, TrialBatch
from strategies.tuning.trial_reader import TrialReader, meta_to_rows, read_meta, stored_column

SCHEMA_VERSION = 1

_FIXED = ("number", "batch", "state", "reason", "seconds", "elapsed_s", "finished_unix_s", "tags")


class TrialLogError(ValueError):
    """The record cannot be written, opened or continued; the message says why and what helps."""


class TrialLog:
    """Appends batches of trials to the record of one study.

    Make one with `create_log`, `resume_log` or `in_memory_log`; close it, or use it as a context
    manager, to release the lock.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None, lock: FileLock | None):
        self._connection = connection
        self._lock = lock
        self.path = path
        self.reader = TrialReader(connection)
        self.meta = self.reader.meta
        self._columns = {row[1] for row in connection.execute(_COLUMN_INFO)}
        self._next_batch = self.reader.n_batches

    def __len__(self) -> int:
        """Number of trials recorded; also the number of the next trial."""
        return self.reader.n_trials

    def append(self, batch: TrialBatch) -> None:
        """Write a batch in one transaction.

        Raises:
            TrialLogError: If the file cannot be written (disk full, removed); nothing of the batch
                is recorded then.
        """
        if len(batch) == 0:
            return
        names, values = _value_columns(batch, self.meta.parameters)
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._add_columns(names)
                fixed = _fixed_columns(batch, self._next_batch)
                quoted = ", ".join(_quote(name) for name in (*_FIXED, *names))
                marks = ", ".join("?" * (len(_FIXED) + len(names)))
                self._connection.executemany(
                    f"INSERT INTO trials ({quoted}) VALUES ({marks})",
                    zip(*fixed, *values, strict=True),
                )
        except sqlite3.Error as error:
            self._columns = {row[1] for row in self._connection.execute(_COLUMN_INFO)}
            raise TrialLogError(
                f"trial log {self.path}: cannot write trial {batch.first}: {error}; every earlier "
                f"trial is kept, free space or fix the folder and resume the study"
            ) from error
        self._next_batch += 1

    def _add_columns(self, names: Iterable[str]) -> None:
        """Add table columns for metrics and violations seen for the first time."""
        for name in names:
            if name not in self._columns:
                self._connection.execute(f"ALTER TABLE trials ADD COLUMN {_quote(name)}")
                self._columns.add(name)

    def close(self) -> None:
        """Close the file and let another process write it; harmless when already closed."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_COLUMN_INFO = "PRAGMA table_info(trials)"


def create_log(path: Path, meta: StudyMeta) -> TrialLog:
    """Start the record of a new study; the folder is made, an existing record is refused.

    Raises:
        TrialLogError: If the record exists, is being written, or the folder cannot be written.
    """
    lock = _lock(path)
    try:
        if path.exists() and _has_meta(path):
            raise TrialLogError(
                f"name: a study {meta.name!r} exists in {path.parent}; use resume={meta.name} to "
                f"continue it, or choose another name"
            )
        return TrialLog(_initialise(_connect(str(path)), meta), path, lock)
    except BaseException:
        lock.release()
        raise


def resume_log(path: Path, meta: StudyMeta | None = None) -> TrialLog:
    """Open the record of an existing study to append to it.

    Args:
        path: The log's file.
        meta: When given, its parameters and objectives must be the recorded ones.

    Raises:
        TrialLogError: If there is no record, it is being written, or the study differs.
    """
    if not path.exists() or not _has_meta(path):
        raise TrialLogError(f"resume: there is no recorded study at {path}")
    lock = _lock(path)
    try:
        log = TrialLog(_connect(str(path)), path, lock)
        if meta is not None:
            _check_same_study(log.meta, meta)
        return log
    except BaseException:
        lock.release()
        raise


def in_memory_log(meta: StudyMeta) -> TrialLog:
    """A record that lives as long as the object; for inner searches and quick trials."""
    return TrialLog(_initialise(_connect(":memory:"), meta), None, None)


def _lock(path: Path) -> FileLock:
    """Hold the lock file beside the log, so that two processes never write one study."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise TrialLogError(
            f"study in {path.parent} is being written by another process; wait for it to end or "
            f"choose another name"
        ) from None
    except OSError as error:
        raise TrialLogError(
            f"out_dir: {path.parent} cannot be written ({error.strerror})"
        ) from None
    return lock


def _connect(target: str) -> sqlite3.Connection:
    # The tuner may be driven from a worker thread; one thread at a time uses the connection.
    connection = sqlite3.connect(
        target, timeout=30.0, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _has_meta(path: Path) -> bool:
    """True when the file at `path` was completely initialised."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30.0)
    try:
        return read_meta(connection) is not None
    except sqlite3.DatabaseError as error:
        raise TrialLogError(f"{path} is not a trial log ({error})") from None
    finally:
        connection.close()


def _initialise(connection: sqlite3.Connection, meta: StudyMeta) -> sqlite3.Connection:
    """Write the tables and the head of the record in one transaction."""
    stamped = replace(
        meta,
        study_id=meta.study_id or uuid.uuid4().hex,
        created_unix_s=meta.created_unix_s or time.time(),
    )
    parameters = "".join(f", {_quote('param/' + name)}" for name in meta.parameters)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS trials (number INTEGER PRIMARY KEY, batch INTEGER NOT NULL,"
            " state TEXT NOT NULL, reason TEXT, seconds REAL, elapsed_s REAL, finished_unix_s REAL,"
            f" tags TEXT{parameters})"
        )
        rows = {**meta_to_rows(stamped), "schema_version": str(SCHEMA_VERSION)}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
    return connection


def _check_same_study(recorded: StudyMeta, wanted: StudyMeta) -> None:
    """Refuse to continue a study whose space or goal has changed."""
    if recorded.fingerprint != wanted.fingerprint:
        changed = [
            name
            for name in {**recorded.parameters, **wanted.parameters}
            if recorded.parameters.get(name) != wanted.parameters.get(name)
        ]
        named = ", ".join(changed[:5]) or "the order of the parameters"
        raise TrialLogError(
            f"resume: study {recorded.name!r} searched another space (changed: {named}); start a "
            f"new study and warm-start it from this one"
        )
    if recorded.goal != wanted.goal:
        raise TrialLogError(
            f"resume: study {recorded.name!r} has other objectives or constraints; start a new "
            f"study and warm-start it from this one"
        )


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _fixed_columns(batch: TrialBatch, batch_index: int) -> list[Sequence[Any]]:
    """Values of the fixed columns, each of length n, in the order of `_FIXED`."""
    n = len(batch)
    failures = batch.evaluation.failures
    states = np.where(batch.evaluation.feasible, "feasible", "infeasible").tolist()
    reasons: list[str | None] = [None] * n
    for index, reason in failures.items():
        states[index], reasons[index] = "failed", reason
    return [
        range(batch.first, batch.first + n),
        [batch_index] * n,
        states,
        reasons,
        [batch.seconds / n] * n,
        [batch.elapsed_s] * n,
        [batch.finished_unix_s] * n,
        _tag_texts(batch),
    ]


def _tag_texts(batch: TrialBatch) -> list[str | None]:
    if not batch.tags:
        return [None] * len(batch)
    return [json.dumps(dict(tags), sort_keys=True) if tags else None for tags in batch.tags]


def _value_columns(
    batch: TrialBatch, parameters: Mapping[str, BaseDistribution]
) -> tuple[list[str], list[list[Any]]]:
    """Names and values of the parameter, metric and violation columns."""
    names = [f"param/{name}" for name in parameters]
    values = [
        stored_column(distribution, np.asarray(batch.columns[name]))
        for name, distribution in parameters.items()
    ]
    for kind, group in (
        ("metric", batch.evaluation.metrics),
        ("violation", batch.evaluation.violations),
    ):
        names += [f"{kind}/{name}" for name in group]
        values += [np.asarray(column, dtype=np.float64).tolist() for column in group.values()]
    return names, values


def log_bytes(path: Path) -> int:
    """Size of the record on disk with its write-ahead log [bytes]."""
    files = (path, Path(f"{path}-wal"))
    return sum(os.path.getsize(file) for file in files if file.exists())
