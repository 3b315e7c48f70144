"""Which trials of a study become child runs, and what each child run says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from strategies.pareto import thinned
from strategies.reporting.study_result import StudyResult
from strategies.tuning.trial_batch import TrialBatch

MAX_PARAMS = 25
"""Decoded parameters shown on a child run."""

WINNER_TAGS = ("stage", "baseline")
"""Tags whose every value keeps its best trial as a child run."""

_FORBIDDEN = re.compile(r"[^\w./: -]")


def streamed_quota(max_child_runs: int, trials: int | None) -> int:
    """Child runs written while the search goes on; the rest is kept for those chosen at its end.

    >>> streamed_quota(500, trials=200), streamed_quota(500, trials=10_000)
    (500, 400)
    """
    if trials is not None and trials <= max_child_runs:
        return max_child_runs
    return max_child_runs - max_child_runs // 5


def chosen_trials(result: StudyResult, room: int) -> dict[str, list[int]]:
    """Trials that deserve a child run, by reason, the most important first.

    Args:
        result: The finished study.
        room: Trials of the front that may be kept; a larger front is thinned evenly.
    """
    best = {t.number for m in result.goal.metrics if (t := result.best_of(m)) is not None}
    if result.best is not None:
        best.add(result.best.number)
    winners = _winners(result)
    return {
        "best": sorted(best),
        "winner": sorted(winners),
        "front": thinned(result.front, room).tolist(),
    }


def _winners(result: StudyResult) -> set[int]:
    """Best trial, in the first objective, of every stage and baseline."""
    best: dict[tuple[str, str], int] = {}
    losses = result.losses[:, 0] if result.n_trials else np.empty(0)
    for number, tags in enumerate(result.reader.tags()):
        for name in WINNER_TAGS:
            group = (name, tags.get(name, ""))
            known = best.get(group)
            if group[1] and (known is None or losses[number] < losses[known]):
                best[group] = number
    return set(best.values())


def flattened(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with dotted names; lists stay whole.

    >>> dict(flattened({"a": {"b": 1}, "c": [1, 2]}))
    {'a.b': 1, 'c': [1, 2]}
    """
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from flattened(child, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node


def plain_name(name: str) -> str:
    """A metric name that MLflow accepts.

    >>> plain_name("violation/area_mm2<=4")
    'violation/area_mm2 at most 4'
    """
    words = name.replace("<=", " at most ").replace(">=", " at least ").replace("+", "")
    return _FORBIDDEN.sub("_", words)


def shown_params(described: Mapping[str, Any]) -> dict[str, str]:
    """The first `MAX_PARAMS` leaves of a described design as text."""
    leaves = list(flattened(described))[:MAX_PARAMS]
    return {plain_name(name): _text(value) for name, value in leaves}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)[:500]
    return str(value)[:500]


def shown_metrics(batch: TrialBatch, index: int) -> dict[str, float]:
    """Finite metrics and violations of one trial of a batch."""
    values = {name: float(v[index]) for name, v in batch.evaluation.metrics.items()}
    for name, column in batch.evaluation.violations.items():
        values[f"violation/{name}"] = float(column[index])
    return {plain_name(k): v for k, v in values.items() if math.isfinite(v)}
