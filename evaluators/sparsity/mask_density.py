"""Density of a real tensor: empty subtiles are counted, not modelled.

Counts use one table of cumulative sums per mask, so that a tile shape costs one subtraction per
tile, and are cached per tile shape. Kernels get a coded table of P0 over rungs of every dimension
(its divisors and the powers of two): exact on the rungs, interpolated between them.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity import density_core
from evaluators.sparsity.density_model import DensityModel, padded_boxes
from spaces.sparsity.sparsity import DensitySpec
from spaces.sparsity.stored_weights import read_tensor

MOST_RUNGS = 40
"""Rungs of one dimension in the coded table."""

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class MaskDensity(DensityModel):
    """`DensityModel` that counts in a real mask; tiles start at multiples of their own extents."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        counter = TileCounter(mask)
        super().__init__(
            "mask",
            mask.shape,
            counter.total / mask.size,
            _coded_table(counter),
            lambda boxes: np.array([counter.nonzeros(tuple(box)).std() for box in boxes]),
        )
        object.__setattr__(self, "_counter", counter)

    @property
    def counter(self) -> TileCounter:
        """The counts behind the model."""
        counter: TileCounter = self.__dict__["_counter"]
        return counter

    def p_empty(self, extents: IntArray, steps: IntArray | None = None) -> FloatArray:
        """Share of the aligned tiles that are empty, shape (n,), counted exactly."""
        return np.array([self.counter.empty_share(tuple(box)) for box in padded_boxes(extents)])

    def occupancy_quantile(self, extents: IntArray, confidence: float) -> FloatArray:
        """Non-zeros that this share of the real tiles does not exceed, shape (n,)."""
        if not 0.5 <= confidence <= 1.0:
            raise ValueError(f"confidence must be between 0.5 and 1, got {confidence}")
        counts = [self.counter.nonzeros(tuple(box)) for box in padded_boxes(extents)]
        return np.array(
            [np.quantile(values, confidence, method="inverted_cdf") for values in counts],
            dtype=np.float64,
        )


class TileCounter:
    """Non-zeros per aligned tile of one mask, cached by tile shape."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        if mask.ndim > density_core.MAX_DIMENSIONS or mask.size == 0:
            raise ValueError(
                f"density mask: needs 1 to {density_core.MAX_DIMENSIONS} dimensions and some "
                f"elements, got shape {mask.shape}"
            )
        self.shape = (*mask.shape, *[1] * (density_core.MAX_DIMENSIONS - mask.ndim))
        self._sums = _cumulative(mask.reshape(self.shape))
        self._shares: dict[tuple[int, ...], float] = {}

    @property
    def total(self) -> int:
        """Non-zeros of the tensor."""
        return int(self._sums[-1, -1, -1, -1])

    def nonzeros(self, box: tuple[int, ...]) -> IntArray:
        """Non-zeros of every tile of these extents, cut ones at the edges included; flat array."""
        sums: NDArray[Any] = self._sums
        for axis, (extent, size) in enumerate(zip(box, self.shape, strict=True)):
            edges = np.append(np.arange(0, size, extent), size)
            sums = np.diff(np.take(sums, edges, axis=axis), axis=axis)
        return sums.ravel().astype(np.int64)

    def empty_share(self, box: tuple[int, ...]) -> float:
        """Share of the tiles of these extents that hold no non-zero."""
        if box not in self._shares:
            self._shares[box] = float(np.mean(self.nonzeros(box) == 0))
        return self._shares[box]


def _cumulative(mask: NDArray[np.bool_]) -> NDArray[Any]:
    kind = np.int32 if mask.size < 2**31 else np.int64
    sums = np.zeros([size + 1 for size in mask.shape], dtype=kind)
    inner = sums[1:, 1:, 1:, 1:]
    inner[...] = mask != 0
    for axis in range(mask.ndim):
        np.cumsum(inner, axis=axis, out=inner)
    return sums


def rungs(size: int) -> list[int]:
    """Extents at which a dimension's P0 is tabulated: divisors and powers of two, 1 and the size.

    >>> rungs(12)
    [1, 2, 3, 4, 6, 8, 12]
    """
    divisors = [extent for extent in range(1, int(size**0.5) + 1) if size % extent == 0]
    marks = {*divisors, *(size // extent for extent in divisors)}
    marks |= {1 << power for power in range(size.bit_length()) if 1 << power < size}
    ordered = sorted(marks)
    stride = -(-len(ordered) // MOST_RUNGS)
    return sorted({*ordered[::stride], 1, size})


def _coded_table(counter: TileCounter) -> FloatArray:
    ladders = [rungs(size) for size in counter.shape]
    shares = [counter.empty_share(box) for box in product(*ladders)]
    head = [density_core.TABLE, *map(len, ladders)]
    return np.array([*head, *(rung for ladder in ladders for rung in ladder), *shares], dtype=float)


def mask_model(spec: DensitySpec, sizes: tuple[int, ...]) -> MaskDensity:
    """The model of `DensitySpec("mask", parameters={"array": ...})` or of a safetensors tensor.

    Raises:
        ValueError: No array or file given, the file or the tensor is missing, or its shape is not
            the tensor's.
    """
    array = _array(spec)
    if array.shape != sizes:
        turned = array.shape[::-1] == sizes
        hint = "; it is transposed" if turned else ""
        raise ValueError(f"density mask: shape {array.shape} is not the tensor's {sizes}{hint}")
    return MaskDensity(array != 0)


def _array(spec: DensitySpec) -> NDArray[Any]:
    if "array" in spec.parameters:
        return np.asarray(spec.parameters["array"])
    if "file" not in spec.parameters or "tensor" not in spec.parameters:
        raise ValueError("density mask: give parameters 'array', or 'file' and 'tensor'")
    path, name = Path(spec.parameters["file"]), str(spec.parameters["tensor"])
    if not path.is_file():
        raise ValueError(f"density mask: no file {path}")
    array = read_tensor(path, name)
    return array.T if spec.parameters.get("transpose", False) else array
