"""Selection methods as a study: keys, pairing over seeds, failures, the picture."""

from collections.abc import Mapping

import numpy as np
import pytest

from spaces.sparsity.nm_sparsity import NMPattern
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.method_study import SelectedFidelity, picture
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
    table = {row["method"]: row for row in evaluator.comparison_rows()}
    gains = first[:3] - first[3:]
    assert table["retained_saliency"]["gain_over_uniform"] == pytest.approx(gains.mean())
    error = gains.std(ddof=1) / np.sqrt(3)
    assert table["retained_saliency"]["standard_error"] == pytest.approx(error)
    assert table["uniform"]["gain_over_uniform"] == 0.0


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


def test_picture_has_a_line_per_block() -> None:
    statistics = synthetic(4)
    text = picture(dict.fromkeys(statistics.layers, NMPattern(2, 4)), statistics)
    assert [line.split() for line in text.splitlines()] == [
        ["block", "q", "v"],
        ["h.0", "2:4", "2:4"],
        ["h.1", "2:4", "2:4"],
    ]
