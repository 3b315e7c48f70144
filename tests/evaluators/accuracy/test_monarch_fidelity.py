"""Monarch projection of the real encoder: residuals, measured fidelity, recovery of factors."""

import numpy as np
import pytest

from evaluators.accuracy.monarch import project
from evaluators.accuracy.monarch_fidelity import (
    MonarchFidelity,
    Recovery,
    output_residual,
    tune_factors,
)
from spaces.cim.monarch_shape import monarch_shape

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def fidelity() -> MonarchFidelity:
    return MonarchFidelity(rule="rectangular", layers=("layer.0.",), held_out_texts=24, length=32)


def test_every_layer_reports_its_residual(fidelity: MonarchFidelity) -> None:
    assert len(fidelity.projections) == 6
    for name, projection in fidelity.projections.items():
        assert 0.3 < projection.weight_residual < 1.0, name
        assert projection.reduction > 5


def test_fidelity_is_measured_and_projection_costs_some(fidelity: MonarchFidelity) -> None:
    dense = fidelity.meter.measure(lambda name, weights: weights)
    projected = fidelity.measure()
    assert dense["embedding_similarity"] == pytest.approx(1.0, abs=1e-6)
    assert 0.0 < projected["embedding_similarity"] < 0.999
    assert projected["weight_reduction"] > 5


def test_recovery_lowers_the_output_error(fidelity: MonarchFidelity) -> None:
    tuned = fidelity.recover(Recovery(steps=30, sequences=16))
    assert tuned.keys() == fidelity.projections.keys()
    better = fidelity.measure(tuned)["embedding_similarity"]
    assert better > fidelity.measure()["embedding_similarity"]
    for projection in tuned.values():
        assert projection.output_residual < 1.0


def test_tuning_keeps_an_exact_matrix() -> None:
    rng = np.random.default_rng(0)
    shape = monarch_shape("tiled", 32, 16, 4)
    exact = project(rng.standard_normal((16, 32)), shape).matrix
    inputs = rng.standard_normal((32, 100))
    tuned = tune_factors(exact.dense(), exact, inputs @ inputs.T, Recovery(steps=3))
    assert output_residual(exact.dense(), tuned, inputs @ inputs.T) < 1e-7


def test_tuning_beats_the_projection_in_the_metric_of_the_inputs() -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((64, 64))
    inputs = rng.standard_normal((64, 8)) @ rng.standard_normal((8, 200))
    gram = inputs @ inputs.T
    start = project(weight, monarch_shape("padded", 64, 64)).matrix
    tuned = tune_factors(weight, start, gram, Recovery(steps=100))
    assert output_residual(weight, tuned, gram) < 0.8 * output_residual(weight, start, gram)


def test_unknown_layers_and_settings() -> None:
    with pytest.raises(ValueError, match="no linear layer matches"):
        _ = MonarchFidelity(layers=("nothing",)).chosen_layers
    with pytest.raises(ValueError, match="steps, sequences and learning_rate must be positive"):
        Recovery(steps=0)
