"""Non-dominated sets, hypervolume and knee points of arrays of losses (smaller is better)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import FloatArray


def non_dominated(losses: FloatArray) -> NDArray[np.intp]:
    """Indices of the points that no other point dominates, ascending; shape (n, m) -> (k,).

    A point dominates another when it is nowhere larger and somewhere smaller. Of equal points the
    first is kept. Rows with nan or +inf never belong. Points are visited in lexicographic order,
    so a point can be dominated only by one already kept: n x k comparisons.

    >>> non_dominated(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [4.0, 1.0]])).tolist()
    [0, 1, 3]
    """
    usable = np.flatnonzero(np.isfinite(losses).all(axis=1))
    points = losses[usable]
    if points.shape[1] == 1:
        return usable[np.argmin(points[:, 0])][None] if len(points) else usable
    order = np.lexsort((usable, *points.T[::-1]))
    kept = np.empty_like(points)
    indices: list[int] = []
    for position in order:
        point = points[position]
        if not (kept[: len(indices)] <= point).all(axis=1).any():
            kept[len(indices)] = point
            indices.append(int(position))
    return np.sort(usable[indices]) if indices else usable[:0]


def hypervolume(losses: FloatArray, reference: FloatArray) -> float:
    """Volume dominated by the points and bounded by the reference point, by pymoo's indicator.

    Points beyond the reference add nothing; shape (n, m) and (m,).

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    from pymoo.indicators.hv import HV

    inside = losses[np.isfinite(losses).all(axis=1) & (losses < reference).all(axis=1)]
    return float(HV(ref_point=reference)(inside)) if len(inside) else 0.0


def worst_reference(front: FloatArray, margin: float = 0.1) -> FloatArray:
    """A reference point a little beyond the worst of a front, shape (k, m) -> (m,).

    The margin is a share of the front's range, so that the extreme points count too.
    """
    low, high = front.min(axis=0), front.max(axis=0)
    spread = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    return np.asarray(high + margin * spread)


def hypervolume_history(
    losses: FloatArray, reference: FloatArray, steps: NDArray[np.intp]
) -> FloatArray:
    """Hypervolume of the first s points for every s of `steps`, shape (len(steps),)."""
    front = losses[:0]
    values = np.zeros(len(steps))
    previous = 0
    for index, step in enumerate(steps):
        merged = np.concatenate([front, losses[previous:step]])
        front = merged[non_dominated(merged)]
        values[index] = hypervolume(front, reference)
        previous = int(step)
    return values


def knee(front: FloatArray) -> int:
    """Index of the knee: the point farthest below the plane through the extremes' ranges.

    Objectives are scaled to 0..1 over the front; the knee has the smallest sum of them, that is
    the largest distance from the hyperplane through the worst corners. Shape (k, m), k >= 1.

    >>> knee(np.array([[0.0, 10.0], [2.0, 2.0], [10.0, 0.0]]))
    1
    """
    low, high = front.min(axis=0), front.max(axis=0)
    scaled = (front - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(scaled.sum(axis=1)))


def thinned(numbers: NDArray[np.intp], room: int) -> NDArray[np.intp]:
    """At most `room` of the numbers, evenly spread.

    >>> thinned(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    if len(numbers) <= room:
        return numbers
    positions = np.linspace(0, len(numbers) - 1, max(room, 0)).round().astype(np.intp)
    return np.asarray(numbers[np.unique(positions)])
