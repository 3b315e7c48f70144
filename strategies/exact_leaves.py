"""Placements of the innermost storage level: every order of every kept subset that fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from strategies.exact_kernels import choose_ranks, first_extent, next_extent
from strategies.exact_problem import Costs, Grid, IntArray, Machine, Points

FloatArray = NDArray[np.float64]


class Leaves(NamedTuple):
    """Placements of the innermost storage level.

    Attributes:
        mask: Tensors kept, shape (n,).
        row: Row of the node orders, shape (n,).
        top: Extents (divisor indices) below everything of the level, shape (n, R).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (n, T).
        own: Sub-grid index of the same, -1 = bypassed; shape (n, T).
        words: Words written into the level over the run, shape (n, T).
    """

    mask: IntArray
    row: IntArray
    top: IntArray
    tile: IntArray
    own: IntArray
    words: FloatArray


@njit(cache=True)
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


@njit(cache=True)
def _undominated(own, words, group, order, grows):  # type: ignore[no-untyped-def]
    """Mark the placements that no other of the same group beats in every tensor's words."""
    n = order.shape[0]
    good = np.ones(n, dtype=np.bool_)
    begin = 0
    while begin < n:
        end = begin + 1
        while end < n and group[order[end]] == group[order[begin]]:
            end += 1
        for i in range(begin, end):
            a = order[i]
            for j in range(begin, end):
                b = order[j]
                if i == j or not good[b]:
                    continue
                no_worse, better = True, j < i
                for t in range(words.shape[1]):
                    if grows[t] and own[a, t] != own[b, t]:
                        no_worse = False
                    if words[b, t] > words[a, t]:
                        no_worse = False
                    if words[b, t] < words[a, t]:
                        better = True
                if no_worse and better:
                    good[a] = False
                    break
        begin = end
    return good


def innermost_placements(
    problem: tuple[Grid, Points, Costs, Machine],
    orders: tuple[IntArray, IntArray],
    base: IntArray,
    full: IntArray,
) -> Leaves:
    """Undominated placements of the innermost level around the trips of the fan-out below it.

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
    bits = np.ascontiguousarray(costs.bits[:, level])
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
    leaves = _describe(out[:count], points, costs, masks)
    group = (leaves.top @ grid.stride) * (1 << tensors) + leaves.mask
    order = np.argsort(group, kind="stable")
    good = _undominated(leaves.own, leaves.words, group, order, costs.grows)
    return Leaves(*(np.ascontiguousarray(column[good]) for column in leaves))


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
    )
