"""Fidelity proxy against hardware on the real model's shapes, searched by a selection strategy."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.accuracy.model_statistics import Calibration
from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.accuracy.nm_tradeoff import NMTradeoff, RetainedSaliency, model_space
from evaluators.digital.gemm_cost import CimOptions, Residency
from strategies.nm.selection_strategy import selection_strategy

pytestmark = pytest.mark.llm

MACHINE = {
    "architecture": "flexcim_ideal",
    "sub_macros": 4,
    "rows": 32,
    "columns": 32,
    "bits_per_cycle": 1,
    "macros": 8,
}


@pytest.fixture(scope="module")
def tradeoff(tmp_path_factory: pytest.TempPathFactory) -> NMTradeoff:
    fidelity = NMFidelity(
        calibration=Calibration(sequences=8, length=16),
        held_out_texts=12,
        cache=str(tmp_path_factory.mktemp("cache")),
    )
    options = CimOptions(residency=Residency.DOUBLE_BUFFER)
    return NMTradeoff(RetainedSaliency(fidelity), fidelity, MACHINE, tokens=16, options=options)


def test_selected_points_beat_uniform_ones(tradeoff: NMTradeoff) -> None:
    space = model_space(tradeoff.fidelity, group_sizes=(8,), kept=None)
    strategy = selection_strategy(space, tradeoff, target_sparsities=(0.5, 0.75), tolerance=0.002)
    columns = strategy.ask(5)
    found = tradeoff.evaluate(space.decode(columns)).metrics
    records = tradeoff.baselines(space.parameters)
    uniform = space.from_json([records["uniform 4:8"], records["uniform 2:8"]])
    plain = tradeoff.evaluate(uniform).metrics
    np.testing.assert_allclose(found["density"], plain["density"], atol=0.002)
    assert (found["lost_saliency"] < plain["lost_saliency"]).all()
    assert len(strategy.ask(5)[next(iter(columns))]) == 0


def test_sparser_is_faster_and_loses_more(tradeoff: NMTradeoff) -> None:
    space = model_space(tradeoff.fidelity, dense_ends=1)
    records = tradeoff.baselines(space.parameters)
    batch = space.from_json([records[f"uniform {text}"] for text in ("1:1", "4:8", "2:8", "1:8")])
    assert (batch.density[:, [0, -1]] == 1).all()
    metrics = tradeoff.evaluate(batch).metrics
    assert (np.diff(metrics["latency_cycles"]) < 0).all()
    assert (np.diff(metrics["energy_pj"]) < 0).all()
    assert (np.diff(metrics["lost_saliency"]) > 0).all()
    assert metrics["lost_saliency"][0] == pytest.approx(0.0, abs=1e-12)


def test_costs_of_units_sum_to_the_metrics_and_bind_a_selection(tradeoff: NMTradeoff) -> None:
    space = model_space(tradeoff.fidelity, group_sizes=(2, 4, 8), kept=None)
    free = selection_strategy(space, tradeoff, target_sparsities=(0.5,)).ask(1)
    design = space.decode(free)
    metrics = tradeoff.evaluate(design).metrics
    rows = np.arange(len(space.layers))
    for name, cost in tradeoff.unit_costs(space.patterns).items():
        assert cost[rows, design.choice[0]].sum() == pytest.approx(metrics[name][0], rel=1e-12)
    limit = 0.98 * float(metrics["latency_cycles"][0])
    bound = selection_strategy(
        space, tradeoff, target_sparsities=(0.5,), budgets={"latency_cycles": limit}
    ).ask(1)
    assert tradeoff.evaluate(space.decode(bound)).metrics["latency_cycles"][0] <= limit * (1 + 1e-9)


def test_the_explained_design_is_measured_beside_uniform_ones(tradeoff: NMTradeoff) -> None:
    space = model_space(tradeoff.fidelity)
    design = space.from_json([tradeoff.baselines(space.parameters)["uniform 4:8"]])
    rows = tradeoff.comparison(design)["Measured on held-out text, beside uniform N:M"]
    by_name = {row["assignment"]: row for row in rows}
    assert by_name["this design"] == {**by_name["uniform 4:8"], "assignment": "this design"}
    account = tradeoff.explain(design)
    assert set(account["patterns"].values()) == {"4:8"}
    total = tradeoff.evaluate(design).metrics["energy_pj"][0]
    assert sum(account["energy_breakdown_pj"]["model"].values()) == pytest.approx(total)


def test_an_evaluator_without_statistics_is_refused(tradeoff: NMTradeoff) -> None:
    space = model_space(tradeoff.fidelity)
    with pytest.raises(ValueError, match="RetainedSaliency has no statistics of a model"):
        selection_strategy(space, tradeoff.accuracy)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method must be one of retained_saliency"):
        selection_strategy(space, tradeoff, method="luck")
