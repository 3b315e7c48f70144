"""Compiled enumeration of the outer level's placements around a base tile.

How the tiles of a level's nodes are stepped through is in `nodes`. Where tensors grow, a table of
prices no higher than those of any growth says which growth need not be tried.
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from strategies.exact.lists import dominated, find_slot, insert_entry, sort_entries
from strategies.exact.nodes import begin_node, count_nodes, new_walk, next_growth, next_node
from strategies.exact.tables import OuterTable


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
def loosened(true, ideal):  # type: ignore[no-untyped-def]
    """Prices no higher than those of any growth: ideal ones, but for what the tile inside says."""
    return OuterTable(
        true.own,
        ideal.elements,
        ideal.side,
        ideal.side_load,
        ideal.fill,
        ideal.spill,
        ideal.fresh,
        true.read,
        true.write,
        true.bits,
        ideal.own_write,
        ideal.own_bits,
        ideal.least,
        ideal.leaf,
        ideal.leaf_bits,
        ideal.larger,
        ideal.larger_start,
    )


@compiled
def least_grown(loose, t, index, below):  # type: ignore[no-untyped-def]
    """Least energy of tensor t's node at level 1 however it grows in its own ranks [pJ].

    loose = table of prices no higher than those of any growth; index, below: see `node_price`.
    """
    inside = int(below[0])
    words, cost = loose.fill[t, index], loose.side[t, index]
    if inside < 0:
        inside = loose.own[t, index]
        cost += words * loose.own_write[t, inside] + below[1] * loose.leaf[t, inside]
    else:
        cost += words * loose.write[t, inside]
    return cost + loose.spill[t, index] * loose.read[t, inside]


@compiled
def walk_order(grid, tables, machine, where, scratch, lists, goal):  # type: ignore[no-untyped-def]
    """Insert the placements of one node order, a row number and its tensors, into the list.

    tables = (prices, prices no higher than those of any growth); where = (order, how many nodes
    stand below a run, bounds, what stands inside); scratch = (walk tables, energy and room by
    depth, loads by depth, tile of every tensor). goal = (where the list begins, energy from which
    on entries may lack, whether to say only if there is an entry). Depth d of the walk is the d-th
    node from inside.
    """
    (row, tensors), under, bounds, below = where
    first, limit, asking = goal
    walk, sums, load, tile = scratch
    energy, room = sums
    outer = tables[0]
    nodes = count_nodes(tensors)
    if nodes == 0:
        if not dominated(lists.energy, lists.load, first, lists.used[0], 0.0, load[0]):
            insert_entry(lists, first, 0.0, load[0], tile, row)
        return True
    extent, at, grown, roomy = walk[0], walk[3], walk[4], walk[5]
    larger = (outer.larger, outer.larger_start)
    depth = 0
    begin_node(walk, tensors, 0, nodes, under, bounds, grid.relevant)
    while depth >= 0:
        t = tensors[nodes - 1 - depth]
        at[depth] = 0
        for r in range(grid.stride.shape[0]):
            at[depth] += grid.stride[r] * extent[depth, r]
        lists.used[2] += 1
        for v in range(machine.ports):
            load[depth + 1, v] = load[depth, v]
        cost, bits = node_price(outer, machine, t, at[depth], below[t], load[depth + 1])
        room[depth + 1] = room[depth] - bits
        fits = room[depth + 1] >= -1e-9 * machine.capacity[1]
        rest = energy[depth]
        for d in range(depth + 1, nodes):
            rest += outer.least[tensors[nodes - 1 - d]]
        if grown[depth] == 0:
            grows = below[t, 3] > 0.0
            # A tile changes with its own ranks only: no room now, no room with more trips. Stored
            # as the tile inside says, it is no smaller where it grows.
            roomy[depth] = fits or (grows and below[t, 0] < 0)
            if not grows or rest + least_grown(tables[1], t, at[depth], below[t]) >= limit:
                grown[depth] = -1
        if fits:
            energy[depth + 1] = energy[depth] + cost
            rest += cost
            if rest >= limit or dominated(
                lists.energy, lists.load, first, lists.used[0], rest, load[depth + 1]
            ):
                lists.used[3] += 1
            elif depth < nodes - 1:
                depth += 1
                begin_node(walk, tensors, depth, nodes, under, bounds, grid.relevant)
                continue
            elif asking:
                return True
            else:
                for d in range(nodes):
                    tile[tensors[nodes - 1 - d]] = at[d]
                insert_entry(lists, first, energy[depth + 1], load[depth + 1], tile, row)
        while depth >= 0:
            t = tensors[nodes - 1 - depth]
            grows = roomy[depth] and grown[depth] >= 0
            if grows and next_growth(walk, depth, under, bounds, grid, larger, t):
                break
            if roomy[depth] and next_node(walk, depth, under, bounds, grid, t):
                break
            depth -= 1
    tile[:] = -1
    return False


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
def fill_list(grid, tables, machine, orders, starts, mask, base, full, below, run, limit, lists):  # type: ignore[no-untyped-def]
    """Append the Pareto list of level 1's placements around the base tile to the store, up to a
    limit of energy [pJ]. Where tensors grow, an order is walked at loose prices first, at which
    they need not: if nothing stays below the limit there, nothing does.

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
    if smallest_bits(grid.stride, tables[0], orders[starts[mask]], base, below) > room[0] * (
        1.0 + 1e-9
    ):
        return first
    sums = (np.zeros(tensors + 1), room)
    load = np.zeros((tensors + 1, machine.ports))
    tile = np.full(tensors, -1, dtype=np.int64)
    scratch, wide = (new_walk(tensors, ranks), sums, load, tile), base.copy()
    if run[0] >= 0 and not widen(grid, base, run[1], full, wide):
        return first
    bounds, grows = (base, wide, full), below[:, 3].max() > 0.0
    loose = loosened(tables[0], tables[1])
    tables = (tables[0], loose)
    for row in range(starts[mask], starts[mask + 1]):
        nodes, order = count_nodes(orders[row]), (row, orders[row])
        for under in range(1 if run[0] >= 0 else 0, nodes + 1 if run[0] >= 0 else 1):
            if not may_stand_below(order[1], nodes, under, below, grid.relevant, run):
                continue
            where = (order, under, bounds, below)
            ask, take = (first, limit, True), (first, limit, False)
            if not grows or walk_order(grid, (loose, loose), machine, where, scratch, lists, ask):
                walk_order(grid, tables, machine, where, scratch, lists, take)
    sort_entries(lists, first, lists.used[0])
    return first


@compiled
def list_of(grid, tables, machine, orders, starts, mask, base, full, below, run, limit, lists):  # type: ignore[no-untyped-def]
    """The slot of the Pareto list for a base tile, made when it is asked for up to a higher limit
    of energy than before.

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
    if lists.length[slot] >= 0 and lists.limit[slot] >= limit:
        return slot
    if lists.used[1] * 2 > lists.keys.shape[0] or lists.used[0] * 2 > lists.energy.shape[0]:
        lists.length[:] = -1
        lists.used[0] = 0
        lists.used[1] = 0
        slot = find_slot(lists)
    elif lists.length[slot] >= 0 and below[:, 3].max() == 0.0:
        limit = np.inf  # many placements share a list where no tensor grows: make it whole
    if lists.length[slot] < 0:
        lists.keys[slot] = key
        lists.used[1] += 1
    begin = fill_list(
        grid, tables, machine, orders, starts, mask, base, full, below, run, limit, lists
    )
    lists.begin[slot] = begin
    lists.length[slot] = lists.used[0] - begin
    lists.limit[slot] = limit
    return slot
