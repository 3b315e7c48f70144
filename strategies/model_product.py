"""The least product of a model's energy and latency, by a few searches with a price on latency.

The product is quasi-concave, so over the convex hull of all (energy X, latency Y) of the model its
least value is at a vertex of the lower hull, and every vertex is found by minimising X + price * Y
for some price, which separates into the parts. Each such search also proves that no point lies
below the line X + price * Y = floor. Together the lines bound the product from below: along their
upper envelope it is least where two of them cross, or at the latency that nothing goes below. The
next price is asked where that bound is still below the best product known, until none is.

Prices are rounded to a grid where that does not matter, so that models that differ in their formats
only ask the same questions of the parts they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor, log2

from spaces.mappings.mapping_goal import ENERGY
from strategies.model_choice import (
    CYCLES,
    GOAL_METRICS,
    SAME,
    ModelChoice,
    Question,
    Search,
    Totals,
    relative_gap,
    without_choice,
)
from strategies.part_search import PartResult


@dataclass(frozen=True)
class _Support:
    """A line that no choice lies below, and a choice on it (above it, if the search was cut).

    Attributes:
        price: Of a cycle [pJ].
        floor: Least energy + price * cycles [pJ].
        energy, cycles, parts: The choice.
    """

    price: float
    floor: float
    energy: float
    cycles: float
    parts: tuple[PartResult, ...]

    @property
    def product(self) -> float:
        """What the goal is about [pJ cycles]."""
        return self.energy * self.cycles


def least_product(totals: Totals) -> Search:
    """Least (sum of energies) x (sum of latencies)."""
    supports: list[_Support] = []
    price: float | None = 0.0
    while price is not None:
        fronts = yield Question(ENERGY, pj_per_cycle=price)
        if not all(front.points for front in fronts):
            return without_choice(fronts)
        parts = tuple(front.points[0] for front in fronts)
        energy, cycles = totals.sum(parts, GOAL_METRICS[ENERGY]), totals.sum(parts, CYCLES)
        supports.append(_Support(price, totals.floor(fronts), energy, cycles, parts))
        supports.sort(key=lambda each: each.price)
        price = _next_price(supports, totals.least_cycles())
    best = min(supports, key=lambda each: each.product)
    bound, _ = _lowest(supports, totals.least_cycles())
    return ModelChoice(best.parts, relative_gap(bound, best.product))


def _lowest(supports: Sequence[_Support], least_cycles: float) -> tuple[float, float]:
    """The least product above all lines, and its latency [cycles]."""
    crossings = [
        (after.floor - before.floor) / (after.price - before.price)
        for before, after in combinations(supports, 2)
    ]
    candidates = [least_cycles, *(cycles for cycles in crossings if cycles > least_cycles)]
    return min((cycles * _energy_above(supports, cycles), cycles) for cycles in candidates)


def _energy_above(supports: Sequence[_Support], cycles: float) -> float:
    """Energy that no choice of this latency goes below."""
    return max(each.floor - each.price * cycles for each in supports)


def _next_price(supports: Sequence[_Support], least_cycles: float) -> float | None:
    """Where to look next; None when the bound is reached or cannot be raised."""
    best = min(each.product for each in supports)
    bound, cycles = _lowest(supports, least_cycles)
    if bound >= best * (1.0 - SAME):
        return None
    slower = [each for each in supports if each.cycles >= cycles]
    faster = [each for each in supports if each.cycles < cycles]
    if not slower:
        return None
    below = max(slower, key=lambda each: each.price)
    if faster:
        above = min(faster, key=lambda each: each.price)
        exact = (above.energy - below.energy) / (below.cycles - above.cycles)
        return _between(below.price, above.price, exact)
    if below.cycles <= least_cycles:
        return None
    enough = (best / least_cycles - below.energy) / (below.cycles - least_cycles)
    return 2.0 ** ceil(log2(enough)) if enough > below.price else None


def _between(low: float, high: float, exact: float) -> float | None:
    """A power of two between two prices if there is one, else the exact price; None outside."""
    if not low < exact < high:
        return None
    near = 2.0 ** floor(log2(exact))
    return next((each for each in (near, 2.0 * near) if low < each < high), exact)
