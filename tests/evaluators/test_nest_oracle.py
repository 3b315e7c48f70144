"""The model against a literal execution: dense counts exact, sparse ones within sampling error."""

import numpy as np
import pytest

from evaluators.accelerator.intersection import COMPUTE_RULES, IntersectionRule, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.traffic import access_counts
from spaces.formats.format_grammar import parse_format
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Precision, matmul
from tests.evaluators.nest_oracle import NestOracle
from tests.evaluators.random_nests import LEAF_ARRAY, THREE_LEVELS, random_mapping

HARDWARE = {"three": THREE_LEVELS, "leaf_array": LEAF_ARRAY}
SAMPLES = 400
DEVIATIONS = 5.0
FORMATS = {
    "A": ("None", "B(M,K)", "CP(M,K)", "UOP(M)-CP(K)", "RLE(M,K,r=1)", "B(M)-B(K)"),
    "W": (
        "None",
        "B(K,N)",
        "RLE(N,K,r=2)",
        "CP(K)-None(N)",
        "B(K)-RLE(N,r=1)",
        "B(K,N)-None(K:2,N:2)",
    ),
}
"""Formats that copies draw from: every primitive, one and two levels, sub-dimensions."""


@pytest.mark.parametrize("stationarity", ["implicit", "explicit"])
@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("seed", range(15))
def test_dense_counts_equal_a_literal_execution(hardware, stationarity, seed):
    rng = np.random.default_rng(seed)
    operator = matmul("tiny", {"M": 4, "K": 8, "N": 4})
    mapping = random_mapping(operator, HARDWARE[hardware], rng)
    oracle = NestOracle(operator, HARDWARE[hardware], mapping, stationarity)
    counts = access_counts(operator, HARDWARE[hardware], mapping, stationarity)
    np.testing.assert_array_equal(counts.words[0], oracle.words())
    assert counts.macs[0] == len(oracle.macs)


def random_rules(hardware, rng):
    rules = []
    for level in hardware.level_names:
        for target, leaders in (("A", ("W",)), ("W", ("A",)), ("Z", ("A", "W"))):
            if rng.random() < 0.4:
                kind = "skipping" if rng.random() < 0.6 else "gating"
                rules.append(IntersectionRule(level, target, leaders, kind))
    return SparseOptimization(tuple(rules), str(rng.choice(COMPUTE_RULES)))


def streams_of(explanation, oracle, width):
    """Words by stream as the oracle names them, from an explanation in bits."""
    streams = {}
    names = [tensor.name for tensor in oracle.operator.tensors]
    for level, entry in enumerate(explanation["levels"].values()):
        for tensor, bits in entry["tensors"].items():
            t = names.index(tensor)
            streams["data_read", t, level] = bits["data_read_bits"] / width
            streams["data_write", t, level] = bits["data_written_bits"] / width
            streams["metadata_read", t, level] = bits["metadata_read_bits"]
            streams["metadata_write", t, level] = bits["metadata_written_bits"]
            streams["gated", t, level] = bits["gated_bits"] / width
    streams["made", -1, -1] = explanation["compute"]["real"] + explanation["compute"]["gated"]
    streams["real", -1, -1] = explanation["compute"]["real"]
    return streams


@pytest.mark.parametrize("stationarity", ["implicit", "explicit"])
@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("seed", range(12))
def test_sparse_expectations_are_within_sampling_error(hardware, stationarity, seed):
    rng = np.random.default_rng(100 + seed)
    machine = HARDWARE[hardware]
    operator = matmul("tiny", {"M": 4, "K": 4, "N": 4})
    mapping = random_mapping(operator, machine, rng)
    formats = {
        name: tuple(parse_format(text, dims) for text in FORMATS[name])
        for name, dims in (("A", ("M", "K")), ("W", ("K", "N")))
    }
    for t, table in enumerate(formats.values()):
        levels = mapping.format_id.shape[2]
        drawn = rng.integers(1, len(table), levels) * (rng.random(levels) < 0.7)
        mapping.format_id[0, t] = drawn
    stored = {
        (t, level): table[mapping.format_id[0, t, level]]
        for t, table in enumerate(formats.values())
        for level in range(mapping.format_id.shape[2])
        if mapping.format_id[0, t, level]
    }
    density = {"A": float(rng.uniform(0.2, 0.9)), "W": float(rng.uniform(0.1, 0.8))}
    optimization = random_rules(machine, rng)
    width = 8
    model = SparseAccelerator(
        operator,
        machine,
        densities={name: DensitySpec("bernoulli", d) for name, d in density.items()},
        formats=formats,
        precision=Precision(width, width, width, width),
        optimization=optimization,
        stationarity=stationarity,
    )
    expected = streams_of(
        model.explain(mapping),
        oracle := NestOracle(operator, machine, mapping, stationarity),
        width,
    )
    masks = [rng.random((SAMPLES, 4, 4)) < density[name] for name in ("A", "W")]
    for key, samples in oracle.sparse(masks, optimization, stored).items():
        if key[0].startswith("accumulate"):
            continue
        value = expected.get(key, 0.0)
        assert abs(samples.mean() - value) <= sampling_error(samples), key


def sampling_error(samples):
    """Five standard errors, at least a fifth of a word: events too rare for the sample."""
    return max(DEVIATIONS * samples.std() / np.sqrt(SAMPLES), 0.2)


def explained_accumulations(model, mapping, oracle, width):
    """(ungated, gated) accumulate writes at the innermost keeper of the output."""
    leaf = oracle.chains[-1][-1]
    words = access_counts(model.operator, model.hardware, mapping, model.stationarity).words[0, -1]
    entry = list(model.explain(mapping)["levels"].values())[leaf]["tensors"]["Z"]
    other = words[leaf, 1] + words[leaf, 2]
    return entry["data_written_bits"] / width - other


@pytest.mark.parametrize("seed", range(12))
def test_accumulations_follow_the_computes(seed):
    rng = np.random.default_rng(200 + seed)
    operator = matmul("tiny", {"M": 4, "K": 4, "N": 4})
    mapping = random_mapping(operator, THREE_LEVELS, rng)
    optimization = random_rules(THREE_LEVELS, rng)
    density = {"A": 0.6, "W": 0.3}
    model = SparseAccelerator(
        operator,
        THREE_LEVELS,
        densities={name: DensitySpec("bernoulli", d) for name, d in density.items()},
        precision=Precision(8, 8, 8, 8),
        optimization=optimization,
    )
    oracle = NestOracle(operator, THREE_LEVELS, mapping, "implicit")
    masks = [rng.random((SAMPLES, 4, 4)) < density[name] for name in ("A", "W")]
    samples = oracle.sparse(masks, optimization, {})["accumulate_write", 2, oracle.chains[2][-1]]
    value = explained_accumulations(model, mapping, oracle, 8)
    assert abs(samples.mean() - value) <= sampling_error(samples)
