"""Designs of an earlier study as the first designs of a new one, also into a changed space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.parameters import cardinality, choice_array, sample_column, values_at
from spaces.space import Columns, Space
from strategies.pareto import thinned
from strategies.reporting.study_result import StudyResult
from strategies.tuning.trial_reader import open_reader


def warm_start(path: Path, space: Space, limit: int = 20, seed: int | None = None) -> Columns:
    """The best designs of the study recorded at `path`, as points of this space.

    They are evaluated anew, so the earlier study may have had another evaluator, goal or space.
    The front comes first, evenly thinned when it is larger than `limit`, then what lies closest
    behind it.

    Args:
        path: Trial log of the earlier study.
        space: Space of the new study.
        limit: Number of designs at most.
        seed: Of the values of parameters that the earlier study did not have.

    Raises:
        ValueError: If there is no such log, it holds no feasible trial, or the limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"warm_start.limit: must be >= 1, got {limit}")
    reader = open_reader(path)
    numbers = best_trials(StudyResult(reader, reader.meta.goal, "read"), limit)
    if len(numbers) == 0:
        raise ValueError(f"warm_start: the study at {path} has no feasible trial")
    columns = reader.trials([int(number) for number in numbers]).columns
    return adapted(columns, space.parameters, np.random.default_rng(seed))


def best_trials(result: StudyResult, limit: int) -> NDArray[np.intp]:
    """Numbers of the best feasible trials: the front, then the rest by the sum of scaled losses."""
    front = thinned(result.front, limit)
    others = np.setdiff1d(np.flatnonzero(np.isfinite(result.losses).all(axis=1)), result.front)
    if len(front) == limit or len(others) == 0:
        return front
    losses = result.losses[others]
    low, high = losses.min(axis=0), losses.max(axis=0)
    order = np.argsort(((losses - low) / np.where(high > low, high - low, 1.0)).sum(axis=1))
    return np.concatenate([front, others[order[: limit - len(front)]]])


def adapted(
    columns: Columns, parameters: Mapping[str, BaseDistribution], rng: np.random.Generator
) -> Columns:
    """Points of another space as points of this one.

    A parameter of the same name keeps its value, moved to the nearest one in range; one that is
    new, or whose value is no choice any more, is drawn at random; one that is gone is dropped.

    Args:
        columns: Points of the other space, length n.
        parameters: Parameters of this space.
        rng: Draws the values that cannot be taken over.
    """
    n = len(next(iter(columns.values())))
    taken = {}
    for name, distribution in parameters.items():
        drawn = sample_column(distribution, n, rng)
        if name in columns:
            drawn = _taken_over(distribution, np.asarray(columns[name]).tolist(), drawn)
        taken[name] = drawn
    return taken


def _taken_over(
    distribution: BaseDistribution, values: list[Any], drawn: NDArray[Any]
) -> NDArray[Any]:
    """Old values where they mean something here, the drawn ones elsewhere."""
    column = drawn.copy()
    for index, value in enumerate(values):
        if isinstance(distribution, CategoricalDistribution):
            matches = [
                position
                for position, choice in enumerate(distribution.choices)
                if type(choice) is type(value) and choice == value
            ]
            if matches:
                column[index] = choice_array(distribution.choices)[matches[0]]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            column[index] = _nearest(distribution, float(value))
    return column


def _nearest(distribution: BaseDistribution, value: float) -> Any:
    """The value of a numeric parameter that is closest to this one."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    inside = min(max(value, distribution.low), distribution.high)
    count = cardinality(distribution)
    if count is None or distribution.step is None:
        return inside
    ordinal = min(round((inside - distribution.low) / distribution.step), count - 1)
    return values_at(distribution, np.array([ordinal]))[0]
