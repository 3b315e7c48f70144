"""Combine the energy-latency fronts of a model's operators: hulls and fronts of the sums.

Given the shared decisions, operators separate but for the objective: energies add, latencies add.
Each operator contributes its front. Two exact combinations (a budget's is in `model_budget`):

* the lower hull: every vertex of the hull of the sums is the sum of vertices of the operators'
  hulls for one common price of latency. Merging hull edges by slope lists them all. The least
  product of the sums is at one of them, because `x * y` is quasi-concave on positive numbers.
* the front: Minkowski sum of the fronts, dominated sums dropped. Where it grows beyond a limit,
  points closer than a tolerance are merged, and the tolerance is reported as the gap.

Assumption: operators run one after another and share nothing (no fusion, no overlap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Front:
    """Alternatives of one operator.

    Attributes:
        energy_pj, latency_cycles: Of one run, shape (n,).
        count: Runs in the model.
    """

    energy_pj: FloatArray
    latency_cycles: FloatArray
    count: int = 1


@dataclass(frozen=True)
class Combination:
    """Choices for all operators.

    Attributes:
        energy_pj, latency_cycles: Totals, shape (n,), by increasing latency.
        choices: Index into every operator's front, shape (n, operators).
        gap: Largest relative amount by which a missing combination may be better; 0 = exact.
    """

    energy_pj: FloatArray
    latency_cycles: FloatArray
    choices: IntArray
    gap: float = 0.0

    def row(self, index: int) -> Combination:
        """One choice alone."""
        return Combination(
            self.energy_pj[[index]], self.latency_cycles[[index]], self.choices[[index]], self.gap
        )


def undominated(energy: FloatArray, cycles: FloatArray) -> IntArray:
    """Indices of the Pareto-optimal points by increasing cycles and decreasing energy.

    >>> undominated(np.array([3.0, 2.0, 2.5]), np.array([1.0, 2.0, 3.0])).tolist()
    [0, 1]
    """
    order = np.lexsort((energy, cycles))
    least = np.minimum.accumulate(energy[order])
    new = np.concatenate([[True], energy[order][1:] < least[:-1]])
    return np.asarray(order[new], dtype=np.int64)


def lower_hull(energy: FloatArray, cycles: FloatArray) -> IntArray:
    """Indices of the vertices of the lower-left convex hull, by increasing cycles.

    >>> lower_hull(np.array([10.0, 8.0, 1.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [0, 2]
    """
    hull: list[int] = []
    for i in undominated(energy, cycles):
        while len(hull) > 1 and _above(energy, cycles, hull[-2], hull[-1], int(i)):
            hull.pop()
        hull.append(int(i))
    return np.array(hull, dtype=np.int64)


def _above(energy: FloatArray, cycles: FloatArray, a: int, b: int, c: int) -> bool:
    """True when b lies on or above the line from a to c."""
    left = (energy[b] - energy[a]) * (cycles[c] - cycles[a])
    return bool(left >= (energy[c] - energy[a]) * (cycles[b] - cycles[a]))


def merge_hulls(fronts: Sequence[Front]) -> Combination:
    """All vertices of the lower hull of the sums, the fastest first; one has the least product.

    Raises:
        ValueError: If an operator has no alternative.
    """
    _check(fronts)
    hulls = [lower_hull(f.energy_pj, f.latency_cycles) for f in fronts]
    choice = np.array([hull[0] for hull in hulls], dtype=np.int64)
    edges: list[tuple[float, int, int]] = []
    for part, (front, hull) in enumerate(zip(fronts, hulls, strict=True)):
        energy, cycles = front.energy_pj[hull], front.latency_cycles[hull]
        slope = np.diff(energy) / np.diff(cycles)
        edges += [(float(s), part, int(after)) for s, after in zip(slope, hull[1:], strict=True)]
    rows = [choice.copy()]
    for _, part, after in sorted(edges):
        choice[part] = after
        rows.append(choice.copy())
    return _totals(fronts, np.stack(rows))


def _check(fronts: Sequence[Front]) -> None:
    for part, front in enumerate(fronts):
        if not len(front.energy_pj):
            raise ValueError(f"operator {part} has no valid mapping to combine")


def _totals(fronts: Sequence[Front], choices: IntArray) -> Combination:
    energy, cycles = np.zeros(len(choices)), np.zeros(len(choices))
    for part, front in enumerate(fronts):
        energy += front.count * front.energy_pj[choices[:, part]]
        cycles += front.count * front.latency_cycles[choices[:, part]]
    return Combination(energy, cycles, choices)


def merge_fronts(fronts: Sequence[Front], limit: int = 20_000) -> Combination:
    """The front of the sums: exact, or within the reported gap once it exceeds `limit` points."""
    _check(fronts)
    energy, cycles = np.zeros(1), np.zeros(1)
    choices = np.zeros((1, 0), dtype=np.int64)
    gap = 0.0
    for front in fronts:
        keep = undominated(front.energy_pj, front.latency_cycles)
        wide = (energy[:, None] + front.count * front.energy_pj[keep]).ravel()
        long = (cycles[:, None] + front.count * front.latency_cycles[keep]).ravel()
        rows = undominated(wide, long)
        before, here = np.divmod(rows, len(keep))
        energy, cycles = wide[rows], long[rows]
        choices = np.concatenate([choices[before], keep[here][:, None]], axis=1)
        if len(rows) > limit:
            energy, cycles, choices, lost = _thinned((energy, cycles, choices), limit)
            gap = (1.0 + gap) * (1.0 + lost) - 1.0
    return Combination(energy, cycles, choices, gap)


def _thinned(
    points: tuple[FloatArray, FloatArray, IntArray], limit: int
) -> tuple[FloatArray, FloatArray, IntArray, float]:
    """About `limit` of the points: the lowest energy of each slice of latency."""
    energy, cycles, choices = points
    low, high = float(cycles[0]), float(cycles[-1])
    step = (high / low) ** (1.0 / limit)
    slot = np.floor(np.log(cycles / low) / np.log(step)).astype(np.int64)
    last = np.append(np.flatnonzero(np.diff(slot)), len(slot) - 1)
    return energy[last], cycles[last], choices[last], step - 1.0
