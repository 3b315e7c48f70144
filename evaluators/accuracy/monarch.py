"""Dense to sparse: the Monarch matrix nearest to a weight matrix, and products with it.

The nearest Monarch matrix in Frobenius norm keeps the leading r singular triples of every slice
W[(a, k), (d, e)]; slices are independent, so the projection is a batch of small SVDs (Dao et al.,
arXiv 2204.00595, section 4; rank r by Eckart-Young). Rank one, by far the most frequent, never
needs a full SVD: the leading right vector of a slice S is the fixed point of its Gram matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spaces.cim.monarch_shape import MonarchShape

Array = NDArray[np.float64]

_CHUNK_ELEMENTS = 4_000_000
"""Slices are processed in batches of about this many elements, so memory stays bounded."""


@dataclass(frozen=True)
class MonarchMatrix:
    """Two block-diagonal factors per tile.

    Attributes:
        shape: Block structure.
        first: R, stage 1, shape (out_tiles, in_tiles, E, K*r, D).
        second: L, stage 2, shape (out_tiles, in_tiles, K, A, E*r).
    """

    shape: MonarchShape
    first: Array
    second: Array

    def apply(self, x: Array) -> Array:
        """y = Mx for a batch; x of shape (batch, in_features) -> (batch, out_features)."""
        shape = self.shape
        padded = np.zeros((len(x), shape.padded_in))
        padded[:, : shape.in_features] = x
        y = np.zeros((len(x), shape.padded_out))
        for row in range(shape.out_tiles):
            rows = slice(row * shape.tile_out, (row + 1) * shape.tile_out)
            for column in range(shape.in_tiles):
                columns = slice(column * shape.tile_in, (column + 1) * shape.tile_in)
                y[:, rows] += self._apply_tile(row, column, padded[:, columns])
        return y[:, : shape.out_features]

    def _apply_tile(self, row: int, column: int, x: Array) -> Array:
        """One tile's product; x of shape (batch, D*E)."""
        shape = self.shape
        grid = x.reshape(-1, shape.in_width, shape.in_blocks)
        middle = np.einsum("ekd,nde->nek", self.first[row, column], grid, optimize=True)
        middle = middle.reshape(-1, shape.in_blocks, shape.out_blocks, shape.rank)
        middle = middle.transpose(0, 2, 1, 3).reshape(len(x), shape.out_blocks, -1)
        y = np.einsum("kae,nke->nak", self.second[row, column], middle, optimize=True)
        return np.asarray(y.reshape(len(x), -1))

    def dense(self) -> Array:
        """The matrix itself, shape (out_features, in_features)."""
        return self.apply(np.eye(self.shape.in_features)).T


@dataclass(frozen=True)
class Projection:
    """A projected weight matrix and what the projection lost.

    Attributes:
        matrix: The nearest Monarch matrix.
        relative_error: ||W - M||_F / ||W||_F; 0 for a zero matrix.
    """

    matrix: MonarchMatrix
    relative_error: float


def project(weight: Array, shape: MonarchShape) -> Projection:
    """Nearest Monarch matrix of this shape in Frobenius norm.

    Args:
        weight: Shape (out_features, in_features).
        shape: Block structure, see `spaces.cim.monarch_shape`.

    Raises:
        ValueError: If the weight's shape is not the one `shape` stands for, or a value is not
            finite.

    >>> from spaces.cim.monarch_shape import padded_square
    >>> project(np.ones((4, 4)), padded_square(4, 4)).relative_error < 1e-12
    True
    """
    weight = np.asarray(weight, dtype=np.float64)
    expected = (shape.out_features, shape.in_features)
    if weight.shape != expected:
        raise ValueError(f"weight must have the shape {expected} of its rule, got {weight.shape}")
    if not np.isfinite(weight).all():
        raise ValueError("weight must be finite, got nan or inf: check the model file")
    first, second, kept = _empty_factors(shape)
    for row in range(shape.out_tiles):
        for column in range(shape.in_tiles):
            tile = _tile(weight, shape, row, column)
            kept += _project_tile(tile, shape, first[row, column], second[row, column])
    total = float(np.vdot(weight, weight))
    error = np.sqrt(max(total - kept, 0.0) / total) if total > 0 else 0.0
    return Projection(MonarchMatrix(shape, first, second), float(error))


def residual(weight: Array, matrix: MonarchMatrix) -> float:
    """||W - M||_F / ||W||_F, measured by building M; 0 for a zero matrix."""
    norm = float(np.linalg.norm(weight))
    return float(np.linalg.norm(weight - matrix.dense())) / norm if norm > 0 else 0.0


@lru_cache(maxsize=4096)
def gaussian_residual(shape: MonarchShape, slices: int = 16, seed: int = 0) -> float:
    """Expected relative error of projecting independent Gaussian weights onto this shape.

    What a layer without structure loses; estimated from random slices of the shape's size, the
    padding left out.
    """
    random = np.random.default_rng(seed)
    height = min(shape.out_width, -(-shape.out_features // shape.out_blocks))
    width = min(shape.in_width, -(-shape.in_features // shape.in_blocks))
    stack = random.standard_normal((slices, height, width))
    if height < width:
        stack = stack.swapaxes(1, 2)
    squares = np.linalg.eigvalsh(stack.swapaxes(1, 2) @ stack)
    kept = float(squares[:, -min(shape.rank, squares.shape[1]) :].sum() / squares.sum())
    return float(np.sqrt(max(1.0 - kept, 0.0)))


def fold_permutations(matrix: MonarchMatrix) -> tuple[Array, Array]:
    """Offline folding: the stage-1 and stage-2 factors with their outer permutations absorbed.

    Returns PRP (shape (middle, tile_in)) and PLP (shape (tile_out, middle)) of a one-tile matrix,
    so that M = PLP @ P @ PRP with the one middle permutation of `middle_permutation`.
    """
    shape = matrix.shape
    if shape.tiles != 1:
        raise ValueError(f"folding needs a single Monarch tile, got {shape.tiles}")
    blocks, rank = shape.in_blocks, shape.rank
    eye_in = np.eye(blocks)
    prp = np.einsum("ekd,ef->kedf", matrix.first[0, 0], eye_in)
    eye_out = np.eye(shape.out_blocks)
    second = matrix.second[0, 0].reshape(shape.out_blocks, shape.out_width, blocks, rank)
    plp = np.einsum("kaej,kl->akejl", second, eye_out)
    return prp.reshape(shape.middle, shape.tile_in), plp.reshape(shape.tile_out, shape.middle)


def middle_permutation(shape: MonarchShape) -> NDArray[np.intp]:
    """P as indices: (P v)[i] = v[p[i]], from stage-1 order (k, j, e) to stage-2 order (e, j, k)."""
    order = np.arange(shape.middle).reshape(shape.out_blocks, shape.rank, shape.in_blocks)
    return np.ascontiguousarray(order.transpose(2, 1, 0)).reshape(-1)


def _empty_factors(shape: MonarchShape) -> tuple[Array, Array, float]:
    grid = (shape.out_tiles, shape.in_tiles)
    first, second = shape.factors
    return (
        np.zeros((*grid, first.blocks, first.columns, first.rows)),
        np.zeros((*grid, second.blocks, second.columns, second.rows)),
        0.0,
    )


def _tile(weight: Array, shape: MonarchShape, row: int, column: int) -> Array:
    """One tile, zero padded, viewed as (A, K, D, E)."""
    tile = np.zeros((shape.tile_out, shape.tile_in))
    part = weight[
        row * shape.tile_out : (row + 1) * shape.tile_out,
        column * shape.tile_in : (column + 1) * shape.tile_in,
    ]
    tile[: part.shape[0], : part.shape[1]] = part
    return tile.reshape(shape.out_width, shape.out_blocks, shape.in_width, shape.in_blocks)


def _project_tile(tile: Array, shape: MonarchShape, first: Array, second: Array) -> float:
    """Fill one tile's factors; returns the squared norm that was kept."""
    rank, kept = shape.rank, 0.0
    middle = first.reshape(shape.in_blocks, shape.out_blocks, rank, shape.in_width)
    last = second.reshape(shape.out_blocks, shape.out_width, shape.in_blocks, rank)
    for blocks in _block_chunks(shape):
        slices = np.ascontiguousarray(tile[:, blocks].transpose(1, 3, 0, 2))
        left, values, right = leading_triples(slices, rank)
        root = np.sqrt(values)
        last[blocks] = (left * root[..., None, :]).transpose(0, 2, 1, 3)
        middle[:, blocks] = (right * root[..., :, None]).transpose(1, 0, 2, 3)
        kept += float(np.vdot(values, values))
    return kept


def _block_chunks(shape: MonarchShape) -> Iterator[slice]:
    per_block = shape.in_blocks * shape.out_width * shape.in_width
    step = max(1, _CHUNK_ELEMENTS // per_block)
    for start in range(0, shape.out_blocks, step):
        yield slice(start, min(start + step, shape.out_blocks))


def leading_triples(slices: Array, rank: int) -> tuple[Array, Array, Array]:
    """Leading singular triples of a stack of matrices.

    Args:
        slices: Shape (..., a, d).
        rank: Triples wanted, r; when r exceeds min(a, d) the rest is zero.

    Returns:
        Left vectors (..., a, r), singular values (..., r), right vectors (..., r, d).
    """
    if rank == 1:
        return _leading_triple(slices)
    left, values, right = np.linalg.svd(slices, full_matrices=False)
    have = min(rank, values.shape[-1])
    batch = slices.shape[:-2]
    padded_left = np.zeros((*batch, slices.shape[-2], rank))
    padded_values = np.zeros((*batch, rank))
    padded_right = np.zeros((*batch, rank, slices.shape[-1]))
    padded_left[..., :have] = left[..., :have]
    padded_values[..., :have] = values[..., :have]
    padded_right[..., :have, :] = right[..., :have, :]
    return padded_left, padded_values, padded_right


def _leading_triple(slices: Array) -> tuple[Array, Array, Array]:
    """Rank one: power iteration on a repeatedly squared Gram matrix."""
    if slices.shape[-2] < slices.shape[-1]:
        right, values, left = _leading_triple(slices.swapaxes(-1, -2))
        return left.swapaxes(-1, -2), values, right.swapaxes(-1, -2)
    vector = _leading_vector(slices.swapaxes(-1, -2) @ slices)
    image = slices @ vector[..., None]
    values = np.linalg.norm(image, axis=-2)
    left = np.divide(
        image, values[..., None], out=np.zeros_like(image), where=values[..., None] > 0
    )
    return left, values, vector[..., None, :]


def _leading_vector(gram: Array) -> Array:
    """Unit eigenvectors of the largest eigenvalues, (..., d, d) -> (..., d).

    Ten squarings make one product worth 1024 power iterations. A start that is deterministic and
    lies in the range of the matrix (its heaviest column) cannot be orthogonal to the answer
    unless another one is as good. Stops when no Rayleigh quotient grows any more.
    """
    power = gram / _positive(np.trace(gram, axis1=-2, axis2=-1))[..., None, None]
    for _ in range(10):
        power = power @ power
        power = power / _positive(np.trace(power, axis1=-2, axis2=-1))[..., None, None]
    heaviest = np.argmax(np.einsum("...ii->...i", power), axis=-1)
    vector = _unit(np.take_along_axis(power, heaviest[..., None, None], axis=-1)[..., 0])
    quotient = np.zeros(gram.shape[:-2])
    for _ in range(60):
        vector = _unit((power @ vector[..., None])[..., 0])
        previous, quotient = (
            quotient,
            np.einsum("...i,...i", (gram @ vector[..., None])[..., 0], vector),
        )
        if (quotient <= previous * (1 + 1e-13)).all():
            break
    return vector


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, 1.0)


def _unit(vectors: Array) -> Array:
    return vectors / _positive(np.linalg.norm(vectors, axis=-1))[..., None]
