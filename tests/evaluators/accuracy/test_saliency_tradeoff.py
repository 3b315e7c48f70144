"""The saliency proxy from recorded statistics: no torch, and the same numbers as with it."""

from pathlib import Path

import numpy as np
import pytest

from evaluators.accuracy.model_statistics import Calibration
from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.accuracy.nm_tradeoff import RetainedSaliency
from evaluators.accuracy.saliency_tradeoff import RecordedModel, SaliencyTradeoff, recorded_space

MACHINE = {
    "architecture": "flexcim_ideal",
    "sub_macros": 4,
    "rows": 32,
    "columns": 32,
    "bits_per_cycle": 1,
    "macros": 8,
}


@pytest.fixture(scope="module")
def tradeoff() -> SaliencyTradeoff:
    return SaliencyTradeoff(RecordedModel(), MACHINE, tokens=16)


def test_sparser_costs_less_and_keeps_less(tradeoff: SaliencyTradeoff) -> None:
    space = recorded_space(tradeoff.model)
    records = tradeoff.baselines(space.parameters)
    batch = space.from_json([records[f"uniform {text}"] for text in ("1:1", "4:8", "2:8", "1:8")])
    metrics = tradeoff.evaluate(batch).metrics
    assert metrics["retained_fraction"][0] == pytest.approx(1.0)
    for name in ("retained_fraction", "energy_pj", "density"):
        assert (np.diff(metrics[name]) < 0).all(), name
    np.testing.assert_allclose(metrics["retained_fraction"] + metrics["lost_saliency"], 1.0)


def test_larger_groups_keep_more_at_equal_density(tradeoff: SaliencyTradeoff) -> None:
    design = recorded_space(tradeoff.model).sample(1, np.random.default_rng(0))
    decoded = recorded_space(tradeoff.model).decode(design)
    rows = {
        row["assignment"]: row for rows in tradeoff.comparison(decoded).values() for row in rows
    }
    assert rows["uniform 4:8"]["density"] == pytest.approx(rows["uniform 2:4"]["density"])
    assert rows["uniform 4:8"]["retained_fraction"] > rows["uniform 2:4"]["retained_fraction"]
    assert rows["uniform 4:8"]["energy_pj"] == rows["uniform 2:4"]["energy_pj"]


def test_layers_have_the_shapes_of_the_model() -> None:
    layers = RecordedModel(granularity="projection").layers(tokens=7)
    shapes = {(layer.reduction, layer.outputs) for layer in layers}
    assert shapes == {(384, 384), (384, 1536), (1536, 384)}
    assert len(layers) == 36
    assert len(RecordedModel(granularity="block").statistics.layers) == 6


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.npz: does not exist"):
        _ = RecordedModel(str(tmp_path / "none.npz")).statistics


@pytest.mark.llm
def test_the_recorded_file_is_what_the_real_model_gives(tmp_path: Path) -> None:
    fidelity = NMFidelity(calibration=Calibration(sequences=128, length=64), cache=str(tmp_path))
    model = RecordedModel()
    space = recorded_space(model)
    batch = space.decode(space.sample(8, np.random.default_rng(0)))
    measured = RetainedSaliency(fidelity).evaluate(batch).metrics
    recorded = SaliencyTradeoff(model, MACHINE).evaluate(batch).metrics
    for name, values in measured.items():
        np.testing.assert_allclose(recorded[name], values, rtol=1e-5)
