"""The spatial unrollings that a fan-out can hold, several ranks per axis."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from strategies.exact.grid import FloatArray, IntArray, divisors


class Fanout(NamedTuple):
    """The distinct spatial trips one fan-out can have.

    Attributes:
        place: Divisor indices, shape (n, R), by decreasing number of instances used.
        used: Instances used, shape (n,).
        shared: Product of the trips of each tensor's irrelevant ranks, shape (n, T).
        axis_trips: One way to lay them on the axes, shape (n, axes, R).
    """

    place: IntArray
    used: FloatArray
    shared: FloatArray
    axis_trips: IntArray


@lru_cache(maxsize=512)
def build_fanout(
    sizes: tuple[int, ...],
    axes: tuple[int, ...],
    relevant: tuple[tuple[bool, ...], ...],
    allowed: tuple[tuple[bool, ...], ...] | None = None,
) -> Fanout:
    """Every distinct product of spatial trips that the axes can hold, several ranks per axis.

    `allowed`: per axis the ranks that may be unrolled over it; None = all.
    """
    ranks = len(sizes)
    found = np.ones((1, 0, ranks), dtype=np.int64)
    for number, axis in enumerate(axes):
        options = np.array(_axis_trips(sizes, axis), dtype=np.int64)
        if allowed is not None:
            options = options[(np.array(allowed[number]) | (options == 1)).all(axis=1)]
        pairs = np.concatenate(
            [
                np.repeat(found, len(options), axis=0),
                np.tile(options, (len(found), 1))[:, None, :],
            ],
            axis=1,
        )
        found = _distinct(pairs, sizes)
    trips = found.prod(axis=1)
    used = trips.prod(axis=1).astype(np.float64)
    order = np.argsort(-used, kind="stable")
    index = np.stack(
        [np.searchsorted(divisors(size), trips[:, r]) for r, size in enumerate(sizes)], axis=1
    )
    irrelevant = ~np.array(relevant, dtype=np.bool_)
    shared = np.stack([np.where(row, trips, 1).prod(axis=1) for row in irrelevant], axis=1)
    return Fanout(
        np.ascontiguousarray(index[order]),
        used[order],
        np.ascontiguousarray(shared[order].astype(np.float64)),
        np.ascontiguousarray(found[order]),
    )


def _axis_trips(sizes: tuple[int, ...], axis: int) -> list[tuple[int, ...]]:
    trips: list[tuple[int, ...]] = [()]
    for size in sizes:
        fit = [d for d in divisors(size) if d <= axis]
        trips = [(*t, d) for t in trips for d in fit if int(np.prod(t, dtype=np.int64)) * d <= axis]
    return trips


def _distinct(pairs: IntArray, sizes: tuple[int, ...]) -> IntArray:
    total = pairs.prod(axis=1)
    whole = (np.array(sizes, dtype=np.int64) % total == 0).all(axis=1)
    pairs, total = pairs[whole], total[whole]
    _, first = np.unique(total, axis=0, return_index=True)
    return pairs[first]
