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
from strategies.exact.exact_kernels import SLACK, fill_list, find_slot

ENERGY, LATENCY, EDP, PARETO = range(4)
"""Objective codes. The single ones break ties by the other metric."""


class Setting(NamedTuple):
    """One choice of the outer and the innermost fan-out, and what the scan is after.

    Attributes:
        full: Divisor indices that level 1's tiles divide, shape (R,).
        below: Template of what stands inside level 1, see `fill_list`, shape (T, 4).
        share0, share2: Sharing between levels 0 and 1, and between the innermost level and the
            compute units, shape (T,).
        least: Least energy of moving each tensor into level 1 once [pJ], shape (T,).
        floor: Cycles that no mapping undercuts.
        used: Instances of level 1, and of compute units under one innermost instance.
        computes: Energy and cycles of a compute, and the fractions of single accumulations made
            and active, by keep mask of the innermost level and of level 1; (2**T, 2**T, 4).
        mode: Objective code.
        tag: Written into an archive entry's first two fields.
    """

    full: NDArray[np.int64]
    below: NDArray[np.float64]
    share0: NDArray[np.float64]
    share2: NDArray[np.float64]
    least: NDArray[np.float64]
    floor: float
    used: tuple[float, float]
    computes: NDArray[np.float64]
    mode: int
    tag: tuple[int, int]


class Archive(NamedTuple):
    """The best designs so far: one, or the front by increasing cycles.

    Attributes:
        energy, cycles: Shape (cap,).
        info: tag0, tag1, spatial row, leaf order row, outer order row, run rank (-1 = none), leaf
            tiles (T), outer tiles (T); shape (cap, 6 + 2T).
        tally: Entries used, joins looked at, joins pruned by bound; shape (3,).
    """

    energy: NDArray[np.float64]
    cycles: NDArray[np.float64]
    info: NDArray[np.int64]
    tally: NDArray[np.int64]


def new_archive(tensors: int, capacity: int = 4096) -> Archive:
    """An empty archive."""
    return Archive(
        np.empty(capacity),
        np.empty(capacity),
        np.empty((capacity, 6 + 2 * tensors), dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )


@compiled
def no_better(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """True when nothing with at least this energy and these cycles can improve the archive."""
    n = archive.tally[0]
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


@compiled
def store(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """Place a design that improves the archive; returns its index."""
    if mode != PARETO or archive.tally[0] == 0:
        archive.tally[0] = 1
        archive.energy[0] = energy
        archive.cycles[0] = cycles
        return 0
    n = archive.tally[0]
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
    archive.tally[0] = n + shift
    archive.energy[place] = energy
    archive.cycles[place] = cycles
    return place


@compiled
def list_of(grid, outer, machine, orders, starts, mask, base, full, below, run, lists):  # type: ignore[no-untyped-def]
    """The slot of the Pareto list for a base tile, made when it is asked for the first time."""
    width = outer.bits.shape[1] + (1 << 14)
    key = mask
    for part in run:
        key = key * 64 + part + 1
    for r in range(base.shape[0]):
        key = key * grid.number[r] + base[r]
    for t in range(below.shape[0]):
        if below[t, 3] > 0:
            part = int(below[t, 0])
            if part < 0:
                part = outer.bits.shape[1] + int(grid.total / below[t, 1])
            key = key * width + part
    slot = find_slot(lists.keys, key)
    if lists.keys[slot] == key:
        return slot
    if lists.used[1] * 2 > lists.keys.shape[0] or lists.used[0] * 2 > lists.energy.shape[0]:
        lists.keys[:] = -1
        lists.used[0] = 0
        lists.used[1] = 0
        slot = find_slot(lists.keys, key)
    begin = fill_list(grid, outer, machine, orders, starts, mask, base, full, below, run, lists)
    lists.keys[slot] = key
    lists.begin[slot] = begin
    lists.length[slot] = lists.used[0] - begin
    lists.used[1] += 1
    return slot


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
        tensors = lists.tile.shape[1]
        archive.info[place] = info
        archive.info[place, 4] = lists.order[i]
        archive.info[place, 6 + tensors :] = lists.tile[i]


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
    """Write the cycles of every port for one innermost placement under an outer keep mask.

    own_ports = ports of the innermost level, shared by `inner` instances under one level 1.
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
def bound_leaf(coefficients, shared, last, least, cost):  # type: ignore[no-untyped-def]
    """Write what each tensor always pays by level outside; return the least sum of all tensors."""
    bound = 0.0
    for t in range(shared.shape[0]):
        cost[t, 0] = linear(coefficients[t, 0, 0, 0], shared[t])
        cheapest = cost[t, 0]
        if last == 2:
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
    """`bound_leaf` of row j from the energy coefficients alone, shape (n, T, L - 1, 3)."""
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

    where = (leaf mask, outer mask); `out` takes the accumulations made and active.
    """
    leaf_mask, mask = where
    t = shared.shape[0] - 1
    parent = (mask >> t) & 1
    group = setting.share2[t]
    if (leaf_mask >> t) & 1 == 0:
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
def promising(grid, machine, leaves, coefficients, fan, setting, archive):  # type: ignore[no-untyped-def]
    """Mark the innermost placements whose bound may improve the archive for some spatial choice."""
    tensors, ranks = grid.relevant.shape
    last = machine.capacity.shape[0] - 1
    base, cost = np.zeros(ranks, dtype=np.int64), np.zeros((tensors, last))
    good = np.zeros(leaves.mask.shape[0], dtype=np.bool_)
    least_pj = setting.computes[:, :, 0].min() * grid.total
    least_cycles = setting.computes[:, :, 1].min()
    for i in range(fan.place.shape[0]):
        units = setting.used[0] * fan.used[i] * setting.used[1]
        cycles = max(setting.floor, grid.total * least_cycles / units)
        fixed = least_pj + machine.static_pj * cycles
        if no_better(setting.mode, archive, fixed, cycles):
            continue
        for j in range(good.shape[0]):
            if good[j] or not base_tile(
                grid.mul, grid.div, leaves.top[j], fan.place[i], setting.full, base
            ):
                continue
            bound = bound_leaf(coefficients[j], fan.shared[i], last, setting.least, cost)
            good[j] = not no_better(setting.mode, archive, bound + fixed, cycles)
    return good


@compiled
def scan(grid, outer, ideal, machine, orders, starts, leaves, coefficients, fan, setting, archive):  # type: ignore[no-untyped-def]
    """Join every innermost placement with every spatial choice and every outer placement.

    `outer` and `ideal` are (table of level 1, store of its lists): with the true prices, and with
    the least of any tile, whose lists are shorter and shared by all tiles of growing tensors.
    """
    tensors, ranks = grid.relevant.shape
    levels = machine.capacity.shape[0]
    last = levels - 1
    mul, div, full, mode = grid.mul, grid.div, setting.full, setting.mode
    own_ports = np.array([machine.write_port[last], machine.read_port[last]])
    if own_ports[0] == own_ports[1]:
        own_ports[1] = -1
    base = np.zeros(ranks, dtype=np.int64)
    below, loose = setting.below.copy(), setting.below.copy()
    loose[:, 3] = 0.0
    grown = setting.below[:, 3].max() > 0.0
    cost = np.zeros((tensors, last))
    load = np.zeros(machine.ports)
    kept = np.zeros(2)
    info = np.zeros(archive.info.shape[1], dtype=np.int64)
    info[0], info[1] = setting.tag
    least_pj = setting.computes[:, :, 0].min() * grid.total
    least_cycles = setting.computes[:, :, 1].min()
    static_pj = machine.static_pj
    lean, least = coefficients[:, :, :, 0, 0].copy(), setting.least
    tops, end = leaves.top, leaves.end
    place, looked, dropped = np.zeros(ranks, dtype=np.int64), 0, 0
    for i in range(fan.place.shape[0]):
        shared = fan.shared[i]
        units = setting.used[0] * fan.used[i] * setting.used[1]
        cycles = max(setting.floor, grid.total * least_cycles / units)
        if no_better(mode, archive, least_pj + static_pj * cycles, cycles):
            continue
        info[2] = i
        place[:] = fan.place[i]
        j = -1
        while j + 1 < end.shape[0]:
            j += 1
            if not spread_tile(mul, div, tops, j, place, full, base):
                j = end[j] - 1
                continue
            bound = least_inner(lean, j, shared, least, cost)
            looked += 1
            if no_better(mode, archive, bound + least_pj + static_pj * cycles, cycles):
                dropped += 1
                j = end[j] - 1
                continue
            run = (leaves.run[j, 0], leaves.run[j, 1], leaves.run[j, 2])
            for t in range(tensors):
                below[t, 0] = leaves.own[j, t]
                loose[t, 0] = min(leaves.own[j, t], 0)
                below[t, 1] = grid.total / (shared[t] * setting.share2[t])
            info[3] = leaves.row[j]
            info[5] = leaves.run[j, 1]
            info[6 : 6 + tensors] = leaves.tile[j]
            leaf_mask = leaves.mask[j]
            for mask in range(1 << tensors if levels == 3 else 1):
                if levels == 3 and machine.masks[1, mask] == 0:
                    continue
                slow = max(cycles, grid.total * setting.computes[leaf_mask, mask, 1] / units)
                energy, rest = price_mask(
                    coefficients[j], shared, setting, (leaf_mask, mask), cost, kept
                )
                energy += setting.computes[leaf_mask, mask, 0] * grid.total
                bound = energy + rest
                if no_better(mode, archive, bound + static_pj * slow, slow):
                    continue
                port_cycles(
                    coefficients[j], shared, mask, own_ports, fan.used[i], kept[0], kept[1], load
                )
                for v in range(machine.ports):
                    slow = max(slow, load[v])
                if no_better(mode, archive, bound + static_pj * slow, slow):
                    continue
                if run[0] >= 0:
                    slot = list_of(
                        grid, ideal[0], machine, orders, starts, mask, base, full, loose,
                        (-1, -1, -1), ideal[1],
                    )  # fmt: skip
                    if ideal[1].length[slot] == 0:
                        continue
                    bound = energy + ideal[1].energy[ideal[1].begin[slot]]
                    if no_better(mode, archive, bound + static_pj * slow, slow):
                        continue
                elif grown:
                    slot = list_of(
                        grid, ideal[0], machine, orders, starts, mask, base, full, loose, run,
                        ideal[1],
                    )  # fmt: skip
                    if ideal[1].length[slot] == 0:
                        continue
                    bound = energy + ideal[1].energy[ideal[1].begin[slot]]
                    if no_better(mode, archive, bound + static_pj * slow, slow):
                        continue
                slot = list_of(
                    grid, outer[0], machine, orders, starts, mask, base, full, below, run, outer[1]
                )
                join(setting, static_pj, outer[1], slot, energy, load, slow, archive, info)
    archive.tally[1] += looked
    archive.tally[2] += dropped
