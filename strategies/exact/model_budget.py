"""The least energy of a model within a latency budget, certified.

Operators are joined one after another. A choice for the first ones is kept while the least energy
that the others could add within the latency left still beats the best complete choice known; that
least energy is read off the lower hull of the others' sums, which no choice lies below (the bound
that a Lagrangian price of latency gives). Few choices survive, so the result is exact almost
always; where more than a limit survive, the most promising go on and the rest are a stated gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strategies.exact.model_search import (
    Combination,
    FloatArray,
    Front,
    IntArray,
    merge_hulls,
    undominated,
)

SAME = 1e-12
"""Relative difference of costs that counts as none."""


def least_energy_within(fronts: Sequence[Front], cycles: float, limit: int = 20_000) -> Combination:
    """The choice of least energy whose latency is at most `cycles`; one row.

    Where even the fastest choice takes longer, it is returned: its latency says by how much. `gap`
    is the part of the energy that a choice left out may save; 0 unless more than `limit` partial
    choices survived.

    Raises:
        ValueError: If an operator has no alternative.

    >>> slow, fast = np.array([1.0, 3.0]), np.array([4.0, 1.0])
    >>> best = least_energy_within([Front(slow, fast), Front(slow, fast, count=2)], 9.0)
    >>> best.energy_pj.tolist(), best.latency_cycles.tolist()
    ([5.0], [9.0])
    """
    budget = cycles * (1.0 + SAME)
    rest = [merge_hulls(fronts[part:]) for part in range(len(fronts))]
    if rest[0].latency_cycles[0] > budget:
        return rest[0].row(0)
    best = rest[0].row(int(np.flatnonzero(rest[0].latency_cycles <= budget)[-1]))
    kept = _Partial(np.zeros(1), np.zeros(1), np.zeros((1, 0), dtype=np.int64))
    floor = np.inf
    for part, front in enumerate(fronts):
        kept = kept.joined(front)
        others = rest[part + 1] if part + 1 < len(fronts) else _NOTHING
        best = _better(best, kept, others, budget)
        bound = kept.energy + _least_energy(others, budget - kept.cycles)
        open_ = np.flatnonzero(bound < best.energy_pj[0] * (1.0 - SAME))
        open_ = open_[np.argsort(bound[open_], kind="stable")]
        floor = min(floor, bound[open_[limit:]].min(initial=np.inf))
        kept = kept.take(open_[:limit])
        if not len(kept.energy):
            break
    gap = max(0.0, 1.0 - floor / float(best.energy_pj[0]))
    return Combination(best.energy_pj, best.latency_cycles, best.choices, gap)


@dataclass(frozen=True)
class _Partial:
    """Choices for the first operators: totals, shape (n,), and indices, shape (n, operators)."""

    energy: FloatArray
    cycles: FloatArray
    choices: IntArray

    def joined(self, front: Front) -> _Partial:
        """Every choice with every alternative of the next operator, dominated ones dropped."""
        wide = (self.energy[:, None] + front.count * front.energy_pj).ravel()
        long = (self.cycles[:, None] + front.count * front.latency_cycles).ravel()
        rows = undominated(wide, long)
        before, here = np.divmod(rows, len(front.energy_pj))
        choices = np.concatenate([self.choices[before], here[:, None]], axis=1)
        return _Partial(wide[rows], long[rows], choices)

    def take(self, rows: IntArray) -> _Partial:
        return _Partial(self.energy[rows], self.cycles[rows], self.choices[rows])


_NOTHING = Combination(np.zeros(1), np.zeros(1), np.zeros((1, 0), dtype=np.int64))
"""What is left to choose after the last operator."""


def _least_energy(others: Combination, left: FloatArray) -> FloatArray:
    """Energy that the other operators take at least within the latency left; inf where it cannot
    be met.
    """
    least = np.interp(left, others.latency_cycles, others.energy_pj)
    return np.where(left < others.latency_cycles[0], np.inf, least)


def _better(best: Combination, kept: _Partial, others: Combination, budget: float) -> Combination:
    """The best known choice, or a partial one completed by the hull's vertex within the budget."""
    vertex = np.searchsorted(others.latency_cycles, budget - kept.cycles, side="right") - 1
    energy = np.where(vertex < 0, np.inf, kept.energy + others.energy_pj[vertex])
    row = int(energy.argmin())
    if energy[row] >= best.energy_pj[0]:
        return best
    after = vertex[row]
    return Combination(
        energy[[row]],
        kept.cycles[[row]] + others.latency_cycles[[after]],
        np.concatenate([kept.choices[row], others.choices[after]])[None],
    )
