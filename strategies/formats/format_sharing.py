"""One format, or k formats, for several tensors, layers or models.

Members price every candidate; a shared choice is scored by what it costs each member relative to
that member's own best, weighted by the member's importance (its traffic, its energy, or given):

    score(f) = sum_m w_m * E_m(f) / E_m(best of m)          after importance-based scoring, SnipSnap

k formats are chosen so that sum_m w_m * min over the chosen of E_m(f) / E_m(best of m) is least: a
k-median problem, solved to proven optimality as an integer program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.pareto import non_dominated

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SharedFormats:
    """The formats that members share.

    Attributes:
        chosen: Indices of the candidates, ascending; length k or less.
        used: Index of the candidate that each member uses, shape (members,).
        regret: What each member pays over its own best candidate (0.02 = 2 % more), same shape.
        score: Weighted mean of 1 + regret.
    """

    chosen: tuple[int, ...]
    used: NDArray[np.intp]
    regret: FloatArray
    score: float

    def rows(
        self, members: Sequence[str], candidates: Sequence[str]
    ) -> list[dict[str, str | float]]:
        """One record per member: the format it uses and its regret."""
        return [
            {"member": name, "format": candidates[int(place)], "regret": float(regret)}
            for name, place, regret in zip(members, self.used, self.regret, strict=True)
        ]


def relative_costs(costs: FloatArray) -> FloatArray:
    """Costs (members, candidates) over each member's least one.

    Raises:
        ValueError: If a cost is not positive and finite.
    """
    costs = np.atleast_2d(np.asarray(costs, dtype=np.float64))
    if costs.size == 0 or not np.isfinite(costs).all() or (costs <= 0).any():
        raise ValueError("shared formats: costs must be positive and finite, one per candidate")
    return np.asarray(costs / costs.min(axis=1, keepdims=True))


def importance_weights(importance: Sequence[float], members: int) -> FloatArray:
    """Weights that sum to 1 from traffic, energy or user priorities.

    Raises:
        ValueError: If there is not one non-negative number per member, or all are zero.
    """
    weights = np.asarray(importance, dtype=np.float64)
    if weights.shape != (members,) or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(
            f"shared formats: importance must be {members} non-negative numbers, not all 0, "
            f"got {list(importance)}"
        )
    return np.asarray(weights / weights.sum())


def share_formats(costs: FloatArray, importance: Sequence[float], k: int = 1) -> SharedFormats:
    """Choose at most k candidates so that the weighted relative cost is least; optimal.

    Args:
        costs: Of every candidate for every member, shape (members, candidates).
        importance: Of each member, any positive scale.
        k: How many formats the accelerator supports.

    Raises:
        ValueError: If k is below 1, a cost is not positive, or the importance does not fit.

    >>> shared = share_formats(np.array([[1.0, 2.0, 1.2], [4.0, 2.0, 2.2]]), [1, 1])
    >>> shared.chosen, shared.regret.round(3).tolist()
    ((2,), [0.2, 0.1])
    """
    relative = relative_costs(costs)
    weights = importance_weights(importance, len(relative))
    if k < 1:
        raise ValueError(f"shared formats: k must be >= 1, got {k}")
    columns = _useful(relative)
    if k == 1:
        picked = columns[[int(np.argmin(weights @ relative[:, columns]))]]
    elif k >= len(relative):
        picked = np.unique(relative.argmin(axis=1))
    else:
        picked = columns[_k_median(weights[:, None] * relative[:, columns], k)]
    used = picked[relative[:, picked].argmin(axis=1)]
    regret = relative[np.arange(len(relative)), used] - 1.0
    chosen = tuple(int(place) for place in np.unique(used))
    return SharedFormats(chosen, used, regret, float(weights @ (1.0 + regret)))


def _useful(relative: FloatArray) -> NDArray[np.intp]:
    """Candidates that no other one beats for every member."""
    return non_dominated(relative.T)


def _k_median(costs: FloatArray, k: int) -> NDArray[np.intp]:
    """Columns of weighted costs (members, candidates) that an optimal choice of k opens.

    Variables: open_f in {0, 1}, use_mf in [0, 1]; sum_f use_mf = 1, use_mf <= open_f,
    sum_f open_f <= k. With open_f integral an optimal use_mf is, too.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, hstack, kron

    members, candidates = costs.shape
    uses = members * candidates
    each = kron(eye_array(members), np.ones((1, candidates)))
    assign: Any = hstack([csr_array((members, candidates)), each])
    spread = kron(np.ones((members, 1)), eye_array(candidates))
    linked: Any = hstack([-spread, eye_array(uses)])
    counted = np.concatenate([np.ones(candidates), np.zeros(uses)])[None, :]
    found = milp(
        np.concatenate([np.zeros(candidates), costs.ravel()]),
        integrality=np.concatenate([np.ones(candidates), np.zeros(uses)]),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(assign, 1, 1),
            LinearConstraint(linked, -np.inf, 0),
            LinearConstraint(counted, 0, k),
        ],
    )
    if found.x is None:
        raise ValueError(f"shared formats: no choice of {k} formats was found: {found.message}")
    return np.flatnonzero(found.x[:candidates] > 0.5)
