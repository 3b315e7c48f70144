"""Compiled scan of the exact search: spatial trips x innermost placements, joined with the lists.

The innermost storage level's placements do not depend on the spatial trips above it, the outer
level's do not depend on what stands inside beyond the base tile (spatial trips x innermost tiles).
So both are enumerated once, and only joined for every base tile; a pair whose lower bound cannot
improve the archive is dropped before its list is made.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from strategies.exact_kernels import (
    SLACK,
    Lists,
    fill_list,
    find_slot,
    first_extent,
    grid_index,
    leaf_cost,
    link_cost,
    next_extent,
    node_words,
    sub_index,
)

ENERGY, LATENCY, EDP, PARETO = range(4)
"""Objective codes. The single ones break ties by the other metric."""


class Leaves(NamedTuple):
    """Placements of the innermost storage level.

    Attributes:
        mask: Tensors kept, shape (n,).
        row: Row of the node orders, shape (n,).
        top: Extents (divisor indices) below everything of the level, shape (n, R).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (n, T).
        own: Sub-grid index of the same, 0 = bypassed; shape (n, T).
        words: Words written into the level over the run, shape (n, T).
    """

    mask: NDArray[np.int64]
    row: NDArray[np.int64]
    top: NDArray[np.int64]
    tile: NDArray[np.int64]
    own: NDArray[np.int64]
    words: NDArray[np.float64]


class Setting(NamedTuple):
    """The spatial trips outside and inside the two levels being joined.

    Attributes:
        full: Extents (divisor indices) that level 1 divides, shape (R,).
        share0, used0: Sharing per tensor and instances used between levels 0 and 1 (3 levels).
        share2, used2: The same between the innermost level and the compute units.
        mode: Objective code.
        tag: Written into an archive entry's first two fields.
    """

    full: NDArray[np.int64]
    share0: NDArray[np.float64]
    used0: float
    share2: NDArray[np.float64]
    used2: float
    mode: int
    tag: tuple[int, int]


class Archive(NamedTuple):
    """The best designs so far: one, or the front by increasing cycles.

    Attributes:
        energy, cycles: Shape (cap,).
        info: tag0, tag1, spatial row, leaf order row, outer order row, leaf tiles (T), outer
            tiles (T); shape (cap, 5 + 2T).
        count: Entries used, joins looked at, joins pruned by bound; shape (3,).
    """

    energy: NDArray[np.float64]
    cycles: NDArray[np.float64]
    info: NDArray[np.int64]
    count: NDArray[np.int64]


def new_archive(tensors: int, capacity: int = 4096) -> Archive:
    """An empty archive."""
    return Archive(
        np.empty(capacity),
        np.empty(capacity),
        np.empty((capacity, 5 + 2 * tensors), dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def no_better(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """True when nothing with at least this energy and these cycles can improve the archive."""
    n = archive.count[0]
    if n == 0:
        return False
    if mode == PARETO:
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if archive.cycles[middle] <= cycles * (1.0 + SLACK):
                low = middle + 1
            else:
                high = middle
        return low > 0 and archive.energy[low - 1] <= energy * (1.0 + SLACK)
    first, second = energy, cycles
    best, other = archive.energy[0], archive.cycles[0]
    if mode == LATENCY:
        first, second, best, other = cycles, energy, other, best
    if mode == EDP:
        first, best = energy * cycles, best * other
        return first >= best * (1.0 - SLACK)
    if first >= best * (1.0 + SLACK):
        return True
    return first >= best * (1.0 - SLACK) and second >= other * (1.0 - SLACK)


@njit(cache=True)  # type: ignore[untyped-decorator]
def store(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """Place a design that improves the archive; returns its index."""
    if mode != PARETO or archive.count[0] == 0:
        archive.count[0] = 1
        archive.energy[0] = energy
        archive.cycles[0] = cycles
        return 0
    n = archive.count[0]
    place = 0
    while place < n and archive.cycles[place] < cycles * (1.0 - SLACK):
        place += 1
    end = place
    while end < n and archive.energy[end] >= energy * (1.0 - SLACK):
        end += 1
    shift = place + 1 - end
    if shift > 0:
        for i in range(n - 1, end - 1, -1):
            archive.energy[i + 1] = archive.energy[i]
            archive.cycles[i + 1] = archive.cycles[i]
            archive.info[i + 1] = archive.info[i]
    elif shift < 0:
        for i in range(end, n):
            archive.energy[i + shift] = archive.energy[i]
            archive.cycles[i + shift] = archive.cycles[i]
            archive.info[i + shift] = archive.info[i]
    archive.count[0] = n + shift
    archive.energy[place] = energy
    archive.cycles[place] = cycles
    return place


@njit(cache=True)  # type: ignore[untyped-decorator]
def enumerate_leaves(g, c, m, orders, starts, level, base, full, leaves):  # type: ignore[no-untyped-def]
    """Fill `leaves` with every placement of the innermost level that fits; returns how many.

    Returns minus the number wanted so far when the store is too small.
    """
    tensors, ranks = g.relevant.shape
    extent = np.zeros((tensors, ranks), dtype=np.int64)
    room = np.zeros(tensors + 1)
    count, limit = 0, leaves.mask.shape[0]
    for mask in range(1 << tensors):
        if m.masks[level, mask] == 0:
            continue
        for row in range(starts[mask], starts[mask + 1]):
            nodes = 0
            while nodes < tensors and orders[row, nodes] >= 0:
                nodes += 1
            depth = 0
            room[0] = m.capacity[level]
            if nodes > 0:
                first_extent(g, c, orders[row, nodes - 1], False, base, full, extent[0])
            while depth >= 0:
                fits = True
                if nodes > 0:
                    t = orders[row, nodes - 1 - depth]
                    own = sub_index(g, t, extent[depth])
                    bits = c.elements[t, own] * c.bits[t, level, own]
                    room[depth + 1] = room[depth] - bits
                    fits = room[depth + 1] >= -1e-9 * m.capacity[level]
                if fits and depth < nodes - 1:
                    depth += 1
                    t = orders[row, nodes - 1 - depth]
                    first_extent(g, c, t, False, extent[depth - 1], full, extent[depth])
                    continue
                if fits:
                    if count < limit:
                        leaves.mask[count] = mask
                        leaves.row[count] = row
                        leaves.top[count] = base if nodes == 0 else extent[nodes - 1]
                        leaves.tile[count] = -1
                        leaves.own[count] = 0
                        leaves.words[count] = 0.0
                        for d in range(nodes):
                            t = orders[row, nodes - 1 - d]
                            own = sub_index(g, t, extent[d])
                            leaves.tile[count, t] = grid_index(g, extent[d])
                            leaves.own[count, t] = own
                            leaves.words[count, t] = node_words(g, c, t, own, extent[d])
                    count += 1
                if nodes == 0:
                    break
                while depth >= 0:
                    t = orders[row, nodes - 1 - depth]
                    inner = base if depth == 0 else extent[depth - 1]
                    if (fits or c.grows[t]) and next_extent(
                        g, c, t, False, inner, full, extent[depth]
                    ):
                        break
                    fits = True
                    depth -= 1
    return count if count <= limit else -count


@njit(cache=True)  # type: ignore[untyped-decorator]
def undominated_leaves(leaves, group, order, grows):  # type: ignore[no-untyped-def]
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
                for t in range(leaves.words.shape[1]):
                    if grows[t] and leaves.own[a, t] != leaves.own[b, t]:
                        no_worse = False
                    if leaves.words[b, t] > leaves.words[a, t]:
                        no_worse = False
                    if leaves.words[b, t] < leaves.words[a, t]:
                        better = True
                if no_worse and better:
                    good[a] = False
                    break
        begin = end
    return good


@njit(cache=True)  # type: ignore[untyped-decorator]
def price_leaf(c, m, setting, total, leaf, t, share1, inst, cost, load):  # type: ignore[no-untyped-def]
    """Price tensor t for each level that may stand outside the innermost one.

    leaf = (kept, own sub-grid index, words); cost is written, shape (levels - 1,), with its loads.
    """
    kept, own, words = leaf
    levels = m.capacity.shape[0]
    last = levels - 1
    first_words = c.words[t, own]
    for parent in range(last):
        load[parent] = 0.0
        outside = setting.share0[t] if parent == 1 else 1.0
        share = share1 if parent == last - 1 else share1 * setting.share0[t]
        fresh_parent = first_words * outside
        fresh_leaf = fresh_parent * share
        if kept:
            energy = link_cost(
                c, m, (t, parent, last), (own, own), words, share, (fresh_parent, fresh_leaf),
                inst, load[parent],
            )  # fmt: skip
            accesses = total / setting.share2[t]
            energy += leaf_cost(c, m, t, last, own, accesses, fresh_leaf, inst, load[parent])
        elif parent == 1 and c.grows[t]:
            energy = 0.0
        else:
            whole = own if parent > 0 else c.elements.shape[1] - 1
            if not c.grows[t]:
                whole = 0
            accesses = total / setting.share2[t] / share
            energy = leaf_cost(c, m, t, parent, whole, accesses, fresh_parent, inst, load[parent])
        cost[parent] = energy


@njit(cache=True)  # type: ignore[untyped-decorator]
def list_of(g, c, m, orders, starts, mask, base, setting, below, inst, lists):  # type: ignore[no-untyped-def]
    """The slot of the Pareto list for a base tile, made when it is asked for the first time."""
    width = c.elements.shape[1] + 4096
    key = mask * g.stride[0] * g.count[0] + grid_index(g, base)
    for t in range(below.shape[0]):
        part = 0
        if c.grows[t]:
            part = int(below[t, 0])
            if part < 0:
                part = c.elements.shape[1] + int(below[t, 1])
        key = key * width + part
    slot = find_slot(lists, key)
    if lists.keys[slot] == key:
        return slot
    if lists.used[1] * 2 > lists.keys.shape[0] or lists.used[0] * 2 > lists.energy.shape[0]:
        lists.keys[:] = -1
        lists.used[0] = 0
        lists.used[1] = 0
        slot = find_slot(lists, key)
    begin = fill_list(
        g, c, m, orders, (starts[mask], starts[mask + 1]), base, setting.full, below,
        setting.share0, inst, lists,
    )  # fmt: skip
    lists.keys[slot] = key
    lists.begin[slot] = begin
    lists.length[slot] = lists.used[0] - begin
    lists.used[1] += 1
    return slot


@njit(cache=True)  # type: ignore[untyped-decorator]
def join(m, setting, lists, slot, energy, load, cycles, archive, info):  # type: ignore[no-untyped-def]
    """Combine one inner choice with its list of outer ones; the archive takes what improves it."""
    for i in range(lists.begin[slot], lists.begin[slot] + lists.length[slot]):
        total = energy + lists.energy[i]
        if no_better(setting.mode, archive, total + m.static_pj * cycles, cycles):
            return
        slow = cycles
        for v in range(load.shape[0]):
            slow = max(slow, load[v] + lists.load[i, v])
        total += m.static_pj * slow
        if no_better(setting.mode, archive, total, slow):
            continue
        place = store(setting.mode, archive, total, slow)
        tensors = lists.tile.shape[1]
        archive.info[place] = info
        archive.info[place, 4] = lists.order[i]
        archive.info[place, 5 + tensors :] = lists.tile[i]


@njit(cache=True)  # type: ignore[untyped-decorator]
def outer_bounds(g, c, m, setting, out):  # type: ignore[no-untyped-def]
    """Least energy of moving each tensor into level 1 once [pJ], shape (T,)."""
    for t in range(out.shape[0]):
        words = c.words[t].min()
        share = setting.share0[t]
        if t == m.output:
            out[t] = words * (1.0 - m.saved) * c.write[t, 0].min()
        else:
            out[t] = words * (share * c.write[t, 1].min() + c.read[t, 0].min())


@njit(cache=True)  # type: ignore[untyped-decorator]
def scan(g, c, m, orders, starts, leaves, fan, setting, lists, archive):  # type: ignore[no-untyped-def]
    """Join every leaf placement with every spatial choice `fan` and every outer placement."""
    tensors, ranks = g.relevant.shape
    levels = m.capacity.shape[0]
    base = np.zeros(ranks, dtype=np.int64)
    below = np.zeros((tensors, 2))
    cost = np.zeros((tensors, levels - 1))
    loads = np.zeros((tensors, levels - 1, m.ports))
    load = np.zeros(m.ports)
    least = np.zeros(tensors)
    inst = np.ones(levels + 1)
    info = np.zeros(archive.info.shape[1], dtype=np.int64)
    info[0], info[1] = setting.tag
    if levels == 3:
        outer_bounds(g, c, m, setting, least)
    fixed = m.compute_pj * g.total
    for i in range(fan.index.shape[0]):
        inst[levels - 2] = setting.used0
        inst[levels - 1] = setting.used0 * fan.used[i]
        cycles = g.total * m.compute_cycles / (inst[levels - 1] * setting.used2)
        if no_better(setting.mode, archive, fixed + m.static_pj * cycles, cycles):
            continue
        info[2] = i
        for j in range(leaves.mask.shape[0]):
            valid = True
            for r in range(ranks):
                place = g.mul[r, leaves.top[j, r], fan.index[i, r]]
                if place < 0 or g.div[r, setting.full[r], place] < 0:
                    valid = False
                    break
                base[r] = place
            if not valid:
                continue
            bound = fixed
            for t in range(tensors):
                kept = (leaves.mask[j] >> t) & 1
                price_leaf(
                    c, m, setting, g.total, (kept, leaves.own[j, t], leaves.words[j, t]), t,
                    fan.shared[i, t], inst, cost[t], loads[t],
                )  # fmt: skip
                cheapest = cost[t, 0]
                if levels == 3:
                    cheapest = min(cheapest, cost[t, 1] + least[t])
                bound += cheapest
                below[t, 0] = leaves.own[j, t] if kept else -1
                below[t, 1] = fan.shared[i, t] * setting.share2[t]
            archive.count[1] += 1
            if no_better(setting.mode, archive, bound + m.static_pj * cycles, cycles):
                archive.count[2] += 1
                continue
            info[3] = leaves.row[j]
            info[5 : 5 + tensors] = leaves.tile[j]
            for mask in range(1 << tensors if levels == 3 else 1):
                if levels == 3 and m.masks[1, mask] == 0:
                    continue
                energy, bound = fixed, fixed
                load[:] = 0.0
                for t in range(tensors):
                    parent = (mask >> t) & 1
                    energy += cost[t, parent]
                    bound += cost[t, parent] + (least[t] if parent else 0.0)
                    for v in range(m.ports):
                        load[v] += loads[t, parent, v]
                slow = cycles
                for v in range(m.ports):
                    slow = max(slow, load[v])
                if no_better(setting.mode, archive, bound + m.static_pj * slow, slow):
                    continue
                slot = list_of(g, c, m, orders, starts, mask, base, setting, below, inst, lists)
                join(m, setting, lists, slot, energy, load, cycles, archive, info)


def empty_leaves(capacity: int, tensors: int, ranks: int) -> Leaves:
    """Room for this many innermost placements."""
    return Leaves(
        np.empty(capacity, dtype=np.int64),
        np.empty(capacity, dtype=np.int64),
        np.empty((capacity, ranks), dtype=np.int64),
        np.empty((capacity, tensors), dtype=np.int64),
        np.empty((capacity, tensors), dtype=np.int64),
        np.empty((capacity, tensors)),
    )


def take_leaves(leaves: Leaves, chosen: NDArray[np.intp]) -> Leaves:
    """A subset of the placements."""
    return Leaves(*(np.ascontiguousarray(column[chosen]) for column in leaves))


__all__ = ["Archive", "Leaves", "Lists", "Setting", "enumerate_leaves", "scan"]
