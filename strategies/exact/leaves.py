"""Placements of one storage level: every order of every kept subset that fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spaces.compiled import compiled
from strategies.exact.grid import FloatArray, Grid, IntArray, Points, lie_between
from strategies.exact.growth import Growth, any_growth, growth_of, tile_prices
from strategies.exact.machine import Machine
from strategies.exact.nodes import begin_node, count_nodes, new_walk, next_extent, next_growth
from strategies.exact.prices import Costs


class Leaves(NamedTuple):
    """Placements of a storage level, or of levels 2 and 3 together (see `pairs`).

    Attributes:
        mask: Tensors kept, shape (n,); of a pair those of level 2 in the higher bits.
        row: Row of the node orders, shape (n,).
        top: Extents (divisor indices) below everything of the level, shape (n, R).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (n, T).
        own: Sub-grid index of the same, of a pair of the outermost tile of both; shape (n, T).
        words: Words written into the level over the whole operator, shape (n, T).
        run: Tensor that stays over a run of outer loops, full-grid index of their trips, see
            `walk.fill_list`; -1 = no run; shape (n, 2).
        end: One past the placements that differ from this one in a shorter run only, shape (n,).
        middle: Of four levels what level 2 does: fan-out below it, node order, tiles; see `pairs`;
            shape (n, 2 + T), else (n, 0).
    """

    mask: IntArray
    row: IntArray
    top: IntArray
    tile: IntArray
    own: IntArray
    words: FloatArray
    run: IntArray
    end: IntArray
    middle: IntArray


@compiled
def write_placement(out, count, row, order, at, top):  # type: ignore[no-untyped-def]
    """Write row number, tile of every tensor (-1 = not kept; `at` from inside) and top, if room."""
    tensors = at.shape[0]
    if count < out.shape[0]:
        out[count, 0] = row
        out[count, 1 : 1 + tensors] = -1
        for d in range(order.shape[0]):
            out[count, 1 + order[order.shape[0] - 1 - d]] = at[d]
        out[count, 1 + tensors :] = top


@compiled
def _place(grid, points, elements, bits, orders, rows, capacity, growth, box, out):  # type: ignore[no-untyped-def]
    """Write (row, tiles..., top...) of the placements of some orders that fit; returns how many.

    Writes no more than `out` holds, counts all. growth = (of nodes, of heads), see `growth`; box =
    (extents around which, extents that must be divided).
    """
    base, full = box
    tensors, ranks = grid.relevant.shape
    walk, bounds = new_walk(tensors, ranks), (base, full, full)
    extent, open_ranks, at = walk[0], walk[1], walk[3]
    room = np.zeros(tensors + 1)
    room[0] = capacity
    count = 0
    for row in rows:
        order = orders[row]
        nodes = count_nodes(order)
        if nodes == 0:
            write_placement(out, count, row, order[:0], at, base)
            count += 1
            continue
        depth = 0
        begin_node(walk, order, 0, nodes, nodes, bounds, grid.relevant)
        while depth >= 0:
            t = order[nodes - 1 - depth]
            at[depth] = 0
            for r in range(ranks):
                at[depth] += grid.stride[r] * extent[depth, r]
            own = points.own[t, at[depth]]
            room[depth + 1] = room[depth] - elements[t, own] * bits[t, own]
            fits = room[depth + 1] >= -1e-9 * capacity
            if fits and depth < nodes - 1:
                depth += 1
                begin_node(walk, order, depth, nodes, nodes, bounds, grid.relevant)
                continue
            if fits:
                write_placement(out, count, row, order[:nodes], at, extent[nodes - 1])
                count += 1
            while depth >= 0:
                inner = base if depth == 0 else extent[depth - 1]
                if fits and next_extent(grid.div, open_ranks[depth], inner, full, extent[depth]):
                    break
                larger = growth[1] if depth == nodes - 1 else growth[0]
                t = order[nodes - 1 - depth]
                if next_growth(walk, depth, nodes, bounds, grid, larger, t):
                    break
                fits = True
                depth -= 1
    return count


@compiled
def _undominated(top, group, prices, order, div):  # type: ignore[no-untyped-def]
    """Mark the placements that no other of the same group beats; `order` is sorted by group.

    One beats another if its tiles divide the other's and no price is higher: the loops it has less
    may stand directly below the outer level, where they change nothing there.
    """
    n = order.shape[0]
    good = np.zeros(n, dtype=np.bool_)
    kept = np.zeros(n, dtype=np.int64)
    count = 0
    for i in range(n):
        a = order[i]
        if i > 0 and group[a] != group[order[i - 1]]:
            count = 0
        beaten = False
        for j in range(count):
            b = kept[j]
            beaten = True
            for k in range(prices.shape[1]):
                if prices[b, k] > prices[a, k] * (1.0 + 1e-12):
                    beaten = False
                    break
            if beaten:
                for r in range(top.shape[1]):
                    if div[r, top[a, r], top[b, r]] < 0:
                        beaten = False
                        break
            if beaten:
                break
        if not beaten:
            good[a] = True
            kept[count] = a
            count += 1
    return good


def _prices(costs: Costs, leaves: Leaves, level: int) -> FloatArray:
    """Everything of a level's placement that a cost grows with, shape (n, columns)."""
    columns = [leaves.words]
    for t in np.flatnonzero(costs.grows):
        values = tile_prices(costs, int(t), level)[np.maximum(leaves.own[:, t], 0)]
        columns.append(np.where(leaves.own[:, t : t + 1] >= 0, values, 0.0))
    stack = np.concatenate(columns, axis=1)
    return np.ascontiguousarray(stack[:, np.ptp(stack, axis=0) > 0.0])


def innermost_placements(
    problem: tuple[Grid, Points, Costs, Machine],
    orders: tuple[IntArray, IntArray],
    box: tuple[IntArray, IntArray],
    heads_grow: bool = False,
) -> Leaves:
    """Placements of the innermost level around the trips of the fan-out below it, all that fit.

    Args:
        problem: The tables.
        orders: Node orders and where each mask's begin.
        box: Divisor indices of the spatial trips below the level, and those that the extents must
            divide, shape (R,) each.
        heads_grow: Whether the outermost node grows in its own ranks, too, see `runs`.
    """
    grid, _, costs, machine = problem
    level = len(machine.capacity) - 1
    growth = growth_of(grid, costs, level)
    heads = any_growth(grid, costs) if heads_grow else growth
    bits = np.ascontiguousarray(costs.own_bits[:, level])
    return placements_at(level, problem, orders, box, bits, (growth, heads))


def placements_at(
    level: int,
    problem: tuple[Grid, Points, Costs, Machine],
    orders: tuple[IntArray, IntArray],
    box: tuple[IntArray, IntArray],
    bits: FloatArray,
    growth: tuple[Growth, Growth],
) -> Leaves:
    """Placements of a level, all that fit.

    Args:
        level, problem, orders, box: See `innermost_placements`.
        bits: Of every tensor per element, by its sub-grid index, shape (T, S).
        growth: What the level's nodes, and its outermost ones, may grow to.
    """
    grid, points, costs, machine = problem
    rows, starts = orders
    tensors = rows.shape[1]
    masks = np.repeat(np.arange(1 << tensors), np.diff(starts))
    allowed = np.flatnonzero(machine.masks[level, masks])
    capacity = float(machine.capacity[level])
    room = 1 << (18 if costs.grows.any() else 13)
    while True:
        out = np.empty((room, 1 + tensors + len(box[0])), dtype=np.int64)
        count = _place(
            grid, points, costs.elements, bits, rows, allowed, capacity, growth, box, out
        )
        if count <= room:
            break
        room = count
    return _describe(out[:count], points, costs, masks)


def undominated(leaves: Leaves, grid: Grid, costs: Costs, level: int) -> Leaves:
    """The placements of a level that no other with the same tensors kept beats."""
    return _thinned(leaves, grid, costs, level, leaves.mask)


def undominated_heads(leaves: Leaves, grid: Grid, costs: Costs, rows: IntArray) -> Leaves:
    """The innermost placements that none beats with the same tensors, tiles and outermost node.

    What may gain from a run of outer loops depends on both; see `runs.longest_runs`.
    """
    tensors = rows.shape[1]
    head = np.where(leaves.mask > 0, rows[leaves.row, 0], tensors)
    group = ((leaves.top @ grid.stride) * (1 << tensors) + leaves.mask) * (tensors + 1) + head
    return _thinned(leaves, grid, costs, costs.read.shape[1] - 1, group)


def _thinned(leaves: Leaves, grid: Grid, costs: Costs, level: int, group: IntArray) -> Leaves:
    if not len(group):
        return leaves
    prices = _prices(costs, leaves, level)
    ranks = leaves.top.shape[1]
    extent = grid.size[np.arange(ranks), leaves.top].prod(axis=1)
    order = np.lexsort((prices.sum(axis=1), extent, group))
    good = _undominated(leaves.top, group, prices, order, grid.div)
    chosen = np.flatnonzero(good)
    return take_leaves(leaves, chosen[np.argsort(prices[chosen].sum(axis=1), kind="stable")])


def _describe(found: IntArray, points: Points, costs: Costs, masks: IntArray) -> Leaves:
    tensors = len(points.own)
    tile = found[:, 1 : 1 + tensors]
    rows = np.arange(tensors)
    own = np.where(tile >= 0, points.own[rows, tile], -1)
    words = costs.words[rows, own] * points.refetch[rows, tile]
    return Leaves(
        mask=masks[found[:, 0]],
        row=found[:, 0],
        top=found[:, 1 + tensors :],
        tile=tile,
        own=own,
        words=np.where(tile >= 0, words, 0.0),
        run=np.full((len(found), 2), -1, dtype=np.int64),
        end=np.arange(1, len(found) + 1),
        middle=np.zeros((len(found), 0), dtype=np.int64),
    )


def take_leaves(leaves: Leaves, chosen: IntArray) -> Leaves:
    """Some of the placements, in the order of `chosen`."""
    return Leaves(
        mask=leaves.mask[chosen],
        row=leaves.row[chosen],
        top=np.ascontiguousarray(leaves.top[chosen]),
        tile=np.ascontiguousarray(leaves.tile[chosen]),
        own=np.ascontiguousarray(leaves.own[chosen]),
        words=np.ascontiguousarray(leaves.words[chosen]),
        run=np.ascontiguousarray(leaves.run[chosen]),
        end=np.arange(1, len(chosen) + 1),
        middle=np.ascontiguousarray(leaves.middle[chosen]),
    )


def large_enough(leaves: Leaves, grid: Grid, points: Points, minimum: IntArray) -> Leaves:
    """The placements whose tiles all have at least these rank extents in their relevant ranks."""
    good = np.ones(len(leaves.mask), dtype=np.bool_)
    for t, relevant in enumerate(grid.relevant):
        place = points.place[np.maximum(leaves.tile[:, t], 0)]
        extent = grid.size[np.arange(len(minimum)), place]
        fits = (extent >= np.where(relevant, minimum, 1)).all(axis=1)
        good &= fits | (leaves.tile[:, t] < 0)
    return take_leaves(leaves, np.flatnonzero(good))


def even_placements(
    problem: tuple[Grid, Points, Costs, Machine], row: int, base: IntArray, full: IntArray
) -> Leaves:
    """The placements of all tensors at one tile of the innermost level, all that fit.

    Args:
        problem: The tables.
        row: A node order of all tensors.
        base, full: The two parts of a box, see `innermost_placements`.
    """
    grid, points, costs, machine = problem
    tensors, level = len(grid.relevant), len(machine.capacity) - 1
    sizes = costs.elements * costs.own_bits[:, level]
    held = np.zeros(len(points.place))
    for size, own in zip(sizes, points.own, strict=True):
        held += size[own]
    whole = lie_between(grid, points.place, base, full)
    fit = np.flatnonzero(whole & (held <= machine.capacity[level] * (1.0 + 1e-9)))
    tile = np.repeat(fit[:, None], tensors, axis=1)
    found = np.concatenate([np.full((len(fit), 1), row), tile, points.place[fit]], axis=1)
    masks = np.full(row + 1, (1 << tensors) - 1)
    return _describe(found, points, costs, masks)
