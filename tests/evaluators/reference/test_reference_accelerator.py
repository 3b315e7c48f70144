"""The `sparseloop` accounting chosen by name, on designs of this project."""

from dataclasses import replace

import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from spaces.formats.format_grammar import parse_format
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import matmul
from tests.evaluators.accelerator.test_sparse_accelerator import EDGE
from tests.evaluators.accelerator.test_traffic import nest

OPERATOR = matmul("x", {"M": 16, "K": 64, "N": 64})
LOOPS = [(2, 4, 0), (1, 4, 0), (0, 16, 1), (2, 16, 2), (1, 16, 0)]
WIDE_OUTPUTS_PJ = 16 * 64 * (24 - 8) * 512.0 / 64
"""The reference has one width for outputs: finished ones leave at 24 bits instead of 8."""
KEEP = [(0, 1, 4), (0, 1, 4), (0, 1, 4)]


def pair(text, density=0.25):
    """The same design under both accountings, without the read of drained partial sums."""
    codec = SparseAccelerator(
        OPERATOR,
        EDGE,
        densities={"W": DensitySpec("hypergeometric", density)},
        formats={"W": tuple(parse_format(name, ("K", "N")) for name in ("None", text))},
        technology=Technology(values={"leakage_mw_per_mm2": 0.0}),
        drain_read=False,
    )
    return codec, replace(codec, accounting="sparseloop")


def test_both_accountings_agree_on_uncompressed_designs():
    mapping = nest(LOOPS, KEEP)
    codec, reference = (model.evaluate(mapping).metrics for model in pair("bitmap"))
    assert reference["energy_pj"][0] - WIDE_OUTPUTS_PJ == pytest.approx(
        codec["energy_pj"][0], rel=1e-9
    )
    assert reference["compute_cycles"][0] == codec["compute_cycles"][0]


def test_bitmaps_agree_within_a_few_percent_and_lists_differ_by_their_counts():
    mapping = nest(LOOPS, KEEP)
    mapping.format_id[0, 1] = 1
    codec, reference = (model.evaluate(mapping) for model in pair("bitmap"))
    narrow = reference.metrics["energy_pj"][0] - WIDE_OUTPUTS_PJ
    assert narrow == pytest.approx(codec.metrics["energy_pj"][0], rel=0.03)
    assert reference.violations["capacity_RF"][0] < 0


def test_unknown_accounting_and_formats_are_named():
    with pytest.raises(ValueError, match="accounting must be codec or sparseloop, got 'exact'"):
        replace(pair("bitmap")[0], accounting="exact")
    mapping = nest(LOOPS, KEEP)
    mapping.format_id[0, 1] = 1
    with pytest.raises(ValueError, match="needs None outside, not inside"):
        pair("B(K)-None(N)")[1].evaluate(mapping)
