"""What a study optimises: objectives, constraints and a reference point, by metric name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from evaluators.evaluation import Evaluation, FloatArray
from spaces.validation import nearest

Direction = Literal["minimize", "maximize"]

_CONSTRAINT = re.compile(r"^\s*(?P<metric>[\w./-]+?)\s*(?P<relation><=|>=)\s*(?P<limit>\S+)\s*$")


@dataclass(frozen=True)
class Objective:
    """One metric to minimise or maximise."""

    metric: str
    direction: Direction = "minimize"

    def loss(self, values: FloatArray) -> FloatArray:
        """The values turned so that smaller is better, shape (n,)."""
        return values if self.direction == "minimize" else -values


@dataclass(frozen=True)
class Constraint:
    """A limit on one metric: feasible when `metric relation limit` holds."""

    metric: str
    relation: Literal["<=", ">="]
    limit: float

    @property
    def name(self) -> str:
        """How the constraint is written: `latency_cycles<=1e+06`."""
        return f"{self.metric}{self.relation}{self.limit:g}"

    def violation(self, values: FloatArray) -> FloatArray:
        """Distance beyond the limit relative to it (absolute for a limit of 0), shape (n,).

        >>> Constraint("area_mm2", "<=", 4.0).violation(np.array([3.0, 5.0])).tolist()
        [-0.25, 0.25]
        >>> Constraint("retained_fraction", ">=", 0.5).violation(np.array([0.25])).tolist()
        [0.5]
        """
        excess = values - self.limit if self.relation == "<=" else self.limit - values
        return excess / (abs(self.limit) or 1.0)


def parse_constraint(text: str) -> Constraint:
    """Read `METRIC <= NUMBER` or `METRIC >= NUMBER`.

    Raises:
        ValueError: If the text has another form or the limit is not a finite number.

    >>> parse_constraint("latency_cycles <= 1e6")
    Constraint(metric='latency_cycles', relation='<=', limit=1000000.0)
    """
    match = _CONSTRAINT.match(text)
    try:
        limit = float(match["limit"]) if match else math.nan
    except ValueError:
        limit = math.nan
    if match is None or not math.isfinite(limit):
        raise ValueError(
            f"objective.constraints: each must be 'METRIC <= NUMBER' or 'METRIC >= NUMBER', "
            f"got {text!r}; for example 'latency_cycles <= 1e6'"
        )
    relation = cast(Literal["<=", ">="], match["relation"])
    return Constraint(match["metric"], relation, limit)


@dataclass(frozen=True)
class Goal:
    """Objectives, constraints and reference point of a study.

    Attributes:
        objectives: At least one.
        constraints: Limits on any metric, also on one that is no objective.
        reference: Metric -> value that bounds the hypervolume; the worst seen where it is absent.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    reference: Mapping[str, float] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives' metrics, in order."""
        return tuple(objective.metric for objective in self.objectives)

    def check(self, evaluation: Evaluation) -> None:
        """Raise ValueError if the evaluator lacks a metric that this goal names."""
        needed = (*self.metrics, *(constraint.metric for constraint in self.constraints))
        for metric in needed:
            if metric not in evaluation.metrics:
                hint = nearest(metric, evaluation.metrics)
                raise ValueError(f"objective: {metric!r} is no metric of the evaluator{hint}")

    def constrain(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation with this goal's constraints added to the evaluator's violations."""
        if not self.constraints:
            return evaluation
        own = {c.name: c.violation(evaluation.metrics[c.metric]) for c in self.constraints}
        return Evaluation(
            metrics=evaluation.metrics,
            violations={**evaluation.violations, **own},
            failures=evaluation.failures,
        )

    def losses(self, evaluation: Evaluation) -> FloatArray:
        """Objectives turned so that smaller is better, shape (n, objectives)."""
        columns = [o.loss(evaluation.metrics[o.metric]) for o in self.objectives]
        return np.stack(columns, axis=1) if columns else np.empty((len(evaluation), 0))


def make_goal(
    metrics: Sequence[str],
    directions: Sequence[str] | str = "minimize",
    constraints: Sequence[str] = (),
    reference: Mapping[str, float] | None = None,
) -> Goal:
    """Build a goal from what a user writes in `objective/`.

    Args:
        metrics: Metric names, at least one, all different.
        directions: One word for all metrics, or one per metric: `minimize` or `maximize`.
        constraints: Texts such as `latency_cycles <= 1e6`.
        reference: Reference point of the hypervolume by metric.

    Raises:
        ValueError: Names the field, the rule and the value.
    """
    words = [directions] * len(metrics) if isinstance(directions, str) else list(directions)
    if not metrics or len(set(metrics)) != len(metrics):
        raise ValueError(
            f"objective.metrics: must name at least one metric, each once, got {list(metrics)}"
        )
    if len(words) != len(metrics):
        raise ValueError(
            f"objective.directions: must be one word or one per metric, "
            f"got {len(words)} for {len(metrics)} metrics"
        )
    for word in words:
        if word not in ("minimize", "maximize"):
            raise ValueError(f"objective.directions: must be minimize or maximize, got {word!r}")
    for metric in reference or {}:
        if metric not in metrics:
            raise ValueError(f"objective.reference: {metric!r} is not one of {list(metrics)}")
    objectives = tuple(
        Objective(metric, cast(Direction, word))
        for metric, word in zip(metrics, words, strict=True)
    )
    limits = tuple(parse_constraint(text) for text in constraints)
    return Goal(objectives, limits, dict(reference) if reference else None)
