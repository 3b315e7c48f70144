"""Compiled parts of the exact search: prices of a link, placements of one level, lists by tile.

A *node* is a tensor's tile at a level. Under the hoist and sink arguments (docs/exact_search.md) a
level is an order of the tensors it keeps; below a node only the ranks irrelevant to its tensor grow,
or every rank when the tensor's bits per word depend on the extents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


@njit(cache=True)  # type: ignore[untyped-decorator]
def link_cost(c, m, where, at, words, share, fresh, inst, load):  # type: ignore[no-untyped-def]
    """Energy of one tensor's traffic between two levels [pJ]; adds the ports' cycles to `load`.

    where = (tensor, parent, child); at = (sub-grid index of the child's tile, of the grandchild's);
    words = words at the child; share = spatial trips that share one word of the parent;
    fresh = words visited for the first time at (parent, child); inst = instances used by level.
    """
    t, parent, child = where
    up = words / share
    fill, pull = words, up
    energy = 0.0
    if t == m.output:
        fill, pull = words - fresh[1], up - fresh[0]
        drain = up - (m.saved * fresh[0] if parent == 0 else 0.0)
        energy += drain * c.write[t, parent, at[0]]
        energy += m.drain_read * words * c.read[t, child, at[1]]
        port = m.write_port[parent]
        if port >= 0:
            load[port] += drain * c.bits[t, parent, at[0]] * m.write_cycles[parent] / inst[parent]
        port = m.read_port[child]
        if port >= 0:
            moved = m.drain_read * words * c.bits[t, child, at[1]]
            load[port] += moved * m.read_cycles[child] / inst[child]
    port = m.write_port[child]
    if port >= 0:
        load[port] += fill * c.bits[t, child, at[1]] * m.write_cycles[child] / inst[child]
    port = m.read_port[parent]
    if port >= 0:
        load[port] += pull * c.bits[t, parent, at[0]] * m.read_cycles[parent] / inst[parent]
    return energy + fill * c.write[t, child, at[1]] + pull * c.read[t, parent, at[0]]


@njit(cache=True)  # type: ignore[untyped-decorator]
def leaf_cost(c, m, t, level, own, accesses, fresh, inst, load):  # type: ignore[no-untyped-def]
    """Energy of the compute units' accesses to a tensor's innermost keeper [pJ]; loads as above."""
    reads = accesses
    energy = 0.0
    if t == m.output:
        reads = max(accesses - fresh, 0.0)
        energy += accesses * c.leaf_write[t, level, own]
        port = m.write_port[level]
        if port >= 0:
            moved = accesses * c.leaf_write_bits[t, level, own]
            load[port] += moved * m.write_cycles[level] / inst[level]
    port = m.read_port[level]
    if port >= 0:
        moved = reads * c.leaf_read_bits[t, level, own]
        load[port] += moved * m.read_cycles[level] / inst[level]
    return energy + reads * c.leaf_read[t, level, own]


@njit(cache=True)  # type: ignore[untyped-decorator]
def sub_index(g, t, extent):  # type: ignore[no-untyped-def]
    """Sub-grid index of tensor t's tile for extents given as divisor indices, shape (R,)."""
    index = 0
    for r in range(extent.shape[0]):
        index += g.sub[t, r] * extent[r]
    return index


@njit(cache=True)  # type: ignore[untyped-decorator]
def grid_index(g, extent):  # type: ignore[no-untyped-def]
    """Full-grid index."""
    index = 0
    for r in range(extent.shape[0]):
        index += g.stride[r] * extent[r]
    return index


@njit(cache=True)  # type: ignore[untyped-decorator]
def node_words(g, c, t, own, extent):  # type: ignore[no-untyped-def]
    """Words written into all instances of a tile over the whole run: P / u."""
    words = c.words[t, own]
    for r in range(extent.shape[0]):
        if not g.relevant[t, r]:
            words *= g.size[r, g.count[r] - 1] / g.size[r, extent[r]]
    return words


@njit(cache=True)  # type: ignore[untyped-decorator]
def first_extent(g, c, t, free_top, inner, full, out):  # type: ignore[no-untyped-def]
    """The smallest tile of a node around `inner`; irrelevant ranks at once full if `free_top`."""
    for r in range(inner.shape[0]):
        out[r] = full[r] if free_top and not g.relevant[t, r] else inner[r]


@njit(cache=True)  # type: ignore[untyped-decorator]
def next_extent(g, c, t, free_top, inner, full, out):  # type: ignore[no-untyped-def]
    """Advance `out` to the node's next tile around `inner`; False after the last."""
    for r in range(inner.shape[0]):
        relevant = g.relevant[t, r]
        if relevant and not c.grows[t]:
            continue
        if free_top and not relevant:
            continue
        for larger in range(out[r] + 1, full[r] + 1):
            if g.div[r, larger, inner[r]] >= 0 and g.div[r, full[r], larger] >= 0:
                out[r] = larger
                return True
        out[r] = inner[r]
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def insert_entry(lists, first, new_energy, new_load, tile, order):  # type: ignore[no-untyped-def]
    """Add an entry to the list that begins at `first` and ends the store, keeping it Pareto."""
    last = lists.used[0]
    if dominated(lists.energy, lists.load, first, last, new_energy, new_load):
        return
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


@njit(cache=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def price_node(g, c, m, t, extent, inner, share, inst, load):  # type: ignore[no-untyped-def]
    """Energy of one node of level 1 [pJ] and its resident bits.

    inner = (sub-grid index of the tile below or -1 for none, spatial sharing below);
    share = spatial sharing between level 0 and level 1.
    """
    own = sub_index(g, t, extent)
    below = own if inner[0] < 0 else inner[0]
    words = node_words(g, c, t, own, extent)
    fresh = c.words[t, own]
    energy = link_cost(
        c, m, (t, 0, 1), (own, below), words, share, (fresh, fresh * share), inst, load
    )
    if inner[0] < 0 and c.grows[t]:
        energy += leaf_cost(c, m, t, 1, own, g.total / inner[1], fresh * share, inst, load)
    return energy, c.elements[t, own] * c.bits[t, 1, below]


@njit(cache=True)  # type: ignore[untyped-decorator]
def fill_list(g, c, m, orders, mask_rows, base, full, below, share, inst, lists):  # type: ignore[no-untyped-def]
    """Append the Pareto list of level 1's placements around the base tile to the store.

    Depth d of the walk is the d-th node from inside; `below` is (T, 2): what stands below a tensor.
    """
    tensors, ranks = g.relevant.shape
    extent = np.zeros((tensors, ranks), dtype=np.int64)
    energy = np.zeros(tensors + 1)
    room = np.zeros(tensors + 1)
    load = np.zeros((tensors + 1, m.ports))
    tile = np.zeros(tensors, dtype=np.int64)
    first = lists.used[0]
    for row in range(mask_rows[0], mask_rows[1]):
        nodes = 0
        while nodes < tensors and orders[row, nodes] >= 0:
            nodes += 1
        tile[:] = -1
        if nodes == 0:
            insert_entry(lists, first, 0.0, load[0], tile, row)
            continue
        depth = 0
        room[0] = m.capacity[1]
        first_extent(g, c, orders[row, nodes - 1], nodes == 1, base, full, extent[0])
        while depth >= 0:
            t = orders[row, nodes - 1 - depth]
            top = depth == nodes - 1
            inner = base if depth == 0 else extent[depth - 1]
            load[depth + 1] = load[depth]
            cost, bits = price_node(
                g, c, m, t, extent[depth], (int(below[t, 0]), below[t, 1]), share[t], inst,
                load[depth + 1],
            )  # fmt: skip
            lists.used[2] += 1
            energy[depth + 1] = energy[depth] + cost
            room[depth + 1] = room[depth] - bits
            fits = room[depth + 1] >= -1e-9 * m.capacity[1]
            if fits and not top:
                depth += 1
                t = orders[row, nodes - 1 - depth]
                first_extent(g, c, t, depth == nodes - 1, extent[depth - 1], full, extent[depth])
                continue
            if fits:
                for d in range(nodes):
                    tile[orders[row, nodes - 1 - d]] = grid_index(g, extent[d])
                insert_entry(lists, first, energy[depth + 1], load[depth + 1], tile, row)
            while depth >= 0:
                t = orders[row, nodes - 1 - depth]
                inner = base if depth == 0 else extent[depth - 1]
                # A dense node's tile does not change with its irrelevant trips: no room, no retry.
                if (fits or c.grows[t]) and next_extent(
                    g, c, t, depth == nodes - 1, inner, full, extent[depth]
                ):
                    break
                fits = True
                depth -= 1
    sort_entries(lists, first, lists.used[0])
    return first


@njit(cache=True)  # type: ignore[untyped-decorator]
def find_slot(lists, key):  # type: ignore[no-untyped-def]
    """Slot of a key in the table, or of the free place where it belongs."""
    size = lists.keys.shape[0]
    slot = (key * 0x9E3779B97F4A7C1 >> 20) & (size - 1)
    while lists.keys[slot] != -1 and lists.keys[slot] != key:
        slot = (slot + 1) & (size - 1)
    return slot


def new_lists(ports: int, tensors: int, log2_keys: int = 16) -> Lists:
    """An empty store with room for 2**log2_keys keys and four entries for each."""
    slots = 1 << log2_keys
    return Lists(
        keys=np.full(slots, -1, dtype=np.int64),
        begin=np.zeros(slots, dtype=np.int64),
        length=np.zeros(slots, dtype=np.int64),
        energy=np.zeros(4 * slots),
        load=np.zeros((4 * slots, ports)),
        tile=np.zeros((4 * slots, tensors), dtype=np.int64),
        order=np.zeros(4 * slots, dtype=np.int64),
        used=np.zeros(4, dtype=np.int64),
    )
