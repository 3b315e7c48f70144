"""Evaluates batches of points, in this process or in several, turning errors into failed trials."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from typing import Protocol

import cloudpickle
import numpy as np

from evaluators.evaluation import Evaluation, Evaluator
from spaces.space import Columns, Space


class Executor(Protocol):
    """Turns columns of n points into an evaluation of length n, in the same order."""

    def evaluate(self, columns: Columns) -> Evaluation:
        """Price the points; an evaluation that raises becomes a failure with its reason."""
        ...

    def close(self) -> None:
        """Release processes; harmless when called twice."""
        ...


@dataclass(frozen=True)
class SerialExecutor:
    """Evaluates in this process."""

    space: Space
    evaluator: Evaluator

    def evaluate(self, columns: Columns) -> Evaluation:
        """Price the points; see `Executor`."""
        return evaluate_points(self.space, self.evaluator, columns)

    def close(self) -> None:
        """Nothing to release."""


class ProcessExecutor:
    """Evaluates in `workers` processes; the result does not depend on their number.

    The space and the evaluator travel to each process once, functions and closures by value. A
    process that dies (killed, out of memory) costs the point it died of: a failed trial.
    """

    def __init__(self, space: Space, evaluator: Evaluator, workers: int):
        if workers < 1:
            raise ValueError(f"workers: must be >= 1, got {workers}")
        self._workers = workers
        self._packed = cloudpickle.dumps((space, evaluator))
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            mp_context=get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._packed,),
        )

    def evaluate(self, columns: Columns) -> Evaluation:
        """Price the points in equal shares; see `Executor`."""
        n = batch_length(columns)
        bounds = np.linspace(0, n, min(self._workers, n) + 1).astype(int)
        shares = [take_columns(columns, slice(*ends)) for ends in pairwise(bounds)]
        try:
            return concatenate(list(self._pool.map(_evaluate_in_worker, shares)))
        except BrokenProcessPool:
            self._pool = self._start()
        return concatenate([self._alone(take_columns(columns, [index])) for index in range(n)])

    def _alone(self, point: Columns) -> Evaluation:
        """Price one point after a process has died, to find the one that kills it."""
        try:
            return self._pool.submit(_evaluate_in_worker, point).result()
        except BrokenProcessPool:
            self._pool = self._start()
            return failed_point("the worker process died (killed, or out of memory)")

    def close(self) -> None:
        """End the processes; work that has not started is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


ENGINES = ("processes", "ray")
"""What may run several workers."""


def make_executor(
    space: Space, evaluator: Evaluator, workers: int = 1, engine: str = "processes"
) -> Executor:
    """The executor for this number of workers; one worker needs no engine but Ray, if named.

    Raises:
        ValueError: If there is no such engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    if engine == "ray":
        from strategies.ray_executor import RayExecutor

        return RayExecutor(space, evaluator, workers)
    if workers == 1:
        return SerialExecutor(space, evaluator)
    return ProcessExecutor(space, evaluator, workers)


_WORKER: dict[str, SerialExecutor] = {}


def _start_worker(packed: bytes) -> None:
    """Set up one worker process; Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _WORKER["executor"] = SerialExecutor(*cloudpickle.loads(packed))


def _evaluate_in_worker(columns: Columns) -> Evaluation:
    return _WORKER["executor"].evaluate(columns)


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
