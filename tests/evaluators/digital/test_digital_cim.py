"""Macro costs against the derived overheads; model-level costs against hand calculations."""

from typing import Any

import numpy as np
import pytest

from evaluators.digital.bill_of_material import MacroOptions, Pipeline
from evaluators.digital.coverage import coverage, covering_pattern
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer, gemm_layers
from evaluators.digital.gemm_cost import CimOptions, Residency
from evaluators.digital.macro_cost import macro_cost
from spaces.cim.digital_cim import ARCHITECTURES, Architecture, CimBatch, MacroBatch, machine_batch
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern, candidate_patterns
from spaces.workloads.workload import TensorClass, Workload, matmul

MACHINE = {
    "architecture": "flexcim_ideal",
    "sub_macros": 4,
    "rows": 32,
    "columns": 32,
    "bits_per_cycle": 1,
    "macros": 1,
}


def machines(**changes: Any) -> MacroBatch:
    return machine_batch([MACHINE | changes])


def design(text: str, layers: int = 1, **changes: Any) -> CimBatch:
    names = tuple(f"block.{index}" for index in range(layers))
    nm = NMBatch(names, (NMPattern.parse(text),), np.zeros((1, layers), dtype=np.int64))
    return CimBatch(machines(**changes), nm)


@pytest.mark.parametrize(
    ("p", "rows", "columns", "area_mm2", "fj", "area_percent", "energy_percent"),
    [
        (4, 32, 32, 0.207, 76.8, 8.4, 11.6),
        (4, 32, 128, 0.828, 76.8, 7.3, 11.0),
        (4, 64, 64, 0.821, 73.7, 6.4, 8.6),
        (2, 64, 64, 0.414, 76.8, 5.9, 7.5),
        (8, 16, 64, 0.414, 76.8, 11.1, 18.1),
    ],
)
def test_derived_overheads(
    p: int,
    rows: int,
    columns: int,
    area_mm2: float,
    fj: float,
    area_percent: float,
    energy_percent: float,
) -> None:
    sizes = {"sub_macros": p, "rows": rows, "columns": columns}
    dense = macro_cost(machines(architecture="dense", **sizes), MacroOptions())
    flexcim = macro_cost(machines(**sizes), MacroOptions())
    assert dense.area_mm2[0] == pytest.approx(area_mm2, abs=5e-4)
    assert dense.energy_fj_per_mac[0] == pytest.approx(fj, abs=0.05)
    extra_area = 100 * (flexcim.area_mm2[0] / dense.area_mm2[0] - 1)
    extra_energy = 100 * (flexcim.energy_fj_per_mac[0] / dense.energy_fj_per_mac[0] - 1)
    assert extra_area == pytest.approx(area_percent, abs=0.06)
    assert extra_energy == pytest.approx(energy_percent, abs=0.06)


@pytest.mark.parametrize(
    ("architecture", "percent"),
    [("one_of_two", 4.0), ("two_of_four", 11.7), ("naive_flexible", 26.7)],
)
def test_in_cell_multiplexer_area(architecture: str, percent: float) -> None:
    dense = macro_cost(machines(architecture="dense"), MacroOptions()).area_mm2[0]
    muxed = macro_cost(machines(architecture=architecture), MacroOptions()).area_mm2[0]
    assert 100 * (muxed / dense - 1) == pytest.approx(percent, abs=0.06)


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("1:1", 128),
        ("1:2", 256),
        ("2:4", 256),
        ("4:8", 256),
        ("1:4", 512),
        ("2:8", 512),
        ("1:8", 1024),
    ],
)
def test_reduction_length_of_one_pass(text: str, reach: int) -> None:
    covered = coverage(machines(), [NMPattern.parse(text)])
    assert covered.reach[0, 0] == reach


@pytest.mark.parametrize(
    ("architecture", "pattern", "cover"),
    [
        ("two_of_four", "4:8", "1:1"),
        ("two_of_four", "1:4", "2:4"),
        ("two_of_four", "1:2", "2:4"),
        ("one_of_two", "2:4", "1:1"),
        ("one_of_two", "1:8", "1:2"),
        ("flexcim_ideal", "4:16", "4:8"),
        ("vegeta_like", "1:16", "1:4"),
        ("dense", "1:8", "1:1"),
    ],
)
def test_masks_run_as_a_pattern_the_machine_has(
    architecture: str, pattern: str, cover: str
) -> None:
    found = covering_pattern(Architecture(architecture), 4, NMPattern.parse(pattern))
    assert str(found) == cover


def test_latency_by_hand() -> None:
    """K = 1024 at 2:4 is 4 tiles of 256, Nout = 96 is 3: 12 tiles on 5 macros are 3 waves."""
    evaluator = DigitalCimEvaluator((GemmLayer("g", 7, 1024, 96, "block.0"),))
    result = evaluator.evaluate(design("2:4", macros=5))
    assert result.metrics["latency_cycles"][0] == 3 * (7 * 8 + 32) + 2 - 1
    assert result.metrics["stored_macs"][0] == 7 * 1024 * 96 / 2


def test_residencies() -> None:
    layers = (GemmLayer("g", 1, 1024, 96, "block.0"),)
    cycles = {}
    for residency in Residency:
        options = CimOptions(residency=residency, dram_bits_per_cycle=8)
        result = DigitalCimEvaluator(layers, options).evaluate(design("2:4", macros=5))
        cycles[residency] = result.metrics["latency_cycles"][0]
        assert ("cim_capacity" in result.violations) == (residency is Residency.MACRO)
    stored_bits = 1024 * 96 / 2 * 9 + 12 * 32 * 16
    assert cycles[Residency.MACRO] == 3 * 8 + 1
    assert cycles[Residency.BUFFER] == 3 * (8 + 32) + 1
    assert cycles[Residency.DOUBLE_BUFFER] == 3 * 32 + 32 + 1
    assert cycles[Residency.DRAM] == stored_bits / 8 + 1


def test_model_speed_up_with_dense_ends() -> None:
    """Thirty blocks at density 1/4 and two dense ones: 32 / (2 + 30/4) of the dense cycles."""
    workload = Workload("m", (matmul("q", {"M": 4096, "K": 4096, "N": 512}, count=32),))
    evaluator = DigitalCimEvaluator(gemm_layers(workload, 32))
    names = tuple(f"block.{index}" for index in range(32))
    patterns = (NMPattern(1, 4), NMPattern(1, 1))
    choice = np.zeros((2, 32), dtype=np.int64)
    choice[0, [0, 31]], choice[1] = 1, 1
    both = machine_batch([MACHINE, MACHINE])
    cycles = evaluator.evaluate(CimBatch(both, NMBatch(names, patterns, choice))).metrics
    ratio = cycles["latency_cycles"][1] / cycles["latency_cycles"][0]
    assert ratio == pytest.approx(32 / (2 + 30 / 4), rel=1e-4)


def test_serial_selects_lose_the_speed_up() -> None:
    evaluator = DigitalCimEvaluator((GemmLayer("g", 64, 1024, 32, "block.0"),))
    fast = evaluator.evaluate(design("2:4")).metrics["latency_cycles"][0]
    slow = evaluator.evaluate(design("2:4", architecture="flexcim_serial")).metrics
    assert slow["latency_cycles"][0] > 20 * fast
    free = evaluator.evaluate(design("1:2", architecture="flexcim_serial")).metrics
    assert free["latency_cycles"][0] == fast


def test_batches_equal_single_designs() -> None:
    rng = np.random.default_rng(0)
    patterns = candidate_patterns((2, 4, 8))
    names = ("block.0", "block.1")
    batch = machine_batch([MACHINE | {"architecture": str(a), "macros": 3} for a in ARCHITECTURES])
    nm = NMBatch(names, patterns, rng.integers(0, len(patterns), (len(batch), 2)))
    layers = (
        GemmLayer("a", 5, 384, 96, "block.0", 2),
        GemmLayer("b", 5, 384, 96, "block.1"),
        GemmLayer("head", 1, 384, 1000),
    )
    evaluator = DigitalCimEvaluator(layers)
    together = evaluator.evaluate(CimBatch(batch, nm))
    for index in range(len(batch)):
        one = np.array([index])
        alone = evaluator.evaluate(CimBatch(batch.take(one), nm.take(one)))
        for name, values in together.metrics.items():
            assert alone.metrics[name][0] == pytest.approx(values[index], rel=1e-12), name


def test_explanation_sums_to_the_total() -> None:
    evaluator = DigitalCimEvaluator(
        (GemmLayer("g", 7, 1024, 96, "block.0"), GemmLayer("h", 1, 64, 9))
    )
    account = evaluator.explain(design("1:4"))
    metrics = account["metrics"]
    assert sum(account["energy_pj"].values()) == pytest.approx(metrics["energy_pj"])
    assert sum(account["latency_cycles"].values()) == pytest.approx(metrics["latency_cycles"])
    assert sum(account["area_um2_per_macro"].values()) == pytest.approx(1e6 * metrics["area_mm2"])


def test_layer_table_sums_to_the_evaluation() -> None:
    workload = Workload("m", (matmul("q", {"M": 3, "K": 512, "N": 96}, count=2),))
    evaluator = DigitalCimEvaluator(gemm_layers(workload, 2))
    patterns = candidate_patterns((2, 4), kept=(1, 2))
    table = evaluator.layer_table(machines(), patterns).metrics
    one = NMBatch(evaluator.nm_layers, patterns, np.array([[0, 2]]))
    total = evaluator.evaluate(CimBatch(machines(), one)).metrics
    for name in ("latency_cycles", "energy_pj"):
        cells = table[name].reshape(2, len(patterns))
        assert cells[0, 0] + cells[1, 2] == pytest.approx(total[name][0])


def test_more_sparsity_never_costs_more() -> None:
    evaluator = DigitalCimEvaluator((GemmLayer("g", 16, 4096, 128, "block.0"),))
    for architecture in ("flexcim_ideal", "flexcim_in_cell_mux", "naive_flexible"):
        runs = [
            evaluator.evaluate(design(text, architecture=architecture)).metrics
            for text in ("1:1", "4:8", "2:8", "1:8")
        ]
        for name in ("latency_cycles", "energy_pj", "stored_macs"):
            values = [float(run[name][0]) for run in runs]
            assert values == sorted(values, reverse=True), (architecture, name)


def test_pipelining_every_stage_shortens_the_clock_and_costs_area() -> None:
    for architecture in ("flexcim_ideal", "dense"):
        plain = macro_cost(machines(architecture=architecture), MacroOptions())
        deep = macro_cost(
            machines(architecture=architecture), MacroOptions(pipeline=Pipeline.EVERY_STAGE)
        )
        assert deep.clock_ns[0] < plain.clock_ns[0]
        assert deep.area_mm2[0] > plain.area_mm2[0]
    assert macro_cost(machines(), MacroOptions(pipeline=Pipeline.EVERY_STAGE)).pipeline_cycles == 12


def test_only_weight_products_run_in_memory() -> None:
    classes = (TensorClass.ACTIVATION, TensorClass.KV)
    attention = matmul("qk", {"M": 1, "K": 64, "N": 9}, classes, count=4)
    head = matmul("lm_head", {"M": 1, "K": 64, "N": 9})
    layers = gemm_layers(Workload("m", (attention, head)), 4)
    assert [(layer.name, layer.nm_layer) for layer in layers] == [("lm_head", None)]
    with pytest.raises(ValueError, match="no operator has a weight matrix"):
        gemm_layers(Workload("m", (attention,)), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 24}, "rows must be a power of two, got 24"),
        ({"macros": 0}, "macros must be >= 1, got 0"),
        ({"architecture": "analog"}, "architecture must be one of .*, got 'analog'"),
    ],
)
def test_malformed_machines(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        machines(**changes)


def test_malformed_bits_per_cycle() -> None:
    with pytest.raises(ValueError, match="bits_per_cycle must be <= input_bits = 8, got 16"):
        macro_cost(machines(bits_per_cycle=16), MacroOptions())
    with pytest.raises(ValueError, match="sdp_like: bits_per_cycle must be <= input_bits / 2 = 4"):
        macro_cost(machines(architecture="sdp_like", bits_per_cycle=8), MacroOptions())


def test_unknown_nm_layer() -> None:
    evaluator = DigitalCimEvaluator((GemmLayer("g", 1, 64, 9, "other"),))
    with pytest.raises(ValueError, match="'g' follows the N:M choice 'other'"):
        evaluator.evaluate(design("1:4"))


def test_options_are_read_as_they_are_written() -> None:
    """A configuration gives names, not enum members."""
    named = CimOptions(MacroOptions(pipeline="every_stage"), "macro")  # type: ignore[arg-type]
    evaluator = DigitalCimEvaluator((GemmLayer("g", 1, 128, 32, "block.0"),), named)
    result = evaluator.evaluate(design("1:1"))
    assert result.metrics["latency_cycles"][0] == 8 + 12 - 1
    with pytest.raises(ValueError, match="residency must be one of macro, buffer"):
        CimOptions(residency="cloud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pipeline must be one of psum, every_stage"):
        MacroOptions(pipeline="deep")  # type: ignore[arg-type]


def test_a_systolic_array_has_the_peak_rate_of_the_macro() -> None:
    for bits in (1, 8):
        dense = macro_cost(machines(architecture="dense", bits_per_cycle=bits), MacroOptions())
        array = macro_cost(
            machines(architecture="tensor_core", bits_per_cycle=bits), MacroOptions()
        )
        assert array.macs_per_cycle[0] == dense.macs_per_cycle[0]
