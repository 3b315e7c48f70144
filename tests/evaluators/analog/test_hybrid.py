"""Exact mixtures under an array budget against exhaustive enumeration of the space."""

from itertools import pairwise

import numpy as np
import pytest

from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.hybrid import best_hybrid
from evaluators.analog.technology import technology
from spaces.cim.mapping import CimChoices, CimMappingSpace
from spaces.cim.model import CimModel, ProjectionSite, cim_model
from spaces.workloads.transformer import TransformerShape

SITES = (
    ProjectionSite("q", 256, 256, 1, 2, 0),
    ProjectionSite("kv", 256, 64, 2, 2, 0),
    ProjectionSite("o", 256, 256, 1, 2, 1),
    ProjectionSite("up", 256, 1024, 1, 2, 2),
)
SPACE = CimMappingSpace(
    CimModel("small", SITES), CimChoices(array_size=(64,), packing=("spread",), block=(0, 32))
)


@pytest.mark.parametrize("goal", ["token_latency_ns", "energy_pj"])
@pytest.mark.parametrize("budget", [50, 60, 120, 400])
def test_no_enumerated_design_is_better(goal: str, budget: int) -> None:
    evaluator = AnalogCim(technology("pcm"), overlap="token", array_budget=budget)
    best = best_hybrid(evaluator, SPACE, budget, goal)
    assert best.arrays <= budget
    values = []
    for columns in SPACE.enumerate(20000):
        evaluation = evaluator.evaluate(SPACE.decode(columns))
        values.append(evaluation.metrics[goal][evaluation.feasible].min(initial=np.inf))
    assert best.value == pytest.approx(min(values), rel=1e-9)


def test_per_layer_mixture_of_a_model_uses_its_budget() -> None:
    """BERT-large between DenseMap's 480 arrays and SparseMap's 2304: layers differ."""
    bert = TransformerShape("bert_large", 1024, 16, 4096, 30522, encoder_layers=24)
    model = cim_model(bert, 512).per_layer()
    choices = CimChoices(mapping=("sparse", "dense_a"), packing=("per_factor",))
    space = CimMappingSpace(model, choices)
    evaluator = AnalogCim(technology("pcm"), overlap="token")
    values = [best_hybrid(evaluator, space, budget).value for budget in (576, 1000, 1600, 2304)]
    assert all(a > b for a, b in pairwise(values))
    best = best_hybrid(evaluator, space, 1000)
    chosen = {best.design.values(0)[f"{site.name}.mapping"] for site in model.sites}
    assert chosen == {"sparse", "dense_a"}


def test_budget_too_small() -> None:
    with pytest.raises(ValueError, match=r"array_budget must be >= \d+ for this model, got 1"):
        best_hybrid(AnalogCim(technology("pcm")), SPACE, 1)


def test_unknown_goal() -> None:
    with pytest.raises(ValueError, match="goal must be one of token_latency_ns, energy_pj"):
        best_hybrid(AnalogCim(technology("pcm")), SPACE, 100, "area_mm2")
