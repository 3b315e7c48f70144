"""Statistics of a real model for per-layer N:M selection, streamed and cached.

Activation norms are collected on the dense model, then one weight matrix at a time is scored. The
result is a small file, so that a study never needs the weights again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.outliers import (
    OUTLIER_THRESHOLD,
    OUTLIER_THRESHOLDS,
    RELEASED_THRESHOLD,
    WINDOW,
    FloatArray,
    ReleasedOutliers,
    saliency,
    window_counts,
)
from evaluators.accuracy.pruning import retained
from evaluators.accuracy.reference_text import evenly_spaced
from evaluators.accuracy.streamed_model import StreamedModel, batches
from spaces.sparsity.nm_sparsity import NMPattern, candidate_patterns
from spaces.sparsity.nm_statistics import NMStatistics

FORMAT = 2
"""Version of the cache file."""


@dataclass(frozen=True)
class Calibration:
    """What the statistics are collected with.

    Attributes:
        sequences: Calibration sequences drawn from the text.
        length: Tokens per sequence.
        seed: Of the draw.
        outlier_threshold: h; an outlier exceeds h x its block's mean saliency.
        thresholds: Further h that the number of outliers is counted for.
        patterns: Candidates that the retained parts are tabulated for.
    """

    sequences: int = 64
    length: int = 64
    seed: int = 0
    outlier_threshold: float = OUTLIER_THRESHOLD
    thresholds: tuple[float, ...] = OUTLIER_THRESHOLDS
    patterns: tuple[NMPattern, ...] = field(default_factory=candidate_patterns)

    def __post_init__(self) -> None:
        if self.sequences < 1 or self.length < 4:
            raise ValueError(
                f"calibration: needs sequences >= 1 and length >= 4, got {self.sequences} and "
                f"{self.length}"
            )
        if min(self.outlier_threshold, *self.thresholds) <= 0:
            raise ValueError(
                f"calibration: outlier_threshold and thresholds must be > 0, got "
                f"{self.outlier_threshold} and {self.thresholds}"
            )

    def draw(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sequences of this seed, without repetition.

        Raises:
            ValueError: If the text has fewer windows than `sequences`.
        """
        return windows[self._drawn(windows)]

    def spare(self, windows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Evenly spaced windows among those that `draw` leaves.

        Raises:
            ValueError: If it leaves fewer than `count`.
        """
        left = np.delete(windows, self._drawn(windows), axis=0)
        what = f"calibration text beside {self.sequences} drawn sequences"
        return evenly_spaced(left, count, what)

    def _drawn(self, windows: NDArray[np.int64]) -> NDArray[np.intp]:
        """Places of the sequences of this seed, ascending."""
        if len(windows) < self.sequences:
            raise ValueError(
                f"text too short: {len(windows)} windows of {self.length} tokens for "
                f"{self.sequences} calibration sequences"
            )
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(len(windows), self.sequences, replace=False))


@dataclass(frozen=True)
class ModelStatistics:
    """Statistics of a model together with the activation norms that masks are made from.

    Attributes:
        statistics: Per linear layer.
        norms: Linear layer -> root of the mean squared L2 norm of each input, shape (inputs,).
        key: Fingerprint of model, text and calibration.
    """

    statistics: NMStatistics
    norms: Mapping[str, NDArray[np.float32]]
    key: str


def activation_norms(
    model: StreamedModel, tokens: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Root of the mean over sequences of the squared L2 norm of every input feature.

    Linear layers that the model multiplies by other means (Mamba's step-size projection) see no
    input here and are left out; they stay dense.

    Args:
        model: The model, dense.
        tokens: Shape (sequences, length).
    """
    squares: dict[str, NDArray[np.float64]] = {}

    def observe(name: str, inputs: Any) -> None:
        power = (inputs.double() ** 2).sum(dim=0).numpy()
        squares[name] = squares.get(name, np.zeros_like(power)) + power

    for batch in batches(tokens):
        model.run(batch, observe=observe)
    return {
        name: np.sqrt(squares[name] / len(tokens)).astype(np.float32)
        for name in model.linears
        if name in squares
    }


def collect_statistics(
    model: StreamedModel, tokens: NDArray[np.int64], calibration: Calibration
) -> ModelStatistics:
    """Score every linear layer; weights of one layer are in memory at a time.

    Args:
        model: The model.
        tokens: All calibration windows, shape (windows, length); `calibration` draws from them.
        calibration: Options.
    """
    drawn = calibration.draw(tokens)
    norms = activation_norms(model, drawn)
    names = tuple(norms)
    blocks = tuple(model.linears[name] for name in names)
    means = _block_means(model, norms)
    rows, released = [], {}
    for block, mean in means.items():
        counter = ReleasedOutliers(RELEASED_THRESHOLD * mean)
        for name in (n for n in names if model.linears[n] == block):
            scores = saliency(model.weights(name), norms[name])
            counter.add(scores)
            rows.append(_layer_row(scores, calibration, mean))
        released[block] = counter
    table = {key: np.array([row[key] for row in rows], dtype=np.float64) for key in rows[0]}
    statistics = NMStatistics(
        model=model.folder.name,
        layers=names,
        blocks=blocks,
        patterns=calibration.patterns,
        window=WINDOW,
        thresholds=calibration.thresholds,
        released_presence={block: counter.presence for block, counter in released.items()},
        released_distribution={b: counter.distribution for b, counter in released.items()},
        **table,
    )
    return ModelStatistics(statistics, norms, cache_key(model, tokens, calibration))


def cache_key(model: StreamedModel, tokens: NDArray[np.int64], calibration: Calibration) -> str:
    """Digest of the model folder, the text's tokens and the calibration options."""
    import hashlib

    options = f"{calibration!r}|{FORMAT}".encode()
    return hashlib.sha256(
        model.folder.fingerprint().encode() + tokens.tobytes() + options
    ).hexdigest()[:16]


def cached_statistics(
    model: StreamedModel, tokens: NDArray[np.int64], calibration: Calibration, folder: Path
) -> ModelStatistics:
    """Read the statistics from `folder`, or collect and write them there (whole, or not at all)."""
    key = cache_key(model, tokens, calibration)
    path = folder / f"nm_statistics_{key}.npz"
    if path.is_file():
        return load_statistics(path)
    found = collect_statistics(model, tokens, calibration)
    save_statistics(found, path)
    return found


def save_statistics(found: ModelStatistics, path: Path) -> None:
    """Write one compressed file; it appears only when it is complete."""
    statistics = found.statistics
    arrays = {name: getattr(statistics, name) for name in _ARRAYS}
    arrays |= {f"norm/{name}": values for name, values in found.norms.items()}
    head = {
        "format": FORMAT,
        "key": found.key,
        "model": statistics.model,
        "layers": statistics.layers,
        "blocks": statistics.blocks,
        "patterns": [str(pattern) for pattern in statistics.patterns],
        "window": statistics.window,
        "thresholds": statistics.thresholds,
        "released_presence": dict(statistics.released_presence),
        "released_distribution": dict(statistics.released_distribution),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays)
    part.replace(path)


def load_statistics(path: Path) -> ModelStatistics:
    """Read what `save_statistics` wrote.

    Raises:
        ValueError: If the file is of another version or no such file.
    """
    if not path.is_file():
        raise ValueError(f"statistics file {path}: does not exist")
    with np.load(path, allow_pickle=False) as file:
        head = json.loads(str(file["head"]))
        if head["format"] != FORMAT:
            raise ValueError(f"statistics file {path}: format {head['format']}, expected {FORMAT}")
        arrays = {name: file[name] for name in _ARRAYS}
        norms = {name: file[f"norm/{name}"] for name in head["layers"]}
    statistics = NMStatistics(
        model=head["model"],
        layers=tuple(head["layers"]),
        blocks=tuple(head["blocks"]),
        patterns=tuple(NMPattern.parse(text) for text in head["patterns"]),
        window=head["window"],
        thresholds=tuple(head["thresholds"]),
        released_presence=head["released_presence"],
        released_distribution=head["released_distribution"],
        **arrays,
    )
    return ModelStatistics(statistics, norms, head["key"])


_ARRAYS: Sequence[str] = (
    "parameters",
    "saliency",
    "retained_saliency",
    "energy",
    "retained_energy",
    "outliers",
    "retained_outliers",
    "windows",
    "exceeding",
)


def _block_means(
    model: StreamedModel, norms: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Mean saliency of every block over all its linear layers."""
    totals: dict[str, list[float]] = {}
    for name, norm in norms.items():
        scores = saliency(model.weights(name), norm)
        total = totals.setdefault(model.linears[name], [0.0, 0.0])
        total[0] += float(scores.sum(dtype=np.float64))
        total[1] += scores.size
    return {block: total / count for block, (total, count) in totals.items()}


def _layer_row(
    scores: NDArray[np.float32], calibration: Calibration, block_mean: float
) -> dict[str, float | FloatArray]:
    """One row of every array of `NMStatistics`."""
    outliers = scores > calibration.outlier_threshold * block_mean
    counts = window_counts(outliers)
    squared = scores.astype(np.float64) ** 2
    patterns = calibration.patterns
    return {
        "parameters": float(scores.size),
        "saliency": float(scores.sum(dtype=np.float64)),
        "retained_saliency": retained(scores, patterns),
        "energy": float(squared.sum()),
        "retained_energy": retained(squared.astype(np.float32), patterns),
        "outliers": float(outliers.sum()),
        "retained_outliers": retained(outliers.astype(np.float32), patterns),
        "windows": np.array([counts.windows, counts.total, counts.squares]),
        "exceeding": np.array(
            [np.count_nonzero(scores > h * block_mean) for h in calibration.thresholds]
        ),
    }
