"""Totals of published models, and what each phase runs."""

from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from spaces.workloads.language_model import language_model
from spaces.workloads.mamba import MambaShape
from spaces.workloads.transformer import TransformerShape, mean_visible_keys
from spaces.workloads.workload import TensorClass

CONF = str(Path(__file__).parents[3] / "conf")

PARAMETERS = {
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "llama3_8b": 8_030_261_248,
    "opt_6_7b": 6_658_473_984,
    "gpt2_medium": 354_823_168,
    "bert_large": 335_141_888,
    "bart_large": 406_291_456,
    "mamba_2_8b": 2_768_345_600,
}
"""Numbers of parameters that transformers 5.23 counts in these architectures."""


def build(name, *overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose(
            overrides=[f"+workload={name}", *(f"workload.{item}" for item in overrides)]
        )
    return instantiate(config.workload)


def tiny(**changes):
    sizes = {"hidden": 8, "heads": 4, "feed_forward": 12, "vocabulary": 11, "decoder_layers": 3}
    return TransformerShape(**{"name": "tiny", **sizes, **changes})


def by_name(workload):
    return {operator.name: operator for operator in workload.operators}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_match_the_published_model_to_the_digit(name):
    assert build(name).parameters == PARAMETERS[name]


def test_llama_decode_step_macs():
    workload = build("llama2_7b")
    projections = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32000
    attention = 32 * 2 * 4096 * 2048
    assert workload.matmul_parameters == projections == 6_607_077_376
    assert workload.macs == projections + attention
    embeddings_and_norms = 32000 * 4096 + (2 * 32 + 1) * 4096
    assert workload.parameters == projections + embeddings_and_norms


def test_llama_decode_is_eight_operators_with_readable_names():
    operators = by_name(build("llama2_7b"))
    assert {name: operator.count for name, operator in operators.items()} == {
        "q_proj": 32,
        "kv_proj": 64,
        "attention_scores": 32,
        "attention_context": 32,
        "o_proj": 32,
        "gate_up_proj": 64,
        "down_proj": 32,
        "lm_head": 1,
    }
    assert operators["kv_proj"].layers == tuple(range(32))
    assert operators["lm_head"].layers == ()


def test_grouped_queries_share_their_key_head():
    operators = by_name(build("llama3_8b", "batch=3", "context=2049"))
    scores, context = operators["attention_scores"], operators["attention_context"]
    assert scores.ranks == {"B": 3 * 8, "M": 4, "K": 128, "N": 2049}
    assert context.ranks == {"B": 3 * 8, "M": 4, "K": 2049, "N": 128}
    cached = scores.tensor_elements("W") + context.tensor_elements("W")
    assert cached == 3 * 2049 * 2 * 8 * 128
    assert scores.tensor("W").tensor_class is TensorClass.KV
    assert operators["kv_proj"].ranks == {"M": 3, "K": 4096, "N": 1024}


def test_knobs_reach_the_workload_from_the_command_line():
    workload = build("llama2_7b", "phase=prefill", "batch=2", "context=8192", "bits.weight=4")
    assert workload.precision.weight == 4
    assert workload.precision.kv == 8
    assert workload.tokens == 2 * 8192
    assert by_name(workload)["q_proj"].ranks["M"] == 2 * 8192
    assert workload.name == "llama2_7b prefill, batch 2, context 8192"


@pytest.mark.parametrize(("head", "rows"), [("last", 2), ("all", 20), ("none", None)])
def test_prefill_head_reads_the_positions_asked_for(head, rows):
    operators = by_name(language_model(tiny(head=head), "prefill", batch=2, context=10))
    assert ("lm_head" in operators) == (rows is not None)
    if rows:
        assert operators["lm_head"].ranks == {"M": rows, "K": 8, "N": 11}


@pytest.mark.parametrize(("context", "window"), product((1, 2, 7, 8, 31), (0, 1, 3, 40)))
def test_visible_keys_against_a_literal_count(context, window):
    pairs = sum(
        1
        for query in range(context)
        for key in range(query + 1)
        if not window or query - key < window
    )
    keys = mean_visible_keys(context, window)
    assert pairs <= keys * context < pairs + context


def test_causal_prefill_counts_the_triangle_and_the_option_the_square():
    triangle = by_name(language_model(tiny(), "prefill", context=9))["attention_scores"]
    square = by_name(language_model(tiny(causal=False), "prefill", context=9))["attention_scores"]
    assert triangle.macs == 4 * 2 * sum(range(1, 10))
    assert square.macs == 4 * 2 * 9 * 9
    assert triangle.tensor_elements("A") == square.tensor_elements("A")


def test_window_limits_the_keys_of_a_decode_step():
    scores = by_name(language_model(tiny(window=16), context=100))["attention_scores"]
    assert scores.ranks["N"] == 16


def test_prefill_of_one_token_equals_a_decode_step_without_past():
    prefill = language_model(tiny(), "prefill", context=1)
    assert prefill.operators == language_model(tiny(), "decode", context=1).operators


def test_encoder_keys_are_not_a_cache_and_the_encoder_cannot_decode():
    operators = by_name(build("bert_large"))
    assert operators["attention_scores"].tensor("W").tensor_class is TensorClass.ACTIVATION
    assert operators["attention_scores"].ranks == {"B": 16, "M": 512, "K": 64, "N": 512}
    assert operators["pooler"].ranks["M"] == 1
    with pytest.raises(ValueError, match="phase must be prefill for encoder-only"):
        language_model(tiny(decoder_layers=0, encoder_layers=2), "decode")


def test_encoder_decoder_prefill_and_decode_together_read_every_matrix_once():
    prefill, decode = build("bart_large", "phase=prefill"), build("bart_large")
    encoder, decoder = 12 * 12 * 1024**2, 12 * 16 * 1024**2
    shared = prefill.matmul_parameters + decode.matmul_parameters
    assert shared == encoder + decoder + 50265 * 1024
    assert not set(by_name(prefill)) & set(by_name(decode))
    assert by_name(prefill)["cross.kv_proj"].count == 24


def test_cross_attention_reads_the_source():
    shape = tiny(encoder_layers=2, source=77)
    operators = by_name(language_model(shape, context=5))
    assert operators["cross.attention_scores"].ranks["N"] == 77
    assert operators["decoder.attention_scores"].ranks["N"] == 5


def test_mamba_decode_step_reads_weights_and_state_once():
    workload = build("mamba_2_8b", "batch=2")
    operators = by_name(workload)
    state = operators["scan_output"].tensor("W")
    assert state.tensor_class is TensorClass.KV
    assert operators["scan_output"].tensor_elements("W") == 2 * 16 * 5120
    assert operators["scan_update"].tensor_elements("Z") == 2 * 16 * 5120
    assert operators["conv1d"].tensor_elements("A") == 2 * 5120 * 4
    assert operators["conv1d"].tensor_elements("W") == 5120 * 4
    vectors = 64 * (5120 + 5120 + 5120 * 16 + 5120 + 2560) + 2560
    assert workload.matmul_parameters == workload.parameters - vectors


def test_mamba_prefill_macs_are_linear_in_the_context():
    shape = MambaShape("m", layers=2, hidden=16, vocabulary=32, head="none")
    short, long = (language_model(shape, "prefill", context=n).macs for n in (5, 50))
    assert long == 10 * short


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"phase": "train"}, "phase must be prefill or decode, got 'train'"),
        ({"batch": 0}, "batch must be an integer >= 1, got 0"),
        ({"context": 2048.0}, r"context must be an integer >= 1, got 2048\.0"),
    ],
)
def test_bad_knobs_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        language_model(tiny(), **knobs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_heads": 3}, "heads must be a multiple of kv_heads=3, got 4"),
        ({"hidden": 10}, "hidden must be a multiple of heads=4 unless head_dim"),
        ({"norm": "batch"}, "norm must be one of rms, layer, got 'batch'"),
        ({"decoder_layers": 0}, "tiny: layers must be an integer >= 1, got 0"),
    ],
)
def test_bad_shapes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_context_beyond_learned_positions_is_refused():
    with pytest.raises(ValueError, match="context must be <= 1024, the learned positions of gpt2"):
        language_model(tiny(name="gpt2", learned_positions=1024), context=1025)
