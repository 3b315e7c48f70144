"""Fused attention: blocks of rows whose scores stay on chip."""

import pytest

from spaces.workloads.fused_attention import fused_attention
from spaces.workloads.language_model import language_model
from spaces.workloads.transformer import TransformerShape

SHAPE = TransformerShape(
    "small", hidden=64, heads=8, feed_forward=96, vocabulary=50, decoder_layers=3, kv_heads=2
)
ENCODER = TransformerShape("e", 64, 8, 96, 50, encoder_layers=2, learned_positions=64)


def products(fuse: int, phase: str = "prefill", context: int = 63) -> dict:
    workload = language_model(SHAPE, phase, context=context, fuse_attention=fuse)
    return {op.name: op for op in workload.operators}


def test_prefill_is_cut_into_blocks_of_rows() -> None:
    plain, fused = products(0), products(126)
    scores, context = fused["attention_scores"], fused["attention_context"]
    assert dict(plain["attention_scores"].ranks) == {"B": 2, "M": 252, "K": 8, "N": 32}
    assert dict(scores.ranks) == {"M": 126, "K": 8, "N": 32}
    assert dict(context.ranks) == {"M": 126, "K": 32, "N": 8}
    assert scores.count == context.count == 3 * 2 * 2
    assert [t.name for t in scores.tensors if t.resident] == ["Z"]
    assert [t.name for t in context.tensors if t.resident] == ["A"]
    assert {n: o for n, o in plain.items() if "attention" not in n} == {
        n: o for n, o in fused.items() if "attention" not in n
    }


@pytest.mark.parametrize("rows", [1, 2, 7, 63, 126, 252, 504, 10**6])
def test_no_product_is_lost(rows: int) -> None:
    plain, fused = products(0), products(rows)
    for name in ("attention_scores", "attention_context"):
        before = plain[name].macs * plain[name].count
        after = fused[name].macs * fused[name].count
        blocks = -(-252 // min(rows, 252))
        assert before <= after < before * (1 + blocks / 252)
        assert fused[name].ranks.get("B", 1) * fused[name].ranks["M"] <= max(rows, 1)


def test_a_decode_step_takes_heads_together() -> None:
    scores = products(8, "decode")["attention_scores"]
    assert dict(scores.ranks) == {"B": 2, "M": 4, "K": 8, "N": 63}
    assert scores.count == 3


def test_encoders_and_batches_fuse_too() -> None:
    workload = language_model(ENCODER, "prefill", batch=2, context=16, fuse_attention=32)
    scores = next(op for op in workload.operators if op.name == "attention_scores")
    assert dict(scores.ranks) == {"B": 2, "M": 16, "K": 8, "N": 16}
    assert scores.count == 2 * 8
    assert "fused by 32 rows" in workload.name


def test_what_is_left_out_does_not_change() -> None:
    plain = language_model(SHAPE, "prefill", context=16)
    fused = language_model(SHAPE, "prefill", context=16, fuse_attention=4)
    assert fused.left_out == plain.left_out
    assert fused.parameters == plain.parameters
    assert fused_attention((), 4) == ()
    with pytest.raises(ValueError, match="fuse_attention must be an integer >= 1, got -2"):
        language_model(SHAPE, "prefill", context=16, fuse_attention=-2)
