"""Reads the record of a study: as batches for a replay, as a table for people."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
    json_to_distribution,
)

from evaluators.evaluation import Evaluation
from spaces.parameters import choice_array
from strategies.objective import Constraint, Goal, Objective
from strategies.tuning.trial_batch import StudyMeta, TrialBatch

if TYPE_CHECKING:
    import pandas as pd


class TrialReader:
    """Read access to a trial log; may run beside the one writer."""

    def __init__(self, connection: sqlite3.Connection):
        meta = read_meta(connection)
        if meta is None:
            raise ValueError("the file holds no study")
        self._connection = connection
        self.meta: StudyMeta = meta

    @property
    def n_trials(self) -> int:
        """Trials recorded."""
        row = self._connection.execute("SELECT max(number) FROM trials").fetchone()
        return 0 if row[0] is None else int(row[0]) + 1

    @property
    def n_batches(self) -> int:
        """Batches recorded."""
        row = self._connection.execute(
            "SELECT batch FROM trials ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return 0 if row is None else int(row[0]) + 1

    @property
    def elapsed_s(self) -> float:
        """Search time when the last trial was done [s]."""
        row = self._connection.execute(
            "SELECT elapsed_s FROM trials ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return 0.0 if row is None else float(row[0])

    def batches(self, first: int = 0, stop: int | None = None) -> Iterator[TrialBatch]:
        """Yield the recorded batches with numbers in [first, stop), cut at those bounds."""
        end = self.n_trials if stop is None else stop
        cursor = self._connection.execute(
            "SELECT * FROM trials WHERE number >= ? AND number < ? ORDER BY number", (first, end)
        )
        names = [column[0] for column in cursor.description]
        for _, rows in groupby(cursor, key=lambda row: row[1]):
            yield self._batch(dict(zip(names, zip(*rows, strict=True), strict=True)))

    def trials(self, numbers: Sequence[int]) -> TrialBatch:
        """Chosen trials, in the order of their numbers, as one batch (`first` is the lowest)."""
        marks = ", ".join("?" * len(numbers))
        cursor = self._connection.execute(
            f"SELECT * FROM trials WHERE number IN ({marks}) ORDER BY number", tuple(numbers)
        )
        names = [column[0] for column in cursor.description]
        return self._batch(dict(zip(names, zip(*cursor, strict=True), strict=True)))

    def values(self, column: str) -> NDArray[np.float64]:
        """One numeric column of the table, e.g. `metric/energy_pj`, shape (trials,)."""
        quoted = '"' + column.replace('"', '""') + '"'
        rows = self._connection.execute(f"SELECT {quoted} FROM trials ORDER BY number")
        return np.array([row[0] for row in rows], dtype=np.float64)

    def states(self) -> NDArray[np.str_]:
        """`feasible`, `infeasible` or `failed` for every trial, shape (trials,)."""
        rows = self._connection.execute("SELECT state FROM trials ORDER BY number")
        return np.array([row[0] for row in rows], dtype=np.str_)

    def counts(self) -> dict[str, int]:
        """Trials per state."""
        rows = self._connection.execute("SELECT state, count(*) FROM trials GROUP BY state")
        return {state: int(count) for state, count in rows}

    def failures(self) -> dict[str, int]:
        """Reason -> trials that failed for it, the commonest first."""
        rows = self._connection.execute(
            "SELECT reason, count(*) FROM trials WHERE state = 'failed' "
            "GROUP BY reason ORDER BY count(*) DESC, min(number)"
        )
        return {str(reason): int(count) for reason, count in rows}

    def tags(self) -> list[Mapping[str, str]]:
        """Tags of every trial, in the order of their numbers."""
        rows = self._connection.execute("SELECT tags FROM trials ORDER BY number")
        return [json.loads(row[0]) if row[0] else {} for row in rows]

    def frame(self) -> pd.DataFrame:
        """Every trial as one row: number, state, reason, tags, parameters, metrics, violations."""
        import pandas as pd

        cursor = self._connection.execute("SELECT * FROM trials ORDER BY number")
        names = [column[0] for column in cursor.description]
        frame = pd.DataFrame(cursor.fetchall(), columns=names)
        for name, distribution in self.meta.parameters.items():
            column = f"param/{name}"
            frame[column] = parameter_column(distribution, frame[column].tolist())
        return frame

    def _batch(self, table: Mapping[str, Sequence[Any]]) -> TrialBatch:
        """Build a batch from database columns."""
        columns = {
            name: parameter_column(distribution, table[f"param/{name}"])
            for name, distribution in self.meta.parameters.items()
        }
        failures = {
            index: str(reason)
            for index, (state, reason) in enumerate(
                zip(table["state"], table["reason"], strict=True)
            )
            if state == "failed"
        }
        texts = table["tags"]
        return TrialBatch(
            first=int(table["number"][0]),
            columns=columns,
            evaluation=Evaluation(
                _group(table, "metric/"), _filled(_group(table, "violation/")), failures
            ),
            seconds=float(sum(table["seconds"])),
            elapsed_s=float(table["elapsed_s"][-1]),
            finished_unix_s=float(table["finished_unix_s"][-1]),
            tags=[json.loads(text) if text else {} for text in texts] if any(texts) else (),
        )


def open_reader(path: Path) -> TrialReader:
    """Open a trial log for reading only; each thread needs its own reader.

    Raises:
        ValueError: If there is no trial log at `path`.
    """
    if not path.exists():
        raise ValueError(f"there is no recorded study at {path}")
    connection = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, timeout=30.0, check_same_thread=False
    )
    return TrialReader(connection)


def stored_column(distribution: BaseDistribution, values: NDArray[Any]) -> list[Any]:
    """Values of one parameter as the database holds them; choices of mixed types as JSON text."""
    if isinstance(distribution, CategoricalDistribution) and _mixed(distribution):
        return [json.dumps(value) for value in values.tolist()]
    return list(values.tolist())


def parameter_column(distribution: BaseDistribution, values: Sequence[Any]) -> NDArray[Any]:
    """Stored values of one parameter in its own type, shape (n,)."""
    if isinstance(distribution, CategoricalDistribution):
        choices = choice_array(distribution.choices)
        keys = stored_column(distribution, choices)
        index = {key: position for position, key in enumerate(keys)}
        return choices[[index[value] for value in values]]
    dtype = np.float64 if isinstance(distribution, FloatDistribution) else np.int64
    return np.array(values, dtype=dtype)


def _mixed(distribution: CategoricalDistribution) -> bool:
    """True when SQLite could not keep the choices apart: True and 1, or None beside a text."""
    return len({type(choice) for choice in distribution.choices}) > 1


def _group(table: Mapping[str, Sequence[Any]], prefix: str) -> dict[str, NDArray[np.float64]]:
    """Numeric columns with this prefix, nan where nothing was recorded."""
    return {
        name.removeprefix(prefix): np.array(values, dtype=np.float64)
        for name, values in table.items()
        if name.startswith(prefix)
    }


def _filled(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Without the constraints that did not exist yet when the batch was evaluated."""
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}


def meta_to_rows(meta: StudyMeta) -> dict[str, str]:
    """The head of the record as key and JSON text."""
    return {
        "name": json.dumps(meta.name),
        "parameters": json.dumps({k: distribution_to_json(v) for k, v in meta.parameters.items()}),
        "goal": json.dumps(asdict(meta.goal)),
        "seed": json.dumps(meta.seed),
        "config": json.dumps(meta.config, default=str),
        "study_id": json.dumps(meta.study_id),
        "created_unix_s": json.dumps(meta.created_unix_s),
        "model_version": json.dumps(meta.model_version),
    }


def read_meta(connection: sqlite3.Connection) -> StudyMeta | None:
    """The head of the record, or None when the file was never initialised."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if found is None:
        return None
    rows = {key: json.loads(value) for key, value in connection.execute("SELECT * FROM meta")}
    if not rows:
        return None
    goal = rows["goal"]
    return StudyMeta(
        name=rows["name"],
        parameters={k: json_to_distribution(v) for k, v in rows["parameters"].items()},
        goal=Goal(
            tuple(Objective(**objective) for objective in goal["objectives"]),
            tuple(Constraint(**constraint) for constraint in goal["constraints"]),
            goal["reference"],
        ),
        seed=rows["seed"],
        config=rows["config"],
        study_id=rows["study_id"],
        created_unix_s=rows["created_unix_s"],
        model_version=rows["model_version"],
    )
