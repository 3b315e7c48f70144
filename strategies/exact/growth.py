"""Which growth of a tile is worth looking at: what no smaller tile can do as well."""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from strategies.exact.grid import FloatArray, Grid, IntArray
from strategies.exact.prices import Costs

MOST_RIVALS = 16
"""Smaller tiles remembered per tile, the largest ones; more would prune little more."""


@compiled
def find_rivals(div, number, ranks, prices, out):  # type: ignore[no-untyped-def]
    """Write the tiles that divide a tile and whose prices are no higher, largest first, -1 = end.

    ranks: the tensor's own, in the order of its sub-grid; prices (S, columns); out (S, rivals).
    """
    count = ranks.shape[0]
    top, at = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for x in range(prices.shape[0]):
        rest = x
        for k in range(count - 1, -1, -1):
            top[k] = rest % number[ranks[k]]
            rest //= number[ranks[k]]
        at[:] = top
        found = 0
        while found < out.shape[1]:
            k = count - 1
            while k >= 0:
                smaller = at[k] - 1
                while smaller >= 0 and div[ranks[k], top[k], smaller] < 0:
                    smaller -= 1
                if smaller >= 0:
                    at[k] = smaller
                    break
                at[k] = top[k]
                k -= 1
            if k < 0:
                break
            y = 0
            for k in range(count):
                y = y * number[ranks[k]] + at[k]
            if (prices[y] <= prices[x] * (1.0 + 1e-12)).all():
                out[x, found] = y
                found += 1
        out[x, found:] = -1


@compiled
def find_larger(div, number, ranks, rivals, starts, out):  # type: ignore[no-untyped-def]
    """Write, for every tile of a sub-grid, itself and the larger ones around it worth a look.

    starts (S + 1,): where each tile's begin in `out` (S * S,); returns how many were written.
    """
    count = 0
    points = rivals.shape[0]
    for x in range(points):
        starts[x] = count
        for y in range(x, points):
            good = divides(div, number, ranks, y, x)
            for z in rivals[y]:
                if not good or z < 0:
                    break
                good = not divides(div, number, ranks, z, x)
            if good:
                out[count] = y
                count += 1
    starts[points] = count
    return count


@compiled
def divides(div, number, ranks, large, small):  # type: ignore[no-untyped-def]
    """True when every extent of sub-grid point `large` is a multiple of that of `small`."""
    for k in range(ranks.shape[0] - 1, -1, -1):
        n = number[ranks[k]]
        if div[ranks[k], large % n, small % n] < 0:
            return False
        large //= n
        small //= n
    return True


def tile_prices(costs: Costs, tensor: int, level: int) -> FloatArray:
    """Everything that depends on a growing tensor's tile at a level, shape (S, columns)."""
    columns = [costs.own_write[tensor, level], costs.own_bits[tensor, level]]
    columns += [*costs.leaf[tensor, level], *costs.leaf_bits[tensor, level], costs.final]
    columns += [*costs.read[tensor, :level], *costs.write[tensor, :level]]
    columns += [*costs.bits[tensor, :level], costs.words[tensor]]
    return np.stack(columns, axis=1)


def rivals_of(grid: Grid, costs: Costs, level: int) -> IntArray:
    """Smaller tiles that do as well at a level, by growing tensor and sub-grid index, shape
    (T, S, rivals).
    """
    tensors, width = costs.elements.shape
    out = np.full((tensors, width, MOST_RIVALS if costs.grows.any() else 1), -1, dtype=np.int64)
    for t in np.flatnonzero(costs.grows):
        ranks = np.flatnonzero(grid.relevant[t])
        points = int(grid.number[ranks].prod())
        prices = np.ascontiguousarray(tile_prices(costs, int(t), level)[:points])
        find_rivals(grid.div, grid.number, ranks, prices, out[t, :points])
    return out


Growth = tuple[IntArray, IntArray]
"""What tiles may grow to in their own ranks, each itself first: sub-grid indices one after another,
and where those of each tensor and sub-grid index begin, shape (T, S + 1)."""


def growth_of(grid: Grid, costs: Costs, level: int) -> Growth:
    """What the tiles of growing tensors may grow to at a level: larger tiles without rivals."""
    return _larger(grid, rivals_of(grid, costs, level), np.flatnonzero(costs.grows))


def any_growth(grid: Grid, costs: Costs) -> Growth:
    """All larger tiles, of every tensor."""
    tensors, width = costs.elements.shape
    none = np.full((tensors, width, 1), -1, dtype=np.int64)
    return _larger(grid, none, np.arange(tensors))


def _larger(grid: Grid, rivals: IntArray, tensors: IntArray) -> Growth:
    starts = np.zeros((len(rivals), rivals.shape[1] + 1), dtype=np.int64)
    tiles = [np.empty(0, dtype=np.int64)]
    for t in tensors:
        ranks = np.flatnonzero(grid.relevant[t])
        points = int(grid.number[ranks].prod())
        room = np.empty(points * points, dtype=np.int64)
        own = starts[t, : points + 1]
        count = find_larger(grid.div, grid.number, ranks, rivals[t, :points], own, room)
        own += sum(len(part) for part in tiles)
        tiles.append(room[:count].copy())
    return np.concatenate(tiles), starts
