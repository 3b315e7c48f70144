"""A Hugging Face `config.json` as the shape of a language model. Weights are not read.

`FAMILIES` says for every `model_type` where its config keeps the sizes, what the family always is,
and which variants are not modelled; one reader serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spaces.documents import located, parse, read_text
from spaces.validation import FieldError, check_choice, nearest
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
    fuse_attention: int = 0,
) -> Workload:
    """Workload of one pass through the model that a `config.json` describes.

    Args:
        path: The file, or the folder that contains it.
        phase: `prefill` or `decode`.
        batch: Sequences handled together.
        context: Prompt length (prefill), or positions attended (decode).
        bits: Word widths, 8-bit operands by default.
        fuse_attention: See `spaces.workloads.language_model.language_model`.

    Raises:
        ValueError: If the file is missing, is no JSON object, has an unknown `model_type`, lacks a
            key, or describes a variant that is not modelled; one line with file, line and key.
    """
    return language_model(read_shape(path), phase, batch, context, bits, fuse_attention)


def read_shape(path: str | Path) -> LanguageModelShape:
    """Shape of the model whose `config.json` (or folder) this is; errors as `hugging_face`."""
    file = Path(path).expanduser()
    file = file / "config.json" if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"workload.path must be a config.json or a folder with one, got {path}")
    text = read_text(file)
    values = parse(file.with_suffix(".json"), text)
    with located(file, text):
        if not isinstance(values, dict):
            raise FieldError(f"config: must be a JSON object, got {values!r}", "")
        config = Config(file, values)
        family = str(config.required("model_type"))
        check_choice("model_type", family, FAMILIES)
        return FAMILIES[family].read(config)


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
        """The value of a key; `FieldError` with a near miss when it is absent or null."""
        if self.values.get(key) is None:
            raise FieldError(f"config: key {key!r} is missing{nearest(key, self.values)}", key)
        return self.values[key]

    def size(self, key: str) -> int:
        """A required integer >= 1."""
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FieldError(f"{key}: must be an integer >= 1, got {value!r}", key)
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
        """Raise `FieldError` unless an optional key is absent or has the one supported value."""
        got = self.values.get(key, value)
        if got not in (value, None):
            raise FieldError(f"{key}: only {value!r} is modelled, got {got!r}", key)


@dataclass(frozen=True)
class Family:
    """What a `model_type` means: which keys hold which sizes of the shape.

    Attributes:
        sizes: Field of the shape -> key of a required integer.
        optional: Field -> key of an integer that may be absent or null: 0.
        always: Fields that every model of the family has.
        nonlinearity: Key and default of the activation function; empty where there is none.
        tied: Default of `tie_word_embeddings`.
        only: Key -> the one value that is modelled; a text starting with `$` names another key.
        finish: Changes to the shape that are no plain look-up.
        shape: Class of the shape.
    """

    sizes: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    nonlinearity: tuple[str, ...] = ()
    tied: bool = True
    only: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[Config], Mapping[str, Any]] | None = None
    shape: Callable[..., LanguageModelShape] = TransformerShape

    def read(self, config: Config) -> LanguageModelShape:
        """The shape that a config of this family describes."""
        for key, value in self.only.items():
            other = isinstance(value, str) and value.startswith("$")
            config.demand(key, config.required(value[1:]) if other else value)
        fields: dict[str, Any] = {"name": config.name, **self.always}
        fields |= {name: config.size(key) for name, key in self.sizes.items()}
        fields |= {name: config.optional_size(key) for name, key in self.optional.items()}
        fields["tied_embeddings"] = config.flag("tie_word_embeddings", self.tied)
        if self.nonlinearity:
            fields["nonlinearity"] = config.text(*self.nonlinearity)
        return self.shape(**fields | dict(self.finish(config) if self.finish else {}))


def _sliding(config: Config, default: bool) -> int:
    """Positions of the attention window, where the model uses one."""
    used = config.flag("use_sliding_window", default)
    return config.optional_size("sliding_window") if used else 0


def _spare_rows(config: Config) -> Mapping[str, int]:
    """RoBERTa's table of positions begins with two rows that no position uses."""
    return {"learned_positions": config.size("max_position_embeddings") - 2}


def _mamba_defaults(config: Config) -> Mapping[str, int]:
    sizes = {"expand": ("expand", 2), "state": ("state_size", 16), "kernel": ("conv_kernel", 4)}
    fields = {name: config.optional_size(key) or value for name, (key, value) in sizes.items()}
    automatic = config.values.get("time_step_rank") == "auto"
    return {**fields, "time_rank": 0 if automatic else config.optional_size("time_step_rank")}


HIDDEN = {"hidden": "hidden_size", "vocabulary": "vocab_size"}
BLOCK = {**HIDDEN, "heads": "num_attention_heads", "feed_forward": "intermediate_size"}

LLAMA = Family(
    sizes={**BLOCK, "decoder_layers": "num_hidden_layers"},
    optional={"kv_heads": "num_key_value_heads", "head_dim": "head_dim"},
    always={"gated": True, "norm": "rms"},
    nonlinearity=("hidden_act", "silu"),
    tied=False,
    only={"mlp_bias": False, "attention_bias": False},
    finish=lambda config: {"window": _sliding(config, False)},
)
"""Rotary positions, RMS norms, gated feed-forward."""

BERT = Family(
    sizes={
        **BLOCK,
        "encoder_layers": "num_hidden_layers",
        "learned_positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
    },
    always={"bias": "all", "embedding_norm": True, "final_norm": False, "pooler": True},
    nonlinearity=("hidden_act", "gelu"),
)
"""An encoder without a task head, with the pooler."""

FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "mistral": replace(LLAMA, finish=lambda config: {"window": _sliding(config, True)}),
    "mixtral": replace(
        LLAMA,
        sizes={
            **LLAMA.sizes,
            "experts": "num_local_experts",
            "experts_per_token": "num_experts_per_tok",
        },
        finish=lambda config: {"window": _sliding(config, True)},
        shape=MixtureShape,
    ),
    "qwen2": replace(LLAMA, always={**LLAMA.always, "bias": "qkv"}, only={"mlp_bias": False}),
    "opt": Family(
        sizes={
            **HIDDEN,
            "heads": "num_attention_heads",
            "feed_forward": "ffn_dim",
            "decoder_layers": "num_hidden_layers",
            "learned_positions": "max_position_embeddings",
        },
        always={"position_offset": 2},
        nonlinearity=("activation_function", "relu"),
        only={"word_embed_proj_dim": "$hidden_size", "do_layer_norm_before": True},
        finish=lambda config: {"bias": "all" if config.flag("enable_bias", True) else "none"},
    ),
    "gpt2": Family(
        sizes={
            "hidden": "n_embd",
            "vocabulary": "vocab_size",
            "heads": "n_head",
            "decoder_layers": "n_layer",
            "learned_positions": "n_positions",
        },
        always={"bias": "all"},
        nonlinearity=("activation_function", "gelu_new"),
        finish=lambda config: {
            "feed_forward": config.optional_size("n_inner") or 4 * config.size("n_embd")
        },
    ),
    "bert": BERT,
    "roberta": replace(BERT, always={**BERT.always, "position_offset": 2}, finish=_spare_rows),
    "bart": Family(
        sizes={
            "hidden": "d_model",
            "vocabulary": "vocab_size",
            "heads": "encoder_attention_heads",
            "feed_forward": "encoder_ffn_dim",
            "encoder_layers": "encoder_layers",
            "decoder_layers": "decoder_layers",
            "learned_positions": "max_position_embeddings",
        },
        always={"bias": "all", "position_offset": 2, "embedding_norm": True, "final_norm": False},
        nonlinearity=("activation_function", "gelu"),
        only={
            "decoder_attention_heads": "$encoder_attention_heads",
            "decoder_ffn_dim": "$encoder_ffn_dim",
        },
    ),
    "mamba": Family(
        sizes={**HIDDEN, "layers": "num_hidden_layers"},
        finish=_mamba_defaults,
        shape=MambaShape,
    ),
}
"""Supported values of `model_type`."""
