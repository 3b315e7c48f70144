"""Which design of every part makes the whole model best, and how far a better one can be.

Energies of the parts add and latencies add. Of a goal that is one of the sums, every part has its
own best design. A sum within a budget of the other needs the energy-latency front of every part,
the product of the sums a few questions with a price on latency (`model_product`).

A search for a goal is a generator: it yields what it asks of every part, is sent what the parts can
do, and returns the choice. So the questions of many models can be answered together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.evaluation import FloatArray
from spaces.mappings.mapping_goal import EDP, ENERGY, LATENCY, MEMORY_ENERGY, MappingGoal
from strategies.exact.model_budget import least_energy_within
from strategies.exact.model_search import Combination, Front
from strategies.part_search import PartFront, PartResult, without_design
from strategies.priced_search import FRONT

CYCLES = "latency_cycles"
GOAL_METRICS = {
    ENERGY: "energy_pj",
    MEMORY_ENERGY: "memory_energy_pj",
    LATENCY: "latency_s",
    EDP: "edp_j_s",
}
"""Metric of the model that a goal minimises."""

ROUNDING = 1e-12
"""Relative difference of sums that counts as none."""

SAME = 1e-9
"""Relative gap below which a choice is certified, as of the exact search."""


@dataclass(frozen=True)
class Question:
    """What is asked of every part.

    Attributes:
        objective: Of the inner search: energy, latency, edp, or pareto (the front).
        energy: The energy that counts, a metric.
        pj_per_cycle: Price of latency that is added to the energy.
    """

    objective: str
    energy: str = GOAL_METRICS[ENERGY]
    pj_per_cycle: float = 0.0

    def costs(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """What counts of a design: one number, or energy and latency for a front."""
        if self.objective == LATENCY:
            return (metrics[CYCLES],)
        if self.objective == EDP:
            return (metrics["edp_pj_cycles"],)
        if self.objective == FRONT:
            return metrics[self.energy], metrics[CYCLES]
        return (metrics[self.energy] + self.pj_per_cycle * metrics[CYCLES],)


@dataclass(frozen=True)
class ModelChoice:
    """The designs of all parts.

    Attributes:
        parts: One design per part.
        gap: Relative amount by which a better choice may improve on the goal; 0 = proven best.
        excess: Amount by which the budget is exceeded, relative to it; 0 without a budget. The
            designs are then the ones that exceed it least.
    """

    parts: tuple[PartResult, ...]
    gap: float
    excess: float = 0.0

    @property
    def certified(self) -> bool:
        """True when nothing better exists."""
        return self.gap <= SAME


Search = Generator[Question, Sequence[PartFront], ModelChoice]
"""Yields questions, is sent the answers of all parts, returns the choice."""


@dataclass(frozen=True)
class Totals:
    """How the costs of the parts add up.

    Attributes:
        counts: Runs of every part in one run of the model.
        least_cycles: Computes latency [cycles] of the model that no designs go below.
    """

    counts: Sequence[int]
    least_cycles: Callable[[], float]

    def sum(self, parts: Sequence[PartResult], metric: str) -> float:
        """A metric of the model."""
        return float(np.dot(self.counts, [part.metrics[metric] for part in parts]))

    def floor(self, fronts: Sequence[PartFront]) -> float:
        """What no choice goes below, for costs of one number."""
        return float(np.dot(self.counts, [front.floor[:, 0].min() for front in fronts]))


def relative_gap(bound: float, value: float) -> float:
    """Part of a value that a better one may save; rounding is none.

    >>> relative_gap(3.0, 4.0), relative_gap(1.0 - 1e-15, 1.0)
    (0.25, 0.0)
    """
    gap = 1.0 - bound / value
    return gap if gap > ROUNDING else 0.0


def energy_of(goal: MappingGoal) -> str:
    """The metric of energy that a goal is about."""
    return GOAL_METRICS[MEMORY_ENERGY if goal.minimise == MEMORY_ENERGY else ENERGY]


def least_sum(goal: MappingGoal, totals: Totals) -> Search:
    """Least energy or least latency: every part on its own."""
    fronts = yield Question(LATENCY if goal.minimise == LATENCY else ENERGY, energy_of(goal))
    if not all(front.points for front in fronts):
        return without_choice(fronts)
    return own_best(fronts, totals)


def least_of_one(totals: Totals) -> Search:
    """Least product of several runs of one part: mixing two designs is never better than one."""
    fronts = yield Question(EDP)
    if not all(front.points for front in fronts):
        return without_choice(fronts)
    return own_best(fronts, totals)


def own_best(fronts: Sequence[PartFront], totals: Totals) -> ModelChoice:
    """The best design of every part for itself, of costs of one number."""
    value = float(np.dot(totals.counts, [front.costs[0, 0] for front in fronts]))
    parts = tuple(front.points[0] for front in fronts)
    return ModelChoice(parts, relative_gap(totals.floor(fronts), value))


def without_choice(fronts: Sequence[PartFront]) -> ModelChoice:
    """What is left where some part has no design: proven when one of them cannot have any."""
    parts = tuple(f.points[0] if f.points else without_design(f.reason) for f in fronts)
    return ModelChoice(parts, 0.0 if any(not len(front.floor) for front in fronts) else 1.0)


def least_within(goal: MappingGoal, limit: float, totals: Totals) -> Search:
    """Least energy within a latency, or least latency within an energy.

    Args:
        goal: Of the model, with a budget.
        limit: The budget [cycles, or pJ].
        totals: How the costs add up.
    """
    free = yield from least_sum(goal, totals)
    spent = energy_of(goal) if goal.minimise == LATENCY else CYCLES
    if not all(part.design is not None for part in free.parts):
        return free
    if free.certified and totals.sum(free.parts, spent) <= limit:
        return free
    fronts = yield Question(FRONT, energy_of(goal))
    first = 1 if goal.minimise == LATENCY else 0
    best = _within([front.costs for front in fronts], totals, first, limit)
    least = _within([front.floor for front in fronts], totals, first, limit)
    picked = best.choices[0].tolist()
    parts = tuple(front.points[row] for front, row in zip(fronts, picked, strict=True))
    excess = float(best.latency_cycles[0]) / limit - 1.0
    if excess > SAME:
        proven = least.latency_cycles[0] > limit
        return ModelChoice(parts, 0.0 if proven else 1.0, excess)
    bound = float(least.energy_pj[0]) * (1.0 - least.gap)
    return ModelChoice(parts, relative_gap(bound, float(best.energy_pj[0])))


def _within(costs: Sequence[FloatArray], totals: Totals, first: int, limit: float) -> Combination:
    """Least sum of column `first` within a limit of the other's sum."""
    pairs = zip(costs, totals.counts, strict=True)
    fronts = [Front(each[:, first], each[:, 1 - first], count) for each, count in pairs]
    return least_energy_within(fronts, limit)
