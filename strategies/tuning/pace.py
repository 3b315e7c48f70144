"""How many trials to evaluate at a time, so that a slow evaluator still reports every second."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from strategies.strategy import Strategy

BATCH_SECONDS = 1.0
"""What a batch of a steady strategy takes: what a kill may cost, and a budget overrun."""

MAX_BATCH = 1024
"""Trials evaluated and recorded together at most."""


@runtime_checkable
class SteadyStrategy(Strategy, Protocol):
    """Optional capability: its proposals do not depend on how many are asked for at a time.

    The tuner may then fit its batches to the speed of the evaluator without changing the result.
    """

    @property
    def steady(self) -> bool:
        """Always True; its presence is the statement."""
        ...


class Pace:
    """Fits the size of a steady strategy's batches to the time they take; at most doubles it.

    Args:
        strategy: Who is asked; one that is not steady is asked for `MAX_BATCH` trials.
        workers: Processes that share a batch; a batch never holds fewer trials than that.

    Attributes:
        size: Trials to ask for.
    """

    def __init__(self, strategy: Strategy, workers: int = 1):
        self._workers = workers
        self._steady = isinstance(strategy, SteadyStrategy)
        self.size = workers if self._steady else MAX_BATCH

    def learn(self, n: int, seconds: float) -> None:
        """Take in that n trials took this long."""
        if self._steady:
            fitting = int(BATCH_SECONDS * n / max(seconds, 1e-9))
            self.size = max(self._workers, min(fitting, 2 * self.size, MAX_BATCH))
