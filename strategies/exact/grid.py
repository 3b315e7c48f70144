"""The grid of an operator: every rank extent is one of the rank's divisors, written as its index.

A point of the grid is one index per rank. A tensor's tables are indexed by its own sub-grid, the
indices of its relevant ranks only. Everything here depends on sizes alone and is memoised.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Grid(NamedTuple):
    """Divisors of the ranks and their products. D = the largest number of divisors.

    Attributes:
        size: Extent of an index, shape (R, D).
        number: Divisors of each rank, shape (R,).
        mul: Index of the product of two divisors, -1 where it does not divide the rank; (R, D, D).
        div: Index of the quotient of two divisors, -1 where it is not whole; (R, D, D).
        stride: Of the full grid, shape (R,).
        sub: Strides of each tensor's sub-grid, 0 for irrelevant ranks; shape (T, R).
        relevant: Shape (T, R).
        total: Product of the rank sizes.
    """

    size: FloatArray
    number: IntArray
    mul: IntArray
    div: IntArray
    stride: IntArray
    sub: IntArray
    relevant: NDArray[np.bool_]
    total: float


class Points(NamedTuple):
    """Every point of the full grid.

    Attributes:
        own: Sub-grid index of each tensor, shape (T, G).
        refetch: Trips of each tensor's irrelevant ranks outside, shape (T, G).
        place: Divisor indices, shape (G, R).
        shrunk: Full-grid index with each tensor's irrelevant ranks at one, shape (T, G).
    """

    own: IntArray
    refetch: FloatArray
    place: IntArray
    shrunk: IntArray


@lru_cache(maxsize=4096)
def divisors(size: int) -> tuple[int, ...]:
    """Divisors in increasing order.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, int(size**0.5) + 1) if size % d == 0]
    return tuple(sorted({*small, *(size // d for d in small)}))


@lru_cache(maxsize=1024)
def _products(size: int) -> IntArray:
    numbers = divisors(size)
    place = {d: i for i, d in enumerate(numbers)}
    return np.array([[place.get(a * b, -1) for b in numbers] for a in numbers], dtype=np.int64)


@lru_cache(maxsize=1024)
def _quotients(size: int) -> IntArray:
    numbers = divisors(size)
    place = {d: i for i, d in enumerate(numbers)}
    rows = [[place[a // b] if a % b == 0 else -1 for b in numbers] for a in numbers]
    return np.array(rows, dtype=np.int64)


@lru_cache(maxsize=256)
def build_grid(sizes: tuple[int, ...], relevant: tuple[tuple[bool, ...], ...]) -> Grid:
    """The grid of an operator's ranks."""
    numbers = [divisors(size) for size in sizes]
    count = np.array([len(n) for n in numbers], dtype=np.int64)
    wide = int(count.max())
    extent = np.ones((len(sizes), wide))
    mul = np.full((len(sizes), wide, wide), -1, dtype=np.int64)
    div = mul.copy()
    for r, size in enumerate(sizes):
        extent[r, : count[r]] = numbers[r]
        mul[r, : count[r], : count[r]] = _products(size)
        div[r, : count[r], : count[r]] = _quotients(size)
    rows = np.array(relevant, dtype=np.bool_)
    total = float(np.prod(np.array(sizes, dtype=np.float64)))
    return Grid(extent, count, mul, div, _strides(count), _sub_strides(count, rows), rows, total)


@lru_cache(maxsize=128)
def build_points(sizes: tuple[int, ...], relevant: tuple[tuple[bool, ...], ...]) -> Points:
    """Every point of an operator's grid."""
    grid = build_grid(sizes, relevant)
    axes = [np.arange(n) for n in grid.number]
    index = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)
    trips = np.stack([size / grid.size[r, index[:, r]] for r, size in enumerate(sizes)], axis=-1)
    own = np.stack([index @ row for row in grid.sub])
    refetch = np.stack([np.where(row, 1.0, trips).prod(axis=-1) for row in grid.relevant])
    shrunk = np.stack([index @ np.where(row, grid.stride, 0) for row in grid.relevant])
    return Points(own, refetch, index, shrunk)


def lie_between(grid: Grid, place: IntArray, base: IntArray, full: IntArray) -> NDArray[np.bool_]:
    """Whether extents (divisor indices, shape (n, R)) are multiples of those of `base` and divide
    those of `full`, shape (n,).
    """
    good = np.ones(len(place), dtype=np.bool_)
    for r, (least, most) in enumerate(zip(base.tolist(), full.tolist(), strict=True)):
        allowed = (grid.div[r, :, least] >= 0) & (grid.div[r, most] >= 0)
        good &= allowed[place[:, r]]
    return good


def _strides(count: IntArray) -> IntArray:
    return np.concatenate([np.cumprod(count[::-1])[::-1][1:], [1]]).astype(np.int64)


def _sub_strides(count: IntArray, relevant: NDArray[np.bool_]) -> IntArray:
    out = np.zeros(relevant.shape, dtype=np.int64)
    for t, row in enumerate(relevant):
        ranks = np.flatnonzero(row)
        out[t, ranks] = _strides(count[ranks])
    return out


@lru_cache(maxsize=512)
def sub_grid(sizes: tuple[int, ...], relevant: tuple[bool, ...]) -> tuple[IntArray, FloatArray]:
    """Every point of a tensor's sub-grid: rank extents, irrelevant ranks at 1, shape (S, R); tiles
    of these extents in the tensor, shape (S,).
    """
    axes = [
        np.array(divisors(size) if own else (1,), dtype=np.int64)
        for size, own in zip(sizes, relevant, strict=True)
    ]
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=-1)
    whole = np.where(relevant, sizes, 1)
    return points, np.asarray(np.prod(whole / points, axis=1), dtype=np.float64)


@lru_cache(maxsize=16)
def node_orders(tensors: int) -> tuple[IntArray, IntArray]:
    """Ordered subsets of the tensors by mask: orders outermost first, padded with -1.

    Returns:
        orders, shape (n, T), and start of each mask's orders, shape (2**T + 1,).
    """
    rows: list[tuple[int, ...]] = []
    start = [0]
    for mask in range(1 << tensors):
        kept = [t for t in range(tensors) if mask >> t & 1]
        rows += [(*order, *[-1] * (tensors - len(kept))) for order in permutations(kept)]
        start.append(len(rows))
    return np.array(rows, dtype=np.int64).reshape(-1, tensors), np.array(start, dtype=np.int64)
