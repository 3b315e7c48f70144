"""What a study found: best trial, Pareto front, table of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import FloatArray
from spaces.space import Columns
from strategies.objective import Goal
from strategies.pareto import hypervolume, knee, non_dominated, worst_reference
from strategies.tuning.trial_batch import GIVEN, TrialBatch
from strategies.tuning.trial_reader import TrialReader

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trial:
    """One recorded trial.

    Attributes:
        number: Its number in the study.
        columns: Its parameters as a batch of one: `space.decode(trial.columns)` is the design.
        metrics: Metric name -> value.
        tags: Baseline, stage, origin.
    """

    number: int
    columns: Columns
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def params(self) -> dict[str, Any]:
        """Parameter name -> plain value."""
        return {name: np.asarray(values).tolist()[0] for name, values in self.columns.items()}


class StudyResult:
    """Reads the outcome of a study from its record, on demand.

    Args:
        reader: Reads the study's trial log.
        goal: Objectives and constraints of the study.
        ended_by: `trials`, `seconds`, `gap`, `finished` or `interrupted`.
    """

    def __init__(self, reader: TrialReader, goal: Goal, ended_by: str):
        self.reader = reader
        self.goal = goal
        self.ended_by = ended_by

    @property
    def n_trials(self) -> int:
        """Trials recorded."""
        return self.reader.n_trials

    @property
    def counts(self) -> dict[str, int]:
        """Trials per state: `feasible`, `infeasible`, `failed`."""
        return self.reader.counts()

    @property
    def n_given(self) -> int:
        """Trials given as baselines or by a warm start; the strategy proposed the others."""
        return sum(tags.get("origin") == GIVEN for tags in self.reader.tags())

    @cached_property
    def losses(self) -> FloatArray:
        """Objectives of every trial, smaller is better, +inf unless feasible; (trials, m)."""
        if self.n_trials == 0:
            return np.empty((0, len(self.goal.objectives)))
        feasible = self.reader.states() == "feasible"
        columns = [o.loss(self.reader.values(f"metric/{o.metric}")) for o in self.goal.objectives]
        return np.where(feasible[:, None], np.stack(columns, axis=1), np.inf)

    @cached_property
    def front(self) -> NDArray[np.intp]:
        """Numbers of the feasible, non-dominated trials (one trial for one objective)."""
        return non_dominated(self.losses)

    @property
    def best(self) -> Trial | None:
        """The best feasible trial; with several objectives the knee of the front."""
        if len(self.front) == 0:
            return None
        return self.trial(int(self.front[knee(self.losses[self.front])]))

    def best_of(self, metric: str) -> Trial | None:
        """The feasible trial that is best in one objective alone."""
        column = self.losses[:, self.goal.metrics.index(metric)]
        if len(column) == 0 or not np.isfinite(column).any():
            return None
        return self.trial(int(np.argmin(column)))

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the front against the goal's reference, or just beyond the front."""
        if len(self.front) == 0:
            return 0.0
        return hypervolume(self.losses[self.front], self.reference)

    @property
    def reference(self) -> FloatArray:
        """Reference point as losses, shape (m,)."""
        reference = worst_reference(self.losses[self.front])
        for index, objective in enumerate(self.goal.objectives):
            if self.goal.reference and objective.metric in self.goal.reference:
                value = np.array([float(self.goal.reference[objective.metric])])
                reference[index] = objective.loss(value)[0]
        return reference

    def trial(self, number: int) -> Trial:
        """One trial by its number."""
        return self.trials(np.array([number]))[0]

    def trials(self, numbers: NDArray[np.intp]) -> list[Trial]:
        """Several trials, in ascending order of their numbers."""
        chosen = sorted(int(number) for number in numbers)
        return split_trials(self.reader.trials(chosen), chosen) if chosen else []

    def frame(self) -> pd.DataFrame:
        """Every trial as one row; see `TrialReader.frame`."""
        return self.reader.frame()


def split_trials(batch: TrialBatch, numbers: list[int]) -> list[Trial]:
    """The trials of a batch one by one; `numbers` names them in order."""
    metrics = {name: values.tolist() for name, values in batch.evaluation.metrics.items()}
    return [
        Trial(
            number=number,
            columns={name: values[index : index + 1] for name, values in batch.columns.items()},
            metrics={name: values[index] for name, values in metrics.items()},
            tags=batch.tags[index] if batch.tags else {},
        )
        for index, number in enumerate(numbers)
    ]
