"""Evaluates batches of points, in this process or in several, turning errors into failed trials."""

from __future__ import annotations

import signal
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
from strategies.tuning.batches import (
    batch_length,
    concatenate,
    evaluate_points,
    failed_point,
    take_columns,
)


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
        from strategies.tuning.ray_executor import RayExecutor

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
