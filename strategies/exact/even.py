"""Exact search of the even mapspace: every level keeps all tensors at one position (Timeloop's).

Under implicit stationarity a tile stays over the loops directly above it that do not index it, so
besides the tiles of the levels only the innermost rank of each block matters. A fetch saved that
way is priced as that of a tile grown by the same trips in its irrelevant rank, which has the same
elements.
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from strategies.exact.archive import no_better, store
from strategies.exact.nodes import next_extent
from strategies.exact.scan import linear, spread_tile
from strategies.exact.walk import node_price


@compiled
def add_tensor(part, share, saved, cost, load):  # type: ignore[no-untyped-def]
    """Add a tensor's innermost traffic, fetched 1 / `saved` times as often."""
    bare = linear(part[0, 0], share)
    cost[0] += bare + (linear(part[1, 0], share) - bare) / saved
    for v in range(load.shape[0]):
        bare = linear(part[0, 1 + v], share)
        load[v] += bare + (linear(part[1, 1 + v], share) - bare) / saved


@compiled
def stays(grid, implicit, base, tile, full, block, outer_rank, inner_rank, out):  # type: ignore[no-untyped-def]
    """Write the trips over which each tensor's tile stays, (T, 2): at level 1, at the innermost.

    block = number of ranks with loops between the two levels; the ranks are the innermost ones of
    the blocks above level 1 and above the fan-out, -1 = none.
    """
    out[:] = 1.0
    if not implicit:
        return
    for t in range(out.shape[0]):
        above = 1.0
        if outer_rank >= 0 and not grid.relevant[t, outer_rank]:
            above = (
                grid.size[outer_rank, full[outer_rank]] / grid.size[outer_rank, tile[outer_rank]]
            )
            out[t, 0] = above
        if block == 0:
            out[t, 1] = above
        elif not grid.relevant[t, inner_rank]:
            out[t, 1] = grid.size[inner_rank, tile[inner_rank]]
            out[t, 1] /= grid.size[inner_rank, base[inner_rank]]
            if block == 1 and outer_rank == inner_rank:
                out[t, 1] *= above


@compiled
def tile_index(grid, tile, rank, value):  # type: ignore[no-untyped-def]
    """Full-grid index of a tile, with one rank replaced (-1 = none)."""
    index = 0
    for r in range(tile.shape[0]):
        index += grid.stride[r] * (value if r == rank else tile[r])
    return index


@compiled
def room_left(grid, outer, tile, below, capacity):  # type: ignore[no-untyped-def]
    """Bits that all tensors at one tile leave of level 1."""
    index = tile_index(grid, tile, -1, 0)
    for t in range(below.shape[0]):
        capacity -= outer.elements[t, index] * outer.bits[t, int(below[t, 0])]
    return capacity


@compiled
def try_orders(grid, outer, machine, setting, part, share, below, where, cycles, archive, info):  # type: ignore[no-untyped-def]
    """Price one pair of tiles under every choice of the blocks' innermost ranks.

    where = (base, tile, implicit, instances of the innermost level under one of level 1).
    """
    base, tile, implicit, inner = where
    full, ranks, tensors = setting.full, base.shape[0], below.shape[0]
    last = machine.capacity.shape[0] - 1
    block = 0
    for r in range(ranks):
        block += 1 if tile[r] != base[r] else 0
    staying = np.ones((tensors, 2))
    load, cost = np.zeros(machine.ports), np.zeros(1)
    for outer_rank in range(-1, ranks):
        if outer_rank >= 0 and full[outer_rank] == tile[outer_rank]:
            continue
        for inner_rank in range(-1, ranks):
            if (inner_rank < 0) != (block == 0) and implicit:
                continue
            if inner_rank >= 0 and (tile[inner_rank] == base[inner_rank] or not implicit):
                continue
            stays(grid, implicit, base, tile, full, block, outer_rank, inner_rank, staying)
            load[:] = 0.0
            cost[0] = 0.0
            for t in range(tensors):
                add_tensor(part[t], share[t], staying[t, 1], cost, load)
            write, read = machine.write_port[last], machine.read_port[last]
            if write >= 0:
                load[write] /= inner
            if read >= 0 and read != write:
                load[read] /= inner
            for t in range(tensors):
                grown = outer_rank if staying[t, 0] > 1.0 else -1
                index = tile_index(grid, tile, grown, full[max(grown, 0)])
                price, _ = node_price(outer, machine, t, index, below[t], load)
                cost[0] += price
            slow = cycles
            for v in range(machine.ports):
                slow = max(slow, load[v])
            energy = cost[0] + setting.computes[-1, -1, 0] * grid.total + machine.static_pj * slow
            archive.tally[1] += 1
            if no_better(setting.mode, archive, energy, slow):
                continue
            place = store(setting.mode, archive, energy, slow)
            if place < 0:
                return
            info[4], info[5] = outer_rank, inner_rank
            archive.info[place] = info
            archive.info[place, 6 + tensors :] = tile_index(grid, tile, -1, 0)


@compiled
def inner_floor(lean, j, shared, inverse, saved, index):  # type: ignore[no-untyped-def]
    """Least energy of innermost tile j's traffic [pJ]; one tensor may stay as long as it can.

    lean (n, T, 2, 3) holds the energy coefficients, inverse = 1 / shared; saved = share of the
    fetches that a tensor saves by staying around each base tile, (G, T); index = the base tile.
    """
    total, best = 0.0, 0.0
    for t in range(shared.shape[0]):
        whole = lean[j, t, 1, 0] + lean[j, t, 1, 1] * inverse[t] + lean[j, t, 1, 2] * shared[t]
        bare = lean[j, t, 0, 0] + lean[j, t, 0, 1] * inverse[t] + lean[j, t, 0, 2] * shared[t]
        total += whole
        best = max(best, (whole - bare) * saved[index, t])
    return total - best


@compiled
def tile_floor(grid, outer, machine, implicit, below, tile, full, scratch):  # type: ignore[no-untyped-def]
    """Least energy of a tile of level 1 [pJ], the same way."""
    total, best = 0.0, 0.0
    index = tile_index(grid, tile, -1, 0)
    for t in range(below.shape[0]):
        price, _ = node_price(outer, machine, t, index, below[t], scratch)
        total += price
        if implicit:
            grown = index
            for r in range(tile.shape[0]):
                if not grid.relevant[t, r]:
                    grown += grid.stride[r] * (full[r] - tile[r])
            least, _ = node_price(outer, machine, t, grown, below[t], scratch)
            best = max(best, price - least)
    return total - best


@compiled
def spread_floors(grid, floors):  # type: ignore[no-untyped-def]
    """Make each base tile's floor the least over the tiles that it divides, rank by rank."""
    for r in range(grid.number.shape[0]):
        step, count = grid.stride[r], grid.number[r]
        for start in range(0, floors.shape[0], step * count):
            for at in range(count - 1, -1, -1):
                for larger in range(at + 1, count):
                    if grid.div[r, larger, at] < 0:
                        continue
                    own, other = start + at * step, start + larger * step
                    for k in range(step):
                        floors[own + k] = min(floors[own + k], floors[other + k])


@compiled
def fan_bound(grid, machine, setting, instances):  # type: ignore[no-untyped-def]
    """Energy of the computes and of idling [pJ] and least cycles on this many instances."""
    units = setting.used[0] * instances * setting.used[1]
    cycles = max(setting.floor, grid.total * setting.computes[-1, -1, 1] / units)
    return setting.computes[-1, -1, 0] * grid.total + machine.static_pj * cycles, cycles


@compiled
def search_pair(problem, outer, part, leaf, spatial, setting, floors, work, archive):  # type: ignore[no-untyped-def]
    """Search every tile of level 1 around one innermost tile under one spatial choice.

    problem = (grid, machine, implicit); leaf = (tiles below each tensor's, least energy without
    level 1, cycles); spatial = (sharing, instances); floors = least energy of each tile of level 1,
    (G,); work = (base tile, below, info).
    """
    grid, machine, implicit = problem
    own, inside, cycles = leaf
    shared, instances = spatial
    base, below, info = work
    scratch, tile = np.zeros(machine.ports), base.copy()
    below[:, 0] = own
    every_rank, more = np.ones(tile.shape[0], dtype=np.bool_), True
    while more:
        floor = floors[tile_index(grid, tile, -1, 0)]
        if (
            floor < np.inf
            and not no_better(setting.mode, archive, inside + floor, cycles)
            and room_left(grid, outer, tile, below, machine.capacity[1]) >= 0.0
        ):
            floor = tile_floor(grid, outer, machine, implicit, below, tile, setting.full, scratch)
            if not no_better(setting.mode, archive, inside + floor, cycles):
                try_orders(
                    grid, outer, machine, setting, part, shared, below,
                    (base, tile, implicit, instances), cycles, archive, info,
                )  # fmt: skip
        more = next_extent(grid.div, every_rank, base, setting.full, tile)


@compiled
def fill_steps(grid, place, steps):  # type: ignore[no-untyped-def]
    """Write each rank's share of a base tile's full-grid index, by the innermost tile's divisor
    index; far below zero where the spatial trips do not fit.
    """
    for r in range(place.shape[0]):
        for at in range(grid.number[r]):
            base = grid.mul[r, at, place[r]]
            steps[r, at] = grid.stride[r] * base if base >= 0 else -(1 << 40)


@compiled
def base_index(steps, tops, j):  # type: ignore[no-untyped-def]
    """Full-grid index of the base tile of innermost tile j; negative where it cannot be."""
    index = 0
    for r in range(steps.shape[0]):
        index += steps[r, tops[j, r]]
    return index


@compiled
def first_pair(problem, leaves, lean, fan, setting, floors, first):  # type: ignore[no-untyped-def]
    """The most promising innermost tile on the fullest spatial choices: (choice, tile), or -1."""
    grid, machine, _ = problem
    _, around, saved = floors
    steps = np.zeros(grid.size.shape, dtype=np.int64)
    best, pair = np.inf, (-1, -1)
    for i in range(first, fan.place.shape[0]):
        if fan.used[i] < fan.used[first] and pair[0] >= 0:
            break
        fixed, _ = fan_bound(grid, machine, setting, fan.used[i])
        fill_steps(grid, fan.place[i], steps)
        shared, inverse = fan.shared[i], 1.0 / fan.shared[i]
        for j in range(leaves.top.shape[0]):
            index = base_index(steps, leaves.top, j)
            if index < 0 or around[index] == np.inf:
                continue
            energy = fixed + around[index] + inner_floor(lean, j, shared, inverse, saved, index)
            if energy < best:
                best, pair = energy, (i, j)
    return pair


@compiled
def scan_even(problem, outer, leaves, parts, fan, setting, floors, span, archive):  # type: ignore[no-untyped-def]
    """Search the innermost tiles under a span of spatial choices; returns the least not looked at.

    parts: coefficients without and with the words written into the innermost level, by placement
    and tensor, shape (n, T, 2, 1 + V, 3). floors = least energy of each tile of level 1 and around
    each base tile, (G,) each, and what staying saves, see `inner_floor`. span = (first, last,
    whether only bounds are asked for). The result is (energy, cycles, product), inf when everything
    was looked at.
    """
    grid, machine, _ = problem
    tiles, around, saved = floors
    tensors, ranks = grid.relevant.shape
    base, left = np.zeros(ranks, dtype=np.int64), np.full(3, np.inf)
    steps, lean = np.zeros(grid.size.shape, dtype=np.int64), parts[:, :, :, 0].copy()
    info = np.zeros(archive.info.shape[1], dtype=np.int64)
    info[0], info[1] = setting.tag
    work = (base, setting.below.copy(), info)
    started = archive.tally[0] > 0 or span[2]
    seed, lowest = (-1, -1), around.min()
    if not started:
        seed = first_pair(problem, leaves, lean, fan, setting, floors, span[0])
    for step in range(span[0] - (0 if started or seed[0] < 0 else 1), span[1]):
        i = seed[0] if step < span[0] else step
        shared, inverse = fan.shared[i], 1.0 / fan.shared[i]
        fixed, cycles = fan_bound(grid, machine, setting, fan.used[i])
        if not span[2] and no_better(setting.mode, archive, fixed + lowest, cycles):
            continue
        fill_steps(grid, fan.place[i], steps)
        for j in range(leaves.top.shape[0]):
            if step < span[0] and j != seed[1]:
                continue
            index = base_index(steps, leaves.top, j)
            if index < 0 or around[index] == np.inf:
                continue
            inside = fixed + inner_floor(lean, j, shared, inverse, saved, index)
            bound = inside + around[index]
            if span[2]:
                left[0], left[1] = min(left[0], bound), min(left[1], cycles)
                left[2] = min(left[2], bound * cycles)
                continue
            if no_better(setting.mode, archive, bound, cycles):
                archive.tally[2] += 1
                continue
            spread_tile(grid.mul, grid.div, leaves.top, j, fan.place[i], setting.full, base)
            info[2], info[3] = i, j
            for t in range(tensors):
                info[6 + t] = leaves.tile[j, t]
            leaf = (leaves.own[j], inside, cycles)
            spatial = (shared, fan.used[i])
            search_pair(problem, outer, parts[j], leaf, spatial, setting, tiles, work, archive)
    return left
