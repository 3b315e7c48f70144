"""Random search in the style of the Timeloop and Sparseloop mapper, with its termination rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation, FloatArray
from spaces.space import Columns
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy


class MapperStrategy:
    """Draws mappings at random and gives up once luck has run out.

    After Timeloop's mapper (Parashar et al., ISPASS 2019): the search is over after
    `victory_condition` feasible mappings in a row that did not improve the best, or after
    `timeout` infeasible ones in a row; both defaults are Timeloop's. With several objectives the
    best is the least product of them, as in energy x delay.

    Args:
        problem: Its space draws, its goal says what is better.
        victory_condition: Feasible points in a row without an improvement.
        timeout: Infeasible points in a row.
        seed: Of the draw.
    """

    steady = True

    def __init__(
        self,
        problem: Problem,
        victory_condition: int = 500,
        timeout: int = 1000,
        seed: int | None = None,
    ) -> None:
        for name, value in (("victory_condition", victory_condition), ("timeout", timeout)):
            if value < 1:
                raise ValueError(f"strategy.{name}: must be >= 1, got {value}")
        self.goal = problem.goal
        self.victory_condition = victory_condition
        self.timeout = timeout
        self._draw = RandomStrategy(problem.space, seed=seed)
        self._best = np.inf
        self._without_better = 0
        self._infeasible = 0

    @property
    def finished(self) -> bool:
        """Whether one of the two rules has ended the search."""
        return self._without_better >= self.victory_condition or self._infeasible >= self.timeout

    def ask(self, n: int) -> Columns:
        """The next points drawn; none once the search has ended."""
        return {} if self.finished else self._draw.ask(n)

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Count what did not improve."""
        for value in scalar_losses(self.goal.losses(evaluation), evaluation.feasible):
            if not np.isfinite(value):
                self._infeasible += 1
                continue
            self._infeasible = 0
            self._without_better = 0 if value < self._best else self._without_better + 1
            self._best = min(self._best, value)


def scalar_losses(losses: FloatArray, feasible: NDArray[np.bool_]) -> FloatArray:
    """One loss per point: the sum of the objectives' logarithms, inf where infeasible.

    Losses (n, m) -> (n,); logarithms keep their sign, so that maximised objectives (negative
    losses) stay in order.

    >>> scalar_losses(np.array([[np.e - 1.0, 0.0], [1.0, 1.0]]), np.array([True, False])).tolist()
    [1.0, inf]
    """
    magnitudes = np.sign(losses) * np.log1p(np.abs(losses))
    return np.where(feasible, np.nan_to_num(magnitudes.sum(axis=1), nan=np.inf), np.inf)
