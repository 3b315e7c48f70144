"""One Optuna study shared by several machines through a database.

Every machine runs the same command with the same `strategy.study`; the database hands out trials.
A machine that dies stops its heartbeat, its open trials become stale, and the others make up for
them, so that the study ends with exactly the trials asked for. Each machine's own trial log holds
what it evaluated itself. Proposals depend on who is faster, so equal seeds need not give equal
studies here.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from strategies.optuna_strategy import (
    AskTellStudy,
    OptunaStrategy,
    SamplerFactory,
    columns_of,
    rows_of,
    violation_rows,
)
from strategies.problem import Problem

warnings.filterwarnings("ignore", message="Heartbeat of storage")  # this file beats by itself

SURPLUS = "surplus"
"""User attribute of a trial that was handed back because the study had enough."""

FAILED = "failed"
"""User attribute of a trial whose evaluation failed, unlike one whose machine died."""

_SCHEMA_ATTEMPTS = 20
_SCHEMA_PAUSE_S = 0.25


class SharedOptunaStrategy(OptunaStrategy):
    """Any Optuna sampler on a study in a database.

    Args:
        sampler: See `OptunaStrategy`; it is reseeded, so that machines propose different points.
        problem: What is searched; every machine must search the same.
        storage: SQLAlchemy URL without a password, for example `postgresql://me@host/cosearch`.
        study: Name of the study in the database.
        trials: Evaluated trials after which the study is done, over all machines.
        batch_size: Points proposed at a time at most.
        heartbeat_s: Interval of the signs of life; three missed ones mean that a machine is dead.

    Raises:
        ValueError: If the URL holds a password, the database does not answer, or the study there
            is another one.
    """

    def __init__(
        self,
        sampler: BaseSampler | SamplerFactory,
        problem: Problem,
        storage: str,
        study: str,
        trials: int,
        batch_size: int = 1,
        heartbeat_s: int = 10,
    ):
        if trials < 1:
            raise ValueError(f"strategy.trials: must be >= 1, got {trials}")
        super().__init__(sampler, problem, batch_size=batch_size)
        self.trials = trials
        self.heartbeat_s = heartbeat_s
        self.sampler.reseed_rng()
        self.storage = open_storage(storage, heartbeat_s)
        self.study = join_study(self.storage, study, self.sampler, problem)
        self._watched: set[int] = set()
        self._stopped = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True)
        self._beat.start()

    def ask(self, n: int) -> Columns:
        """Claim at most min(n, batch_size) trials; waits while others may still fail to finish."""
        while True:
            fail_stale_trials(self.study)
            everyone = self.study.get_trials(deepcopy=False)
            self._watch(everyone)
            if sum(_is_done(trial) for trial in everyone) >= self.trials or self.study.finished:
                return {}
            room = self.trials - sum(_counts(trial) for trial in everyone)
            if room > 0:
                self._claim(min(n, self.batch_size, room))
                if self._pending:
                    return columns_of([t.params for t in self._pending], self.space.parameters)
            time.sleep(min(1.0, self.heartbeat_s / 4))

    def _claim(self, n: int) -> None:
        """Ask for n trials; those that came too late are handed back."""
        parameters = dict(self.space.parameters)
        claimed = [self.study.ask(parameters) for _ in range(n)]
        counted = [t.number for t in self.study.get_trials(deepcopy=False) if _counts(t)]
        granted = set(sorted(counted)[: self.trials])
        for trial in claimed:
            if trial.number not in granted:
                trial.set_user_attr(SURPLUS, True)
                self.study.tell(trial, state=TrialState.FAIL)
        self._pending = [trial for trial in claimed if trial.number in granted]
        for trial in self._pending:
            self.storage.record_heartbeat(trial._trial_id)

    def _watch(self, trials: Sequence[FrozenTrial]) -> None:
        """Start the clock of open trials whose machine may have died before its first beat."""
        for trial in trials:
            if not trial.state.is_finished() and trial._trial_id not in self._watched:
                self._watched.add(trial._trial_id)
                self.storage.record_heartbeat(trial._trial_id)

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Report the claimed trials; given points become trials unless the study has them."""
        rows = rows_of(columns, self.space.parameters)
        if not self._is_pending(rows):
            self.restore(columns, evaluation)
            return
        values, violations = self._values(evaluation), violation_rows(evaluation)
        for index, trial in enumerate(self._pending):
            outcome = None if index in evaluation.failures else values[index].tolist()
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):
                if outcome is None:
                    trial.set_user_attr(FAILED, True)
                self._finish(trial, outcome, violations[index])  # refused if it was taken for dead
        self._pending = []

    def restore(self, columns: Columns, evaluation: Evaluation) -> None:
        """Add recorded points that the study lacks, as after a kill between record and report."""
        known = [t.params for t in self.study.get_trials(deepcopy=False) if _is_done(t)]
        values, violations = self._values(evaluation), violation_rows(evaluation)
        for index, row in enumerate(rows_of(columns, self.space.parameters)):
            if row not in known:
                outcome = None if index in evaluation.failures else values[index].tolist()
                trial = self._given(row, outcome, violations[index])
                trial.user_attrs = {FAILED: True} if outcome is None else {}
                self.study.add_trial(trial)

    def _heartbeat(self) -> None:
        """Say for every open trial that this machine lives, until the process ends."""
        while not self._stopped.wait(self.heartbeat_s):
            for trial in list(self._pending):
                with contextlib.suppress(Exception):  # the next beat may get through
                    self.storage.record_heartbeat(trial._trial_id)

    def close(self) -> None:
        """End the signs of life."""
        self._stopped.set()


def _is_done(trial: FrozenTrial) -> bool:
    failed = trial.state == TrialState.FAIL and bool(trial.user_attrs.get(FAILED))
    return failed or trial.state == TrialState.COMPLETE


def _counts(trial: FrozenTrial) -> bool:
    """True for a trial that is evaluated or still may be."""
    return _is_done(trial) or not trial.state.is_finished()


def open_storage(url: str, heartbeat_s: int) -> RDBStorage:
    """The database; tables are made by whichever machine comes first.

    Raises:
        ValueError: If the URL holds a password or the database does not answer.
    """
    parts = urlsplit(url)
    if parts.password:
        raise ValueError(
            "strategy.storage: must not hold a password; put it into the environment (PGPASSWORD) "
            "or into ~/.pgpass"
        )
    trouble: Sequence[Any] = ()
    for _ in range(_SCHEMA_ATTEMPTS):
        try:
            return RDBStorage(url, heartbeat_interval=heartbeat_s, grace_period=3 * heartbeat_s)
        except ImportError as error:
            raise ValueError(f"strategy.storage: {url}: {error}; install the driver") from None
        except Exception as error:  # also the error of two machines making one table at once
            trouble = str(error).strip().splitlines()
            time.sleep(_SCHEMA_PAUSE_S)
    raise ValueError(f"strategy.storage: {url} does not answer: {trouble[0] if trouble else ''}")


def join_study(
    storage: RDBStorage, name: str, sampler: BaseSampler, problem: Problem
) -> AskTellStudy:
    """The study of this name, made by whichever machine comes first.

    Raises:
        ValueError: If it has another space or other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [objective.direction for objective in problem.goal.objectives]
    optuna.create_study(
        storage=storage, study_name=name, directions=directions, load_if_exists=True
    )
    study = AskTellStudy(name, storage, sampler=sampler)
    wanted = {"space": problem.meta(name).fingerprint, "metrics": list(problem.goal.metrics)}
    for key, value in wanted.items():
        recorded = study.user_attrs.get(key)
        if recorded is None:
            study.set_user_attr(key, value)
        elif recorded != value:
            raise ValueError(
                f"strategy.study: {name!r} in the database has another {key}; choose another name"
            )
    return study
