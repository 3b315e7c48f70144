"""Density models: how probable it is that a tile of a sparse tensor is empty.

A `DensityModel` answers for batches of tiles, and carries the coded row that compiled kernels use
(`evaluators.density_core` has the coding). Models and their parameters (`DensitySpec.parameters`):

    dense             no zeros
    bernoulli         every element is zero independently: P0 = (1 - d)^T
    hypergeometric    exactly ceil(d*N) non-zeros anywhere: P0 = C(N-r, T) / C(N, T)
    fixed_structured  evenly spread non-zeros: P0 = max(0, 1 - d*T)
    n_m               n of every m along `dimension`: exact by alignment; density = n/m
    block             blocks of `block` (dimension -> edge) all zero or all non-zero
    banded            |row - column| <= `half_bandwidth` of a square matrix
    dead_columns      a share `dead` of the indices of `dimension` is all zero, the rest Bernoulli
    mask              a real tensor: `array`, or `tensor` of a safetensors `file`

Sources: compression_formats reference, section 3 (formulas of timeloop commit 4cf6d4cd for the
hypergeometric, fixed-structured and banded models); block, dead columns and cut N:M blocks are
derived here. Tiles are taken to start at multiples of their own extents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, log1p, prod
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators import density_core
from spaces.sparsity import DensitySpec

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST_BLOCK = 64
"""Largest M of N:M: its tables hold 4*M*M numbers."""


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
        code: Coded row, see `evaluators.density_core`.
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
        return _elements(padded_boxes(extents)) * self.density

    def occupancy_quantile(self, extents: IntArray, confidence: float) -> FloatArray:
        """Non-zeros that a tile does not exceed with this confidence, shape (n,).

        1 gives the largest possible number, .5 the mean; in between the normal approximation
        mean + z * deviation, rounded up and kept within what the tile and the tensor hold.
        """
        if not 0.5 <= confidence <= 1.0:
            raise ValueError(f"confidence must be between 0.5 and 1, got {confidence}")
        boxes = padded_boxes(extents)
        mean = _elements(boxes) * self.density
        limit = np.minimum(_elements(boxes), ceil(self.density * self.elements))
        if confidence == 0.5:
            return mean
        deviation = self.nonzeros_deviation(boxes)
        if confidence == 1.0:
            return np.where(deviation > 0.0, limit, np.ceil(mean - 1e-9))
        return np.minimum(
            limit, np.ceil(mean + NormalDist().inv_cdf(confidence) * deviation - 1e-9)
        )


def density_model(
    spec: DensitySpec, dimension_names: Sequence[str], dimension_sizes: Sequence[int]
) -> DensityModel:
    """Turn a specification into a model for a tensor with these dimensions.

    Raises:
        ValueError: Missing or impossible parameter, too many dimensions; one line.

    >>> spec = DensitySpec("hypergeometric", 0.3)
    >>> round(float(density_model(spec, ["K"], [10]).p_empty(np.array([[4]]))[0]), 6)
    0.166667
    """
    if len(dimension_names) > density_core.MAX_DIMENSIONS:
        raise ValueError(
            f"density model: at most {density_core.MAX_DIMENSIONS} dimensions, "
            f"got {len(dimension_names)}"
        )
    return _BUILDERS[spec.model](spec, tuple(dimension_names), tuple(map(int, dimension_sizes)))


def _log_zero(density: float) -> float:
    return log1p(-density) if density < 1.0 else -inf


def _row(*numbers: float) -> FloatArray:
    return np.array(numbers, dtype=np.float64)


def _elements(boxes: IntArray) -> FloatArray:
    return np.asarray(boxes.prod(axis=1), dtype=np.float64)


def _root(variance: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def _no_deviation(boxes: IntArray) -> FloatArray:
    return np.zeros(len(boxes))


def _dense(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    return DensityModel("dense", sizes, 1.0, _row(density_core.DENSE), _no_deviation)


def _bernoulli(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    d = spec.density
    return DensityModel(
        spec.model,
        sizes,
        d,
        _row(density_core.BERNOULLI, _log_zero(d)),
        lambda boxes: _root(_elements(boxes) * d * (1.0 - d)),
    )


def _hypergeometric(
    spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]
) -> DensityModel:
    total = prod(sizes)
    nonzeros = min(total, ceil(spec.density * total - 1e-9))
    d = nonzeros / total

    def deviation(boxes: IntArray) -> FloatArray:
        drawn = np.minimum(_elements(boxes), total)
        return _root(drawn * d * (1.0 - d) * (total - drawn) / max(1, total - 1))

    code = _row(density_core.HYPERGEOMETRIC, total, nonzeros)
    return DensityModel(spec.model, sizes, d, code, deviation)


def _fixed_structured(
    spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]
) -> DensityModel:
    code = _row(density_core.FIXED_STRUCTURED, spec.density)
    return DensityModel(spec.model, sizes, spec.density, code, _no_deviation)


def _dimension(spec: DensitySpec, names: Sequence[str]) -> int:
    name = _parameter(spec, "dimension")
    if name not in names:
        raise ValueError(
            f"density model {spec.model}: no dimension {name!r}, the tensor has {', '.join(names)}"
        )
    return list(names).index(name)


def _parameter(spec: DensitySpec, key: str) -> Any:
    if key not in spec.parameters:
        given = ", ".join(spec.parameters) or "nothing"
        raise ValueError(f"density model {spec.model}: parameter {key!r} is missing, got {given}")
    return spec.parameters[key]


def _n_m(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    kept, block = int(_parameter(spec, "n")), int(_parameter(spec, "m"))
    dimension = _dimension(spec, names)
    if not 0 <= kept <= block or not 1 <= block <= LARGEST_BLOCK:
        raise ValueError(
            f"density model n_m: needs 0 <= n <= m and m <= {LARGEST_BLOCK}, got {kept}:{block}"
        )
    d = kept / block

    def deviation(boxes: IntArray) -> FloatArray:
        cut = boxes[:, dimension] % block
        lines = _elements(boxes) / boxes[:, dimension]
        return _root(lines * cut * d * (1.0 - d) * (block - cut) / max(1, block - 1))

    tables = density_core.line_tables(kept, block).ravel()
    code = np.concatenate([_row(density_core.N_M, dimension, block), tables])
    return DensityModel(spec.model, sizes, d, code, deviation)


def _block(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    edges: Mapping[str, int] = _parameter(spec, "block")
    for name in edges:
        if name not in names:
            raise ValueError(
                f"density model block: no dimension {name!r}, the tensor has {', '.join(names)}"
            )
    shape = [int(edges.get(name, 1)) for name in names]
    shape += [1] * (density_core.MAX_DIMENSIONS - len(shape))
    if min(shape) < 1:
        raise ValueError(f"density model block: edges must be >= 1, got {dict(edges)}")
    d, cell = spec.density, prod(shape)

    def deviation(boxes: IntArray) -> FloatArray:
        held = np.minimum(boxes, np.array(shape)).prod(axis=1)
        return _root(_elements(boxes) * held * d * (1.0 - d))

    code = _row(density_core.BLOCK, max(_log_zero(d), -1e300), *shape)
    if cell == 1:
        return _bernoulli(spec, names, sizes)
    return DensityModel(spec.model, sizes, d, code, deviation)


def _banded(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ValueError(f"density model banded: needs a square matrix, got sizes {sizes}")
    edge, half = sizes[0], int(_parameter(spec, "half_bandwidth"))
    if not 0 <= half < edge:
        raise ValueError(f"density model banded: half_bandwidth must be 0..{edge - 1}, got {half}")
    nonzeros = edge + 2 * sum(edge - offset for offset in range(1, half + 1))
    code = _row(density_core.BANDED, edge, half, 0, 1)

    def deviation(boxes: IntArray) -> FloatArray:
        return np.where(_elements(boxes) < edge * edge, _elements(boxes), 0.0)

    return DensityModel(spec.model, sizes, nonzeros / edge**2, code, deviation)


def _dead_columns(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    dimension, dead = _dimension(spec, names), float(_parameter(spec, "dead"))
    if not 0.0 <= dead < 1.0 or spec.density > 1.0 - dead + 1e-12:
        raise ValueError(
            "density model dead_columns: needs 0 <= dead < 1 and density <= 1 - dead, "
            f"got dead {dead} and density {spec.density}"
        )
    live = min(1.0, spec.density / (1.0 - dead))

    def deviation(boxes: IntArray) -> FloatArray:
        columns = boxes[:, dimension]
        depth = _elements(boxes) / columns
        within = (1.0 - dead) * depth * live * (1.0 - live)
        return _root(columns * (within + dead * (1.0 - dead) * (depth * live) ** 2))

    code = _row(density_core.DEAD_COLUMNS, dimension, dead, max(_log_zero(live), -1e300))
    return DensityModel(spec.model, sizes, spec.density, code, deviation)


def _mask(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    from evaluators.mask_density import mask_model

    return mask_model(spec, sizes)


_BUILDERS: dict[str, Callable[[DensitySpec, Sequence[str], tuple[int, ...]], DensityModel]] = {
    "dense": _dense,
    "bernoulli": _bernoulli,
    "hypergeometric": _hypergeometric,
    "fixed_structured": _fixed_structured,
    "n_m": _n_m,
    "block": _block,
    "banded": _banded,
    "dead_columns": _dead_columns,
    "mask": _mask,
}
