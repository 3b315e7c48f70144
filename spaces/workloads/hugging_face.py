"""A Hugging Face `config.json` as the shape of a language model. Weights are not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.validation import nearest
from spaces.workloads.language_model import LanguageModelShape, language_model
from spaces.workloads.mamba import MambaShape
from spaces.workloads.mixture_of_experts import MixtureShape
from spaces.workloads.transformer import TransformerShape
from spaces.workloads.workload import Precision, Workload


def hugging_face(
    path: str,
    phase: str = "decode",
    batch: int = 1,
    context: int = 2048,
    bits: Precision | None = None,
) -> Workload:
    """Workload of one pass through the model that a `config.json` describes.

    Args:
        path: The file, or the folder that contains it.
        phase: `prefill` or `decode`.
        batch: Sequences handled together.
        context: Prompt length (prefill), or positions attended (decode).
        bits: Word widths, 8-bit operands by default.

    Raises:
        ValueError: If the file is missing, is no JSON object, has an unknown `model_type`, lacks a
            key, or describes a variant that is not modelled.
    """
    return language_model(read_shape(path), phase, batch, context, bits)


def read_shape(path: str | Path) -> LanguageModelShape:
    """Shape of the model whose `config.json` (or folder) this is; errors as `hugging_face`."""
    file = Path(path).expanduser()
    file = file / "config.json" if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"workload.path must be a config.json or a folder with one, got {path}")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold a JSON object, got {type(values).__name__}")
    config = Config(file, values)
    family = str(config.required("model_type"))
    if family not in FAMILIES:
        supported = ", ".join(sorted(FAMILIES))
        raise ValueError(f"{file}: model_type {family!r} is not one of {supported}")
    return FAMILIES[family](config)


@dataclass(frozen=True)
class Config:
    """The keys of one config file."""

    file: Path
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name if the file says it, else its folder's."""
        return Path(str(self.values.get("_name_or_path") or self.file.resolve().parent)).name

    def required(self, key: str) -> Any:
        """The value of a key; `ValueError` with a near miss when it is absent or null."""
        if self.values.get(key) is None:
            raise ValueError(f"{self.file}: key {key!r} is missing{nearest(key, self.values)}")
        return self.values[key]

    def size(self, key: str) -> int:
        """A required integer >= 1."""
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{self.file}: {key} must be an integer >= 1, got {value!r}")
        return value

    def optional_size(self, key: str) -> int:
        """An integer >= 1, or 0 when the key is absent or null."""
        return self.size(key) if self.values.get(key) is not None else 0

    def flag(self, key: str, default: bool) -> bool:
        """A boolean, or its family's default."""
        return bool(self.values.get(key, default))

    def text(self, key: str, default: str) -> str:
        """A word, or its family's default."""
        return str(self.values.get(key) or default)

    def demand(self, key: str, value: object) -> None:
        """Raise `ValueError` unless an optional key is absent or has the one supported value."""
        if self.values.get(key, value) not in (value, None):
            raise ValueError(
                f"{self.file}: only {key}={value!r} is modelled, got {self.values[key]!r}"
            )


def _llama(config: Config) -> TransformerShape:
    """Rotary positions, RMS norms, gated feed-forward: LLaMA, Mistral, Qwen2."""
    family = config.required("model_type")
    qkv_bias = config.flag("attention_bias", family == "qwen2")
    config.demand("mlp_bias", False)
    if family == "llama":
        config.demand("attention_bias", False)
    sliding = config.flag("use_sliding_window", family == "mistral")
    return TransformerShape(
        name=config.name,
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        kv_heads=config.optional_size("num_key_value_heads"),
        head_dim=config.optional_size("head_dim"),
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        decoder_layers=config.size("num_hidden_layers"),
        nonlinearity=config.text("hidden_act", "silu"),
        gated=True,
        norm="rms",
        bias="qkv" if qkv_bias else "none",
        tied_embeddings=config.flag("tie_word_embeddings", False),
        window=config.optional_size("sliding_window") if sliding else 0,
    )


def _mixtral(config: Config) -> MixtureShape:
    """Mixtral: LLaMA's attention, a router and gated experts."""
    sliding = config.optional_size("sliding_window")
    return MixtureShape(
        name=config.name,
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        kv_heads=config.optional_size("num_key_value_heads"),
        head_dim=config.optional_size("head_dim"),
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        decoder_layers=config.size("num_hidden_layers"),
        nonlinearity=config.text("hidden_act", "silu"),
        gated=True,
        norm="rms",
        tied_embeddings=config.flag("tie_word_embeddings", False),
        window=sliding,
        experts=config.size("num_local_experts"),
        experts_per_token=config.size("num_experts_per_tok"),
    )


def _opt(config: Config) -> TransformerShape:
    hidden = config.size("hidden_size")
    config.demand("word_embed_proj_dim", hidden)
    config.demand("do_layer_norm_before", True)
    return TransformerShape(
        name=config.name,
        hidden=hidden,
        heads=config.size("num_attention_heads"),
        feed_forward=config.size("ffn_dim"),
        vocabulary=config.size("vocab_size"),
        decoder_layers=config.size("num_hidden_layers"),
        nonlinearity=config.text("activation_function", "relu"),
        bias="all" if config.flag("enable_bias", True) else "none",
        tied_embeddings=config.flag("tie_word_embeddings", True),
        learned_positions=config.size("max_position_embeddings"),
        position_offset=2,
    )


def _gpt2(config: Config) -> TransformerShape:
    hidden = config.size("n_embd")
    return TransformerShape(
        name=config.name,
        hidden=hidden,
        heads=config.size("n_head"),
        feed_forward=config.optional_size("n_inner") or 4 * hidden,
        vocabulary=config.size("vocab_size"),
        decoder_layers=config.size("n_layer"),
        nonlinearity=config.text("activation_function", "gelu_new"),
        bias="all",
        tied_embeddings=config.flag("tie_word_embeddings", True),
        learned_positions=config.size("n_positions"),
    )


def _bert(config: Config) -> TransformerShape:
    """BERT and RoBERTa without a task head, with the pooler; RoBERTa's table has 2 spare rows."""
    spare = 2 if config.required("model_type") == "roberta" else 0
    return TransformerShape(
        name=config.name,
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        encoder_layers=config.size("num_hidden_layers"),
        nonlinearity=config.text("hidden_act", "gelu"),
        bias="all",
        learned_positions=config.size("max_position_embeddings") - spare,
        position_offset=spare,
        token_types=config.size("type_vocab_size"),
        embedding_norm=True,
        final_norm=False,
        pooler=True,
    )


def _bart(config: Config) -> TransformerShape:
    heads, feed_forward = (
        config.size("encoder_attention_heads"),
        config.size("encoder_ffn_dim"),
    )
    config.demand("decoder_attention_heads", heads)
    config.demand("decoder_ffn_dim", feed_forward)
    return TransformerShape(
        name=config.name,
        hidden=config.size("d_model"),
        heads=heads,
        feed_forward=feed_forward,
        vocabulary=config.size("vocab_size"),
        encoder_layers=config.size("encoder_layers"),
        decoder_layers=config.size("decoder_layers"),
        nonlinearity=config.text("activation_function", "gelu"),
        bias="all",
        learned_positions=config.size("max_position_embeddings"),
        position_offset=2,
        embedding_norm=True,
        final_norm=False,
    )


def _mamba(config: Config) -> MambaShape:
    rank = config.values.get("time_step_rank")
    return MambaShape(
        name=config.name,
        layers=config.size("num_hidden_layers"),
        hidden=config.size("hidden_size"),
        vocabulary=config.size("vocab_size"),
        expand=config.optional_size("expand") or 2,
        state=config.optional_size("state_size") or 16,
        kernel=config.optional_size("conv_kernel") or 4,
        time_rank=0 if rank == "auto" else config.optional_size("time_step_rank"),
        tied_embeddings=config.flag("tie_word_embeddings", True),
    )


FAMILIES: Mapping[str, Callable[[Config], LanguageModelShape]] = {
    "llama": _llama,
    "mistral": _llama,
    "mixtral": _mixtral,
    "qwen2": _llama,
    "opt": _opt,
    "gpt2": _gpt2,
    "bert": _bert,
    "roberta": _bert,
    "bart": _bart,
    "mamba": _mamba,
}
"""Supported values of `model_type`."""
