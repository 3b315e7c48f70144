"""Saliency outliers of a weight matrix: how many, and how clustered.

Saliency is Wanda's |W| x activation norm. An outlier exceeds h times the mean saliency of its
block. Matrices have shape (outputs, inputs); windows and groups run along the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Matrix = NDArray[np.float32]

OUTLIER_THRESHOLD = 5.0
"""h of OWL (github.com/luuyin/OWL): an outlier exceeds h x the block's mean saliency. A half-normal
saliency has 1.7 % above 3 and 0.007 % above 5."""

OUTLIER_THRESHOLDS = (3.0, 5.0, 7.0, 10.0)
"""Values of h among which OWL's authors search for each model (arXiv 2310.05175)."""

RELEASED_THRESHOLD = 0.5
"""h of the released FLOW solver (FLOW-open-project/FLOW); 69 % of half-normal values exceed it."""

RELEASED_OUTLIERS = 10_000
"""Outliers whose positions the released solver looks at."""

WINDOW = 8
"""Width of the aligned windows in which outliers are counted."""


def saliency(weights: Matrix, norms: NDArray[np.float32]) -> Matrix:
    """|W_ij| x norm of input j, shape (outputs, inputs).

    Args:
        weights: Shape (outputs, inputs).
        norms: Root of the mean squared L2 norm of each input feature, shape (inputs,).
    """
    return np.asarray(np.abs(weights) * norms[None, :], dtype=np.float32)


@dataclass(frozen=True)
class WindowCounts:
    """Sums over aligned windows of the number of outliers c in them; they add over matrices.

    Attributes:
        windows: Number of windows.
        total: Sum of c.
        squares: Sum of c^2.
        width: Elements per window.
    """

    windows: float
    total: float
    squares: float
    width: int = WINDOW

    def dispersion(self) -> float:
        """Index of dispersion of the counts, independent of the density of outliers::

            D = Var(c) / (width p (1 - p)),   p = outlier density

        1 for independent outliers, up to `width` when whole windows are outliers, below 1 when
        they avoid one another; 1 when there are none, or nothing else.

        >>> WindowCounts(windows=2, total=8, squares=64).dispersion()  # one full, one empty window
        8.0
        """
        density = self.total / (self.windows * self.width)
        if not 0.0 < density < 1.0:
            return 1.0
        mean = self.total / self.windows
        variance = self.squares / self.windows - mean**2
        return variance / (self.width * density * (1.0 - density))


def window_counts(outliers: NDArray[np.bool_], width: int = WINDOW) -> WindowCounts:
    """Outliers per aligned window along the inputs; a rest shorter than a window is left out."""
    usable = outliers.shape[1] // width * width
    counts = outliers[:, :usable].reshape(len(outliers), -1, width).sum(axis=2, dtype=np.int64)
    return WindowCounts(float(counts.size), float(counts.sum()), float((counts**2).sum()), width)


def mean_pair_distance(positions: NDArray[np.int64]) -> float:
    """Mean of |p_a - p_b| over all pairs of ascending positions; 0 with fewer than two.

    >>> mean_pair_distance(np.array([0, 1, 3]))  # 1, 3 and 2
    2.0
    """
    count = len(positions)
    if count < 2:
        return 0.0
    weights = 2.0 * np.arange(count) - (count - 1.0)
    return float(weights @ positions / (count * (count - 1) / 2.0))


@dataclass
class ReleasedOutliers:
    """Presence and distribution of one block exactly as the released FLOW solver defines them.

    Feed the saliencies of the block's linear layers in order. Kept for comparison only: the
    distribution is nearly a function of the presence.

    Attributes:
        threshold: h x mean saliency of the block.
    """

    threshold: float
    seen: int = 0
    outliers: int = 0
    positions: list[NDArray[np.int64]] | None = None

    def add(self, scores: Matrix) -> None:
        """Count one matrix; its elements follow those seen before."""
        found = np.flatnonzero(scores.ravel() > self.threshold)
        kept = self.positions or []
        missing = RELEASED_OUTLIERS - sum(len(part) for part in kept)
        self.positions = [*kept, self.seen + found[: max(missing, 0)]]
        self.seen += scores.size
        self.outliers += len(found)

    @property
    def presence(self) -> float:
        """Outliers in percent of the block's weights."""
        return 100.0 * self.outliers / max(self.seen, 1)

    @property
    def distribution(self) -> float:
        """1 / mean distance between the first 10,000 outliers; 0 with fewer than two."""
        distance = mean_pair_distance(np.concatenate(self.positions or [np.zeros(0, np.int64)]))
        return 1.0 / distance if distance > 0 else 0.0
