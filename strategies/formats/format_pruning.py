"""Compiled dominance filter: which partial designs can still be part of one of the k best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled


def undominated(
    features: NDArray[np.float64], groups: NDArray[np.int64], spare: int
) -> NDArray[np.intp]:
    """Rows that fewer than `spare` other rows of their group dominate.

    A row dominates another when every feature is at most the other's; of equal rows the first ones
    count as dominating.

    Args:
        features: Lower is better, shape (n, q).
        groups: Rows are compared within a group only, shape (n,).
        spare: How many of the best completions must survive, >= 1.

    >>> rows = np.array([[1.0, 5.0], [2.0, 2.0], [2.0, 6.0], [1.0, 5.0]])
    >>> undominated(rows, np.zeros(4, dtype=np.int64), 1).tolist()
    [0, 1]
    """
    keys = [*features.T[::-1], groups]
    order = np.lexsort(keys)
    kept = _filter(np.ascontiguousarray(features[order]), groups[order], spare)
    return np.sort(order[kept])


@compiled
def _filter(
    features: NDArray[np.float64], groups: NDArray[np.int64], spare: int
) -> NDArray[np.bool_]:
    n, q = features.shape
    kept = np.zeros(n, dtype=np.bool_)
    alive = np.empty(n, dtype=np.int64)
    count = 0
    for row in range(n):
        if row == 0 or groups[row] != groups[row - 1]:
            count = 0
        dominators = 0
        for place in range(count):
            other = alive[place]
            below = True
            for feature in range(q):
                if features[other, feature] > features[row, feature]:
                    below = False
                    break
            if below:
                dominators += 1
                if dominators >= spare:
                    break
        if dominators < spare:
            kept[row] = True
            alive[count] = row
            count += 1
    return kept
