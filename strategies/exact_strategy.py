"""The exact search as a strategy: proposes the certified optimum, or the front, and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from evaluators.evaluation import CostTerms, Evaluation, StructuredEvaluator
from spaces.mappings.loop_nest import MappingBatch
from spaces.space import Columns
from strategies.exact.certificate import certificate
from strategies.exact.exact_search import MAPSPACES, exact_search
from strategies.exact.search_result import SearchResult
from strategies.exact.space_points import space_points
from strategies.problem import Problem
from strategies.strategy import StageRecord

COMPLETE = "complete"
"""The largest mapspace that the search has for the hardware."""


@runtime_checkable
class StatesProblem(Protocol):
    """Optional capability of an evaluator: what its prices depend on, for a certificate."""

    def problem_data(self, design: MappingBatch) -> Mapping[str, Any]:
        """Plain data from which the evaluator can be built again; `design` is a batch of one."""
        ...


class ExactStrategy:
    """Proposes what `exact_search` finds, in one batch.

    Args:
        problem: Its evaluator must state cost terms, its space must `encode` mappings.
        objective: energy, latency, edp or pareto.
        mapspace: See `exact_search`; "complete" = uneven_runs, on four levels uneven.
        seed: Unused; the search is deterministic.

    Raises:
        ValueError: If the evaluator states no cost terms, or the mapspace is unknown.
    """

    def __init__(
        self,
        problem: Problem,
        objective: str = "edp",
        mapspace: str = COMPLETE,
        seed: int | None = None,
    ) -> None:
        if not isinstance(problem.evaluator, StructuredEvaluator):
            raise ValueError(
                "strategy=exact needs an evaluator with cost terms, "
                f"got {type(problem.evaluator).__name__}"
            )
        if mapspace not in (COMPLETE, *MAPSPACES):
            known = ", ".join((COMPLETE, *MAPSPACES))
            raise ValueError(f"strategy.mapspace: must be one of {known}, got {mapspace!r}")
        self.problem = problem
        self.objective = objective
        self.mapspace = mapspace
        self._found: SearchResult | None = None
        self._gap = float("inf")
        self._statement: Mapping[str, Any] = {}

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
        terms = evaluator.cost_terms()
        mapspace = _mapspace(self.mapspace, terms)
        self._found = exact_search(terms, self.objective, mapspace)
        if not len(self._found.mappings):
            raise ValueError(f"no valid mapping: {self._found.reason}")
        points = space_points(self._found, self.problem.space, evaluator)[:n]
        if not points:
            raise ValueError(
                "strategy=exact: no optimal mapping is in this space; free its decisions, or use "
                "strategy=progressive"
            )
        self._gap = max(0.0, 1.0 - self._found.lower_bound / points[0].value)
        if isinstance(evaluator, StatesProblem):
            assert self._found.mapping is not None
            problem = dict(evaluator.problem_data(self._found.mapping))
            self._statement = certificate(terms, self._found, mapspace, problem)
        names = self.problem.space.parameters
        return {name: np.concatenate([p.columns[name] for p in points]) for name in names}

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Nothing is left to learn."""

    @property
    def stages(self) -> Sequence[StageRecord]:
        """What the stages of the search did; empty before it."""
        return () if self._found is None else self._found.stages

    @property
    def statement(self) -> Mapping[str, Any]:
        """The certificate; empty before the search or if the evaluator states no problem."""
        return self._statement

    @property
    def gap(self) -> float:
        """(best proposal - lower bound) / best proposal; inf before the search."""
        return self._gap


def _mapspace(name: str, terms: CostTerms) -> str:
    """The mapspace to search."""
    if name != COMPLETE:
        return name
    return "uneven" if len(terms.capacity_bits) == 4 else "uneven_runs"
