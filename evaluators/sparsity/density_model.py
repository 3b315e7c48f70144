"""The answers a density model gives, whichever distribution of zeros is behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity import density_core

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def padded_boxes(extents: IntArray) -> IntArray:
    """Extents of shape (n, dims) padded with 1 to (n, MAX_DIMENSIONS)."""
    extents = np.atleast_2d(np.asarray(extents, dtype=np.int64))
    boxes = np.ones((len(extents), density_core.MAX_DIMENSIONS), dtype=np.int64)
    boxes[:, : extents.shape[1]] = extents
    return boxes


@dataclass(frozen=True, eq=False)
class DensityModel:
    """Zeros of one tensor.

    Attributes:
        name: Name of the model.
        sizes: Dimension sizes of the tensor.
        density: Mean fraction of non-zero elements.
        code: Coded row, see `evaluators.sparsity.density_core`.
        nonzeros_deviation: Standard deviation of a tile's non-zeros from boxes (n, 4); shape (n,).
    """

    name: str
    sizes: tuple[int, ...]
    density: float
    code: FloatArray
    nonzeros_deviation: Callable[[IntArray], FloatArray]

    @property
    def elements(self) -> int:
        """Elements of the tensor."""
        return prod(self.sizes)

    def p_empty(self, extents: IntArray, steps: IntArray | None = None) -> FloatArray:
        """Probability that a tile is empty, shape (n,), from extents of shape (n, dims).

        `steps`, of the same shape: tiles start at multiples of it; None = of their own extents.
        """
        boxes = padded_boxes(extents)
        starts = boxes if steps is None else padded_boxes(steps)
        return density_core.boxes_empty(self.code, boxes, starts)

    def expected_nonzeros(self, extents: IntArray) -> FloatArray:
        """Mean non-zeros of a tile, shape (n,)."""
        return box_elements(padded_boxes(extents)) * self.density

    def occupancy_quantile(self, extents: IntArray, confidence: float) -> FloatArray:
        """Non-zeros that a tile does not exceed with this confidence, shape (n,).

        1 gives the largest possible number, .5 the mean; in between the normal approximation
        mean + z * deviation, rounded up and kept within what the tile and the tensor hold.
        """
        if not 0.5 <= confidence <= 1.0:
            raise ValueError(f"confidence must be between 0.5 and 1, got {confidence}")
        boxes = padded_boxes(extents)
        mean = box_elements(boxes) * self.density
        limit = np.minimum(box_elements(boxes), ceil(self.density * self.elements))
        if confidence == 0.5:
            return mean
        deviation = self.nonzeros_deviation(boxes)
        if confidence == 1.0:
            return np.where(deviation > 0.0, limit, np.ceil(mean - 1e-9))
        return np.minimum(
            limit, np.ceil(mean + NormalDist().inv_cdf(confidence) * deviation - 1e-9)
        )


def box_elements(boxes: IntArray) -> FloatArray:
    """Elements of padded boxes, shape (n,)."""
    return np.asarray(boxes.prod(axis=1), dtype=np.float64)
