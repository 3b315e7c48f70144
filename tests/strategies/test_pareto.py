from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strategies.pareto import (
    hypervolume,
    hypervolume_history,
    knee,
    non_dominated,
    worst_reference,
)

POINTS = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=40).map(
    lambda rows: np.array(rows, dtype=float)
)


@given(POINTS)
def test_non_dominated_is_the_plain_double_loop(points: np.ndarray) -> None:
    def dominates(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a <= b).all() and (a < b).any())

    expected = [
        i
        for i, p in enumerate(points)
        if not any(dominates(q, p) for q in points) and not any((q == p).all() for q in points[:i])
    ]
    assert non_dominated(points).tolist() == expected


def test_infinite_points_never_belong() -> None:
    points = np.array([[np.inf, 0.0], [np.nan, 0.0], [1.0, 1.0]])
    assert non_dominated(points).tolist() == [2]
    assert non_dominated(points[:2]).tolist() == []
    assert non_dominated(np.array([[np.inf], [3.0], [2.0]])).tolist() == [2]


@given(POINTS)
def test_hypervolume_counts_the_dominated_unit_cubes(points: np.ndarray) -> None:
    """On an integer grid the hypervolume is the number of dominated unit cubes."""
    reference = np.full(3, 7.0)
    corners = np.indices((7, 7, 7)).reshape(3, -1).T
    dominated = (points[:, None, :] <= corners[None]).all(axis=2).any(axis=0).sum()
    assert np.isclose(hypervolume(points, reference), dominated)


def test_hypervolume_history_grows_to_the_whole() -> None:
    points = np.random.default_rng(0).random((60, 2))
    steps = np.array([1, 10, 30, 60])
    history = hypervolume_history(points, np.ones(2), steps)
    assert (np.diff(history) >= 0).all()
    assert np.isclose(history[0], hypervolume(points[:1], np.ones(2)))
    assert np.isclose(history[-1], hypervolume(points, np.ones(2)))


def test_reference_lies_beyond_the_front() -> None:
    front = np.array([[1.0, 9.0], [5.0, 5.0]])
    assert np.allclose(worst_reference(front), [5.4, 9.4])
    assert (worst_reference(front[:1]) > front[0]).all()
    assert knee(front[:1]) == 0
