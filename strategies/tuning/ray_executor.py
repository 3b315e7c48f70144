"""Evaluates batches as Ray tasks: on this machine, or on the cluster that `RAY_ADDRESS` names.

Ray retries a task whose worker process or machine died, so a batch is complete or fails as a
whole; the result does not depend on the number of workers. Needs the extra `ray`.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np

from evaluators.evaluation import Evaluation, Evaluator
from spaces.space import Columns, Space
from strategies.tuning.batches import batch_length, concatenate, evaluate_points, take_columns

RETRIES = 5
"""How often a task is run again after its worker died."""


class RayExecutor:
    """An `Executor` whose shares are Ray tasks; the space and the evaluator are shipped once.

    Args:
        space, evaluator: Picklable.
        workers: Shares per batch; on a local cluster also its CPUs.

    Raises:
        ValueError: If Ray is not installed or the cluster does not answer.
    """

    def __init__(self, space: Space, evaluator: Evaluator, workers: int):
        if workers < 1:
            raise ValueError(f"workers: must be >= 1, got {workers}")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a study reports to nobody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise ValueError("engine: ray is not installed; pip install 'cosearch[ray]'") from None
        self._ray: Any = ray
        self._workers = workers
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, workers)
        self._problem = ray.put((space, evaluator))
        self._price = ray.remote(_evaluate_share).options(max_retries=RETRIES, num_cpus=1)

    def evaluate(self, columns: Columns) -> Evaluation:
        """Price the points in equal shares; see `Executor`."""
        n = batch_length(columns)
        bounds = np.linspace(0, n, min(self._workers, n) + 1).astype(int)
        shares = [take_columns(columns, slice(a, b)) for a, b in pairwise(bounds.tolist())]
        parts = self._ray.get([self._price.remote(self._problem, dict(s)) for s in shares])
        return concatenate(parts)

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        if self._started:
            self._ray.shutdown()
            self._started = False


def _connect(ray: Any, workers: int) -> None:
    """Join the cluster of `RAY_ADDRESS`, or start one here that only this machine can reach."""
    address = os.environ.get("RAY_ADDRESS")
    local = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **local)
    except ConnectionError as error:
        text = " ".join(str(error).split())
        raise ValueError(f"engine: the Ray cluster {address} does not answer: {text}") from None


def _evaluate_share(problem: tuple[Space, Evaluator], columns: Columns) -> Evaluation:
    """The task: runs in a process of the cluster."""
    space, evaluator = problem
    return evaluate_points(space, evaluator, columns)
