"""Invariants of the priced model: breakdowns add up, costs are finite and monotone, limits bite."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from evaluators.accelerator.decoder import Decoder, estimated_decoder
from evaluators.accelerator.intersection import IntersectionRule, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.reference.golden_cases import read_golden
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware, Level
from spaces.hardware_config import build_hardware
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Operator, Precision, TensorClass, matmul
from strategies.tasks.instantiate import instantiate
from tests.evaluators.accelerator.test_traffic import nest
from tests.evaluators.random_batches import random_batch
from tests.evaluators.random_nests import THREE_LEVELS, random_mapping

GOLDEN = Path(__file__).parents[2] / "golden"
FORMATS = ("None", "bitmap", "rle", "csr", "coo", "B(K)-B(N)-B(K:16)")
EDGE = build_hardware(
    "edge",
    {
        "DRAM": {"kind": "dram", "bandwidth": "25.6GB/s", "port": "shared"},
        "GLB": {
            "capacity": "512KiB",
            "access_width": "256bit",
            "bandwidth": "256B/cycle",
            "fan_out": {"X": 16, "Y": 16},
        },
        "RF": {"kind": "register_file", "capacity": "512B", "access_width": "16bit"},
    },
)
SKIP_ON_WEIGHTS = SparseOptimization(
    (
        IntersectionRule("GLB", "A", ("W",)),
        IntersectionRule("RF", "A", ("W",)),
        IntersectionRule("RF", "Z", ("A", "W"), "gating"),
    )
)


def weight_formats(dims=("K", "N")):
    return {"W": tuple(parse_format(name, dims) for name in FORMATS)}


def sparse_model(operator, density, optimization=SKIP_ON_WEIGHTS):
    return SparseAccelerator(
        operator,
        EDGE,
        densities={
            "W": DensitySpec("hypergeometric", density),
            "A": DensitySpec("bernoulli", 0.5),
        },
        formats=weight_formats(),
        optimization=optimization,
    )


def with_formats(batch, tensor, count, rng):
    batch.format_id[:, tensor] = rng.integers(0, count, (len(batch), 1))
    return batch


@pytest.mark.parametrize("seed", range(20))
def test_breakdown_sums_to_the_totals(seed):
    rng = np.random.default_rng(seed)
    operator = matmul("x", {"M": 8, "K": 32, "N": 16})
    mapping = random_mapping(operator, THREE_LEVELS, rng)
    mapping.format_id[0, 1] = rng.integers(0, len(FORMATS))
    model = replace(
        sparse_model(operator, 0.3), hardware=THREE_LEVELS, decoder=estimated_decoder(64)
    )
    explained = model.explain(mapping)
    energy = sum(level["energy_pj"] for level in explained["levels"].values())
    energy += explained["compute"]["energy_pj"] + explained["static_energy_pj"]
    assert energy == pytest.approx(explained["totals"]["energy_pj"], rel=1e-12)
    assert max(explained["bounds_cycles"].values()) == pytest.approx(
        explained["totals"]["latency_cycles"], rel=1e-12
    )
    assert explained["bounds_cycles"][explained["bottleneck"]] == max(
        explained["bounds_cycles"].values()
    )


WORKLOADS = [
    path
    for path in sorted((Path(__file__).parents[3] / "conf" / "workload").glob("*.yaml"))
    if "path: ???" not in path.read_text()
]
"""Shipped workloads that read no file of the user's."""

DESIGNS_PER_OPERATOR = 800
"""130 operators in all, so more than 100,000 designs."""


def test_the_workloads_make_a_hundred_thousand_designs():
    count = sum(len(operators_of(path)) for path in WORKLOADS)
    assert count * DESIGNS_PER_OPERATOR >= 100_000


def operators_of(path: Path) -> tuple[Operator, ...]:
    return instantiate(OmegaConf.load(path), "workload").operators


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.stem)
def test_random_designs_of_every_workload_are_finite_and_monotone(path):
    for seed, operator in enumerate(operators_of(path)):
        check_random_designs(operator, DESIGNS_PER_OPERATOR, seed)


@pytest.mark.parametrize(
    "operator",
    [
        matmul("odd", {"M": 2049, "K": 4096, "N": 50257}),
        matmul("405b", {"M": 2048, "K": 53248, "N": 16384}),
        matmul("million", {"M": 1 << 20, "K": 1 << 20, "N": 1 << 20}),
    ],
    ids=lambda operator: f"{operator.name}-{operator.macs:.1e}",
)
def test_random_designs_of_huge_operators_are_finite_and_monotone(operator):
    check_random_designs(operator, 2_000, 11)


def check_random_designs(operator: Operator, count: int, seed: int) -> None:
    """Finite and non-negative, and no cheaper when the weights get denser."""
    rng = np.random.default_rng(seed)
    names = [tensor.name for tensor in operator.tensors]
    weights = names[1]
    dims = [dimension.name for dimension in operator.tensors[1].dimensions]
    formats = {
        weights: tuple(parse_format(name, dims) for name in ("None", "bitmap", "rle", "coo"))
    }
    rules = SparseOptimization((IntersectionRule("RF", names[0], (weights,)),))
    batch = with_formats(random_batch(operator, EDGE, count, rng), 1, 4, rng)
    previous = np.zeros(len(batch))
    for density in (0.02, 0.4, 1.0):
        spec = DensitySpec("hypergeometric", density)
        model = SparseAccelerator(
            operator, EDGE, densities={weights: spec}, formats=formats, optimization=rules
        )
        result = model.evaluate(batch)
        for values in (*result.metrics.values(), *result.violations.values()):
            assert np.isfinite(values).all()
        assert all((values >= 0).all() for values in result.metrics.values())
        assert (result.metrics["energy_pj"] >= previous * (1 - 1e-9)).all()
        previous = result.metrics["energy_pj"]


def test_batches_equal_single_designs():
    rng = np.random.default_rng(3)
    operator = matmul("x", {"M": 64, "K": 256, "N": 512})
    batch = with_formats(random_batch(operator, EDGE, 300, rng), 1, len(FORMATS), rng)
    model = sparse_model(operator, 0.25)
    together = model.evaluate(batch)
    for index in rng.integers(0, 300, 20):
        alone = model.evaluate(batch.take(np.array([index])))
        for name, values in together.metrics.items():
            assert values[index] == alone.metrics[name][0]


def test_compression_and_skipping_pay_off_when_sparse():
    operator = matmul("x", {"M": 16, "K": 256, "N": 256})
    loops = [(2, 16, 0), (1, 16, 0), (0, 16, 1), (2, 16, 2), (1, 16, 0)]
    plain = nest(loops, [(0, 1, 4), (0, 1, 4), (0, 1, 4)])
    coded = replace(plain, format_id=plain.format_id.copy())
    coded.format_id[0, 1] = FORMATS.index("bitmap")
    model = sparse_model(operator, 0.1)
    dense = replace(model, optimization=SparseOptimization()).evaluate(plain).metrics
    sparse = model.evaluate(coded).metrics
    assert sparse["energy_pj"][0] < 0.7 * dense["energy_pj"][0]
    assert sparse["compute_cycles"][0] == pytest.approx(0.1 * dense["compute_cycles"][0], rel=1e-3)


def test_gating_saves_energy_but_no_cycles():
    operator = matmul("x", {"M": 16, "K": 256, "N": 256})
    mapping = random_batch(operator, EDGE, 200, np.random.default_rng(0))
    mapping.keep_at[:, :, 2] = mapping.loop_rank.shape[1]
    mapping.keep_at[:, :, 1] = 0
    rule = IntersectionRule("RF", "A", ("W",), "gating")
    idle = sparse_model(operator, 0.2, SparseOptimization()).evaluate(mapping).metrics
    gated = sparse_model(operator, 0.2, SparseOptimization((rule,))).evaluate(mapping).metrics
    assert (gated["energy_pj"] < idle["energy_pj"]).all()
    np.testing.assert_allclose(gated["latency_cycles"], idle["latency_cycles"])


def test_capacity_violation_of_the_golden_cases_is_reported():
    """Register files of 64 words hold 288, 65 and 33 of 32: valid counts, infeasible designs."""
    overflow = {}
    for case in read_golden(GOLDEN / "accelforge_mappings.json"):
        model = SparseAccelerator(
            case.operator, case.hardware, precision=Precision(8, 8, 8, 8), stationarity="explicit"
        )
        result = model.evaluate(case.mapping)
        if not result.feasible[0]:
            overflow[case.name] = float(result.violations["capacity_RF"][0])
    assert overflow == {"d32_a": 3.5, "p_a": 1 / 64, "p_c": 1 / 32}


def test_capacity_at_a_quantile_covers_what_sampling_finds():
    """Register tiles of 256 elements at density .25: mean 64, deviation 6.9 non-zeros."""
    operator = matmul("x", {"M": 1, "K": 64, "N": 64})
    mapping = nest(
        [(2, 4, 0), (1, 4, 0), (2, 16, 0), (1, 16, 0)], [(0, 2, 2), (0, 2, 2), (0, 2, 2)]
    )
    mapping.format_id[0, 1] = FORMATS.index("bitmap")
    model = sparse_model(operator, 0.25, SparseOptimization())
    capacity = 4096.0

    def held(confidence):
        exact = replace(model, capacity_confidence=confidence)
        return (exact.evaluate(mapping).violations["capacity_RF"][0] + 1.0) * capacity

    rng = np.random.default_rng(0)
    samples = rng.hypergeometric(1024, 3072, 256, 20_000) * 8
    for confidence in (0.9, 0.99):
        extra = held(confidence) - held(0.5)
        expected = np.quantile(samples, confidence) - 64 * 8
        assert extra == pytest.approx(expected, abs=8.0)
    assert held(1.0) - held(0.5) == (256 - 64) * 8


def test_fan_out_and_placement_violations():
    hardware = Hardware(
        "small",
        (
            Level("DRAM", "dram"),
            Level(
                "GLB",
                capacity_bits=1e9,
                fan_out={"X": 4},
                must_keep=frozenset({TensorClass.OUTPUT}),
            ),
            Level("RF", "register_file", 1e9, may_keep=frozenset({TensorClass.WEIGHT})),
        ),
    )
    operator = matmul("x", {"M": 2, "K": 4, "N": 6})
    mapping = nest([(0, 2, 0), (1, 4, 0), (2, 6, 1)], [(0, 0, 3), (0, -1, 3), (0, -1, -1)])
    result = SparseAccelerator(operator, hardware).evaluate(mapping)
    assert result.violations["fan_out_GLB_X"][0] == 0.5
    assert result.violations["placement"][0] == 2
    assert not result.feasible[0]


def test_precision_reaches_traffic_and_energy():
    """Finished outputs leave at the activation width, spilled partial sums at their own."""
    operator = matmul("x", {"M": 4, "K": 8, "N": 4})
    keep = [(0, 1, 1), (0, 1, 1), (0, 2, 2)]
    once = nest([(0, 4, 0), (2, 4, 0), (1, 8, 0)], [(0, 0, 0), (0, 0, 0), (0, 2, 2)])
    spilled = nest([(1, 2, 0), (0, 4, 0), (2, 4, 0), (1, 4, 0)], keep)
    model = SparseAccelerator(operator, THREE_LEVELS, precision=Precision(4, 8, 8, 24))
    finished = model.explain(once)["levels"]["DRAM"]["tensors"]["Z"]
    partial = model.explain(spilled)["levels"]["DRAM"]["tensors"]["Z"]
    assert finished["data_written_bits"] == 16 * 8
    assert partial["data_written_bits"] == 16 * 8 + 16 * 24
    assert partial["data_read_bits"] == 16 * 24
    weights = model.explain(once)["levels"]["DRAM"]["tensors"]["W"]
    assert weights["resident_bits"] == 32 * 4


def test_decoder_costs_are_off_unless_asked_for():
    operator = matmul("x", {"M": 4, "K": 64, "N": 16})
    mapping = nest([(2, 16, 0), (1, 64, 0), (0, 4, 0)], [(0, 1, 2), (0, 1, 2), (0, 1, 2)])
    mapping.format_id[0, 1] = FORMATS.index("csr")
    model = sparse_model(operator, 0.2, SparseOptimization())
    free = model.evaluate(mapping).metrics
    priced = replace(model, decoder=estimated_decoder(64))
    paid = priced.evaluate(mapping).metrics
    decoded = [
        tensor["energy_pj"]["decoder"]
        for level in priced.explain(mapping)["levels"].values()
        for tensor in level["tensors"].values()
    ]
    assert free["memory_energy_pj"] == paid["memory_energy_pj"]
    assert paid["energy_pj"][0] - free["energy_pj"][0] == pytest.approx(sum(decoded))
    assert sum(decoded) > 0


def test_a_slow_decoder_binds_the_latency():
    operator = matmul("x", {"M": 4, "K": 64, "N": 16})
    mapping = nest([(2, 16, 0), (1, 64, 0), (0, 4, 0)], [(0, 1, 2), (0, 1, 2), (0, 1, 2)])
    mapping.format_id[0, 1, 0] = FORMATS.index("csr")
    decoder = Decoder(elements_per_cycle=0.01)
    slow = replace(sparse_model(operator, 0.2, SparseOptimization()), decoder=decoder)
    explained = slow.explain(mapping)
    assert explained["bottleneck"] == "DRAM decoder"
    assert explained["totals"]["latency_cycles"] == pytest.approx(64 * 16 / 0.01)


def test_cost_does_not_depend_on_the_tile_size_or_the_batch():
    operator = matmul("giant", {"M": 1 << 20, "K": 1 << 20, "N": 1 << 20})
    mapping = nest(
        [(0, 1 << 20, 0), (1, 1 << 20, 0), (2, 1 << 20, 0)], [(0, 0, 0), (0, 0, 0), (0, 0, 0)]
    )
    mapping.format_id[0, 1] = 1
    result = sparse_model(operator, 0.37).evaluate(mapping)
    assert isfinite(result.metrics["energy_pj"][0])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"capacity_confidence": 0.3}, "capacity_confidence must be 0.5..1, got 0.3"),
        ({"stationarity": "lazy"}, "stationarity must be implicit or explicit, got 'lazy'"),
        ({"densities": {"B": DensitySpec("bernoulli", 0.5)}}, "densities: no tensor 'B'"),
        ({"formats": {"Q": ()}}, "formats: no tensor 'Q', the tensors are A, W, Z"),
        (
            {"formats": {"W": (parse_format("csr", ("K", "N")),)}},
            "formats of W: entry 0 must be None",
        ),
        (
            {"optimization": SparseOptimization((IntersectionRule("L2", "A", ("W",)),))},
            "no level 'L2', the levels are DRAM, GLB, RF",
        ),
        (
            {"optimization": SparseOptimization((IntersectionRule("RF", "A", ("Z",)),))},
            "leaders must be operands other than the target",
        ),
        ({"optimization": SparseOptimization(compute="maybe")}, "skipping.compute must be one of"),
    ],
)
def test_constructor_names_what_is_wrong(change, text):
    model = sparse_model(matmul("x", {"M": 2, "K": 2, "N": 2}), 0.5)
    with pytest.raises(ValueError, match=text):
        replace(model, **change)


def test_explain_wants_one_design():
    operator = matmul("x", {"M": 64, "K": 256, "N": 512})
    batch = random_batch(operator, EDGE, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="explain takes one design, got a batch of 2"):
        sparse_model(operator, 0.5).explain(batch)
