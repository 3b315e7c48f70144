"""A selection method as a strategy: one proven optimal assignment per target sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern, NMSpace
from spaces.sparsity.nm_statistics import NMStatistics
from spaces.validation import check_key
from strategies.nm.integer_program import (
    DEFAULT_TOLERANCE,
    Budget,
    FloatArray,
    ImpossibleSelection,
    NMSelection,
)
from strategies.nm.selection import METHODS, SelectionTask, select


class DescribesModel(Protocol):
    """An evaluator that knows a model's statistics."""

    def statistics(self) -> NMStatistics:
        """Statistics of the units that share an N:M."""
        ...


@runtime_checkable
class PricesUnits(Protocol):
    """An evaluator whose costs are sums over the units that share an N:M."""

    def unit_costs(self, patterns: Sequence[NMPattern]) -> Mapping[str, FloatArray]:
        """Metric -> cost of every unit under every pattern, shape (L, q)."""
        ...


def unit_budgets(
    evaluator: object, patterns: Sequence[NMPattern], limits: Mapping[str, float]
) -> dict[str, Budget]:
    """Limits on metrics of the evaluator, as budgets of the integer program.

    Args:
        evaluator: Prices units, if there are limits.
        patterns: Candidates of the program.
        limits: Metric -> largest total over the model.

    Raises:
        ValueError: If the evaluator does not price units, or not in such a metric.
    """
    if not limits:
        return {}
    if not isinstance(evaluator, PricesUnits):
        raise ValueError(
            f"budgets: {type(evaluator).__name__} has no hardware to price layers with; use an "
            "evaluator such as nm_tradeoff"
        )
    costs = evaluator.unit_costs(patterns)
    for name in limits:
        check_key("budgets", name, costs)
    return {name: Budget(costs[name], float(limit)) for name, limit in limits.items()}


def selection_strategy(
    space: NMSpace,
    evaluator: DescribesModel,
    method: str = "retained_saliency",
    target_sparsities: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
    tolerance: float = DEFAULT_TOLERANCE,
    budgets: Mapping[str, float] | None = None,
) -> NMSelectionStrategy:
    """The strategy for a study whose evaluator describes its model.

    Args:
        space: The N:M space; methods choose among its candidates.
        evaluator: Gives the statistics, and the costs of layers if there are budgets.
        method: Name, see `METHODS`.
        target_sparsities: One assignment each.
        tolerance: Allowed deviation from them.
        budgets: Metric of the evaluator -> largest total, for example latency_cycles.

    Raises:
        ValueError: If the evaluator has no statistics, the method does not exist, or see
            `unit_budgets`.
    """
    if not hasattr(evaluator, "statistics"):
        raise ValueError(
            f"strategy: {type(evaluator).__name__} has no statistics of a model; use an evaluator "
            "such as nm_tradeoff"
        )
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    statistics = evaluator.statistics().offering(space.patterns)
    limits = unit_budgets(evaluator, space.patterns, budgets or {})
    tasks = [
        SelectionTask(statistics, target, tolerance, space.forced_dense, limits)
        for target in target_sparsities
    ]
    return NMSelectionStrategy(space, method, tasks)


class NMSelectionStrategy:
    """A selection method as a strategy: it asks for one assignment per target sparsity, then stops.

    Assignments that it was told of already (on resume, or as baselines) are not asked for again.

    Attributes:
        space: The N:M space; its layers are the units of the statistics.
        method: Name of the method.
        tasks: One per target sparsity.
        selections: What was selected so far, with certificates.
    """

    def __init__(self, space: NMSpace, method: str, tasks: Sequence[SelectionTask]) -> None:
        self.space = space
        self.method = method
        self.tasks = list(tasks)
        self.selections: list[NMSelection] = []
        self._told: set[bytes] = set()

    def ask(self, n: int) -> Columns:
        """The next n targets' assignments; fewer, even none, at the end."""
        found: list[NDArray[np.int64]] = []
        while len(found) < n and len(self.selections) < len(self.tasks):
            self.selections.append(select(self.method, self.tasks[len(self.selections)]))
            choice = self._in_space(self.selections[-1])
            if choice.tobytes() not in self._told:
                found.append(choice)
        if not found:
            return {name: np.zeros(0, dtype=np.int64) for name in self.space.parameters}
        return self.space.encode(NMBatch(self.space.layers, self.space.patterns, np.stack(found)))

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Remember what has been evaluated."""
        if len(evaluation):
            self._told |= {row.tobytes() for row in self.space.decode(columns).choice}

    def _in_space(self, selection: NMSelection) -> NDArray[np.int64]:
        """Indices of the chosen patterns among the space's candidates.

        Raises:
            ImpossibleSelection: If the space does not offer a chosen pattern.
        """
        assignment = selection.assignment
        offered = {pattern: index for index, pattern in enumerate(self.space.patterns)}
        dense = next((i for p, i in offered.items() if p.is_dense), None)
        indices = []
        for name in self.space.layers:
            pattern = assignment[name]
            index = dense if pattern.is_dense else offered.get(pattern)
            if index is None:
                raise ImpossibleSelection(
                    f"layer {name!r}: the method chose {pattern}, which the space does not offer"
                )
            indices.append(index)
        return np.array(indices, dtype=np.int64)
