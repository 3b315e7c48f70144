"""Real `config.json` contents of eight families, with the parameter totals known for them."""

import json

import pytest

from spaces.workloads.hugging_face import FAMILIES, hugging_face, read_shape
from spaces.workloads.language_model import language_model
from spaces.workloads.transformer import TransformerShape

LLAMA = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "attention_bias": False,
}
GPT2 = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_embd": 1024,
    "n_head": 16,
    "n_layer": 24,
    "n_positions": 1024,
    "vocab_size": 50257,
}
OPT = {
    "model_type": "opt",
    "activation_function": "relu",
    "do_layer_norm_before": True,
    "ffn_dim": 16384,
    "hidden_size": 4096,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 50272,
    "word_embed_proj_dim": 4096,
}
BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
ROBERTA = {
    **BERT,
    "model_type": "roberta",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 1,
    "vocab_size": 50265,
}
BART = {
    "model_type": "bart",
    "activation_function": "gelu",
    "d_model": 1024,
    "decoder_attention_heads": 16,
    "decoder_ffn_dim": 4096,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "encoder_layers": 12,
    "max_position_embeddings": 1024,
    "vocab_size": 50265,
}
MISTRAL = {
    "model_type": "mistral",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
QWEN2 = {
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
MAMBA = {
    "model_type": "mamba",
    "conv_kernel": 4,
    "expand": 2,
    "hidden_size": 2560,
    "num_hidden_layers": 64,
    "state_size": 16,
    "time_step_rank": 160,
    "vocab_size": 50280,
}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
KNOWN = [
    (MIXTRAL, 46_702_792_704),
    (LLAMA, 8_030_261_248),
    (GPT2, 354_823_168),
    (OPT, 6_658_473_984),
    (BERT, 335_141_888),
    (ROBERTA, 124_645_632),
    (BART, 406_291_456),
    (MISTRAL, 7_241_732_096),
    (QWEN2, 494_032_768),
    (MAMBA, 2_768_345_600),
]


def write(folder, values):
    file = folder / "config.json"
    file.write_text(values if isinstance(values, str) else json.dumps(values, indent=1))
    return file


def without(values, key):
    return {name: value for name, value in values.items() if name != key}


def test_every_family_has_a_known_total():
    assert {values["model_type"] for values, _ in KNOWN} == set(FAMILIES)


@pytest.mark.parametrize(("values", "parameters"), KNOWN)
def test_parameters_of_real_configs(tmp_path, values, parameters):
    workload = hugging_face(str(write(tmp_path, values)), "prefill", context=64)
    assert workload.parameters == parameters
    assert workload.tokens == 64


def test_a_folder_is_as_good_as_its_file_and_gives_the_name(tmp_path):
    folder = tmp_path / "Meta-Llama-3-8B"
    folder.mkdir()
    write(folder, LLAMA)
    shape = read_shape(folder)
    assert shape.name == "Meta-Llama-3-8B"
    assert shape == read_shape(folder / "config.json")


def test_macs_equal_those_of_the_shipped_shape(tmp_path):
    ours = TransformerShape(
        "llama3_8b",
        4096,
        32,
        14336,
        128256,
        decoder_layers=32,
        kv_heads=8,
        nonlinearity="silu",
        gated=True,
        norm="rms",
        tied_embeddings=False,
    )
    theirs = hugging_face(str(write(tmp_path, LLAMA)), context=8192)
    assert theirs.operators == language_model(ours, context=8192).operators


def test_old_llama_configs_have_no_key_heads(tmp_path):
    shape = read_shape(write(tmp_path, without(LLAMA, "num_key_value_heads")))
    assert shape.key_heads == 32


def test_sliding_windows_count_where_the_family_uses_them(tmp_path):
    assert read_shape(write(tmp_path, MISTRAL)).window == 4096
    assert read_shape(write(tmp_path, {**MISTRAL, "sliding_window": None})).window == 0
    assert read_shape(write(tmp_path, QWEN2)).window == 0


def test_nonlinearity_reaches_the_feed_forward(tmp_path):
    operators = {op.name: op for op in hugging_face(str(write(tmp_path, OPT))).operators}
    assert operators["down_proj"].tags == {"after": "relu"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{not json", r"config\.json:1: is not JSON"),
        ("[1, 2]", r"config\.json:1: config: must be a JSON object, got \[1, 2\]"),
        ({}, "key 'model_type' is missing"),
        ({"model_type": "t5"}, "model_type: must be one of llama, .*, mamba, got 't5'"),
        (without(LLAMA, "hidden_size"), "key 'hidden_size' is missing"),
        ({**LLAMA, "hidden_size": "big"}, r":4: hidden_size: must be an integer >= 1, got 'big'"),
        (
            {**LLAMA, "num_hidden_layers": 0},
            r":7: num_hidden_layers: must be an integer >= 1",
        ),
        ({**LLAMA, "mlp_bias": True}, r":12: mlp_bias: only False is modelled, got True"),
        (
            {**OPT, "word_embed_proj_dim": 512},
            "word_embed_proj_dim: only 4096 is modelled",
        ),
        ({**BART, "decoder_ffn_dim": 1}, "decoder_ffn_dim: only 4096 is modelled, got 1"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path, values, message):
    file = write(tmp_path, values)
    with pytest.raises(ValueError, match=message) as error:
        hugging_face(str(file))
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_a_near_miss_is_suggested(tmp_path):
    values = {**without(LLAMA, "vocab_size"), "vocabulary_size": 128256}
    with pytest.raises(ValueError, match="did you mean 'vocabulary_size'"):
        hugging_face(str(write(tmp_path, values)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"workload\.path must be a config\.json or a folder"):
        hugging_face(str(tmp_path / "nowhere"))
