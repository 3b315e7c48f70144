"""Finds a recorded study again: by name, by folder, or by the MLflow run that tracks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from spaces.validation import nearest
from strategies.problem import Problem
from strategies.reporting.study_result import StudyResult, Trial
from strategies.tasks.instantiate import build_problem
from strategies.tasks.invocation import CONFIG_FILE, TRIALS_FILE
from strategies.tasks.user_errors import UserError
from strategies.tuning.trial_reader import open_reader

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RecordedStudy:
    """A study on disk.

    Attributes:
        folder: Where its record and its artifacts are.
        config: The resolved configuration it was run with.
        result: Reads its record.
    """

    folder: Path
    config: DictConfig
    result: StudyResult

    @property
    def name(self) -> str:
        """Its name."""
        return self.result.reader.meta.name

    @cached_property
    def problem(self) -> Problem:
        """Space, evaluator and goal, built again from the recorded configuration.

        Raises:
            ValueError: If they can no longer be built, for example because a file is gone.
        """
        return build_problem(self.config)

    def best(self) -> Trial:
        """The best feasible trial (the knee of a front).

        Raises:
            UserError: If no trial is feasible.
        """
        best = self.result.best
        if best is None:
            raise UserError(f"study {self.name!r} has no feasible trial")
        return best


def open_study(reference: str, out_dir: Path) -> RecordedStudy:
    """The study of this name in `out_dir`, or in this folder.

    Raises:
        UserError: If there is none; the message names those there are.
    """
    folder = find_folder(reference, out_dir)
    return study_in(folder)


def study_in(folder: Path) -> RecordedStudy:
    """The study in a folder that holds its record and its configuration."""
    reader = open_reader(folder / TRIALS_FILE)
    config = OmegaConf.load(folder / CONFIG_FILE)
    assert isinstance(config, DictConfig)
    return RecordedStudy(folder, config, StudyResult(reader, reader.meta.goal, "recorded"))


def find_folder(reference: str, out_dir: Path) -> Path:
    """The folder that a name or a path means.

    Raises:
        UserError: If it holds no study.
    """
    for folder in (out_dir / reference, Path(reference)):
        if (folder / TRIALS_FILE).is_file() and (folder / CONFIG_FILE).is_file():
            return folder
    known = known_studies(out_dir)
    hint = nearest(reference, known) or f"; known: {known}"
    raise UserError(f"no study {reference!r} in {out_dir}{hint}")


def known_studies(out_dir: Path) -> list[str]:
    """Names of the studies in a folder, in alphabetical order."""
    return sorted(path.parent.name for path in out_dir.glob(f"*/{TRIALS_FILE}"))


@dataclass(frozen=True)
class Subject:
    """What a comparison looks at: a study, seen through one of its designs.

    Attributes:
        label: As the user wrote it, short.
        study: The study.
        trial: The chosen trial, or its best.
    """

    label: str
    study: RecordedStudy
    trial: Trial


def open_subject(reference: str, out_dir: Path, tracking_uri: str | None = None) -> Subject:
    """`NAME` or a folder: the study's best; `NAME:12`: its trial 12; an MLflow run id: its trial.

    Raises:
        UserError: If there is no such study, trial or run.
    """
    if _RUN_ID.fullmatch(reference) and tracking_uri:
        reference = _reference_of_run(reference, out_dir, tracking_uri)
    name, colon, number = reference.rpartition(":")
    if not colon or not number.isdigit():
        study = open_study(reference, out_dir)
        return Subject(study.name, study, study.best())
    study = open_study(name, out_dir)
    if int(number) >= study.result.n_trials:
        raise UserError(
            f"{reference}: study {study.name!r} has trials 0 to {study.result.n_trials - 1}"
        )
    return Subject(f"{study.name}:{number}", study, study.result.trial(int(number)))


def _reference_of_run(run_id: str, out_dir: Path, tracking_uri: str) -> str:
    """The study, and the trial if it is a child run, that an MLflow run tracks."""
    from mlflow.exceptions import MlflowException

    from strategies.tracking.mlflow_store import open_store

    try:
        tags = open_store(tracking_uri).get_run(run_id).data.tags
        parent = tags.get("mlflow.parentRunId")
        study_id = tags.get("study_id")
        if parent is not None:
            study_id = open_store(tracking_uri).get_run(parent).data.tags.get("study_id")
    except MlflowException:
        raise UserError(f"there is no MLflow run {run_id} in the tracking store") from None
    for name in known_studies(out_dir):
        if open_reader(out_dir / name / TRIALS_FILE).meta.study_id == study_id:
            return f"{name}:{tags['trial']}" if "trial" in tags else name
    raise UserError(f"the study of MLflow run {run_id} is not in {out_dir}")


def references(value: Any, key: str, at_least: int) -> list[str]:
    """A list of names from the configuration; one name stands for a list of one.

    Raises:
        UserError: If there are too few.
    """
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    names = [str(name) for name in plain] if isinstance(plain, list) else [str(plain or "")]
    names = [name for name in names if name]
    if len(names) < at_least:
        example = ",".join("ab"[:at_least])
        raise UserError(
            f"{key}: needs at least {at_least} {'study' if at_least == 1 else 'studies'}, got "
            f"{names}; write {key}={example if at_least == 1 else f'[{example}]'}"
        )
    return names


@contextmanager
def label_errors(label: str) -> Iterator[None]:
    """Say which study an error is about."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{label}: {' '.join(str(error).split())}") from error
