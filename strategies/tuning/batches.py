"""Batches of points and of evaluations: their length, parts of them, joining them, pricing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.evaluation import Evaluation, Evaluator
from spaces.space import Columns, Space


def batch_length(columns: Columns) -> int:
    """Number of points in the columns."""
    return len(next(iter(columns.values()))) if columns else 0


def take_columns(columns: Columns, indices: Sequence[int] | slice) -> Columns:
    """Some of the points, in the order of `indices`."""
    return {name: np.asarray(values)[indices] for name, values in columns.items()}


def concatenate_columns(parts: Sequence[Columns]) -> Columns:
    """Points of several batches with the same parameters, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def evaluate_points(space: Space, evaluator: Evaluator, columns: Columns) -> Evaluation:
    """Price points; when the batch raises, price them one by one so that only the guilty fail."""
    n = batch_length(columns)
    try:
        evaluation = evaluator.evaluate(space.decode(columns))
        if len(evaluation) != n:
            raise ValueError(f"the evaluator returned {len(evaluation)} results for {n} designs")
        return evaluation
    except Exception as error:
        if n == 1:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return failed_point(reason)
    return concatenate(
        [evaluate_points(space, evaluator, take_columns(columns, [index])) for index in range(n)]
    )


def failed_point(reason: str) -> Evaluation:
    """The evaluation of one point that has none: a nameless nan, dropped when joined to others."""
    return Evaluation(metrics={"": np.full(1, np.nan)}, failures={0: reason})


def concatenate(parts: Sequence[Evaluation]) -> Evaluation:
    """Join evaluations in order; a metric that a part lacks is nan there.

    >>> a = Evaluation({"x": np.array([1.0])})
    >>> b = Evaluation({"x": np.array([np.nan])}, failures={0: "no"})
    >>> concatenate([a, b]).failures
    {1: 'no'}
    """
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part) for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    failures = {
        int(start) + index: reason
        for start, part in zip(starts, parts, strict=False)
        for index, reason in part.failures.items()
    }
    metrics = _join([part.metrics for part in parts], sizes)
    if len(metrics) > 1:
        metrics.pop("", None)
    return Evaluation(metrics, _join([part.violations for part in parts], sizes), failures)


def _join(
    groups: Sequence[Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]],
    sizes: Sequence[int],
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    names = list(dict.fromkeys(name for group in groups for name in group))
    return {
        name: np.concatenate(
            [
                np.asarray(group[name]) if name in group else np.full(size, np.nan)
                for group, size in zip(groups, sizes, strict=True)
            ]
        )
        for name in names
    }
