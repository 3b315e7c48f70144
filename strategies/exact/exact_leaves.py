"""Placements of the innermost storage level: every order of every kept subset that fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled
from strategies.exact.exact_kernels import choose_ranks, first_extent, next_extent
from strategies.exact.exact_problem import Costs, Grid, IntArray, Machine, Points

FloatArray = NDArray[np.float64]


class Leaves(NamedTuple):
    """Placements of the innermost storage level.

    Attributes:
        mask: Tensors kept, shape (n,).
        row: Row of the node orders, shape (n,).
        top: Extents (divisor indices) below everything of the level, shape (n, R).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (n, T).
        own: Sub-grid index of the same, -1 = bypassed; shape (n, T).
        words: Words written into the level over the whole operator, shape (n, T).
        run: Tensor that stays over a run of outer loops, its rank and divisor index, see
            `fill_list`; -1 = no run; shape (n, 3).
        end: One past the placements that differ from this one in a shorter run only, shape (n,).
    """

    mask: IntArray
    row: IntArray
    top: IntArray
    tile: IntArray
    own: IntArray
    words: FloatArray
    run: IntArray
    end: IntArray


@compiled
def _place(grid, points, elements, bits, orders, rows, capacity, grows, base, full, out):  # type: ignore[no-untyped-def]
    """Write (row, tiles..., top...) of the placements of some orders that fit; returns how many.

    Writes no more than `out` holds, counts all.
    """
    tensors, ranks = grid.relevant.shape
    extent = np.zeros((tensors, ranks), dtype=np.int64)
    open_ranks = np.zeros((tensors, ranks), dtype=np.bool_)
    at_once = np.zeros((tensors, ranks), dtype=np.bool_)
    room = np.zeros(tensors + 1)
    at = np.zeros(tensors, dtype=np.int64)
    room[0] = capacity
    count = 0
    for row in rows:
        nodes = 0
        while nodes < tensors and orders[row, nodes] >= 0:
            nodes += 1
        if nodes == 0:
            if count < out.shape[0]:
                out[count, 0] = row
                out[count, 1 : 1 + tensors] = -1
                out[count, 1 + tensors :] = base
            count += 1
            continue
        for d in range(nodes):
            t = orders[row, nodes - 1 - d]
            choose_ranks(grid.relevant[t], grows[t], False, open_ranks[d], at_once[d])
        depth = 0
        first_extent(open_ranks[0], at_once[0], base, full, extent[0])
        while depth >= 0:
            t = orders[row, nodes - 1 - depth]
            index = 0
            for r in range(ranks):
                index += grid.stride[r] * extent[depth, r]
            at[depth] = index
            own = points.own[t, index]
            room[depth + 1] = room[depth] - elements[t, own] * bits[t, own]
            fits = room[depth + 1] >= -1e-9 * capacity
            if fits and depth < nodes - 1:
                depth += 1
                first_extent(
                    open_ranks[depth], at_once[depth], extent[depth - 1], full, extent[depth]
                )
                continue
            if fits:
                if count < out.shape[0]:
                    out[count, 0] = row
                    out[count, 1 : 1 + tensors] = -1
                    for d in range(nodes):
                        out[count, 1 + orders[row, nodes - 1 - d]] = at[d]
                    out[count, 1 + tensors :] = extent[nodes - 1]
                count += 1
            while depth >= 0:
                t = orders[row, nodes - 1 - depth]
                inner = base if depth == 0 else extent[depth - 1]
                if (fits or grows[t]) and next_extent(
                    grid.div, open_ranks[depth], inner, full, extent[depth]
                ):
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


def _prices(costs: Costs, leaves: Leaves) -> FloatArray:
    """Everything of a placement that a cost grows with, shape (n, columns)."""
    columns = [leaves.words]
    last = costs.read.shape[1] - 1
    for t in np.flatnonzero(costs.grows):
        own = np.maximum(leaves.own[:, t], 0)
        tables = [costs.own_write[t, last], costs.own_bits[t, last], *costs.leaf[t, last]]
        tables += [*costs.leaf_bits[t, last], costs.final, *costs.read[t, :last]]
        tables += [*costs.write[t, :last], *costs.bits[t, :last], costs.words[t]]
        values = np.stack([table[own] for table in tables], axis=1)
        columns.append(np.where(leaves.own[:, t : t + 1] >= 0, values, 0.0))
    stack = np.concatenate(columns, axis=1)
    return np.ascontiguousarray(stack[:, np.ptp(stack, axis=0) > 0.0])


def innermost_placements(
    problem: tuple[Grid, Points, Costs, Machine],
    orders: tuple[IntArray, IntArray],
    base: IntArray,
    full: IntArray,
) -> Leaves:
    """Placements of the innermost level around the trips of the fan-out below it, all that fit.

    Args:
        problem: The tables.
        orders: Node orders and where each mask's begin.
        base: Divisor indices of the spatial trips below the level, shape (R,).
        full: Divisor indices that the extents must divide, shape (R,).
    """
    grid, points, costs, machine = problem
    rows, starts = orders
    tensors = rows.shape[1]
    level = len(machine.capacity) - 1
    masks = np.repeat(np.arange(1 << tensors), np.diff(starts))
    allowed = np.flatnonzero(machine.masks[level, masks])
    bits = np.ascontiguousarray(costs.own_bits[:, level])
    capacity, room = float(machine.capacity[level]), 1 << 13
    while True:
        out = np.empty((room, 1 + tensors + len(base)), dtype=np.int64)
        count = _place(
            grid, points, costs.elements, bits, rows, allowed, capacity, costs.grows, base, full,
            out,
        )  # fmt: skip
        if count <= room:
            break
        room = count
    return _describe(out[:count], points, costs, masks)


def undominated(leaves: Leaves, grid: Grid, costs: Costs) -> Leaves:
    """The placements that no other with the same tensors kept beats."""
    return _thinned(leaves, grid, costs, leaves.mask)


def undominated_heads(leaves: Leaves, grid: Grid, costs: Costs, rows: IntArray) -> Leaves:
    """The placements that none beats that has the same tensors, tiles and outermost node.

    What may gain from a run of outer loops depends on both; see `longest_runs`.
    """
    tensors = rows.shape[1]
    head = np.where(leaves.mask > 0, rows[leaves.row, 0], tensors)
    group = ((leaves.top @ grid.stride) * (1 << tensors) + leaves.mask) * (tensors + 1) + head
    return _thinned(leaves, grid, costs, group)


def _thinned(leaves: Leaves, grid: Grid, costs: Costs, group: IntArray) -> Leaves:
    if not len(group):
        return leaves
    prices = _prices(costs, leaves)
    ranks = leaves.top.shape[1]
    extent = grid.size[np.arange(ranks), leaves.top].prod(axis=1)
    order = np.lexsort((prices.sum(axis=1), extent, group))
    good = _undominated(leaves.top, group, prices, order, grid.div)
    return take_leaves(leaves, np.flatnonzero(good))


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
        run=np.full((len(found), 3), -1, dtype=np.int64),
        end=np.arange(1, len(found) + 1),
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
    )


def large_enough(leaves: Leaves, grid: Grid, minimum: IntArray) -> Leaves:
    """The placements whose tiles all have at least these rank extents in their relevant ranks."""
    good = np.ones(len(leaves.mask), dtype=np.bool_)
    for t, relevant in enumerate(grid.relevant):
        index = (np.maximum(leaves.tile[:, t, None], 0) // grid.stride) % grid.number
        extent = grid.size[np.arange(len(minimum)), index]
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
        base, full: See `innermost_placements`.
    """
    grid, points, costs, machine = problem
    tensors, ranks = grid.relevant.shape
    rows, level = np.arange(tensors)[:, None], len(machine.capacity) - 1
    index = (np.arange(points.own.shape[1])[:, None] // grid.stride) % grid.number
    each = np.arange(ranks)
    whole = (grid.div[each, index, base] >= 0) & (grid.div[each, full, index] >= 0)
    held = (costs.elements[rows, points.own] * costs.own_bits[rows, level, points.own]).sum(axis=0)
    fit = np.flatnonzero(whole.all(axis=1) & (held <= machine.capacity[level] * (1.0 + 1e-9)))
    tile = np.repeat(fit[:, None], tensors, axis=1)
    found = np.concatenate([np.full((len(fit), 1), row), tile, index[fit]], axis=1)
    masks = np.full(row + 1, (1 << tensors) - 1)
    return _describe(found, points, costs, masks)


def longest_runs(leaves: Leaves, grid: Grid, rows: IntArray, full: IntArray) -> Leaves:
    """The placements that keep a tensor, with the longest run over which their first tile stays.

    A run is one of outer loops of the rank that is irrelevant to that tensor.
    """
    kept = take_leaves(leaves, np.flatnonzero(leaves.mask > 0))
    tensor = rows[kept.row, 0]
    rank = np.argmin(grid.relevant, axis=1)[tensor]
    each = np.arange(len(tensor))
    left = grid.div[rank, full[rank], kept.top[each, rank]]
    words = kept.words.copy()
    words[each, tensor] /= grid.size[rank, left]
    return kept._replace(run=np.stack([tensor, rank, left], axis=1), words=words)


def all_runs(longest: Leaves, grid: Grid, chosen: IntArray) -> Leaves:
    """The chosen placements once for every run, longest first."""
    index: list[int] = []
    trips: list[int] = []
    end: list[int] = []
    for j in chosen:
        _, rank, left = longest.run[j]
        some = [q for q in range(int(left), 0, -1) if grid.div[rank, left, q] >= 0]
        index += [int(j)] * len(some)
        trips += some
        end += [len(index)] * len(some)
    taken = take_leaves(longest, np.array(index, dtype=np.int64))
    tensor, rank, left = taken.run.T
    each, run = np.arange(len(index)), taken.run.copy()
    run[:, 2] = trips
    words = taken.words.copy()
    words[each, tensor] *= grid.size[rank, left] / grid.size[rank, run[:, 2]]
    return taken._replace(run=run, words=words, end=np.array(end, dtype=np.int64))
