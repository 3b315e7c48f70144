"""Outlier counts and their clustering against brute force and simulation."""

from itertools import combinations

import numpy as np
import pytest

from evaluators.accuracy.outliers import (
    RELEASED_OUTLIERS,
    ReleasedOutliers,
    mean_pair_distance,
    saliency,
    window_counts,
)


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.5])
def test_random_outliers_have_dispersion_one(density: float) -> None:
    rng = np.random.default_rng(0)
    outliers = rng.random((2000, 512)) < density
    assert window_counts(outliers).dispersion() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5])
def test_full_windows_have_dispersion_eight_at_any_density(density: float) -> None:
    rng = np.random.default_rng(0)
    outliers = np.repeat(rng.random((2000, 64)) < density, 8, axis=1)
    assert window_counts(outliers).dispersion() == pytest.approx(8.0, rel=0.02)


def test_evenly_spread_outliers_are_below_one() -> None:
    outliers = np.zeros((4, 64), dtype=bool)
    outliers[:, ::8] = True
    assert window_counts(outliers).dispersion() == 0.0


def test_no_outliers_and_only_outliers_count_as_random() -> None:
    for value in (False, True):
        assert window_counts(np.full((2, 16), value)).dispersion() == 1.0


def test_mean_pair_distance_equals_all_pairs() -> None:
    positions = np.sort(np.random.default_rng(0).choice(1000, 40, replace=False))
    pairs = [abs(int(a) - int(b)) for a, b in combinations(positions, 2)]
    assert mean_pair_distance(positions) == pytest.approx(np.mean(pairs))


def test_released_counter_adds_matrices_and_stops_at_ten_thousand() -> None:
    scores = np.ones((200, 100), dtype=np.float32)
    counter = ReleasedOutliers(threshold=0.5)
    counter.add(np.zeros((1, 50), dtype=np.float32))
    counter.add(scores)
    assert counter.presence == pytest.approx(100 * 20000 / 20050)
    first = np.arange(50, 50 + RELEASED_OUTLIERS)
    assert counter.distribution == pytest.approx(1 / mean_pair_distance(first))


def test_released_distribution_follows_the_density_of_random_outliers() -> None:
    """The defect: for random outliers it is 3 x density / number looked at."""
    rng = np.random.default_rng(0)
    values = []
    for density in (0.01, 0.02):
        counter = ReleasedOutliers(threshold=0.5)
        counter.add((rng.random((2000, 1000)) < density).astype(np.float32))
        values.append(counter.distribution)
        assert counter.distribution == pytest.approx(3 * density / RELEASED_OUTLIERS, rel=0.03)
    assert values[1] == pytest.approx(2 * values[0], rel=0.05)


def test_saliency_by_hand() -> None:
    weights = np.array([[1.0, -2.0], [0.0, 3.0]], dtype=np.float32)
    norms = np.array([2.0, 0.5], dtype=np.float32)
    assert saliency(weights, norms).tolist() == [[2.0, 1.0], [0.0, 1.5]]
