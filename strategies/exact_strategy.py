"""The exact search as a strategy: proposes the certified optimum, or the front, and ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.evaluation import Evaluation, StructuredEvaluator
from spaces.space import Columns
from strategies.exact.exact_search import exact_search
from strategies.exact.search_result import SearchResult
from strategies.exact.space_points import space_points
from strategies.problem import Problem
from strategies.strategy import StageRecord


class ExactStrategy:
    """Proposes what `exact_search` finds, in one batch.

    Args:
        problem: Its evaluator must state cost terms, its space must `encode` mappings.
        objective: energy, latency, edp or pareto.
        seed: Unused; the search is deterministic.

    Raises:
        ValueError: If the evaluator states no cost terms.
    """

    def __init__(self, problem: Problem, objective: str = "edp", seed: int | None = None) -> None:
        if not isinstance(problem.evaluator, StructuredEvaluator):
            raise ValueError(
                "strategy=exact needs an evaluator with cost terms, "
                f"got {type(problem.evaluator).__name__}"
            )
        self.problem = problem
        self.objective = objective
        self._found: SearchResult | None = None
        self._gap = float("inf")

    def ask(self, n: int) -> Columns:
        """The optimum or the front, once; nothing after.

        Raises:
            ValueError: If no mapping is valid (says which rule excludes everything), or the space
                lacks every optimal one.
        """
        if self._found is not None:
            return {}
        evaluator = self.problem.evaluator
        assert isinstance(evaluator, StructuredEvaluator)
        self._found = exact_search(evaluator.cost_terms(), self.objective)
        if not len(self._found.mappings):
            raise ValueError(f"no valid mapping: {self._found.reason}")
        points = space_points(self._found, self.problem.space, evaluator)[:n]
        if not points:
            raise ValueError(
                "strategy=exact: no optimal mapping is in this space; free its decisions, or use "
                "strategy=progressive"
            )
        self._gap = max(0.0, 1.0 - self._found.lower_bound / points[0].value)
        names = self.problem.space.parameters
        return {name: np.concatenate([p.columns[name] for p in points]) for name in names}

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Nothing is left to learn."""

    @property
    def stages(self) -> Sequence[StageRecord]:
        """What the stages of the search did; empty before it."""
        return () if self._found is None else self._found.stages

    @property
    def gap(self) -> float:
        """(best proposal - lower bound) / best proposal; inf before the search."""
        return self._gap
