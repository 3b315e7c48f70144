"""Searches of one part at several prices of latency: what is proven at some holds at others.

The least energy + price * cycles over all mappings is a concave function of the price, whose slope
is the latency of the best mapping there. So between two prices that were searched it lies on or
above the straight line, and beyond the last one it grows at least as fast as the latency that
nothing goes below. A known mapping that reaches this bound is best without another search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from strategies.part_search import SAME, FormatChoices, FoundMappings

FRONT = "pareto"
"""Inner search for the whole energy-latency front."""

Search = Callable[[str, float, FormatChoices], FoundMappings]
"""(objective, price [pJ per cycle], formats offered) -> what an inner search finds."""


@dataclass(frozen=True)
class _Known:
    """A certified search: its price, and the energy (latency not priced) and cycles it found."""

    price: float
    energy: float
    cycles: float
    found: FoundMappings

    def cost(self, price: float) -> float:
        """Of the mapping at another price."""
        return self.energy + price * self.cycles


class PricedSearch:
    """Searches of one part, remembered by the formats offered.

    Args:
        search: The inner search.
        least_cycles: No mapping takes fewer.
    """

    def __init__(self, search: Search, least_cycles: float) -> None:
        self._search = search
        self._least_cycles = least_cycles
        self._known: dict[FormatChoices, list[_Known]] = {}

    def asked(self, objective: str, price: float) -> Callable[[FormatChoices], FoundMappings]:
        """What searches for an objective of the inner search; the price counts for energy."""
        if objective == "energy":
            return partial(self.at, price)
        return self.front if objective == FRONT else partial(self._search, objective, 0.0)

    def at(self, price: float, offered: FormatChoices) -> FoundMappings:
        """The mapping of least energy + price * cycles."""
        known = self._known.setdefault(offered, [])
        bound = self._bound(known, price) * (1.0 + SAME)
        for each in known:
            if each.cost(price) <= bound:
                return each.found
        found = self._search("energy", price, offered)
        if found.certified:
            cycles = float(found.latency_cycles[0])
            energy = float(found.energy_pj[0]) - price * cycles
            known.append(_Known(price, energy, cycles, found))
            known.sort(key=lambda each: each.price)
        return found

    def front(self, offered: FormatChoices) -> FoundMappings:
        """The energy-latency front; a mapping of least energy that nothing outruns is all of it."""
        fastest = self._least_cycles * (1.0 + SAME)
        for each in self._known.get(offered, ()):
            if each.price == 0.0 and each.cycles <= fastest:
                return each.found
        return self._search(FRONT, 0.0, offered)

    def _bound(self, known: list[_Known], price: float) -> float:
        """What no mapping costs less than at a price; -inf below the first one searched."""
        for low, high in pairwise(known):
            if low.price <= price <= high.price:
                prices, costs = (
                    (low.price, high.price),
                    (low.cost(low.price), high.cost(high.price)),
                )
                return float(np.interp(price, prices, costs))
        if not known or price < known[-1].price:
            return -np.inf
        last = known[-1]
        return last.cost(last.price) + (price - last.price) * self._least_cycles
