"""The entropy and compulsory bounds against counting and against real mappings."""

from itertools import combinations
from math import comb, log2

import numpy as np
import pytest

from evaluators.accelerator.bounds import compulsory_bound, position_bits_per_element
from evaluators.accelerator.intersection import build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.sparsity.density import density_model
from spaces.hardware import Hardware, Level
from spaces.mappings.mapping_space import MappingSpace
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import matmul

HARDWARE = Hardware(
    "small",
    (
        Level("DRAM", kind="dram", read_bits_per_cycle=64, shared_port=True),
        Level("GLB", capacity_bits=1 << 16, fan_out={"X": 4}),
        Level("RF", kind="register_file", capacity_bits=1 << 10, access_bits=16),
    ),
)
OPERATOR = matmul("product", {"M": 4, "K": 16, "N": 8})


def bits(spec: DensitySpec) -> float:
    return position_bits_per_element(spec, density_model(spec, ("K", "N"), (16, 8)))


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (4, 8), (3, 8)])
def test_nm_positions_are_the_logarithm_of_the_patterns(n: int, m: int) -> None:
    patterns = sum(1 for _ in combinations(range(m), n))
    spec = DensitySpec("n_m", n / m, {"n": n, "m": m, "dimension": "K"})
    assert bits(spec) == pytest.approx(log2(patterns) / m)


def test_random_positions_are_the_logarithm_of_the_binomial() -> None:
    assert bits(DensitySpec("hypergeometric", 0.25)) == pytest.approx(log2(comb(128, 32)) / 128)
    large = density_model(DensitySpec("hypergeometric", 0.3), ("K", "N"), (40_000, 25_000))
    entropy = -0.3 * log2(0.3) - 0.7 * log2(0.7)
    assert position_bits_per_element(DensitySpec("hypergeometric", 0.3), large) == pytest.approx(
        entropy, rel=1e-6
    )


def test_structure_needs_fewer_bits_than_chance() -> None:
    random = bits(DensitySpec("bernoulli", 0.5))
    block = bits(DensitySpec("block", 0.5, {"block": {"K": 4, "N": 2}}))
    assert random == pytest.approx(1.0)
    assert block == pytest.approx(random / 8)
    assert bits(DensitySpec("dense", 1.0)) == 0.0


@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("compute", ["none", "gating", "skipping"])
def test_no_mapping_beats_the_bound(density: float, compute: str) -> None:
    part = SparseAccelerator(
        OPERATOR,
        HARDWARE,
        densities={"W": DensitySpec("bernoulli", density)},
        optimization=build_optimization(compute=compute),
    )
    bound = compulsory_bound(part)
    space = MappingSpace(OPERATOR, HARDWARE)
    sampled = part.evaluate(space.decode(space.sample(3000, np.random.default_rng(1))))
    assert (sampled.metrics["energy_pj"] >= bound.energy_pj * (1 - 1e-9)).all()
    assert (sampled.metrics["latency_cycles"] >= bound.latency_cycles * (1 - 1e-9)).all()


def test_a_dense_operator_moves_its_words_once() -> None:
    bound = compulsory_bound(SparseAccelerator(OPERATOR, HARDWARE))
    words = 4 * 16 + 16 * 8 + 4 * 8
    assert bound.bits_per_element == {"A": 8.0, "W": 8.0, "Z": 8.0}
    assert bound.latency_cycles == max(words * 8 / 64, OPERATOR.macs / 4)
