"""Density models: how probable it is that a tile of a sparse tensor is empty.

A `DensityModel` answers for batches of tiles, and carries the coded row that compiled kernels use
(`evaluators.sparsity.density_core` has the coding). Models and their parameters
(`DensitySpec.parameters`):

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
from math import ceil, inf, log1p, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity import density_core
from evaluators.sparsity.density_model import DensityModel, box_elements
from evaluators.sparsity.mask_density import mask_model
from spaces.sparsity.sparsity import DensitySpec
from spaces.validation import check_choice, check_keys

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST_BLOCK = 64
"""Largest M of N:M: its tables hold 4*M*M numbers."""


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
        lambda boxes: _root(box_elements(boxes) * d * (1.0 - d)),
    )


def _hypergeometric(
    spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]
) -> DensityModel:
    total = prod(sizes)
    nonzeros = min(total, ceil(spec.density * total - 1e-9))
    d = nonzeros / total

    def deviation(boxes: IntArray) -> FloatArray:
        drawn = np.minimum(box_elements(boxes), total)
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
    check_choice(f"density model {spec.model}: dimension", name, names)
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
    if kept == 0:
        return _bernoulli(DensitySpec("bernoulli", 0.0), names, sizes)
    d = kept / block

    def deviation(boxes: IntArray) -> FloatArray:
        cut = boxes[:, dimension] % block
        lines = box_elements(boxes) / boxes[:, dimension]
        return _root(lines * cut * d * (1.0 - d) * (block - cut) / max(1, block - 1))

    tables = density_core.line_tables(kept, block).ravel()
    code = np.concatenate([_row(density_core.N_M, dimension, block), tables])
    return DensityModel(spec.model, sizes, d, code, deviation)


def _block(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
    edges: Mapping[str, int] = _parameter(spec, "block")
    check_keys("density model block: block", edges, names)
    shape = [int(edges.get(name, 1)) for name in names]
    shape += [1] * (density_core.MAX_DIMENSIONS - len(shape))
    if min(shape) < 1:
        raise ValueError(f"density model block: edges must be >= 1, got {dict(edges)}")
    d, cell = spec.density, prod(shape)

    def deviation(boxes: IntArray) -> FloatArray:
        held = np.minimum(boxes, np.array(shape)).prod(axis=1)
        return _root(box_elements(boxes) * held * d * (1.0 - d))

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
        return np.where(box_elements(boxes) < edge * edge, box_elements(boxes), 0.0)

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
        depth = box_elements(boxes) / columns
        within = (1.0 - dead) * depth * live * (1.0 - live)
        return _root(columns * (within + dead * (1.0 - dead) * (depth * live) ** 2))

    code = _row(density_core.DEAD_COLUMNS, dimension, dead, max(_log_zero(live), -1e300))
    return DensityModel(spec.model, sizes, spec.density, code, deviation)


def _mask(spec: DensitySpec, names: Sequence[str], sizes: tuple[int, ...]) -> DensityModel:
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
