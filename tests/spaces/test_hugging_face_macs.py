"""MACs of real implementations, counted by torch while they run on shapes alone."""

from dataclasses import replace

import pytest

from spaces.workloads.hugging_face import read_shape
from spaces.workloads.language_model import language_model

SIZES = {"vocab_size": 101, "hidden_size": 64, "num_hidden_layers": 3}
GROUPED = {"num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 172}
GPT2_SIZES = {"vocab_size": 101, "n_embd": 64, "n_layer": 3, "n_head": 4}
OPT_SIZES = {"num_attention_heads": 4, "ffn_dim": 172, "word_embed_proj_dim": 64}
CASES = {
    "Llama": ("LlamaConfig", "LlamaForCausalLM", {**SIZES, **GROUPED}),
    "Qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {**SIZES, **GROUPED}),
    "GPT2": ("GPT2Config", "GPT2LMHeadModel", GPT2_SIZES),
    "OPT": ("OPTConfig", "OPTForCausalLM", {**SIZES, **OPT_SIZES}),
    "BERT": (
        "BertConfig",
        "BertModel",
        {**SIZES, "num_attention_heads": 4, "intermediate_size": 172},
    ),
}


@pytest.mark.llm
@pytest.mark.parametrize("family", CASES)
def test_macs_and_parameters_equal_those_of_the_implementation(family, tmp_path):
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    config_class, model_class, sizes = CASES[family]
    config = getattr(transformers, config_class)(**sizes)
    config._attn_implementation = "eager"
    with torch.device("meta"):
        model = getattr(transformers, model_class)(config).eval()
        tokens = torch.zeros((2, 37), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=tokens)

    config.save_pretrained(tmp_path)
    # Eager attention computes the full square, and the head reads every position.
    shape = replace(read_shape(tmp_path), causal=False, head="all")
    workload = language_model(shape, "prefill", batch=2, context=37)
    assert workload.macs == counter.get_total_flops() / 2
    assert workload.parameters == sum(weight.numel() for weight in model.parameters())
