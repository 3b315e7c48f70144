"""Whole models on FlexCiM beside the baselines."""

import numpy as np
import pytest

from evaluators.digital.digital_cim import DigitalCimEvaluator, gemm_layers
from evaluators.digital.flexcim_comparison import FlexCimComparison, NMProfile, block_count
from evaluators.digital.gemm_cost import CimOptions, Residency
from spaces.cim.digital_cim import ARCHITECTURES, CimBatch, machine_batch
from spaces.sparsity.nm_sparsity import NMBatch
from spaces.workloads.workload import TensorClass, Workload, matmul

MACHINE = {"sub_macros": 4, "rows": 32, "columns": 32, "bits_per_cycle": 1, "macros": 16}
MODEL = Workload(
    "toy",
    (
        matmul("q", {"M": 64, "K": 1024, "N": 1024}, count=4),
        matmul("ffn", {"M": 64, "K": 4096, "N": 1024}, count=4),
        matmul("qk", {"M": 64, "K": 64, "N": 64}, (TensorClass.ACTIVATION, TensorClass.KV), 99),
        matmul("head", {"M": 1, "K": 1024, "N": 32000}),
    ),
)
PROFILES = {"mixed": NMProfile(["2:4", "1:4"]), "two_four": NMProfile(("2:4",), dense_ends=False)}


@pytest.fixture
def comparison() -> FlexCimComparison:
    options = CimOptions(residency=Residency.DOUBLE_BUFFER)
    return FlexCimComparison({"toy": MODEL}, PROFILES, MACHINE, options)


def rows(*names: str, nm: str = "mixed") -> dict[str, np.ndarray]:
    return {
        "model": np.array(["toy"] * len(names), dtype=object),
        "nm": np.array([nm] * len(names), dtype=object),
        "architecture": np.array(names, dtype=object),
    }


def test_profiles_turn_over_the_blocks() -> None:
    assert block_count(MODEL) == 4
    assert [str(p) for p in PROFILES["mixed"].patterns(4)] == ["1:1", "1:4", "2:4", "1:1"]
    assert [str(p) for p in PROFILES["two_four"].patterns(2)] == ["2:4", "2:4"]


def test_metrics_equal_the_evaluator_and_ratios_their_definition(
    comparison: FlexCimComparison,
) -> None:
    found = comparison.evaluate(rows("flexcim_ideal", "dense", "two_of_four")).metrics
    evaluator = DigitalCimEvaluator(gemm_layers(MODEL, 4), comparison.options)
    patterns = tuple(dict.fromkeys(PROFILES["mixed"].patterns(4)))
    choice = np.array([[patterns.index(p) for p in PROFILES["mixed"].patterns(4)]])
    machine = machine_batch([{**MACHINE, "architecture": "flexcim_ideal"}])
    alone = evaluator.evaluate(CimBatch(machine, NMBatch(evaluator.nm_layers, patterns, choice)))
    for name, values in alone.metrics.items():
        assert found[name][0] == pytest.approx(values[0])
    assert found["speedup"].tolist()[1] == 1.0
    assert found["speedup"][0] == pytest.approx(found["latency_ns"][1] / found["latency_ns"][0])
    assert found["energy_gain_over_2_4"][0] == pytest.approx(
        found["energy_pj"][2] / found["energy_pj"][0]
    )
    weights = 5 * 1024 * 1024
    pruned = weights * (0.75 + 0.5)
    assert found["sparsity"][0] == pytest.approx(pruned / (4 * weights + 1024 * 32000))


def test_flexcim_beats_fixed_engines_where_masks_do_not_fit_them(
    comparison: FlexCimComparison,
) -> None:
    names = ("flexcim_ideal", "two_of_four", "one_of_two", "dense", "flexcim_serial")
    cycles = comparison.evaluate(rows(*names)).metrics["latency_cycles"]
    assert cycles[0] < cycles[1] < cycles[2] <= cycles[3] < cycles[4]
    even = comparison.evaluate(rows("flexcim_ideal", "two_of_four", nm="two_four")).metrics
    assert even["latency_cycles"][0] == pytest.approx(even["latency_cycles"][1], rel=1e-3)


def test_explanation_lists_every_architecture(comparison: FlexCimComparison) -> None:
    account = comparison.explain(rows("flexcim_shared"))
    table = account["tables"]["toy, mixed"]
    assert {row["architecture"] for row in table} == {str(a) for a in ARCHITECTURES}
    first = ["flexcim_ideal", "flexcim_shared", "flexcim_in_cell_mux", "flexcim_serial"]
    assert [row["architecture"] for row in table[:4]] == first
    by_name = {row["architecture"]: row for row in table}
    assert by_name["flexcim_ideal"]["latency_ms"] == by_name["flexcim_shared"]["latency_ms"]
    assert by_name["flexcim_in_cell_mux"]["area_mm2"] > by_name["flexcim_shared"]["area_mm2"]
    assert sum(account["energy_breakdown_pj"]["flexcim_shared"].values()) == pytest.approx(
        account["metrics"]["energy_pj"]
    )


def test_gains_of_every_model_and_profile_stand_in_one_table_and_picture(
    comparison: FlexCimComparison,
) -> None:
    account = comparison.explain(rows("flexcim_shared"))
    gains = account["tables"]["Latency / energy gain over the fixed 2:4 macro (above 1: better)"]
    by_name = {row["architecture"]: row for row in gains}
    assert by_name["two_of_four"]["mixed toy"] == "1.00 / 1.00"
    assert by_name["dense"]["area over dense"] == "+0.0%"
    detail = account["tables"]["toy, mixed"][1]
    text = f"{detail['speedup_over_2_4']:.2f} / {detail['energy_gain_over_2_4']:.2f}"
    assert by_name["flexcim_shared"]["mixed toy"] == text
    figure = comparison.pictures(rows("dense"))["gains_over_2_4"]()
    assert len(figure.axes) == 2 * len(PROFILES)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [row["speedup_over_2_4"] for row in account["tables"]["toy, mixed"]]


def test_the_upper_bound_and_constrained_masks_are_told_apart(
    comparison: FlexCimComparison,
) -> None:
    names = ("flexcim_ideal", "flexcim_shared", "flexcim_in_cell_mux", "two_of_four")
    found = comparison.evaluate(rows(*names)).metrics
    assert found["realisable"].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert found["free_masks"].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_unknown_names(comparison: FlexCimComparison) -> None:
    with pytest.raises(ValueError, match="nm must be one of mixed, two_four, got 'best'"):
        comparison.evaluate(rows("dense", nm="best"))
    with pytest.raises(ValueError, match="cycle must name at least one N:M pattern"):
        NMProfile([])
    with pytest.raises(ValueError, match="N:M pattern needs 1 <= N <= M, got 5:4"):
        NMProfile(["2:4", "5:4"])
    with pytest.raises(ValueError, match="model must be one of toy, got 'gpt'"):
        comparison.evaluate({**rows("dense"), "model": np.array(["gpt"], dtype=object)})
