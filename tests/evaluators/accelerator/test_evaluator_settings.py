"""Settings as plain data, and what an exact search refuses by name."""

from dataclasses import replace

import pytest
import yaml

from evaluators.accelerator.decoder import estimated_decoder
from evaluators.accelerator.evaluator_settings import evaluator_arguments, evaluator_settings
from evaluators.accelerator.intersection import IntersectionRule, SparseOptimization
from evaluators.accelerator.technology import Technology
from spaces.workloads.workload import matmul
from tests.evaluators.accelerator.test_sparse_accelerator import sparse_model
from tests.evaluators.random_nests import THREE_LEVELS

TINY = matmul("tiny", {"M": 8, "K": 8, "N": 8})


def test_settings_survive_a_design_file():
    model = replace(
        sparse_model(TINY, 0.3),
        hardware=THREE_LEVELS,
        technology=Technology("mine", {"dram_pj_per_bit": 9.0}, source="a test"),
        optimization=SparseOptimization(
            (IntersectionRule("RF", "A", ("W",), "gating"),), "gating", (("W", "X"),)
        ),
        decoder=estimated_decoder(16.0),
        drain_read=False,
        capacity_confidence=0.9,
    )
    settings = yaml.safe_load(yaml.safe_dump(evaluator_settings(model)))
    assert replace(model, **evaluator_arguments(settings)) == model
    plain = sparse_model(TINY, 0.3, SparseOptimization())
    assert evaluator_settings(plain) == {}
    assert replace(plain, **evaluator_arguments({})) == plain
    with pytest.raises(ValueError, match="evaluator: unknown key 'decoders'; did you mean 'decod"):
        evaluator_arguments({"decoders": {}})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"decoder": estimated_decoder(8.0)}, "elements_per_cycle must be unbounded, got 8.0"),
        ({"capacity_confidence": 0.9}, "capacity_confidence must be 0.5, got 0.9"),
        ({"optimization": SparseOptimization(packing=(("W", "X"),))}, "packing depends on the map"),
    ],
)
def test_cost_terms_refuse_what_they_cannot_say(change, text):
    model = replace(
        sparse_model(TINY, 0.3), hardware=THREE_LEVELS, optimization=SparseOptimization()
    )
    assert model.cost_terms().static_pj_per_cycle >= 0
    with pytest.raises(ValueError, match=text):
        replace(model, **change).cost_terms()
