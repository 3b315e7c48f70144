"""The functional machine against the dense masked product, and against the analytical latency."""

import numpy as np
import pytest

from evaluators.digital.bill_of_material import MacroOptions, Pipeline
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer
from evaluators.digital.flexcim_macro import FlexCimMachine, run_matmul
from evaluators.digital.flexcim_tiles import BoolArray, MacroGeometry, compress_tiles
from evaluators.digital.gemm_cost import CimOptions, Residency
from spaces.cim.digital_cim import Architecture, CimBatch, machine_batch
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern

PATTERNS = ["1:2", "2:4", "4:8", "1:4", "2:8", "1:8", "3:8", "6:8", "7:8", "3:4", "1:1"]
FLEXCIM = [
    Architecture.FLEXCIM_IDEAL,
    Architecture.FLEXCIM_SHARED,
    Architecture.FLEXCIM_SERIAL,
    Architecture.FLEXCIM_IN_CELL_MUX,
]
GEOMETRY = MacroGeometry(sub_macros=4, rows=4, columns=4)


def random_mask(k: int, outputs: int, pattern: NMPattern, rng: np.random.Generator) -> BoolArray:
    """At most N of every M, chosen per column, a few of them dropped too."""
    scores = rng.random((k // pattern.m, pattern.m, outputs))
    kept = scores.argsort(axis=1).argsort(axis=1) < pattern.n
    return (kept & (rng.random(kept.shape) < 0.95)).reshape(k, outputs)


def shared_mask(k: int, outputs: int, pattern: NMPattern, rng: np.random.Generator) -> BoolArray:
    """Columns of a tile pick one of two in the same randomly chosen pairs."""
    mask = np.zeros((k, outputs), dtype=bool)
    for start in range(0, outputs, GEOMETRY.columns):
        for group in range(k // pattern.m):
            slots = np.repeat(np.arange(pattern.m // 2), 2)
            pairs = rng.permutation(slots)[: pattern.n]
            for column in range(start, min(start + GEOMETRY.columns, outputs)):
                for pair, uses in zip(*np.unique(pairs, return_counts=True), strict=True):
                    lanes = rng.permutation(2)[:uses]
                    mask[group * pattern.m + 2 * pair + lanes, column] = True
    return mask


def analytical_cycles(machine: FlexCimMachine, shape: tuple[int, int, int], text: str) -> float:
    """Latency of `DigitalCimEvaluator` for one product on the same machine."""
    tokens, k, outputs = shape
    residency = Residency.MACRO if machine.resident else Residency.BUFFER
    options = CimOptions(MacroOptions(pipeline=machine.pipeline), residency)
    record = {
        "architecture": machine.architecture,
        "sub_macros": machine.geometry.sub_macros,
        "rows": machine.geometry.rows,
        "columns": machine.geometry.columns,
        "bits_per_cycle": machine.bits_per_cycle,
        "macros": machine.macros,
    }
    nm = NMBatch(("layer",), (NMPattern.parse(text),), np.zeros((1, 1), dtype=np.int64))
    evaluator = DigitalCimEvaluator((GemmLayer("gemm", tokens, k, outputs, "layer"),), options)
    result = evaluator.evaluate(CimBatch(machine_batch([record]), nm))
    return float(result.metrics["latency_cycles"][0])


@pytest.mark.parametrize("architecture", FLEXCIM)
@pytest.mark.parametrize("text", PATTERNS)
def test_product_is_exact_and_cycles_equal_the_analytical_latency(
    text: str, architecture: Architecture
) -> None:
    rng = np.random.default_rng(PATTERNS.index(text))
    pattern = NMPattern.parse(text)
    tokens, k, outputs = 3, 88 if pattern.m > 1 else 40, 10
    make = shared_mask if architecture is Architecture.FLEXCIM_SHARED else random_mask
    dense = np.ones((k, outputs), dtype=bool)
    mask = dense if pattern.is_dense else make(k, outputs, pattern, rng)
    inputs = rng.integers(-128, 128, (tokens, k))
    weights = rng.integers(-128, 128, (k, outputs))
    machine = FlexCimMachine(GEOMETRY, architecture, bits_per_cycle=4, macros=2)
    run = run_matmul(machine, inputs, weights, mask, pattern)
    np.testing.assert_array_equal(run.outputs, inputs @ (weights * mask))
    assert run.cycles == analytical_cycles(machine, (tokens, k, outputs), text)


@pytest.mark.parametrize("pipeline", list(Pipeline))
@pytest.mark.parametrize("bits_per_cycle", [1, 2, 8])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("geometry", [(1, 8, 4), (2, 4, 2), (8, 2, 4)])
def test_every_input_width_pipeline_and_geometry(
    geometry: tuple[int, int, int], resident: bool, bits_per_cycle: int, pipeline: Pipeline
) -> None:
    rng = np.random.default_rng(1)
    pattern = NMPattern(1, 2)
    machine = FlexCimMachine(
        MacroGeometry(*geometry),
        bits_per_cycle=bits_per_cycle,
        pipeline=pipeline,
        resident=resident,
        macros=2 if not resident else 5,
    )
    inputs = rng.integers(-128, 128, (2, 48))
    weights = rng.integers(-128, 128, (48, 6))
    mask = random_mask(48, 6, pattern, rng)
    run = run_matmul(machine, inputs, weights, mask, pattern)
    np.testing.assert_array_equal(run.outputs, inputs @ (weights * mask))
    assert run.cycles == analytical_cycles(machine, (2, 48, 6), "1:2")


def test_pipeline_of_the_published_rtl_is_twelve_deep() -> None:
    machine = FlexCimMachine(
        MacroGeometry(4, 32, 2), pipeline=Pipeline.EVERY_STAGE, bits_per_cycle=8, resident=True
    )
    ones = np.ones((1, 128), dtype=np.int64)
    mask = np.ones((128, 2), dtype=bool)
    run = run_matmul(machine, ones, np.ones((128, 2), dtype=np.int64), mask, NMPattern(1, 1))
    assert (run.cycles, run.outputs.tolist()) == (12, [[128, 128]])


def test_columns_that_need_different_pairs_cannot_share_selects() -> None:
    mask = np.zeros((4, 2), dtype=bool)
    mask[0, 0] = mask[2, 1] = True
    machine = FlexCimMachine(GEOMETRY, Architecture.FLEXCIM_SHARED)
    ones = np.ones((1, 4), dtype=np.int64)
    with pytest.raises(ValueError, match="need 2 pair selects of a group, 1 are shared"):
        run_matmul(machine, ones, np.ones((4, 2), dtype=np.int64), mask, NMPattern(1, 4))


@pytest.mark.parametrize(
    ("shape", "pattern", "message"),
    [
        ((6, 2), "1:4", "reduction size 6 is not divisible by M = 4"),
        ((16, 2), "1:16", "needs 8 pairs, 4 sub-macros select among 4"),
        ((8, 2), "2:4", "the mask keeps 4 of a group, the pattern 2:4"),
    ],
)
def test_malformed_matrices(shape: tuple[int, int], pattern: str, message: str) -> None:
    ones = np.ones(shape, dtype=np.int64)
    with pytest.raises(ValueError, match=message):
        compress_tiles(ones, ones.astype(bool), NMPattern.parse(pattern), GEOMETRY, "per_column")


def test_inputs_must_fit_their_width() -> None:
    ones = np.ones((2, 2), dtype=np.int64)
    with pytest.raises(ValueError, match=r"inputs must be within -128\.\.127 for 8 bits"):
        run_matmul(FlexCimMachine(GEOMETRY), ones * 128, ones, ones > 0, NMPattern(1, 1))
