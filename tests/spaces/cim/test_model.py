"""Models as arrays see them: sites, stages, work outside the arrays."""

import pytest

from spaces.cim.model import CimModel, ProjectionSite, cim_model, cim_model_of_pass
from spaces.workloads.transformer import TransformerShape

BERT = TransformerShape("bert", 1024, 16, 4096, 30522, encoder_layers=24)
LLAMA70 = TransformerShape(
    "llama70", 8192, 64, 28672, 32000, decoder_layers=80, kv_heads=8, gated=True
)


def test_encoder_sites_and_flops() -> None:
    model = cim_model(BERT, 512)
    assert [site.name for site in model.sites] == ["qkv", "o", "up", "down"]
    assert model.parameters == 24 * 12 * 1024**2
    per_layer = 24 * 1024**2 * 512 + 4 * 512**2 * 1024
    assert model.dense_flops() == 24 * per_layer


def test_grouped_queries_are_two_sites_of_one_stage() -> None:
    model = cim_model(LLAMA70, 1, 4096)
    q, kv, *_ = model.sites
    assert (q.stage, kv.stage, kv.parallel, kv.out_features) == (0, 0, 2, 1024)
    assert model.sites[3].parallel == 2
    assert model.digital_sizes()["attention"] == 80 * 2 * 8192 * 4096


def test_cross_attention() -> None:
    bart = TransformerShape("bart", 64, 4, 128, 100, encoder_layers=2, decoder_layers=3)
    model = cim_model(bart, 16)
    names = [site.name for site in model.sites]
    assert names[:4] == ["encoder.qkv", "encoder.o", "encoder.up", "encoder.down"]
    assert names[-3:] == ["cross.q", "cross.kv", "cross.o"]
    assert model.digital_operations()["layernorm"] == 2 * 2 + 3 * 3
    assert model.digital_operations()["attention"] == 2 + 3 + 3


def test_per_layer_keeps_the_work() -> None:
    model = cim_model(BERT, 512)
    split = model.per_layer()
    assert len(split.sites) == 4 * 24
    assert split.parameters == model.parameters
    assert split.digital_sizes() == model.digital_sizes()


def test_passes() -> None:
    assert cim_model_of_pass(BERT, "prefill", 128).tokens == 128
    assert cim_model_of_pass(LLAMA70, "decode", 128).tokens == 1
    assert len(cim_model_of_pass(BERT, "prefill", 8, "layer").sites) == 96


class TestRefused:
    def test_empty(self) -> None:
        with pytest.raises(ValueError, match="sites must not be empty"):
            CimModel("none", ())

    def test_sizes(self) -> None:
        with pytest.raises(ValueError, match="site 'a': in_features must be >= 1, got 0"):
            ProjectionSite("a", 0, 4)

    def test_layers_of_a_stage(self) -> None:
        sites = (ProjectionSite("a", 4, 4, 1, 2), ProjectionSite("b", 4, 4, 1, 3))
        with pytest.raises(ValueError, match=r"site 'b': layers must be 2 .* got 3"):
            CimModel("uneven", sites)

    def test_pass(self) -> None:
        with pytest.raises(ValueError, match="phase must be prefill or decode, got 'train'"):
            cim_model_of_pass(BERT, "train")
        with pytest.raises(ValueError, match="granularity must be site or layer"):
            cim_model_of_pass(BERT, granularity="head")
        with pytest.raises(ValueError, match="tokens must be >= 1"):
            cim_model(BERT, 0)
