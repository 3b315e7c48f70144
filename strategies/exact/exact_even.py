"""Exact search of the even mapspace: every level keeps all tensors at one position (Timeloop's).

Under implicit stationarity a tile stays over the loops directly above it that do not index it, so
besides the tiles of the levels only the innermost rank of each block matters. A fetch saved that
way is priced as that of a tile grown by the same trips in its irrelevant rank, which has the same
elements.
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from strategies.exact.exact_kernels import node_price
from strategies.exact.exact_scan import base_tile, linear, no_better, store


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
def next_tile(div, base, full, tile):  # type: ignore[no-untyped-def]
    """Advance to the next tile that `base` divides and that divides `full`; False at the end."""
    for r in range(base.shape[0]):
        for larger in range(tile[r] + 1, full[r] + 1):
            if div[r, larger, base[r]] >= 0 and div[r, full[r], larger] >= 0:
                tile[r] = larger
                return True
        tile[r] = base[r]
    return False


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
            info[4], info[5] = outer_rank, inner_rank
            archive.info[place] = info
            archive.info[place, 6 + tensors :] = tile_index(grid, tile, -1, 0)


@compiled
def reuse_room(grid, implicit, inner, full, t):  # type: ignore[no-untyped-def]
    """Most trips over which tensor t's tile may stay: what is left of its irrelevant ranks."""
    room = 1.0
    if implicit:
        for r in range(inner.shape[0]):
            if not grid.relevant[t, r]:
                room *= grid.size[r, full[r]] / grid.size[r, inner[r]]
    return room


@compiled
def inner_floor(grid, implicit, part, share, base, full, scratch):  # type: ignore[no-untyped-def]
    """Least energy of an innermost tile's traffic [pJ]; one tensor may stay as long as it can."""
    total, best = 0.0, 0.0
    for t in range(share.shape[0]):
        whole, bare = linear(part[t, 1, 0], share[t]), linear(part[t, 0, 0], share[t])
        total += whole
        best = max(best, (whole - bare) * (1.0 - 1.0 / reuse_room(grid, implicit, base, full, t)))
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
def outer_floors(grid, outer, machine, implicit, below, full, floors):  # type: ignore[no-untyped-def]
    """Write the least energy of level 1 around every base tile [pJ]; inf where none fits.

    A tile serves all base tiles that divide it: the least over its multiples, rank by rank.
    """
    tile = np.zeros(full.shape[0], dtype=np.int64)
    scratch = np.zeros(machine.ports)
    base = tile.copy()
    floors[:] = np.inf
    more = True
    while more:
        if room_left(grid, outer, tile, below, machine.capacity[1]) >= 0.0:
            floors[tile_index(grid, tile, -1, 0)] = tile_floor(
                grid, outer, machine, implicit, below, tile, full, scratch
            )
        more = next_tile(grid.div, base, full, tile)
    for r in range(full.shape[0]):
        for index in range(floors.shape[0] - 1, -1, -1):
            at = (index // grid.stride[r]) % grid.number[r]
            for larger in range(at + 1, grid.number[r]):
                if grid.div[r, larger, at] >= 0:
                    other = index + (larger - at) * grid.stride[r]
                    floors[index] = min(floors[index], floors[other])


@compiled
def pair_bounds(grid, machine, leaves, parts, fan, setting, implicit, floors, out):  # type: ignore[no-untyped-def]
    """Write least energy and cycles of every (spatial choice, innermost tile), shape (n, m, 2)."""
    ranks = grid.relevant.shape[1]
    base, scratch = np.zeros(ranks, dtype=np.int64), np.zeros(machine.ports)
    fixed = setting.computes[-1, -1, 0] * grid.total
    out[:] = np.inf
    for i in range(fan.place.shape[0]):
        units = setting.used[0] * fan.used[i] * setting.used[1]
        cycles = max(setting.floor, grid.total * setting.computes[-1, -1, 1] / units)
        for j in range(leaves.top.shape[0]):
            if base_tile(grid.mul, grid.div, leaves.top[j], fan.place[i], setting.full, base):
                inside = inner_floor(
                    grid, implicit, parts[j], fan.shared[i], base, setting.full, scratch
                )
                floor = floors[tile_index(grid, base, -1, 0)]
                out[i, j, 0] = fixed + machine.static_pj * cycles + inside + floor
                out[i, j, 1] = cycles


@compiled
def scan_even(grid, outer, machine, leaves, parts, fan, setting, implicit, pairs, bounds, archive):  # type: ignore[no-untyped-def]
    """Search the given (spatial choice, innermost tile) pairs, most promising first.

    parts: coefficients without and with the words written into the innermost level, by placement
    and tensor, shape (n, T, 2, 1 + V, 3).
    """
    tensors, ranks = grid.relevant.shape
    base, full = np.zeros(ranks, dtype=np.int64), setting.full
    below = setting.below.copy()
    scratch = np.zeros(machine.ports)
    info = np.zeros(archive.info.shape[1], dtype=np.int64)
    info[0], info[1] = setting.tag
    for at in range(pairs.shape[0]):
        i, j = pairs[at] // leaves.top.shape[0], pairs[at] % leaves.top.shape[0]
        cycles = bounds[i, j, 1]
        if no_better(setting.mode, archive, bounds[i, j, 0], cycles):
            archive.tally[2] += 1
            continue
        base_tile(grid.mul, grid.div, leaves.top[j], fan.place[i], full, base)
        for t in range(tensors):
            below[t, 0] = leaves.own[j, t]
        inside = setting.computes[-1, -1, 0] * grid.total + machine.static_pj * cycles
        inside += inner_floor(grid, implicit, parts[j], fan.shared[i], base, full, scratch)
        info[2], info[3] = i, j
        info[6 : 6 + tensors] = leaves.tile[j]
        tile = base.copy()
        more = True
        while more:
            if room_left(grid, outer, tile, below, machine.capacity[1]) >= 0.0:
                floor = tile_floor(grid, outer, machine, implicit, below, tile, full, scratch)
                if not no_better(setting.mode, archive, inside + floor, cycles):
                    try_orders(
                        grid, outer, machine, setting, parts[j], fan.shared[i], below,
                        (base, tile, implicit, fan.used[i]), cycles, archive, info,
                    )  # fmt: skip
            more = next_tile(grid.div, base, full, tile)
