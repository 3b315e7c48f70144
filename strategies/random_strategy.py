"""Uniform random search by the space itself, in vectorised batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.space import Columns, Space
from strategies.tuning.batches import batch_length, take_columns


class RandomStrategy:
    """Draws points with `space.sample`; learns nothing.

    Args:
        space: Where to draw.
        seed: Same seed and batch size, same points, however many are asked for at a time.
        batch_size: Points drawn at a time.
    """

    steady = True

    def __init__(self, space: Space, seed: int | None = None, batch_size: int = 64):
        if batch_size < 1:
            raise ValueError(f"strategy.batch_size: must be >= 1, got {batch_size}")
        self.space = space
        self.batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self._rest: Columns = {}

    def ask(self, n: int) -> Columns:
        """The next points drawn, at most n and at most batch_size."""
        if batch_length(self._rest) == 0:
            self._rest = self.space.sample(self.batch_size, self._rng)
        now = take_columns(self._rest, slice(0, n))
        self._rest = take_columns(self._rest, slice(n, None))
        return now

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Nothing to learn."""


class ExhaustiveStrategy:
    """Visits every distinct design of a finite space once, with `space.enumerate`.

    Args:
        space: Where to search; its size must be finite.
        batch_size: Points proposed at a time at most.
    """

    steady = True

    def __init__(self, space: Space, batch_size: int = 1024):
        if space.size is None:
            raise ValueError("strategy: a continuous space cannot be enumerated; use random or tpe")
        self.batch_size = batch_size
        self._batches: Iterator[Columns] = space.enumerate(batch_size)
        self._rest: Columns = {}

    def ask(self, n: int) -> Columns:
        """The next points in the space's own order; none when all have been proposed."""
        if batch_length(self._rest) == 0:
            self._rest = next(self._batches, {})
        now = take_columns(self._rest, slice(0, n))
        self._rest = take_columns(self._rest, slice(n, None))
        return now

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Nothing to learn."""
