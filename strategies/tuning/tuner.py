"""The tuner: ask, decode, evaluate, tell, write down, until the budget is spent.

It knows nothing of what is designed. The trial log is the truth: whatever happens to the process,
the tracking server or an evaluation, a reported trial is in the log, and a study continues from
it by asking its strategy again and telling it what was recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from strategies.objective import Goal
from strategies.problem import Problem
from strategies.reporting.study_result import StudyResult
from strategies.strategy import CertifyingStrategy, SharedStrategy, Strategy, TaggingStrategy
from strategies.tuning.batches import batch_length, take_columns
from strategies.tuning.budget import Budget
from strategies.tuning.executor import Executor, make_executor
from strategies.tuning.pace import MAX_BATCH, Pace
from strategies.tuning.progress import Progress
from strategies.tuning.trial_batch import GIVEN, TrialBatch
from strategies.tuning.trial_log import TrialLog
from strategies.tuning.trial_reader import open_reader


class Observer(Protocol):
    """Watches a study: progress, tracking. It must not raise for trouble of its own."""

    def study_started(self, log: TrialLog, progress: Progress) -> None:
        """The search is about to begin (or to go on; then `progress` holds what is recorded)."""
        ...

    def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
        """A batch has been recorded."""
        ...

    def study_ended(self, result: StudyResult) -> None:
        """The search has ended: by its budget, by its strategy or by the user."""
        ...


class Tuner:
    """Runs one strategy on one problem and records every trial.

    Args:
        problem: What is searched.
        strategy: Who proposes points; fresh, also on a resume.
        log: Where trials are recorded; an existing record is continued.
        budget: When to stop.
        observers: Told of every recorded batch.
    """

    def __init__(
        self,
        problem: Problem,
        strategy: Strategy,
        log: TrialLog,
        budget: Budget,
        observers: Sequence[Observer] = (),
    ):
        self.problem = problem
        self.strategy = strategy
        self.log = log
        self.budget = budget
        self.observers = observers
        self._given: list[tuple[Columns, Mapping[str, str]]] = []
        self._progress = Progress(problem.goal, budget)
        self._pace = Pace(strategy, problem.workers)
        self._certifying = strategy if isinstance(strategy, CertifyingStrategy) else None
        self._tagging = strategy if isinstance(strategy, TaggingStrategy) else None

    def enqueue(self, columns: Columns, tags: Mapping[str, str] | None = None) -> None:
        """Evaluate these points before the strategy's own; on a resume only those not recorded.

        Args:
            columns: Every parameter of the space -> values, length n.
            tags: Written to every one of these trials, e.g. `{"baseline": "csr"}`.
        """
        missing = [name for name in self.problem.space.parameters if name not in columns]
        if missing:
            raise ValueError(f"given designs: parameter {missing[0]!r} has no values")
        self._given.append((columns, {**(tags or {}), "origin": GIVEN}))

    def run(self) -> StudyResult:
        """Search until the budget is spent, the strategy has finished or the user interrupts.

        Raises:
            ValueError: If the goal names a metric that the evaluator lacks, or the log cannot be
                written.
        """
        problem = self.problem
        executor = make_executor(problem.space, problem.evaluator, problem.workers, problem.engine)
        ended_by = "interrupted"
        try:
            self._replay()
            for observer in self.observers:
                observer.study_started(self.log, self._progress)
            ended_by = self._search(executor)
        except KeyboardInterrupt:
            pass  # the batch under way was not reported; the record is complete without it
        finally:
            executor.close()
        # A reader of its own lets the result outlive the log's writer.
        reader = open_reader(self.log.path) if self.log.path else self.log.reader
        result = StudyResult(reader, self.problem.goal, ended_by)
        for observer in self.observers:
            observer.study_ended(result)
        return result

    def _replay(self) -> None:
        """Restore the strategy: ask as it was asked, tell what was recorded.

        A strategy that no longer proposes the recorded points (another version of its library)
        is told all the same, and its proposals are thrown away.
        """
        for batch in self.log.reader.batches():
            if isinstance(self.strategy, SharedStrategy):
                self.strategy.restore(batch.columns, batch.evaluation)
            else:
                if not batch.given:
                    self.strategy.ask(len(batch))
                self.strategy.tell(batch.columns, batch.evaluation)
            self._progress.add(batch)

    def _search(self, executor: Executor) -> str:
        """Evaluate batch after batch; returns what ended the search."""
        started = time.monotonic() - self.log.reader.elapsed_s
        recorded = self._recorded_given()
        for columns, tags in self._given:
            self._evaluate_given(executor, _unrecorded(columns, recorded), tags, started)
        while True:
            elapsed = time.monotonic() - started
            gap = self._certifying.gap if self._certifying is not None else None
            reason = self.budget.spent(self._progress.trials, elapsed, gap)
            if reason is not None:
                return reason
            n = self.budget.remaining_trials(self._progress.trials, self._pace.size)
            columns = self.strategy.ask(n)
            if batch_length(columns) == 0:
                return "finished"
            own_tags = self._tagging.tags() if self._tagging is not None else ()
            self._step(executor, columns, own_tags, started)

    def _evaluate_given(
        self, executor: Executor, columns: Columns, tags: Mapping[str, str], started: float
    ) -> None:
        """Evaluate points of the user, as far as the budget of trials reaches."""
        n = batch_length(columns)
        for start in range(0, n, MAX_BATCH):
            room = self.budget.remaining_trials(self._progress.trials, MAX_BATCH)
            part = take_columns(columns, slice(start, min(start + room, n)))
            if batch_length(part):
                self._step(executor, part, [tags] * batch_length(part), started)

    def _step(
        self,
        executor: Executor,
        columns: Columns,
        tags: Sequence[Mapping[str, str]],
        started: float,
    ) -> None:
        """Evaluate, record, tell and report one batch."""
        before = time.monotonic()
        evaluation = self._constrained(executor.evaluate(columns))
        now = time.monotonic()
        self._pace.learn(len(evaluation), now - before)
        batch = TrialBatch(
            first=self._progress.trials,
            columns=columns,
            evaluation=evaluation,
            seconds=now - before,
            elapsed_s=now - started,
            finished_unix_s=time.time(),
            tags=tags,
        )
        self.log.append(batch)
        self.strategy.tell(columns, evaluation)
        self._progress.add(batch)
        for observer in self.observers:
            observer.batch_done(batch, self._progress)

    def _constrained(self, evaluation: Evaluation) -> Evaluation:
        """Check the metrics, add the goal's constraints; failed trials have nan everywhere."""
        goal = self.problem.goal
        if len(evaluation.failures) == len(evaluation):
            nan = np.full(len(evaluation), np.nan)
            names = (*goal.metrics, *(constraint.metric for constraint in goal.constraints))
            metrics = dict.fromkeys(names, nan)
            return goal.constrain(Evaluation(metrics, failures=evaluation.failures))
        goal.check(evaluation)
        return goal.constrain(_with_nan_failures(goal, evaluation))

    def _recorded_given(self) -> set[tuple[object, ...]]:
        """The given points that are in the log already."""
        recorded: set[tuple[object, ...]] = set()
        if self._given and len(self.log):
            for batch in self.log.reader.batches():
                if batch.given:
                    recorded |= set(_rows(batch.columns, list(self.problem.space.parameters)))
        return recorded


def _with_nan_failures(goal: Goal, evaluation: Evaluation) -> Evaluation:
    """Mark designs whose objective is nan as failed, so that no strategy takes nan for a cost."""
    bad = np.isnan(goal.losses(evaluation)).any(axis=1)
    silent = [int(index) for index in np.flatnonzero(bad) if int(index) not in evaluation.failures]
    if not silent:
        return evaluation
    reasons = dict.fromkeys(silent, "an objective is not a number")
    return Evaluation(evaluation.metrics, evaluation.violations, {**evaluation.failures, **reasons})


def _rows(columns: Columns, names: Sequence[str]) -> list[tuple[object, ...]]:
    return list(zip(*(np.asarray(columns[name]).tolist() for name in names), strict=True))


def _unrecorded(columns: Columns, recorded: set[tuple[object, ...]]) -> Columns:
    """The points that are not among the recorded ones."""
    if not recorded:
        return columns
    rows = _rows(columns, list(columns))
    return take_columns(columns, [i for i, row in enumerate(rows) if row not in recorded])
