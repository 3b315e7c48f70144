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
from evaluators.accuracy.model_folder import ModelFolder
from evaluators.accuracy.model_on_text import ModelOnText
from evaluators.accuracy.model_statistics import Calibration, ModelStatistics, cached_statistics
from evaluators.accuracy.outliers import saliency
from evaluators.accuracy.pruned_model import masked, save_pruned, sparsegpt_weights
from evaluators.accuracy.pruning import check_divisible, nm_mask, shared_pair_mask
from evaluators.accuracy.streamed_model import StreamedModel
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
class NMFidelity(ModelOnText):
    """Prunes a real model and measures what is left, on text it was not calibrated on.

    Attributes:
        model, text: See `ModelOnText`.
        granularity: What shares one N:M.
        calibration: Sequences, length, threshold and candidates; its seed is the default.
        held_out_texts: Held-out windows measured on.
        calibration_texts: Calibration windows, beside those of `calibration`, that settings of a
            method may be chosen on.
        mask_rule: How masks are chosen.
        channels: Output channels that share pairs, for `MaskRule.SHARED_PAIRS`.
        cache: Folder of the statistics files.
    """

    granularity: str = Granularity.LAYER
    calibration: Calibration = field(default_factory=Calibration)
    held_out_texts: int = 200
    calibration_texts: int = 128
    mask_rule: str = MaskRule.WANDA
    channels: int = 32
    cache: str = str(CACHE_FOLDER)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (("granularity", Granularity), ("mask_rule", MaskRule)):
            if getattr(self, name) not in list(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(kind)}, got {getattr(self, name)!r}"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: a worker process reads model and text itself."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def meter(self) -> FidelityMeter:
        """Measures on held-out text."""
        return self.held_out_meter(self.calibration.length, self.held_out_texts)

    def measured(self, seed: int) -> ModelStatistics:
        """Statistics per linear layer with the activation norms, for a calibration seed."""
        if seed not in self._measured:
            windows = self._calibration_windows()
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
        """Fidelity metrics of one assignment, with `fidelity_loss`, see `FidelityMeter.loss`."""
        return self._measured_on(self.meter, assignment, seed)

    def calibration_loss(self, assignment: Mapping[str, NMPattern], seed: int) -> float:
        """`fidelity_loss` on calibration text that the seed's statistics did not see.

        For choosing a method's settings: the held-out text stays unseen.
        """
        if seed not in self._spare_meters:
            calibration = replace(self.calibration, seed=seed)
            spare = calibration.spare(self._calibration_windows(), self.calibration_texts)
            self._spare_meters[seed] = FidelityMeter(self.streamed, spare)
        return self._measured_on(self._spare_meters[seed], assignment, seed)["fidelity_loss"]

    def save(self, assignment: Mapping[str, NMPattern], seed: int, folder: Path) -> None:
        """Write the pruned model under this mask rule, see `pruned_model.save_pruned`."""
        patterns = self.layer_patterns(assignment, seed)
        rule = masked(lambda name, weights, pattern: self.mask(name, weights, pattern, seed))
        save_pruned(self.streamed, patterns, rule, folder)

    def save_updated(self, assignment: Mapping[str, NMPattern], seed: int, folder: Path) -> None:
        """Write the pruned model with SparseGPT's masks and weight update."""
        patterns = self.layer_patterns(assignment, seed)
        drawn = replace(self.calibration, seed=seed).draw(self._calibration_windows())
        updated = sparsegpt_weights(self.streamed, drawn, patterns)
        save_pruned(self.streamed, patterns, lambda name, _weights, _p: updated[name], folder)

    def measure_folder(self, folder: Path) -> dict[str, float]:
        """Fidelity metrics of a saved model against the dense one, on the held-out text."""
        other = StreamedModel(ModelFolder(folder))
        found = self.meter.measure_model(other)
        return {**found, "fidelity_loss": self.meter.loss(found)}

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

    def _measured_on(
        self, meter: FidelityMeter, assignment: Mapping[str, NMPattern], seed: int
    ) -> dict[str, float]:
        """Fidelity metrics of one assignment on the meter's text."""
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

        found = meter.measure(edit)
        return {**found, "fidelity_loss": meter.loss(found)}

    @cached_property
    def _measured(self) -> dict[int, ModelStatistics]:
        return {}

    @cached_property
    def _spare_meters(self) -> dict[int, FidelityMeter]:
        return {}

    def _calibration_windows(self) -> NDArray[np.int64]:
        return self.windows(self.texts.calibration, self.calibration.length)
