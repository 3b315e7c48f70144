"""What per-layer N:M selection needs to know of a model: plain arrays, no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.nm_sparsity import NMPattern

FloatArray = NDArray[np.float64]


class Granularity(StrEnum):
    """What shares one N:M: a whole block, one linear layer, or a projection of all blocks."""

    BLOCK = "block"
    LAYER = "layer"
    PROJECTION = "projection"


@dataclass(frozen=True)
class NMStatistics:
    """Saliency and outliers of L layers under q candidate patterns.

    Sums are stored, not ratios, so that layers can be merged.

    Attributes:
        model: Where the numbers come from; says "synthetic" when they are not measured.
        layers: Names, length L.
        blocks: Block of each layer, length L.
        patterns: Candidates, length q.
        parameters: Weights, shape (L,).
        saliency, retained_saliency: |W| x activation norm, all and kept; (L,) and (L, q).
        energy, retained_energy: The same squared, the diagonal estimate of the output's energy.
        outliers, retained_outliers: Counts, all and kept.
        windows: Windows, sum and sum of squares of outliers per window, shape (L, 3).
        window: Width of those windows.
        thresholds: Outlier thresholds h, as multiples of the mean saliency of a layer's block.
        exceeding: Weights above each of `thresholds`, shape (L, thresholds).
        released_presence, released_distribution: As the released FLOW solver has them, per block.
    """

    model: str
    layers: tuple[str, ...]
    blocks: tuple[str, ...]
    patterns: tuple[NMPattern, ...]
    parameters: FloatArray
    saliency: FloatArray
    retained_saliency: FloatArray
    energy: FloatArray
    retained_energy: FloatArray
    outliers: FloatArray
    retained_outliers: FloatArray
    windows: FloatArray
    window: int
    thresholds: tuple[float, ...]
    exceeding: FloatArray
    released_presence: Mapping[str, float]
    released_distribution: Mapping[str, float]

    @property
    def presence(self) -> FloatArray:
        """Fraction of weights that are outliers, shape (L,)."""
        return self.outliers / self.parameters

    def presence_above(self, threshold: float) -> FloatArray:
        """Fraction of weights above one of `thresholds`, shape (L,)."""
        return self.exceeding[:, self.thresholds.index(threshold)] / self.parameters

    @property
    def dispersion(self) -> FloatArray:
        """Clustering of the outliers, shape (L,); 1 = random (see `WindowCounts.dispersion`)."""
        windows, total, squares = self.windows.T
        density = total / (windows * self.window)
        variance = squares / windows - (total / windows) ** 2
        spread = self.window * density * (1.0 - density)
        return np.where(spread > 0, variance / np.where(spread > 0, spread, 1.0), 1.0)

    def retained_fraction(self, measure: str) -> FloatArray:
        """Kept part of "saliency", "energy" or "outliers" per layer and pattern, shape (L, q).

        1 where a layer has nothing to keep; nan where M does not divide the layer.

        Raises:
            ValueError: If the measure is none of the three.
        """
        if measure not in ("saliency", "energy", "outliers"):
            raise ValueError(f"measure must be saliency, energy or outliers, got {measure!r}")
        total, kept = getattr(self, measure)[:, None], getattr(self, f"retained_{measure}")
        return np.where(total > 0, kept / np.where(total > 0, total, 1.0), 1.0)

    def offering(self, patterns: Sequence[NMPattern]) -> NMStatistics:
        """The same statistics with fewer candidates.

        Raises:
            ValueError: If one of them was not tabulated.
        """
        unknown = [str(pattern) for pattern in patterns if pattern not in self.patterns]
        if unknown:
            raise ValueError(
                f"patterns {', '.join(unknown)} were not tabulated; collect statistics with them"
            )
        columns = [self.patterns.index(pattern) for pattern in patterns]
        return replace(
            self,
            patterns=tuple(patterns),
            retained_saliency=self.retained_saliency[:, columns],
            retained_energy=self.retained_energy[:, columns],
            retained_outliers=self.retained_outliers[:, columns],
        )

    def merged(self, granularity: Granularity) -> NMStatistics:
        """Statistics of the units that share one N:M, in order of first appearance."""
        owner = unit_names(self.layers, self.blocks, granularity)
        units = tuple(dict.fromkeys(owner))
        position = np.array([units.index(unit) for unit in owner])
        first = {unit: self.blocks[owner.index(unit)] for unit in units}

        def summed(values: FloatArray) -> FloatArray:
            result = np.zeros((len(units), *values.shape[1:]))
            np.add.at(result, position, values)
            return result

        return replace(
            self,
            layers=units,
            blocks=tuple(first[unit] for unit in units),
            parameters=summed(self.parameters),
            saliency=summed(self.saliency),
            retained_saliency=summed(self.retained_saliency),
            energy=summed(self.energy),
            retained_energy=summed(self.retained_energy),
            outliers=summed(self.outliers),
            retained_outliers=summed(self.retained_outliers),
            windows=summed(self.windows),
            exceeding=summed(self.exceeding),
        )


def unit_names(
    layers: tuple[str, ...], blocks: tuple[str, ...], granularity: Granularity
) -> list[str]:
    """The N:M unit that each layer belongs to, length L.

    >>> unit_names(("h.0.q", "h.1.q"), ("h.0", "h.1"), Granularity.PROJECTION)
    ['q', 'q']
    """
    if granularity is Granularity.LAYER:
        return list(layers)
    if granularity is Granularity.BLOCK:
        return list(blocks)
    return [layer.removeprefix(f"{block}.") for layer, block in zip(layers, blocks, strict=True)]
