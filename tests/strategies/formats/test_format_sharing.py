"""Shared formats against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from strategies.formats.format_sharing import relative_costs, share_formats


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_choice_of_k_formats_is_optimal(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.uniform(1.0, 3.0, (int(rng.integers(2, 6)), 7)) * rng.uniform(1, 100)
    weights = rng.uniform(0.0, 1.0, len(costs))
    shared = share_formats(costs, weights, k)
    relative = relative_costs(costs)
    best = min(
        float(weights @ relative[:, list(chosen)].min(axis=1))
        for chosen in combinations(range(7), k)
    )
    assert shared.score * weights.sum() == pytest.approx(best, rel=1e-9)
    assert len(shared.chosen) <= k
    assert (shared.regret >= 0).all()


def test_importance_moves_the_choice() -> None:
    costs = np.array([[1.0, 1.5], [4.0, 2.0]])
    assert share_formats(costs, [10, 1]).chosen == (0,)
    assert share_formats(costs, [1, 10]).chosen == (1,)


def test_enough_formats_leave_no_regret() -> None:
    shared = share_formats(np.array([[1.0, 1.5], [4.0, 2.0]]), [1, 1], k=2)
    assert shared.regret.tolist() == [0, 0]
    assert shared.score == 1.0
    rows = shared.rows(["a", "b"], ["csr", "bitmap"])
    assert [row["format"] for row in rows] == ["csr", "bitmap"]


@pytest.mark.parametrize(
    ("costs", "importance", "k", "message"),
    [
        ([[1.0, 0.0]], [1], 1, "costs must be positive and finite"),
        ([[1.0, 2.0]], [1, 2], 1, "importance must be 1 non-negative numbers"),
        ([[1.0, 2.0]], [0], 1, "not all 0"),
        ([[1.0, 2.0]], [1], 0, "k must be >= 1, got 0"),
    ],
)
def test_errors_name_the_rule(
    costs: list[list[float]], importance: list[float], k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        share_formats(np.array(costs), importance, k)
