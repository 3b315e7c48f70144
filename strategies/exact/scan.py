"""Compiled scan of the exact search: spatial trips x innermost placements, joined with the lists.

The innermost storage level's placements do not depend on the spatial trips above it, the outer
level's do not depend on what stands inside beyond the base tile (spatial trips x innermost tiles).
So both are enumerated once, and only joined for every base tile; a pair whose lower bound cannot
improve the archive is dropped before its list is made.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled
from strategies.exact.archive import energy_limit, no_better, store
from strategies.exact.walk import list_of


class Setting(NamedTuple):
    """One choice of the outer and the innermost fan-out, and what the scan is after.

    Attributes:
        full: Divisor indices that level 1's tiles divide, shape (R,).
        below: Template of what stands inside level 1, see `fill_list`, shape (T, 4).
        share0, share2: Sharing between levels 0 and 1, and between the joined fan-out and the
            compute units, shape (T,).
        gather: Products of the output reduced between the innermost level and the compute units.
        least: Least energy of moving each tensor into level 1 once [pJ], shape (T,).
        floor: Cycles that no mapping undercuts.
        used: Instances of level 1, and of compute units inside one trip of the joined fan-out.
        computes: Energy and cycles of a compute, and the fractions of single accumulations made
            and active, by keep mask inside and of level 1, see `machine.build_computes`.
        mode: Objective code.
        tag: Written into an archive entry's first two fields.
    """

    full: NDArray[np.int64]
    below: NDArray[np.float64]
    share0: NDArray[np.float64]
    share2: NDArray[np.float64]
    gather: float
    least: NDArray[np.float64]
    floor: float
    used: tuple[float, float]
    computes: NDArray[np.float64]
    mode: int
    tag: tuple[int, int]


@compiled
def join(setting, static_pj, lists, slot, energy, load, cycles, archive, info):  # type: ignore[no-untyped-def]
    """Combine one inner choice with its list of outer ones; the archive takes what improves it."""
    for i in range(lists.begin[slot], lists.begin[slot] + lists.length[slot]):
        total = energy + lists.energy[i]
        if no_better(setting.mode, archive, total + static_pj * cycles, cycles):
            return
        slow = cycles
        for v in range(load.shape[0]):
            slow = max(slow, load[v] + lists.load[i, v])
        total += static_pj * slow
        if no_better(setting.mode, archive, total, slow):
            continue
        place = store(setting.mode, archive, total, slow)
        if place < 0:
            return
        tensors = lists.tile.shape[1]
        archive.info[place] = info
        archive.info[place, 4] = lists.order[i]
        archive.info[place, 6 + tensors : 6 + 2 * tensors] = lists.tile[i]


@compiled
def base_tile(mul, div, top, spatial, full, base):  # type: ignore[no-untyped-def]
    """Write the tile of an innermost placement with its spatial trips; False if it cannot be."""
    for r in range(top.shape[0]):
        place = mul[r, top[r], spatial[r]]
        if place < 0 or div[r, full[r], place] < 0:
            return False
        base[r] = place
    return True


@compiled
def linear(part, share):  # type: ignore[no-untyped-def]
    """alpha + beta / share + gamma * share."""
    return part[0] + part[1] / share + part[2] * share


@compiled
def gathered(fraction, group):  # type: ignore[no-untyped-def]
    """Fraction of accumulations left when `group` products are reduced before each."""
    if fraction >= 1.0 or group <= 1.0:
        return fraction
    return 1.0 - (1.0 - fraction) ** group


@compiled
def port_cycles(coefficients, shared, mask, own_ports, inner, made, active, load):  # type: ignore[no-untyped-def]
    """Write the cycles of every port for one placement inside under an outer keep mask.

    own_ports = ports inside the joined fan-out, shared by `inner` instances under one level 1.
    """
    load[:] = 0.0
    for t in range(shared.shape[0]):
        part = coefficients[t, (mask >> t) & 1]
        for v in range(load.shape[0]):
            load[v] += linear(part[0, 1 + v], shared[t])
            if t == shared.shape[0] - 1:
                load[v] += (made - active) * linear(part[1, 1 + v], shared[t])
                load[v] += active * linear(part[2, 1 + v], shared[t])
    for v in own_ports:
        if v >= 0:
            load[v] /= inner


@compiled
def bound_leaf(coefficients, shared, least, cost):  # type: ignore[no-untyped-def]
    """Write what each tensor always pays by level outside; return the least sum of all tensors."""
    bound = 0.0
    for t in range(shared.shape[0]):
        cost[t, 0] = linear(coefficients[t, 0, 0, 0], shared[t])
        cheapest = cost[t, 0]
        if coefficients.shape[1] == 2:
            cost[t, 1] = linear(coefficients[t, 1, 0, 0], shared[t])
            cheapest = min(cheapest, cost[t, 1] + least[t])
        bound += cheapest
    return bound


@compiled
def spread_tile(mul, div, tops, j, place, full, base):  # type: ignore[no-untyped-def]
    """`base_tile` of row j, without slices: this is the innermost loop of the search."""
    for r in range(base.shape[0]):
        at = mul[r, tops[j, r], place[r]]
        if at < 0 or div[r, full[r], at] < 0:
            return False
        base[r] = at
    return True


@compiled
def least_inner(lean, j, shared, least, cost):  # type: ignore[no-untyped-def]
    """`bound_leaf` of row j from the energy coefficients alone, shape (n, T, parents, 3)."""
    bound = 0.0
    for t in range(shared.shape[0]):
        share = shared[t]
        cost[t, 0] = lean[j, t, 0, 0] + lean[j, t, 0, 1] / share + lean[j, t, 0, 2] * share
        cheapest = cost[t, 0]
        if lean.shape[2] == 2:
            cost[t, 1] = lean[j, t, 1, 0] + lean[j, t, 1, 1] / share + lean[j, t, 1, 2] * share
            cheapest = min(cheapest, cost[t, 1] + least[t])
        bound += cheapest
    return bound


@compiled
def price_mask(coefficients, shared, setting, where, cost, out):  # type: ignore[no-untyped-def]
    """Energy of the inner part under an outer keep mask [pJ], least energy of the outer part.

    where = (mask inside, outer mask); `out` takes the accumulations made and active.
    """
    leaf_mask, mask = where
    t = shared.shape[0] - 1
    parent = (mask >> t) & 1
    group = setting.gather if (leaf_mask >> t) & 1 else setting.share2[t]
    if (leaf_mask >> t | leaf_mask >> (2 * t + 1)) & 1 == 0:
        group *= shared[t] if parent or cost.shape[1] == 1 else shared[t] * setting.share0[t]
    made = gathered(setting.computes[leaf_mask, mask, 2], group)
    active = gathered(setting.computes[leaf_mask, mask, 3], group)
    out[0], out[1] = made, active
    part = coefficients[t, parent]
    energy = (made - active) * linear(part[1, 0], shared[t])
    energy += active * linear(part[2, 0], shared[t])
    outer = 0.0
    for s in range(t + 1):
        energy += cost[s, (mask >> s) & 1]
        if (mask >> s) & 1:
            outer += setting.least[s]
    return energy, outer


@compiled
def compute_bound(setting, machine, total, instances):  # type: ignore[no-untyped-def]
    """Least energy of the computes [pJ] and least cycles on this many innermost instances."""
    units = setting.used[0] * instances * setting.used[1]
    cycles = max(setting.floor, total * setting.computes[:, :, 1].min() / units)
    return setting.computes[:, :, 0].min() * total + machine.static_pj * cycles, cycles


@compiled
def promising(problem, leaves, coefficients, fan, setting, archive):  # type: ignore[no-untyped-def]
    """Mark the innermost placements whose bound may improve the archive for some spatial choice."""
    grid, machine = problem[0], problem[1]
    tensors, ranks = grid.relevant.shape
    base, cost = np.zeros(ranks, dtype=np.int64), np.zeros((tensors, coefficients.shape[2]))
    good = np.zeros(leaves.mask.shape[0], dtype=np.bool_)
    for i in range(fan.place.shape[0]):
        fixed, cycles = compute_bound(setting, machine, grid.total, fan.used[i])
        if no_better(setting.mode, archive, fixed, cycles):
            continue
        for j in range(good.shape[0]):
            if good[j] or not base_tile(
                grid.mul, grid.div, leaves.top[j], fan.place[i], setting.full, base
            ):
                continue
            bound = bound_leaf(coefficients[j], fan.shared[i], setting.least, cost)
            good[j] = not no_better(setting.mode, archive, bound + fixed, cycles)
    return good


@compiled
def least_of_list(problem, outer, mask, base, full, below, run):  # type: ignore[no-untyped-def]
    """Least energy of the outer placements around a base tile [pJ], inf where none fits."""
    grid, machine, orders, starts = problem
    table, lists = outer
    tables = (table, table)
    slot = list_of(
        grid, tables, machine, orders, starts, mask, base, full, below, run, np.inf, lists
    )
    return lists.energy[lists.begin[slot]] if lists.length[slot] > 0 else np.inf


@compiled
def join_masks(problem, stores, leaf, shared, setting, instances, work, archive):  # type: ignore[no-untyped-def]
    """Join one innermost placement on one spatial choice with every keep mask of level 1.

    stores = (table of level 1, its lists) with true and with ideal prices; leaf = (coefficients,
    keep mask, run); work = (cost, kept, load, base, below, loose, own ports, info).
    """
    grid, machine, orders, starts = problem
    coefficients, leaf_mask, run = leaf
    cost, kept, load, base, below, loose, own_ports, info = work
    full, mode = setting.full, setting.mode
    units = setting.used[0] * instances * setting.used[1]
    grown, static_pj = setting.below[:, 3].max() > 0.0, machine.static_pj
    for mask in range(setting.computes.shape[1]):
        if coefficients.shape[1] == 2 and machine.masks[1, mask] == 0:
            continue
        slow = max(setting.floor, grid.total * setting.computes[leaf_mask, mask, 1] / units)
        energy, rest = price_mask(coefficients, shared, setting, (leaf_mask, mask), cost, kept)
        energy += setting.computes[leaf_mask, mask, 0] * grid.total
        if no_better(mode, archive, energy + rest + static_pj * slow, slow):
            continue
        port_cycles(coefficients, shared, mask, own_ports, instances, kept[0], kept[1], load)
        for v in range(machine.ports):
            slow = max(slow, load[v])
        if no_better(mode, archive, energy + rest + static_pj * slow, slow):
            continue
        if run[0] >= 0 or grown:
            near = run if run[0] < 0 else (-1, -1)
            rest = least_of_list(problem, stores[1], mask, base, full, loose, near)
            if rest == np.inf or no_better(mode, archive, energy + rest + static_pj * slow, slow):
                continue
        tables, lists = (stores[0][0], stores[1][0]), stores[0][1]
        most = energy_limit(mode, archive, slow) - energy - static_pj * slow
        slot = list_of(
            grid, tables, machine, orders, starts, mask, base, full, below, run, most, lists
        )
        join(setting, static_pj, lists, slot, energy, load, slow, archive, info)


@compiled
def ports_inside(machine):  # type: ignore[no-untyped-def]
    """Ports of the levels inside the joined fan-out, each once, -1 = none."""
    levels = machine.capacity.shape[0]
    first = 2 if levels > 2 else 1
    ports = np.full(2 * (levels - first), -1, dtype=np.int64)
    for level in range(first, levels):
        at = 2 * (level - first)
        ports[at] = machine.write_port[level]
        if machine.read_port[level] != machine.write_port[level]:
            ports[at + 1] = machine.read_port[level]
    return ports


@compiled
def scan(problem, stores, leaves, coefficients, fan, setting, span, archive):  # type: ignore[no-untyped-def]
    """Join every innermost placement with the spatial choices of a span and all outer placements.

    problem = (grid, machine, orders, starts); stores: see `join_masks`; the ideal lists, with the
    least of any tile, are shorter and shared by all tiles of growing tensors. span = first and
    last row of the fan-out.
    """
    grid, machine = problem[0], problem[1]
    tensors, ranks = grid.relevant.shape
    own_ports = ports_inside(machine)
    base, place = np.zeros(ranks, dtype=np.int64), np.zeros(ranks, dtype=np.int64)
    below, loose = setting.below.copy(), setting.below.copy()
    loose[:, 3] = 0.0
    cost, kept = np.zeros((tensors, coefficients.shape[2])), np.zeros(2)
    load = np.zeros(machine.ports)
    info = np.zeros(archive.info.shape[1], dtype=np.int64)
    info[0], info[1] = setting.tag
    work = (cost, kept, load, base, below, loose, own_ports, info)
    lean, end = coefficients[:, :, :, 0, 0].copy(), leaves.end
    for i in range(span[0], span[1]):
        shared = fan.shared[i]
        fixed, cycles = compute_bound(setting, machine, grid.total, fan.used[i])
        if no_better(setting.mode, archive, fixed, cycles):
            continue
        info[2] = i
        place[:] = fan.place[i]
        j = -1
        while j + 1 < end.shape[0]:
            j += 1
            if not spread_tile(grid.mul, grid.div, leaves.top, j, place, setting.full, base):
                j = end[j] - 1
                continue
            bound = least_inner(lean, j, shared, setting.least, cost)
            archive.tally[1] += 1
            if no_better(setting.mode, archive, bound + fixed, cycles):
                archive.tally[2] += 1
                j = end[j] - 1
                continue
            for t in range(tensors):
                below[t, 0] = leaves.own[j, t]
                loose[t, 0] = min(leaves.own[j, t], 0)
                below[t, 1] = grid.total / (shared[t] * setting.share2[t])
                info[6 + t] = leaves.tile[j, t]
            info[3], info[5] = leaves.row[j], leaves.run[j, 1]
            info[6 + 2 * tensors :] = leaves.middle[j]
            leaf = (coefficients[j], leaves.mask[j], (leaves.run[j, 0], leaves.run[j, 1]))
            join_masks(problem, stores, leaf, shared, setting, fan.used[i], work, archive)


@compiled
def left_over(problem, leaves, coefficients, fan, setting, first):  # type: ignore[no-untyped-def]
    """Least (energy, cycles, product) of what `scan` has not seen: spatial choices from `first`."""
    grid, machine = problem[0], problem[1]
    tensors, ranks = grid.relevant.shape
    base = np.zeros(ranks, dtype=np.int64)
    cost = np.zeros((tensors, coefficients.shape[2]))
    lean = coefficients[:, :, :, 0, 0].copy()
    least = np.full(3, np.inf)
    for i in range(first, fan.place.shape[0]):
        fixed, cycles = compute_bound(setting, machine, grid.total, fan.used[i])
        for j in range(leaves.mask.shape[0]):
            if spread_tile(grid.mul, grid.div, leaves.top, j, fan.place[i], setting.full, base):
                energy = fixed + least_inner(lean, j, fan.shared[i], setting.least, cost)
                least[0] = min(least[0], energy)
                least[1] = min(least[1], cycles)
                least[2] = min(least[2], energy * cycles)
    return least
