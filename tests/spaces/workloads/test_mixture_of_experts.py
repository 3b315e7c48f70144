"""Mixtral-8x7B: totals published for it, and what a token reads."""

import json
from pathlib import Path

import pytest

from spaces.workloads.hugging_face import hugging_face, read_shape
from spaces.workloads.language_model import language_model
from spaces.workloads.mixture_of_experts import MixtureShape
from tests.spaces.workloads.test_hugging_face import MIXTRAL


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(MIXTRAL))
    return str(tmp_path)


def test_published_totals(config: str) -> None:
    shape = read_shape(config)
    assert isinstance(shape, MixtureShape)
    assert shape.parameters == 46_702_792_704
    assert shape.active_parameters == 12_879_925_248


def test_a_decode_step_reads_two_experts(config: str) -> None:
    workload = hugging_face(config, "decode", batch=1, context=16)
    shape = read_shape(config)
    assert isinstance(shape, MixtureShape)
    outside = 32000 * 4096 + (2 * 32 + 1) * 4096
    assert workload.matmul_parameters == shape.active_parameters - outside


def test_a_long_prefill_reads_every_expert_once(config: str) -> None:
    workload = language_model(read_shape(config), "prefill", 1, 2048)
    by_name = {operator.name: operator for operator in workload.operators}
    up = by_name["expert_up_proj"]
    assert (up.ranks["M"], up.count) == (512, 32 * 2 * 8)
    assert up.macs * up.count == 2048 * 2 * 2 * 4096 * 14336 * 32
    assert by_name["router"].ranks["N"] == 8
    assert "gate_up_proj" not in by_name


def test_more_visits_than_experts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"experts_per_token must be <= experts=2, got 3"):
        MixtureShape("m", 8, 2, 16, 10, decoder_layers=1, experts=2, experts_per_token=3)
