"""A proxy of fidelity: the part of the weights' energy that a form of storage loses.

For N:M it is the saliency that the mask drops, squared, over all of it; for a Monarch form the
squared residual of the projection; analog arrays add the squared error of their products. All
three estimate the energy that is missing from, or wrong in, the layer's outputs. It is a proxy:
how it goes with measured fidelity on a real model is in `docs/case_study.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evaluators.accuracy.monarch import gaussian_residual
from evaluators.accuracy.pruning import nm_mask, shared_pair_mask
from spaces.cim.monarch_shape import monarch_shape
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart
from spaces.sparsity.nm_sparsity import NMPattern

SAMPLE = (1024, 2048)
"""Outputs and inputs of the random matrix that N:M losses are read from; the standard error of a
loss is below 0.1 %."""


POINTS_FILE = Path(__file__).with_name("proxy_points.json")
"""Points measured by `python benchmarks/codesign_proxy.py --write`."""


class LostEnergy(Protocol):
    """What a part loses under a placement."""

    @property
    def source(self) -> str:
        """Where the figures come from; says "synthetic" when no model was measured."""
        ...

    def lost(self, part: ProjectionPart, placement: Placement, channels: int) -> float:
        """Lost part of the energy, 0..1; `channels` outputs share their pairs, 0 = none do."""
        ...


@dataclass(frozen=True)
class SyntheticLoss:
    """Losses of independent Gaussian weights with equal inputs: no layer differs from another.

    Attributes:
        analog_error: Relative error of an analog product; 1.94 % is HERMES' (JSSC 2022,
            doi 10.1109/JSSC.2022.3140414).
    """

    analog_error: float = 0.0194
    source: str = "synthetic: independent Gaussian weights, no model was measured"

    def lost(self, part: ProjectionPart, placement: Placement, channels: int) -> float:
        """Lost part of the energy, 0..1; `channels` outputs share their pairs, 0 = none do."""
        form = 0.0
        if placement.rule:
            sizes = part.reduction, part.outputs
            form = gaussian_residual(monarch_shape(placement.rule, *sizes, placement.block)) ** 2
        elif not placement.pattern.is_dense:
            form = gaussian_pruning_loss(placement.pattern, channels)
        return form + (self.analog_error**2 if placement.machine == "analog" else 0.0)


@lru_cache(maxsize=256)
def gaussian_pruning_loss(pattern: NMPattern, channels: int = 0, seed: int = 0) -> float:
    """Part of the energy of independent Gaussian weights that an N:M mask drops.

    Args:
        pattern: N kept of M.
        channels: Outputs that share their pairs; 0 = every output has its own mask.
        seed: Of the random matrix.

    >>> round(gaussian_pruning_loss(NMPattern(1, 2)), 2)  # 1/2 - 1/pi = 0.18
    0.18
    """
    weights = np.random.default_rng(seed).standard_normal(SAMPLE).astype(np.float32)
    scores = np.abs(weights)
    mask = shared_pair_mask(scores, pattern, channels) if channels else nm_mask(scores, pattern)
    energy = scores.astype(np.float64) ** 2
    return float(1.0 - energy[mask].sum() / energy.sum())


@lru_cache(maxsize=1)
def known_points() -> Mapping[str, Any]:
    """The recorded points with where they come from: `model`, `text`, `command`, `points`."""
    found: Mapping[str, Any] = json.loads(POINTS_FILE.read_text(encoding="utf-8"))
    return found


def rank_correlation(
    points: Sequence[Mapping[str, Any]], proxy: str, measured: str = "neighbour_agreement"
) -> float:
    """Spearman correlation of a proxy with the measured *loss*, 1 - fidelity.

    >>> rank_correlation([{"p": 0.1, "f": 0.9}, {"p": 0.2, "f": 0.7}], "p", "f")
    1.0
    """
    columns = np.array([[point[proxy], -point[measured]] for point in points]).T
    ranks = np.array([np.unique(column, return_inverse=True)[1] for column in columns])
    return float(np.round(np.corrcoef(ranks)[0, 1], 12))


def proxy_note(source: str) -> str:
    """What the proxy is worth: where its losses come from, and how it went with real fidelity."""
    known = known_points()
    count = len(known["points"])
    own, gaussian = (
        known["correlations"][name]["neighbour_agreement"] for name in ("proxy", "synthetic_proxy")
    )
    return (
        f"A proxy, not a measurement. Losses here are {source}.\n"
        f"Rank correlation with the measured loss of neighbour agreement over {count} assignments\n"
        f"of {known['model']}: {own:.3f} from the model's own weights,\n"
        f"{gaussian:.3f} from Gaussian ones."
    )
