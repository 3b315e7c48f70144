"""Running totals of a study, in constant memory."""

from __future__ import annotations

import numpy as np

from strategies.objective import Goal
from strategies.tuning.budget import Budget
from strategies.tuning.trial_batch import TrialBatch


class Progress:
    """How far a study is and the best it has seen.

    Attributes:
        goal: What is optimised.
        budget: What the study may spend.
        trials: Trials recorded, those before a resume included.
        failed: Trials whose evaluation failed.
        infeasible: Trials that violate a constraint.
        elapsed_s: Search time over all sessions [s].
        best: Metric -> best value of a feasible trial, per objective on its own.
        best_trial: Metric -> number of that trial.
        last_failure: Reason of the latest failed trial.
    """

    def __init__(self, goal: Goal, budget: Budget):
        self.goal = goal
        self.budget = budget
        self.trials = 0
        self.failed = 0
        self.infeasible = 0
        self.elapsed_s = 0.0
        self.best: dict[str, float] = {}
        self.best_trial: dict[str, int] = {}
        self.last_failure = ""

    def add(self, batch: TrialBatch) -> None:
        """Count a recorded batch."""
        evaluation = batch.evaluation
        feasible = evaluation.feasible
        self.trials += len(batch)
        self.failed += len(evaluation.failures)
        self.infeasible += len(batch) - int(feasible.sum()) - len(evaluation.failures)
        self.elapsed_s = batch.elapsed_s
        if evaluation.failures:
            self.last_failure = evaluation.failures[max(evaluation.failures)]
        if feasible.any():
            self._improve(batch)

    def _improve(self, batch: TrialBatch) -> None:
        losses = np.where(
            batch.evaluation.feasible[:, None], self.goal.losses(batch.evaluation), np.inf
        )
        for objective, column in zip(self.goal.objectives, losses.T, strict=True):
            index = int(np.argmin(column))
            value = float(batch.evaluation.metrics[objective.metric][index])
            known = self.best.get(objective.metric)
            sign = 1.0 if objective.direction == "minimize" else -1.0
            if known is None or sign * value < sign * known:
                self.best[objective.metric] = value
                self.best_trial[objective.metric] = batch.first + index

    @property
    def fraction(self) -> float | None:
        """Share of the budget that is spent, the larger of trials and seconds; None = unlimited."""
        shares = []
        if self.budget.trials:
            shares.append(self.trials / self.budget.trials)
        if self.budget.seconds:
            shares.append(self.elapsed_s / self.budget.seconds)
        return min(1.0, max(shares)) if shares else None
