"""The recorded points of the fidelity proxy, and some of them measured again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from evaluators.codesign.fidelity_proxy import known_points, proxy_note, rank_correlation
from spaces.codesign.placement import Placement
from spaces.sparsity.nm_sparsity import NMPattern


def test_the_recorded_correlations_are_those_of_the_points() -> None:
    known = known_points()
    for proxy, metrics in known["correlations"].items():
        for metric, value in metrics.items():
            assert rank_correlation(known["points"], proxy, metric) == pytest.approx(value)
    assert len(known["points"]) >= 20
    assert "synthetic" in proxy_note("synthetic: x")


def test_the_proxy_orders_the_uniform_assignments_as_measured() -> None:
    points = {p["assignment"]: p for p in known_points()["points"]}
    order = ["all spatial dense", "all spatial 4:8", "all spatial 2:8", "all spatial 1:8"]
    for better, worse in pairwise(order):
        assert points[better]["proxy"] < points[worse]["proxy"]
        assert points[better]["embedding_similarity"] > points[worse]["embedding_similarity"]


@pytest.mark.llm
def test_recorded_points_are_measured_again() -> None:
    from benchmarks.codesign_proxy import measurement

    measured = measurement()
    recorded = {p["assignment"]: p for p in known_points()["points"]}
    for form in (Placement("spatial", NMPattern(2, 4)), Placement("analog", mapping="linear")):
        name = f"all {form}"
        point = measured.point(name, dict.fromkeys(measured.layers, form))
        for key, value in recorded[name].items():
            if key != "assignment":
                assert point[key] == pytest.approx(value, abs=2e-3), (name, key)
