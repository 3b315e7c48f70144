"""The evaluator of a co-design study: prices chips, explains one, and knows its own variants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.codesign.chip import ChipModel
from evaluators.codesign.chip_report import explain_chip
from evaluators.codesign.variants import Variant, constant_variants, convention_variants
from spaces.codesign.chip_space import ChipBatch
from spaces.codesign.placement import Placement


@dataclass
class ChipEvaluator(ChipModel):
    """`ChipModel` with what a study asks for beside prices."""

    def explain(self, design: ChipBatch) -> Mapping[str, Any]:
        """Breakdown of a batch of one chip, see `evaluators.codesign.chip_report`."""
        return explain_chip(self, design)

    def constant_variants(self) -> list[Variant]:
        """The comparison under changed constants."""
        return constant_variants(self)

    def convention_variants(self) -> list[Variant]:
        """The comparison under changed conventions."""
        return convention_variants(self)

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """Every placement for the whole model, with the knobs of its machine at their best.

        The best by each of energy, latency, area and energy x latency among those that fit the
        area budget; the core has its first setting.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for placement in self.space.placements:
            chips = self._uniform(placement)
            evaluation = self.evaluate(chips)
            records = self.space.to_json(chips)
            for metric in ("energy_mj_per_token", "latency_ms", "area_mm2", "edp_mj_ms"):
                values = np.where(evaluation.feasible, evaluation.metrics[metric], np.inf)
                best = int(np.argmin(values))
                if np.isfinite(values[best]) and records[best] not in found.values():
                    found[f"all {placement}, best {metric}"] = records[best]
        return found

    def _uniform(self, placement: Placement) -> ChipBatch:
        """The whole model under one placement, with every setting of its machine's knobs."""
        settings = 1
        if placement.machine != "spatial":
            settings = len(self.space.grid(placement.machine))
        code = self.space.placements.index(placement)
        knobs = {name: np.zeros(settings, dtype=np.int64) for name in self.space.knob_machines}
        knobs[placement.machine] = np.arange(settings)
        return ChipBatch(np.full((settings, len(self.space.parts)), code), knobs)
