"""Selection methods as a study: keys, pairing over seeds, failures, the picture."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest

from spaces.sparsity.nm_sparsity import NMPattern
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import FloatArray
from strategies.nm.method_study import SelectedFidelity, picture
from strategies.nm.selection import OWL_LAMBDAS, SelectionTask, owl_with
from strategies.reporting.heat_map import HeatMap, heat_map_figure
from tests.strategies.nm.test_selection import synthetic


class KnownModel:
    """Loses what the assignment drops, a little more for odd seeds."""

    def __init__(self) -> None:
        self.measured = 0

    def statistics(self, seed: int) -> NMStatistics:
        return synthetic(12, seed)

    def measure(self, assignment: Mapping[str, NMPattern], seed: int) -> Mapping[str, float]:
        self.measured += 1
        statistics = self.statistics(seed)
        columns = [statistics.patterns.index(assignment[n]) for n in statistics.layers]
        kept = statistics.retained_fraction("saliency")[np.arange(12), columns].mean()
        return {"fidelity_loss": float(1 - kept + 0.01 * (seed % 2))}

    def calibration_loss(self, assignment: Mapping[str, NMPattern], seed: int) -> float:
        return self.measure(assignment, seed)["fidelity_loss"]


class PricedModel:
    """Twelve layers whose latency is their number times their density."""

    def unit_costs(self, patterns: Sequence[NMPattern]) -> Mapping[str, FloatArray]:
        density = np.array([pattern.density for pattern in patterns])
        return {"latency_cycles": (1.0 + np.arange(12))[:, None] * density[None, :]}


def columns(*rows: tuple[str, float, int]) -> dict[str, np.ndarray]:
    methods, targets, seeds = zip(*rows, strict=True)
    return {
        "method": np.array(methods, dtype=object),
        "target_sparsity": np.array(targets),
        "calibration_seed": np.array(seeds),
    }


def test_rows_are_measured_once_and_compared_in_pairs() -> None:
    model = KnownModel()
    evaluator = SelectedFidelity(model, tolerance=0.01)
    rows = [(m, 0.5, s) for m in ("uniform", "retained_saliency") for s in (0, 1, 2)]
    first = evaluator.evaluate(columns(*rows)).metrics["fidelity_loss"]
    again = evaluator.evaluate(columns(*rows)).metrics["fidelity_loss"]
    np.testing.assert_array_equal(first, again)
    assert model.measured == len(rows)
    gain = evaluator.methods.gain("retained_saliency", "uniform", 0.5, "fidelity_loss")
    gains = first[:3] - first[3:]
    assert gain.mean == pytest.approx(gains.mean())
    assert gain.standard_error == pytest.approx(gains.std(ddof=1) / np.sqrt(3))


def test_certificate_sparsity_and_retained_saliency_are_metrics() -> None:
    found = SelectedFidelity(KnownModel(), 0.01).evaluate(
        columns(("retained_saliency", 0.6, 0), ("retained_saliency_m8", 0.6, 0))
    )
    assert found.metrics["certified"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(found.metrics["sparsity"], 0.6, atol=0.01)
    np.testing.assert_allclose(found.metrics["density"], 1 - found.metrics["sparsity"])
    free, eight = found.metrics["retained_saliency"]
    assert free > eight


def test_an_impossible_target_fails_its_row_only() -> None:
    found = SelectedFidelity(KnownModel(), 0.001).evaluate(
        columns(("uniform", 0.5, 0), ("uniform", 0.95, 0))
    )
    assert list(found.failures) == [1]
    assert "cannot be met" in found.failures[1]
    assert found.feasible.tolist() == [True, False]


def test_dense_ends_stay_dense_inside_the_target() -> None:
    evaluator = SelectedFidelity(KnownModel(), 0.02, dense_ends=1)
    account = evaluator.explain(columns(("retained_saliency", 0.5, 0)))
    assert abs(account["metrics"]["sparsity"] - 0.5) <= 0.02 + 1e-9
    lines = account["texts"]["N:M per layer, retained_saliency at 50%"].splitlines()
    assert lines[1].split()[:2] == ["h.0", "1:1"]
    assert lines[-1].split()[-1] == "1:1"
    assert account["selection"]["certified"]


def test_budgets_need_hardware_and_bind() -> None:
    model = PricedModel()
    row = columns(("retained_saliency", 0.5, 0))
    free = SelectedFidelity(KnownModel(), 0.02).selection(("retained_saliency", 0.5, 0))
    cost = model.unit_costs(free.patterns)["latency_cycles"]
    used = float(cost[np.arange(12), free.choice].sum())
    limited = SelectedFidelity(
        KnownModel(), 0.02, hardware=model, budgets={"latency_cycles": 0.9 * used}
    )
    found = limited.selection(("retained_saliency", 0.5, 0))
    assert float(cost[np.arange(12), found.choice].sum()) <= 0.9 * used + 1e-9
    with pytest.raises(ValueError, match="no hardware to price layers with"):
        SelectedFidelity(KnownModel(), budgets={"latency_cycles": 1.0}).evaluate(row)


def test_survey_pictures_every_layer_by_every_method() -> None:
    designs = columns(("uniform", 0.5, 1), ("owl", 0.5, 0), ("owl", 0.5, 1), ("owl", 0.6, 0))
    maps = SelectedFidelity(KnownModel(), 0.02).survey(designs)["heat_maps"]
    assert list(maps) == ["nm_per_layer_at_50_percent", "nm_per_layer_at_60_percent"]
    rows = maps["nm_per_layer_at_50_percent"]["rows"]
    assert len(rows) == 2 * 12
    assert {row["layer"] for row in rows} == {"q", "v"}
    figure = heat_map_figure(HeatMap(**maps["nm_per_layer_at_60_percent"]))
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert shown == {row["N:M"] for row in maps["nm_per_layer_at_60_percent"]["rows"]}


def test_rows_measured_elsewhere_are_compared_without_measuring_again() -> None:
    """What a worker process measured, the process that reports is told of."""
    rows = columns(("uniform", 0.5, 0), ("owl_tuned", 0.5, 0), ("retained_saliency", 0.5, 0))
    worker, model = SelectedFidelity(KnownModel(), 0.02), KnownModel()
    found = worker.evaluate(rows)
    reporter = SelectedFidelity(model, 0.02)
    reporter.remember(rows, found.metrics)
    assert reporter.methods.rows == worker.methods.rows
    account = reporter.explain(columns(("retained_saliency", 0.5, 0)))
    (table,) = account["tables"].values()
    assert {row["method"] for row in table} == {"uniform", "owl_tuned", "retained_saliency"}
    key = ("owl_tuned", 0.5, 0)
    assert reporter.selection(key).assignment == worker.selection(key).assignment
    assert reporter.selection(key).settings == worker.selection(key).settings
    assert model.measured == 0


def test_owl_tuned_takes_the_settings_of_least_loss_on_calibration_text() -> None:
    """The model's loss falls with the retained saliency, so no other setting retains more."""
    model = KnownModel()
    statistics, study = model.statistics(0), SelectedFidelity(model, 0.02)
    found = study.evaluate(columns(("owl_tuned", 0.6, 0), ("owl", 0.6, 0)))
    chosen = (found.metrics["owl_lambda"][0], found.metrics["owl_threshold"][0])
    losses = {}
    for threshold, scale in product((3.0, 5.0), OWL_LAMBDAS):
        presence = statistics.presence_above(threshold)
        other = owl_with(SelectionTask(statistics, 0.6, 0.02), scale, presence)
        losses[scale, threshold] = model.calibration_loss(other.assignment, 0)
    assert losses[chosen] == min(losses.values()) < max(losses.values())
    assert found.metrics["fidelity_loss"][0] == pytest.approx(min(losses.values()))
    assert np.isnan(found.metrics["owl_lambda"][1])


def test_picture_has_a_line_per_block() -> None:
    statistics = synthetic(4)
    text = picture(dict.fromkeys(statistics.layers, NMPattern(2, 4)), statistics)
    assert [line.split() for line in text.splitlines()] == [
        ["block", "q", "v"],
        ["h.0", "2:4", "2:4"],
        ["h.1", "2:4", "2:4"],
    ]
