"""What an exact search found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spaces.mappings.loop_nest import MappingBatch
from strategies.exact.archive import EDP, ENERGY, LATENCY, PARETO
from strategies.exact.grid import FloatArray
from strategies.exact.stages import Stage

OBJECTIVES = {"energy": ENERGY, "latency": LATENCY, "edp": EDP, "pareto": PARETO}


@dataclass(frozen=True)
class SearchResult:
    """What an exact search found.

    Attributes:
        mappings: The best mapping, or the energy-latency front by increasing latency; no designs
            when nothing fits.
        energy_pj, latency_cycles: Their costs, shape (n,).
        objective: energy, latency, edp or pareto.
        lower_bound: No mapping of the space has a smaller objective (of a front: energy x latency).
            Under implicit stationarity the space of "uneven" counts no runs of outer loops, which
            the evaluator does count; "uneven_runs" has them (docs/exact_search.md).
        certified: The lower bound is the value found; a front is complete.
        reason: What excludes every mapping, or why none was found; empty when there is one.
        visited, pruned: Joins of inner and outer placements looked at, and dropped by bound.
        seconds: Wall time.
        stages: What was enumerated and what cut it, stage by stage.
        padding: Sizes that the ranks were padded to, by rank; the operator's own size comes first.
    """

    mappings: MappingBatch
    energy_pj: FloatArray
    latency_cycles: FloatArray
    objective: str
    lower_bound: float
    certified: bool
    reason: str
    visited: int
    pruned: int
    seconds: float
    stages: tuple[Stage, ...] = ()
    padding: tuple[tuple[int, ...], ...] = ()

    @property
    def values(self) -> FloatArray:
        """The objective of every mapping found, shape (n,)."""
        return objective_values(self.objective, self.energy_pj, self.latency_cycles)

    @property
    def mapping(self) -> MappingBatch | None:
        """The best mapping as a batch of one; None when nothing fits."""
        if not len(self.mappings):
            return None
        return self.mappings.take(np.array([int(self.values.argmin())]))

    @property
    def gap(self) -> float:
        """(value - lower bound) / value of the best mapping; 0 = certified optimum.

        Without a mapping: 0 when none exists, 1 when none was found in time.
        """
        if not len(self.mappings):
            return 0.0 if np.isinf(self.lower_bound) else 1.0
        return max(0.0, 1.0 - self.lower_bound / float(self.values.min()))


def objective_values(objective: str, energy_pj: FloatArray, cycles: FloatArray) -> FloatArray:
    """Energy, latency, or their product for `edp` and `pareto`."""
    if objective == "energy":
        return energy_pj
    return cycles if objective == "latency" else energy_pj * cycles
