"""Writes a pruned model folder: weights, masks and what was done, block by block.

The folder appears under its final name only when it is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.outliers import FloatArray
from evaluators.accuracy.pruning import Mask, check_divisible, sparsegpt
from evaluators.accuracy.streamed_model import StreamedModel, batches
from spaces.sparsity.nm_sparsity import NMPattern

Pruned = tuple[NDArray[np.float32], Mask]
"""Weights with zeros, and the mask; shape (outputs, inputs)."""

PruneLayer = Callable[[str, NDArray[np.float32], NMPattern], Pruned]
"""(linear layer, weights, pattern) -> pruned weights and mask."""

MASKS_FILE = "nm_masks.npz"
RECORD_FILE = "nm_pruning.json"


def masked(mask: Callable[[str, NDArray[np.float32], NMPattern], Mask]) -> PruneLayer:
    """The rule that drops what the mask drops and changes nothing else."""

    def prune(name: str, weights: NDArray[np.float32], pattern: NMPattern) -> Pruned:
        kept = mask(name, weights, pattern)
        return np.where(kept, weights, np.float32(0.0)), kept

    return prune


def block_hessians(
    model: StreamedModel, tokens: NDArray[np.int64], blocks: Sequence[str]
) -> Iterator[tuple[str, dict[str, FloatArray]]]:
    """X^T X of every linear layer's input on the dense model, one block at a time.

    Args:
        model: The dense model.
        tokens: Calibration sequences, shape (sequences, length).
        blocks: Names of the blocks.

    Yields:
        Block name and linear layer -> Hessian, shape (inputs, inputs).
    """
    for block in blocks:
        found: dict[str, FloatArray] = {}

        def observe(
            name: str, inputs: Any, block: str = block, found: dict[str, FloatArray] = found
        ) -> None:
            if model.linears[name] == block:
                found[name] = found.get(name, 0.0) + (inputs.T.double() @ inputs.double()).numpy()

        for batch in batches(tokens):
            model.run(batch, observe=observe)
        yield block, found


def sparsegpt_weights(
    model: StreamedModel, tokens: NDArray[np.int64], patterns: Mapping[str, NMPattern]
) -> dict[str, Pruned]:
    """Updated weights and masks of every layer that is not dense (SparseGPT).

    Args:
        model: The dense model.
        tokens: Calibration sequences.
        patterns: Linear layer -> pattern.
    """
    updated: dict[str, Pruned] = {}
    sparse = {name: pattern for name, pattern in patterns.items() if not pattern.is_dense}
    blocks = list(dict.fromkeys(model.linears[name] for name in sparse))
    for _, hessians in block_hessians(model, tokens, blocks):
        for name in sparse.keys() & hessians.keys():
            updated[name] = sparsegpt(model.weights(name), hessians[name], sparse[name])
    return updated


def save_pruned(
    model: StreamedModel,
    patterns: Mapping[str, NMPattern],
    prune: PruneLayer,
    folder: Path,
) -> None:
    """Write the pruned model as a folder that transformers loads.

    One safetensors file per block and one for the rest; `nm_masks.npz` holds the masks as packed
    bits, `nm_pruning.json` the pattern of every layer. The folder is complete or absent.

    Args:
        model: The dense model.
        patterns: Linear layer -> pattern; other layers stay dense.
        prune: Rule for one layer.
        folder: Must not exist.

    Raises:
        ValueError: If the folder exists, or a layer's size is not divisible by its M.
    """
    if folder.exists():
        raise ValueError(f"pruned model: {folder} exists already; name another folder")
    for name, pattern in patterns.items():
        check_divisible(name, model.weights(name).shape[1], pattern)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        masks = _write_shards(model, patterns, prune, part)
        for path in model.folder.path.iterdir():
            if path.is_file() and not path.name.endswith((".safetensors", ".index.json")):
                shutil.copy(path, part / path.name)
        with (part / MASKS_FILE).open("wb") as file:
            np.savez_compressed(file, **masks)  # type: ignore[arg-type]
        record = {
            "source": model.folder.name,
            "fingerprint": model.folder.fingerprint(),
            "patterns": {name: str(pattern) for name, pattern in patterns.items()},
        }
        (part / RECORD_FILE).write_text(json.dumps(record, indent=1))
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_mask(folder: Path, layer: str, shape: tuple[int, int]) -> Mask:
    """Mask of one layer from a pruned folder, shape (outputs, inputs)."""
    with np.load(folder / MASKS_FILE) as file:
        bits = np.unpackbits(file[layer])[: shape[0] * shape[1]]
    return bits.astype(bool).reshape(shape)


def _write_shards(
    model: StreamedModel, patterns: Mapping[str, NMPattern], prune: PruneLayer, part: Path
) -> dict[str, NDArray[np.uint8]]:
    """Write every tensor, pruned where a pattern says so; returns the packed masks."""
    import torch
    from safetensors.torch import save_file

    linear_of = {model.stored_name(name): name for name in model.linears}
    masks: dict[str, NDArray[np.uint8]] = {}
    index: dict[str, str] = {}
    for number, names in enumerate(_shards(model)):
        tensors = {}
        for stored in names:
            tensors[stored] = model.folder.tensor(stored).contiguous()
            layer = linear_of.get(stored)
            pattern = patterns.get(layer) if layer is not None else None
            if layer is not None and pattern is not None and not pattern.is_dense:
                weights, kept = prune(layer, model.weights(layer), pattern)
                written = np.ascontiguousarray(model.turned(layer, weights))
                tensors[stored] = torch.from_numpy(written)
                masks[layer] = np.packbits(kept)
        file = f"model-{number:05d}.safetensors"
        save_file(tensors, str(part / file), metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, file))
    content = {"metadata": {}, "weight_map": index}
    (part / "model.safetensors.index.json").write_text(json.dumps(content))
    return masks


def _shards(model: StreamedModel) -> list[list[str]]:
    """Stored tensor names: everything outside the blocks, then block by block."""
    blocks = {name: f".{name}." for name in model.blocks}
    shards: dict[str, list[str]] = {"": [], **{name: [] for name in blocks}}
    for stored in sorted(model.folder.tensor_files):
        owner = next((b for b, mark in blocks.items() if mark in f".{stored}"), "")
        shards[owner].append(stored)
    return [names for names in shards.values() if names]
