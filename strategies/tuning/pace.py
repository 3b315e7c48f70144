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
    """Fits the size of batches to the time they take; starts small and at most doubles.

    Args:
        workers: Processes that share a batch; a batch never holds fewer trials than that.
    """

    def __init__(self, workers: int = 1):
        self._workers = workers
        self._size = workers

    def size(self, strategy: Strategy) -> int:
        """Trials to ask this strategy for."""
        return self._size if isinstance(strategy, SteadyStrategy) else MAX_BATCH

    def learn(self, n: int, seconds: float) -> None:
        """Take in that n trials took this long.

        >>> pace = Pace()
        >>> pace.learn(1, 0.125)
        >>> pace._size
        2
        >>> pace.learn(2, 4.0)
        >>> pace._size
        1
        """
        fitting = int(BATCH_SECONDS * n / max(seconds, 1e-9))
        self._size = max(self._workers, min(fitting, 2 * self._size, MAX_BATCH))
