"""Any Optuna sampler as a strategy, by ask and tell.

The sampler works on an in-memory study (or on an Optuna storage shared by several machines). The
tuner's trial log is the record; on a resume the tuner replays it through `ask` and `tell`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from evaluators.evaluation import Evaluation, FloatArray
from spaces.parameters import choice_array
from spaces.space import Columns
from strategies.objective import Goal
from strategies.problem import Problem
from strategies.strategy import StageRecord
from strategies.tuning.batches import batch_length

SamplerFactory = Callable[..., BaseSampler]
"""Makes a sampler from those of `space`, `evaluator` and `seed` that its signature names."""

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

ONE_OBJECTIVE = (optuna.samplers.CmaEsSampler,)
"""Samplers that refuse several objectives, but only at their first proposal."""

IGNORES_CONSTRAINTS = (optuna.samplers.CmaEsSampler,)
"""Samplers that learn from objectives alone; they are told a penalty for an infeasible point."""

STAGE = "stage"
"""User attribute in which a sampler may note which of its stages proposed a trial."""


class OptunaStrategy:
    """Drives an Optuna sampler with the tuner's batches.

    Constraints reach the sampler natively (`set_constraint`), a failed evaluation as a failed
    trial. Points proposed together do not know of one another's outcome: samplers that learn per
    trial (TPE, CMA-ES, GP) want `batch_size=1`, or a small one with several workers.

    Args:
        sampler: A sampler, or a factory (`_partial_: true` in YAML) that is called with the seed,
            and with the space and the evaluator if it has parameters of these names.
        problem: Its space gives the parameters, its objectives the directions, in order.
        seed: Given to a sampler factory.
        batch_size: Points proposed at a time at most.
    """

    def __init__(
        self,
        sampler: BaseSampler | SamplerFactory,
        problem: Problem,
        seed: int | None = None,
        batch_size: int = 1,
    ):
        if batch_size < 1:
            raise ValueError(f"strategy.batch_size: must be >= 1, got {batch_size}")
        self.space = problem.space
        self.goal = problem.goal
        self.batch_size = batch_size
        offered = {"space": problem.space, "evaluator": problem.evaluator, "seed": seed}
        self.sampler = make_sampler(sampler, offered)
        n = len(problem.goal.objectives)
        if n > 1 and isinstance(self.sampler, ONE_OBJECTIVE):
            name = type(self.sampler).__name__
            raise ValueError(f"strategy.sampler: {name} needs one objective, this study has {n}")
        self.study = open_study(self.sampler, problem.goal)
        self._pending: list[optuna.Trial] = []
        self._worst = np.full(len(problem.goal.objectives), -np.inf)

    def ask(self, n: int) -> Columns:
        """Propose min(n, batch_size) points, none once the sampler has seen them all."""
        if self.study.finished:
            return {}
        parameters = dict(self.space.parameters)
        self._pending = [self.study.ask(parameters) for _ in range(min(n, self.batch_size))]
        return columns_of([trial.params for trial in self._pending], parameters)

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Finish the pending trials; points that were not asked are added as trials."""
        rows = rows_of(columns, self.space.parameters)
        asked = self._pending if self._is_pending(rows) else []
        for trial in self._pending if not asked else []:
            self.study.tell(trial, state=TrialState.FAIL)
        self._pending = []
        values, violations = self._values(evaluation), violation_rows(evaluation)
        for index, row in enumerate(rows):
            outcome = None if index in evaluation.failures else values[index].tolist()
            if asked:
                self._finish(asked[index], outcome, violations[index])
            else:
                self.study.add_trial(self._given(row, outcome, violations[index]))

    def tags(self) -> Sequence[Mapping[str, str]]:
        """The stages that the sampler wrote into its last proposals, if it did."""
        storage = self.study._storage
        attributes = [storage.get_trial_user_attrs(trial._trial_id) for trial in self._pending]
        stages = [attribute.get(STAGE) for attribute in attributes]
        return [{STAGE: str(stage)} for stage in stages] if any(stages) else ()

    @property
    def stages(self) -> Sequence[StageRecord]:
        """What the stages of a staged sampler did; empty for other samplers."""
        return tuple(getattr(self.sampler, "stages", ()))

    def _values(self, evaluation: Evaluation) -> FloatArray:
        """Objective values, shape (n, m); penalised for samplers that ignore constraints."""
        losses = self.goal.losses(evaluation)
        signs = np.array([1.0 if o.direction == "minimize" else -1.0 for o in self.goal.objectives])
        if not isinstance(self.sampler, IGNORES_CONSTRAINTS) or not evaluation.violations:
            return np.asarray(losses * signs)
        worst = np.where(np.isfinite(losses), losses, -np.inf).max(axis=0, initial=-np.inf)
        self._worst = np.maximum(self._worst, worst)
        if not np.isfinite(self._worst).all():
            return np.asarray(losses * signs)
        excess = sum(np.maximum(v, 0.0) for v in evaluation.violations.values())
        scaled = self._worst + np.reshape(excess, (-1, 1)) * (np.abs(self._worst) + 1.0)
        penalised = np.where(evaluation.feasible[:, None], losses, scaled)
        return np.asarray(penalised * signs)

    def _is_pending(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """True when these rows are the points of the last ask, in order."""
        return len(rows) == len(self._pending) and all(
            trial.params == row for trial, row in zip(self._pending, rows, strict=True)
        )

    def _finish(
        self, trial: optuna.Trial, outcome: list[float] | None, violation: Mapping[str, float]
    ) -> None:
        if outcome is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name, value in violation.items():
            trial.set_constraint(name, value)
        self.study.tell(trial, outcome)

    def _given(
        self, row: Mapping[str, Any], outcome: list[float] | None, violation: Mapping[str, float]
    ) -> FrozenTrial:
        return create_trial(
            state=TrialState.FAIL if outcome is None else TrialState.COMPLETE,
            values=outcome,
            params=dict(row),
            distributions=dict(self.space.parameters),
            constraints=dict(violation) if outcome is not None else None,
        )


class AskTellStudy(optuna.Study):
    """A study whose sampler may end it outside `optimize`, as exhaustive samplers do."""

    finished = False

    def stop(self) -> None:
        """Remember that the sampler has nothing left to propose."""
        self.finished = True


def open_study(sampler: BaseSampler, goal: Goal) -> AskTellStudy:
    """An in-memory study with this goal's directions."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    directions = [objective.direction for objective in goal.objectives]
    optuna.create_study(storage=storage, study_name="study", directions=directions)
    return AskTellStudy("study", storage, sampler=sampler)


def make_sampler(
    sampler: BaseSampler | SamplerFactory, offered: Mapping[str, object]
) -> BaseSampler:
    """The sampler itself, or what the factory makes of those offered arguments it has."""
    if isinstance(sampler, BaseSampler):
        return sampler
    given = getattr(sampler, "keywords", {})
    named = inspect.signature(sampler).parameters
    made = sampler(**{k: v for k, v in offered.items() if k in named and k not in given})
    if not isinstance(made, BaseSampler):
        raise ValueError(f"strategy.sampler: must be an Optuna sampler, got {type(made).__name__}")
    return made


def columns_of(
    rows: Sequence[Mapping[str, Any]], parameters: Mapping[str, BaseDistribution]
) -> Columns:
    """Points given one by one, as columns."""
    return {
        name: _column(distribution, [row[name] for row in rows])
        for name, distribution in parameters.items()
    }


def _column(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    if isinstance(distribution, CategoricalDistribution):
        dtype = choice_array(distribution.choices).dtype
        column = np.empty(len(values), dtype=dtype)
        column[:] = list(values)
        return column
    return np.array(values, np.float64 if isinstance(distribution, FloatDistribution) else np.int64)


def rows_of(columns: Columns, names: Mapping[str, object]) -> list[dict[str, Any]]:
    """The points one by one, as plain Python values in the order of the space."""
    if batch_length(columns) == 0:
        return []
    lists = [np.asarray(columns[name]).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def violation_rows(evaluation: Evaluation) -> list[dict[str, float]]:
    """Violations of each point; an unknown (nan) one counts as infinite."""
    lists = {
        name: np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf).tolist()
        for name, values in evaluation.violations.items()
    }
    return [{name: values[i] for name, values in lists.items()} for i in range(len(evaluation))]
