"""The differentiable relaxation as a strategy: one start after another, rounded and repaired."""

from __future__ import annotations

import numpy as np

from evaluators.evaluation import Evaluation, FloatArray, StructuredEvaluator
from spaces.mappings.loop_nest import MappingBatch
from spaces.space import Columns
from strategies.exact.search_result import objective_values
from strategies.problem import Problem
from strategies.relaxation import Schedule, relaxation_search


class GradientStrategy:
    """Proposes the repaired mapping of a new start with every `ask`, until the starts are spent.

    Args:
        problem: Its evaluator must state cost terms, its space must `encode` mappings.
        objective: energy, latency or edp.
        starts, steps: Starting points, and gradient steps from each.
        seed: Of the starting points.

    Raises:
        ValueError: If the evaluator states no cost terms.
    """

    def __init__(
        self,
        problem: Problem,
        objective: str = "edp",
        starts: int = 8,
        steps: int = 150,
        seed: int | None = None,
    ) -> None:
        if not isinstance(problem.evaluator, StructuredEvaluator):
            raise ValueError(
                "strategy=gradient needs an evaluator with cost terms, "
                f"got {type(problem.evaluator).__name__}"
            )
        self.problem = problem
        self.objective = objective
        self.starts = starts
        self.steps = steps
        self.seed = 0 if seed is None else seed
        self._done = 0

    def ask(self, n: int) -> Columns:
        """The mapping of the next start; nothing once all are spent."""
        evaluator = self.problem.evaluator
        assert isinstance(evaluator, StructuredEvaluator)
        while self._done < self.starts:
            self._done += 1
            found = relaxation_search(
                evaluator.cost_terms(),
                self._price,
                self.objective,
                seed=self.seed * self.starts + self._done,
                schedule=Schedule(starts=1, steps=self.steps),
            )
            if found.mapping is not None:
                return self.problem.space.encode(found.mapping)
        return {}

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Starts are independent: nothing to learn."""

    def _price(self, batch: MappingBatch) -> FloatArray:
        found = self.problem.evaluator.evaluate(batch)
        energy, cycles = found.metrics["energy_pj"], found.metrics["latency_cycles"]
        values = objective_values(self.objective, energy, cycles)
        return np.where(found.feasible, values, np.inf)
