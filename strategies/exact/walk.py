"""Compiled enumeration of the outer level's placements around a base tile.

A *node* is a tensor's tile at a level. Under the hoist and sink arguments (docs/exact_search.md)
a level is an order of the tensors it keeps; below a node only the ranks irrelevant to its tensor
grow, or every rank when the tensor's bits per word depend on the extents.
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from strategies.exact.lists import dominated, find_slot, insert_entry, sort_entries


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
def count_nodes(order):  # type: ignore[no-untyped-def]
    """Number of tensors that a row of the node orders names."""
    nodes = 0
    while nodes < order.shape[0] and order[nodes] >= 0:
        nodes += 1
    return nodes


@compiled
def inside(extent, depth, under, bounds):  # type: ignore[no-untyped-def]
    """Extents that the node at this depth stands around; the first above a run around its trips."""
    if depth == under:
        return bounds[1]
    return bounds[0] if depth == 0 else extent[depth - 1]


@compiled
def begin_node(walk, order, depth, nodes, under, bounds, relevant):  # type: ignore[no-untyped-def]
    """Open the ranks of the node at this depth and write its smallest tile.

    bounds = (base, wide, full): nodes at depths below `under` lie between base and wide.
    """
    extent, open_ranks, at_once, _, grown = walk
    t = order[nodes - 1 - depth]
    outermost = depth == nodes - 1 and depth >= under
    choose_ranks(relevant[t], False, outermost, open_ranks[depth], at_once[depth])
    grown[depth] = 0
    inner = inside(extent, depth, under, bounds)
    first_extent(open_ranks[depth], at_once[depth], inner, bounds[2], extent[depth])


@compiled
def next_node(walk, depth, under, bounds, div):  # type: ignore[no-untyped-def]
    """Advance the irrelevant ranks of the node at this depth; False after the last."""
    extent, open_ranks = walk[0], walk[1]
    inner = inside(extent, depth, under, bounds)
    outer = bounds[1] if depth < under else bounds[2]
    return next_extent(div, open_ranks[depth], inner, outer, extent[depth])


@compiled
def next_growth(walk, depth, under, bounds, grid, larger, t):  # type: ignore[no-untyped-def]
    """Grow the node at this depth in its tensor's own ranks, the others anew; False after the last.

    larger = (tiles, starts), see `OuterTable`.
    """
    extent, open_ranks, at_once, _, grown = walk
    tiles, starts = larger
    inner = inside(extent, depth, under, bounds)
    outer = bounds[1] if depth < under else bounds[2]
    index = 0
    for r in range(inner.shape[0]):
        index += grid.sub[t, r] * inner[r]
    first = starts[t, index]
    for place in range(first + grown[depth] + 1, starts[t, index + 1]):
        first_extent(open_ranks[depth], at_once[depth], inner, outer, extent[depth])
        good = True
        for r in range(inner.shape[0]):
            if grid.relevant[t, r]:
                extent[depth, r] = (tiles[place] // grid.sub[t, r]) % grid.number[r]
                good = good and grid.div[r, outer[r], extent[depth, r]] >= 0
        if good:
            grown[depth] = place - first
            return True
    return False


@compiled
def walk_order(grid, outer, machine, order, under, bounds, below, scratch, lists, first):  # type: ignore[no-untyped-def]
    """Insert the placements of one node order, a row number and its tensors, into the list.

    Depth d of the walk is the d-th node from inside; the first `under` of them stand below a run.
    scratch = (walk tables, energy and room by depth, loads by depth, tile of every tensor).
    """
    row, tensors = order
    walk, sums, load, tile = scratch
    energy, room = sums
    nodes = count_nodes(tensors)
    if nodes == 0:
        if not dominated(lists.energy, lists.load, first, lists.used[0], 0.0, load[0]):
            insert_entry(lists, first, 0.0, load[0], tile, row)
        return
    at, larger = walk[3], (outer.larger, outer.larger_start)
    depth = 0
    begin_node(walk, tensors, 0, nodes, under, bounds, grid.relevant)
    while depth >= 0:
        t = tensors[nodes - 1 - depth]
        at[depth] = 0
        for r in range(grid.stride.shape[0]):
            at[depth] += grid.stride[r] * walk[0][depth, r]
        lists.used[2] += 1
        for v in range(machine.ports):
            load[depth + 1, v] = load[depth, v]
        cost, bits = node_price(outer, machine, t, at[depth], below[t], load[depth + 1])
        room[depth + 1] = room[depth] - bits
        fits = room[depth + 1] >= -1e-9 * machine.capacity[1]
        if fits:
            energy[depth + 1] = energy[depth] + cost
            rest = energy[depth + 1]
            for d in range(depth + 1, nodes):
                rest += outer.least[tensors[nodes - 1 - d]]
            if dominated(lists.energy, lists.load, first, lists.used[0], rest, load[depth + 1]):
                lists.used[3] += 1
            elif depth < nodes - 1:
                depth += 1
                begin_node(walk, tensors, depth, nodes, under, bounds, grid.relevant)
                continue
            else:
                for d in range(nodes):
                    tile[tensors[nodes - 1 - d]] = at[d]
                insert_entry(lists, first, energy[depth + 1], load[depth + 1], tile, row)
        while depth >= 0:
            # A tile does not change with its irrelevant trips: no room now, no room then.
            if fits and next_node(walk, depth, under, bounds, grid.div):
                break
            t = tensors[nodes - 1 - depth]
            if below[t, 3] > 0.0 and next_growth(walk, depth, under, bounds, grid, larger, t):
                break
            fits = True
            depth -= 1
    tile[:] = -1


@compiled
def widen(grid, base, run, full, wide):  # type: ignore[no-untyped-def]
    """Write the base tile grown by the trips of a run (full-grid index); False if it cannot be."""
    for r in range(base.shape[0]):
        wide[r] = grid.mul[r, base[r], (run // grid.stride[r]) % grid.number[r]]
        if wide[r] < 0 or grid.div[r, full[r], wide[r]] < 0:
            return False
    return True


@compiled
def may_stand_below(order, nodes, under, below, relevant, run):  # type: ignore[no-untyped-def]
    """True when the last `under` nodes of an order may stand below a run of loops.

    Its own tensor may not; neighbours that do not grow there commute, and are taken once.
    """
    for d in range(under):
        t = order[nodes - 1 - d]
        if t == run[0]:
            return False
        if d + 1 < under:
            outside = order[nodes - 2 - d]
            swaps = below[t, 3] == 0.0 and below[outside, 3] == 0.0 and outside > t
            for r in range(relevant.shape[1]):
                if not relevant[run[0], r] and not (relevant[t, r] and relevant[outside, r]):
                    swaps = False
            if swaps:
                return False
    return True


@compiled
def fill_list(grid, outer, machine, orders, starts, mask, base, full, below, run, lists):  # type: ignore[no-untyped-def]
    """Append the Pareto list of level 1's placements around the base tile to the store.

    `below` (T, 4): sub-grid index of the tile inside a tensor's own (-1: none), dense accesses of
    the compute units, instances of level 1, and whether the tensor grows.

    run = (tensor, full-grid index of trips) asks for a run of loops, all irrelevant to the tensor,
    directly above the fan-out but for nodes of other tensors that stand below it: under implicit
    stationarity the tensor's innermost tile stays over the run. -1 = no run.
    """
    tensors, ranks = grid.relevant.shape
    first = lists.used[0]
    room = np.zeros(tensors + 1)
    room[0] = machine.capacity[1]
    if smallest_bits(grid.stride, outer, orders[starts[mask]], base, below) > room[0] * (
        1.0 + 1e-9
    ):
        return first
    walk = (
        np.zeros((tensors, ranks), dtype=np.int64),
        np.zeros((tensors, ranks), dtype=np.bool_),
        np.zeros((tensors, ranks), dtype=np.bool_),
        np.zeros(tensors, dtype=np.int64),
        np.zeros(tensors, dtype=np.int64),
    )
    sums = (np.zeros(tensors + 1), room)
    load = np.zeros((tensors + 1, machine.ports))
    tile = np.full(tensors, -1, dtype=np.int64)
    scratch, wide = (walk, sums, load, tile), base.copy()
    if run[0] >= 0 and not widen(grid, base, run[1], full, wide):
        return first
    bounds = (base, wide, full)
    for row in range(starts[mask], starts[mask + 1]):
        order = orders[row]
        nodes = count_nodes(order)
        for under in range(1 if run[0] >= 0 else 0, nodes + 1 if run[0] >= 0 else 1):
            if may_stand_below(order, nodes, under, below, grid.relevant, run):
                walk_order(
                    grid, outer, machine, (row, order), under, bounds, below, scratch, lists, first
                )
    sort_entries(lists, first, lists.used[0])
    return first


@compiled
def list_of(grid, outer, machine, orders, starts, mask, base, full, below, run, lists):  # type: ignore[no-untyped-def]
    """The slot of the Pareto list for a base tile, made when it is asked for the first time.

    The list of a growing tensor depends on the tile inside its own, or where there is none on the
    dense accesses of the compute units.
    """
    key = lists.key
    key[0], key[1], key[2] = mask, run[0], run[1]
    key[3] = 0
    for r in range(base.shape[0]):
        key[3] += grid.stride[r] * base[r]
    for t in range(below.shape[0]):
        key[4 + t] = -1
        if below[t, 3] > 0:
            key[4 + t] = int(below[t, 0])
            if key[4 + t] < 0:
                key[4 + t] = -2 - int(grid.total / below[t, 1])
    slot = find_slot(lists)
    if lists.length[slot] >= 0:
        return slot
    if lists.used[1] * 2 > lists.keys.shape[0] or lists.used[0] * 2 > lists.energy.shape[0]:
        lists.length[:] = -1
        lists.used[0] = 0
        lists.used[1] = 0
        slot = find_slot(lists)
    begin = fill_list(grid, outer, machine, orders, starts, mask, base, full, below, run, lists)
    lists.keys[slot] = key
    lists.begin[slot] = begin
    lists.length[slot] = lists.used[0] - begin
    lists.used[1] += 1
    return slot
