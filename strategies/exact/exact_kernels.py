"""Compiled parts of the exact search: prices of a link, placements of one level, lists by tile.

A *node* is a tensor's tile at a level. Under the hoist and sink arguments (docs/exact_search.md)
a level is an order of the tensors it keeps; below a node only the ranks irrelevant to its tensor
grow, or every rank when the tensor's bits per word depend on the extents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled

SLACK = 1e-12
"""Relative difference below which two costs are the same number."""


class Lists(NamedTuple):
    """Pareto lists of the outer level's placements by key, in one growing store.

    Attributes:
        keys: Open-addressing table of keys, -1 = free, shape (H,).
        begin, length: Where a key's list stands, shape (H,).
        energy: pJ, shape (E,).
        load: Cycles by port, shape (E, V).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (E, T).
        order: Row of the node orders, shape (E,).
        used: Number of entries, of keys, of placements visited and of those pruned; shape (4,).
    """

    keys: NDArray[np.int64]
    begin: NDArray[np.int64]
    length: NDArray[np.int64]
    energy: NDArray[np.float64]
    load: NDArray[np.float64]
    tile: NDArray[np.int64]
    order: NDArray[np.int64]
    used: NDArray[np.int64]


@compiled
def first_extent(open_ranks, at_once, inner, full, out):  # type: ignore[no-untyped-def]
    """The smallest tile of a node around `inner`; ranks taken `at_once` are full."""
    for r in range(inner.shape[0]):
        out[r] = full[r] if at_once[r] and not open_ranks[r] else inner[r]


@compiled
def next_extent(div, open_ranks, inner, full, out):  # type: ignore[no-untyped-def]
    """Advance `out` to the node's next tile around `inner`; False after the last."""
    for r in range(inner.shape[0]):
        if not open_ranks[r]:
            continue
        for larger in range(out[r] + 1, full[r] + 1):
            if div[r, larger, inner[r]] >= 0 and div[r, full[r], larger] >= 0:
                out[r] = larger
                return True
        out[r] = inner[r]
    return False


@compiled
def choose_ranks(relevant, grows, outermost, open_ranks, at_once):  # type: ignore[no-untyped-def]
    """Which ranks a node enumerates, and which it takes whole because nothing else is charged.

    Below a node its tensor's irrelevant ranks grow; below the level's outermost one they grow at no
    cost. The relevant ranks grow too where the bits per word depend on the tile.
    """
    for r in range(relevant.shape[0]):
        at_once[r] = outermost and not relevant[r]
        open_ranks[r] = grows if relevant[r] else not outermost


@compiled
def dominated(energy, load, first, last, new_energy, new_load):  # type: ignore[no-untyped-def]
    """True when one of entries first..last is no worse than the new one everywhere."""
    for i in range(first, last):
        if energy[i] <= new_energy * (1.0 + SLACK):
            good = True
            for v in range(new_load.shape[0]):
                if load[i, v] > new_load[v] * (1.0 + SLACK):
                    good = False
                    break
            if good:
                return True
    return False


@compiled
def insert_entry(lists, first, new_energy, new_load, tile, order):  # type: ignore[no-untyped-def]
    """Add an undominated entry to the list from `first` to the store's end, keeping it Pareto."""
    last = lists.used[0]
    keep = first
    for i in range(first, last):
        worse = new_energy <= lists.energy[i]
        for v in range(new_load.shape[0]):
            if new_load[v] > lists.load[i, v]:
                worse = False
                break
        if not worse:
            if keep != i:
                lists.energy[keep] = lists.energy[i]
                lists.load[keep] = lists.load[i]
                lists.tile[keep] = lists.tile[i]
                lists.order[keep] = lists.order[i]
            keep += 1
    lists.energy[keep] = new_energy
    lists.load[keep] = new_load
    lists.tile[keep] = tile
    lists.order[keep] = order
    lists.used[0] = keep + 1


@compiled
def sort_entries(lists, first, last):  # type: ignore[no-untyped-def]
    """Order a list by energy (lists are short: insertion sort by exchange)."""
    for i in range(first + 1, last):
        j = i
        while j > first and lists.energy[j - 1] > lists.energy[j]:
            lists.energy[j - 1], lists.energy[j] = lists.energy[j], lists.energy[j - 1]
            lists.order[j - 1], lists.order[j] = lists.order[j], lists.order[j - 1]
            for v in range(lists.load.shape[1]):
                lists.load[j - 1, v], lists.load[j, v] = lists.load[j, v], lists.load[j - 1, v]
            for t in range(lists.tile.shape[1]):
                lists.tile[j - 1, t], lists.tile[j, t] = lists.tile[j, t], lists.tile[j - 1, t]
            j -= 1


@compiled
def smallest_bits(stride, outer, order, base, below):  # type: ignore[no-untyped-def]
    """Resident bits of the tensors of one order, growing ones aside, if tiles are the base tile."""
    index, total = 0, 0.0
    for r in range(base.shape[0]):
        index += stride[r] * base[r]
    for t in order:
        if t >= 0 and below[t, 3] == 0.0:
            if below[t, 0] < 0:
                total += outer.elements[t, index] * outer.own_bits[t, outer.own[t, index]]
            else:
                total += outer.elements[t, index] * outer.bits[t, int(below[t, 0])]
    return total


@compiled
def node_price(outer, machine, t, index, below, load):  # type: ignore[no-untyped-def]
    """Energy of tensor t's tile `index` at level 1 [pJ] and its resident bits; adds port cycles.

    `below` is row t of what stands inside, see `fill_list`.
    """
    inside = int(below[0])
    if inside < 0:
        inside = outer.own[t, index]
        bits, price = outer.own_bits[t, inside], outer.own_write[t, inside]
    else:
        bits, price = outer.bits[t, inside], outer.write[t, inside]
    words, back = outer.fill[t, index], outer.spill[t, index]
    cost = outer.side[t, index] + words * price + back * outer.read[t, inside]
    for v in range(machine.ports):
        load[v] += outer.side_load[t, index, v]
    pull = back * bits
    if below[3] > 0 and below[0] < 0 and t != machine.output:
        cost += below[1] * outer.leaf[t, inside]
        pull += below[1] * outer.leaf_bits[t, inside]
    if machine.write_port[1] >= 0:
        load[machine.write_port[1]] += words * bits * machine.write_cycles[1] / below[2]
    if machine.read_port[1] >= 0:
        load[machine.read_port[1]] += pull * machine.read_cycles[1] / below[2]
    return cost, outer.elements[t, index] * bits


@compiled
def walk_orders(grid, outer, machine, rows, base, full, below, start, scratch, lists):  # type: ignore[no-untyped-def]
    """Insert the placements of some node orders around `base` into the list from `first` on.

    Depth d of the walk is the d-th node from inside. rows = (orders, first row, end); start =
    (energy, room) of nodes placed before, beginning of the list; scratch = (their load in row 0 of
    (T + 1, V), their tiles (T,)).
    """
    orders, first = rows[0], start[2]
    least, entry_energy, entry_load = outer.least, lists.energy, lists.load
    div, stride, relevant = grid.div, grid.stride, grid.relevant
    load, tile = scratch
    tensors, ranks = relevant.shape
    extent = np.zeros((tensors, ranks), dtype=np.int64)
    open_ranks = np.zeros((tensors, ranks), dtype=np.bool_)
    at_once = np.zeros((tensors, ranks), dtype=np.bool_)
    energy, room = np.zeros(tensors + 1), np.zeros(tensors + 1)
    at = np.zeros(tensors, dtype=np.int64)
    visited = 0
    energy[0], room[0] = start[0], start[1]
    slack = -1e-9 * machine.capacity[1]
    for row in range(rows[1], rows[2]):
        nodes = 0
        while nodes < tensors and orders[row, nodes] >= 0:
            nodes += 1
        if nodes == 0:
            if not dominated(lists.energy, lists.load, first, lists.used[0], energy[0], load[0]):
                insert_entry(lists, first, energy[0], load[0], tile, row)
            continue
        for d in range(nodes):
            t = orders[row, nodes - 1 - d]
            choose_ranks(relevant[t], below[t, 3] > 0, d == nodes - 1, open_ranks[d], at_once[d])
        depth = 0
        first_extent(open_ranks[0], at_once[0], base, full, extent[0])
        while depth >= 0:
            t = orders[row, nodes - 1 - depth]
            index = 0
            for r in range(ranks):
                index += stride[r] * extent[depth, r]
            at[depth] = index
            visited += 1
            for v in range(machine.ports):
                load[depth + 1, v] = load[depth, v]
            cost, bits = node_price(outer, machine, t, index, below[t], load[depth + 1])
            room[depth + 1] = room[depth] - bits
            fits = room[depth + 1] >= slack
            if fits:
                energy[depth + 1] = energy[depth] + cost
                rest = energy[depth + 1]
                for d in range(depth + 1, nodes):
                    rest += least[orders[row, nodes - 1 - d]]
                if dominated(entry_energy, entry_load, first, lists.used[0], rest, load[depth + 1]):
                    lists.used[3] += 1
                elif depth < nodes - 1:
                    depth += 1
                    first_extent(
                        open_ranks[depth], at_once[depth], extent[depth - 1], full, extent[depth]
                    )
                    continue
                else:
                    for d in range(nodes):
                        tile[orders[row, nodes - 1 - d]] = at[d]
                    insert_entry(lists, first, energy[depth + 1], load[depth + 1], tile, row)
            while depth >= 0:
                t = orders[row, nodes - 1 - depth]
                inner = base if depth == 0 else extent[depth - 1]
                # A dense tile does not change with its irrelevant trips: no room now, no room then.
                if (fits or below[t, 3] > 0) and next_extent(
                    div, open_ranks[depth], inner, full, extent[depth]
                ):
                    break
                fits = True
                depth -= 1
        for d in range(nodes):
            tile[orders[row, d]] = -1
    lists.used[2] += visited


@compiled
def fill_list(grid, outer, machine, orders, starts, mask, base, full, below, run, lists):  # type: ignore[no-untyped-def]
    """Append the Pareto list of level 1's placements around the base tile to the store.

    `below` (T, 4): sub-grid index of the tile inside a tensor's own (-1: none), dense accesses of
    the compute units, instances of level 1, and whether the tensor grows.

    run = (tensor, rank, divisor index) asks for a run of loops of that rank, irrelevant to the
    tensor, that ends directly above a set of other nodes, which stand directly above the fan-out:
    under implicit stationarity the tensor's innermost tile stays over the run. -1 = no run.
    """
    tensors, ranks = grid.relevant.shape
    load = np.zeros((tensors + 1, machine.ports))
    tile = np.full(tensors, -1, dtype=np.int64)
    first = lists.used[0]
    room = machine.capacity[1]
    if smallest_bits(grid.stride, outer, orders[starts[mask]], base, below) > room * (1.0 + 1e-9):
        return first
    if run[0] < 0:
        rows = (orders, starts[mask], starts[mask + 1])
        start = (0.0, room, first)
        walk_orders(grid, outer, machine, rows, base, full, below, start, (load, tile), lists)
        sort_entries(lists, first, lists.used[0])
        return first
    wide = base.copy()
    wide[run[1]] = grid.mul[run[1], base[run[1]], run[2]]
    if wide[run[1]] < 0 or grid.div[run[1], full[run[1]], wide[run[1]]] < 0:
        return first
    index = 0
    for r in range(ranks):
        index += grid.stride[r] * base[r]
    for tight in range(1, 1 << tensors):
        if tight & mask != tight or (tight >> run[0]) & 1:
            continue
        load[:] = 0.0
        tile[:] = -1
        energy, left = 0.0, room
        for t in range(tensors):
            if (tight >> t) & 1:
                cost, bits = node_price(outer, machine, t, index, below[t], load[0])
                energy += cost
                left -= bits
                tile[t] = index
        rest = mask & ~tight
        rows = (orders, starts[rest], starts[rest + 1])
        start = (energy, left, first)
        walk_orders(grid, outer, machine, rows, wide, full, below, start, (load, tile), lists)
    sort_entries(lists, first, lists.used[0])
    return first


@compiled
def find_slot(keys, key):  # type: ignore[no-untyped-def]
    """Slot of a key in the table, or of the free place where it belongs."""
    size = keys.shape[0]
    slot = (key * 0x9E3779B97F4A7C1 >> 20) & (size - 1)
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & (size - 1)
    return slot


def new_lists(ports: int, tensors: int, log2_keys: int = 16) -> Lists:
    """An empty store with room for 2**log2_keys keys and four entries for each."""
    slots = 1 << log2_keys
    return Lists(
        keys=np.full(slots, -1, dtype=np.int64),
        begin=np.empty(slots, dtype=np.int64),
        length=np.empty(slots, dtype=np.int64),
        energy=np.empty(4 * slots),
        load=np.empty((4 * slots, ports)),
        tile=np.empty((4 * slots, tensors), dtype=np.int64),
        order=np.empty(4 * slots, dtype=np.int64),
        used=np.zeros(4, dtype=np.int64),
    )


def clear_lists(lists: Lists) -> None:
    """Forget every list."""
    lists.keys[:] = -1
    lists.used[:2] = 0
