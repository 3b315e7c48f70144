"""The exact search against literal enumeration of every mapping."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from strategies.exact.exact_search import SearchResult, exact_search
from tests.strategies.mapping_oracle import all_costs
from tests.strategies.small_problems import small_problem


def assert_equals_enumeration(seed: int, sparse: bool) -> None:
    accelerator = small_problem(seed, sparse)
    energy, cycles = all_costs(accelerator)
    terms = accelerator.cost_terms()
    for objective in ("energy", "latency", "edp"):
        found = exact_search(terms, objective, "uneven_runs")
        if not len(energy):
            assert found.mapping is None
            assert found.reason
            continue
        best = {"energy": energy, "latency": cycles, "edp": energy * cycles}[objective].min()
        assert found.lower_bound <= best * (1 + 1e-9)
        if found.certified:
            assert found.values.min() == pytest.approx(best, rel=1e-9)
        assert_priced_alike(accelerator, found)


def assert_priced_alike(accelerator: SparseAccelerator, found: SearchResult) -> None:
    priced = accelerator.evaluate(found.mappings)
    assert max(float(v.max()) for v in priced.violations.values()) <= 1e-9
    assert priced.metrics["energy_pj"] == pytest.approx(found.energy_pj, rel=1e-9)
    assert priced.metrics["latency_cycles"] == pytest.approx(found.latency_cycles, rel=1e-9)


def pareto(energy: np.ndarray, cycles: np.ndarray) -> list[tuple[float, float]]:
    front: list[tuple[float, float]] = []
    for i in np.lexsort((energy, cycles)):
        if not front or energy[i] < front[-1][1] * (1 - 1e-9):
            front.append((float(cycles[i]), float(energy[i])))
    return front


@pytest.mark.parametrize("seed", range(24))
def test_dense_optimum_equals_enumeration(seed: int) -> None:
    assert_equals_enumeration(seed, sparse=False)


@pytest.mark.parametrize("seed", range(12))
def test_sparse_optimum_equals_enumeration(seed: int) -> None:
    assert_equals_enumeration(1000 + seed, sparse=True)


@pytest.mark.parametrize("seed", range(40, 52))
def test_front_equals_enumeration(seed: int) -> None:
    accelerator = small_problem(seed)
    energy, cycles = all_costs(accelerator)
    found = exact_search(accelerator.cost_terms(), "pareto", "uneven_runs")
    expected = pareto(energy, cycles)
    assert len(found.mappings) == len(expected)
    for have, want in zip(
        zip(found.latency_cycles, found.energy_pj, strict=True), expected, strict=True
    ):
        assert have == pytest.approx(want, rel=1e-9)
