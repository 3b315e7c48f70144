"""The differentiable relaxation: exact gradients, whole factors, and no better than the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import matmul
from strategies.exact.exact_search import exact_search
from strategies.relaxation import Schedule, gradient, relaxation_search, relaxed_cost, rounded
from tests.strategies.test_progressive_sampler import HARDWARE


@pytest.fixture
def accelerator() -> SparseAccelerator:
    return SparseAccelerator(matmul("small", {"M": 12, "K": 16, "N": 8}), HARDWARE)


@pytest.mark.parametrize("objective", ["energy", "latency", "edp"])
def test_gradient_equals_differences(accelerator: SparseAccelerator, objective: str) -> None:
    terms = accelerator.cost_terms()
    x = np.random.default_rng(1).normal(size=(3, 6))
    slope = gradient(terms, x, objective, 1.0)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        costs = relaxed_cost(terms, np.stack([up, down]).astype(complex), objective, 1.0).real
        assert slope[place] == pytest.approx((costs[0] - costs[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_rounding_keeps_the_sizes() -> None:
    sizes = np.array([12, 35, 64])
    trips = rounded(sizes, np.random.default_rng(0).normal(size=(3, 6)))
    assert (trips.prod(axis=1) == sizes).all()


def test_it_finds_a_valid_mapping_near_the_optimum(accelerator: SparseAccelerator) -> None:
    terms = accelerator.cost_terms()

    def price(batch: MappingBatch) -> np.ndarray:
        found = accelerator.evaluate(batch)
        return np.where(found.feasible, found.metrics["edp_pj_cycles"], np.inf)

    found = relaxation_search(terms, price, schedule=Schedule(starts=3, steps=60))
    best = exact_search(terms, "edp").lower_bound
    assert found.mapping is not None
    assert best * (1 - 1e-9) <= found.value <= 2.0 * best
    assert found.evaluations > 0
