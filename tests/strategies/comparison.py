"""What differs between a result of the exact search and the costs of every mapping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from strategies.exact.search_result import SearchResult, objective_values
from tests.strategies.small_problems import SmallProblem

TOLERANCE = 1e-9

Costs = tuple[NDArray[np.float64], NDArray[np.float64]]


def differences(problem: SmallProblem, found: SearchResult, costs: Costs) -> list[str]:
    """In words what is wrong with a result; empty = it equals the enumeration."""
    energy, cycles = costs
    if not len(energy):
        return [] if found.mapping is None and found.reason else ["a mapping where none is valid"]
    if not len(found.mappings):
        return [f"no mapping: {found.reason}"]
    faults = [] if found.certified else [f"not certified, gap {found.gap:.3g}"]
    priced = problem.accelerator.evaluate(found.mappings)
    if max(float(v.max()) for v in priced.violations.values()) > TOLERANCE:
        faults.append("its mapping is not valid")
    for name, value in (("energy_pj", found.energy_pj), ("latency_cycles", found.latency_cycles)):
        if not np.allclose(priced.metrics[name], value, rtol=TOLERANCE):
            faults.append(f"{name} {value[0]!r} is priced {priced.metrics[name][0]!r}")
    best = float(objective_values(found.objective, energy, cycles).min())
    if abs(float(found.values.min()) / best - 1.0) > TOLERANCE:
        faults.append(f"value {found.values.min()!r}, best of all mappings {best!r}")
    if found.objective == "pareto":
        expected = front(energy, cycles)
        have = list(zip(found.latency_cycles, found.energy_pj, strict=True))
        if len(have) != len(expected) or not np.allclose(have, expected, rtol=TOLERANCE):
            faults.append(f"a front of {len(have)} points, of all mappings {len(expected)}")
    return faults


def front(energy: NDArray[np.float64], cycles: NDArray[np.float64]) -> list[tuple[float, float]]:
    """(latency, energy) of the Pareto-optimal mappings by increasing latency."""
    points: list[tuple[float, float]] = []
    order = np.lexsort((energy, cycles))
    for i in order:
        if not points or energy[i] < points[-1][1] * (1.0 - TOLERANCE):
            points.append((float(cycles[i]), float(energy[i])))
    return points
