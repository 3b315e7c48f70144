"""Four storage levels: placements of levels 2 and 3 together, joined below level 1 like one.

A pair is a placement of level 3, trips of the fan-out between the two levels and a placement of
level 2 around them. Level 2's placements depend on what stands inside through their base tile alone
(and, for tensors whose bits per word vary, through the tile inside), so they are listed once for
each. Pairs are bounded before anything else of them is worked out, and taken best first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spaces.compiled import compiled
from strategies.exact.archive import Archive, no_better
from strategies.exact.case import Case
from strategies.exact.grid import FloatArray, IntArray
from strategies.exact.growth import growth_of
from strategies.exact.leaves import Leaves, placements_at, take_leaves, undominated
from strategies.exact.scan import Setting, compute_bound, linear, spread_tile
from strategies.exact.streams import (
    Node,
    Surroundings,
    leaf_coefficients,
    link_to,
    node_coefficients,
    tensor_coefficients,
)

LEAF_BLOCKS, PAIR_BLOCKS = (32, 1024), (256, 4096)
"""How many are worked out together: few at first, so that their costs cut the others."""


class MiddleLevel:
    """Level 2's placements around what stands inside, each list made once.

    Args:
        case: The tables of a search over four levels.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        growth = growth_of(case.grid, case.costs, 2)
        self._growth = growth, growth
        self._known: dict[bytes, Leaves] = {}
        self._accumulated = _least_accumulations(case)

    def around(self, base: IntArray, full: IntArray, inside: IntArray) -> Leaves:
        """The placements that none beats.

        Args:
            base, full: Divisor indices that the extents are multiples of, and divide; shape (R,).
            inside: Sub-grid index of each tensor's tile at level 3, -1 = none; 0 where the bits per
                word do not depend on it; shape (T,).
        """
        key = np.concatenate([base, full, inside]).tobytes()
        if key not in self._known:
            case, costs = self._case, self._case.costs
            bits = costs.own_bits[:, 2].copy()
            for t in np.flatnonzero(inside >= 0):
                bits[t] = costs.bits[t, 2, inside[t]]
            problem = case.grid, case.points, costs, case.machine
            orders = case.orders, case.starts
            found = placements_at(2, problem, orders, (base, full), bits, self._growth)
            case.counts["fit"] += len(found.mask)
            best = undominated(found, case.grid, costs, 2)
            case.counts["beaten"] += len(found.mask) - len(best.mask)
            self._known[key] = best
        return self._known[key]

    def coefficients(
        self, found: Leaves, inside: IntArray, around: Surroundings, ports: bool
    ) -> FloatArray:
        """What placements of level 2 cost, by tensor and level outside (0, 1).

        Args:
            found: The placements.
            inside: Sub-grid index of the tile at level 3, -1 = none; shape (n, T).
            around: What stands around.
            ports: Whether the cycles of the ports are asked for.

        Returns:
            Shape (n, T, 2, 3, 1 + V or 1, 3), see `streams.leaf_coefficients`.
        """
        costs, machine = self._case.costs, self._case.machine
        n, tensors = found.own.shape
        out = np.zeros((n, tensors, 2, 3, 1 + machine.ports if ports else 1, 3))
        for t in range(tensors):
            kept = found.own[:, t] >= 0
            for innermost in (False, True):
                rows = np.flatnonzero(kept & ((inside[:, t] < 0) == innermost))
                if not len(rows):
                    continue
                within = None if innermost else inside[rows, t]
                node = Node(t, found.own[rows, t], within, found.words[rows, t])
                for parent in range(2):
                    link = link_to(4, 2, parent, t, around)
                    parts = node_coefficients(costs, machine, node, link, around, ports)
                    out[rows, t, parent] = parts
        return out

    def least(self, outer: FloatArray) -> FloatArray:
        """Least energy of moving each tensor into level 2 once [pJ], shape (T,).

        Args:
            outer: The same for level 1.
        """
        costs = self._case.costs
        once = costs.words.min(axis=1)
        direct = once * costs.read[:, 0].min(axis=1)
        through = outer + once * costs.read[:, 1].min(axis=1)
        into = np.minimum(costs.write[:, 2].min(axis=1), costs.own_write[:, 2].min(axis=1))
        least: FloatArray = np.minimum(direct, through) + once * into
        t = self._case.machine.output
        drained = outer[t] + once[t] * costs.write[t, 1].min()
        least[t] = min(once[t] * costs.final.min(), drained)
        return least

    def least_use(self, around: Surroundings) -> FloatArray:
        """Least energy of the compute units' use of each tensor at level 2 [pJ], shape (T,)."""
        costs, t = self._case.costs, self._case.machine.output
        each = costs.leaf[:, 2].min(axis=(1, 2))
        gated, active = self._accumulated
        each[t] = gated * costs.partial[2, 2] + active * costs.partial[2, 1]
        use: FloatArray = each * around.total / around.share2
        return use

    def least_energy(self, coefficients: FloatArray) -> FloatArray:
        """Energy coefficients with as few accumulations as any placement leaves, (..., 3)."""
        paid, gated, active = np.moveaxis(coefficients[..., 0, :], -2, 0)
        parts = paid + self._accumulated[0] * gated + self._accumulated[1] * active
        return np.ascontiguousarray(parts)


class Inside:
    """Level 3's placements under one choice of the fan-outs at both ends.

    Args:
        case: The tables.
        middle: Level 2.
        leaves: Level 3's placements.
    """

    def __init__(self, case: Case, middle: MiddleLevel, leaves: Leaves) -> None:
        self._case, self._middle, self._leaves = case, middle, leaves
        self._inside = np.where(case.costs.grows, leaves.own, np.minimum(leaves.own, 0))
        self._energy: dict[tuple[int, float], FloatArray] = {}

    def pairs(
        self, between: int, around: Surroundings, setting: Setting, archive: Archive
    ) -> Iterator[tuple[Leaves, FloatArray]]:
        """Pairs that may improve the archive, with their coefficients, best bounds first.

        Args:
            between: Row of the fan-out between levels 2 and 3.
            around: What stands around.
            setting: What the scan is after.
            archive: What is known; it may improve while the pairs are taken.
        """
        case, leaves = self._case, self._leaves
        problem = case.grid, case.machine, case.joined
        lean = self._leaf_energy(around)
        base, floor = np.empty_like(leaves.top), np.empty((len(leaves.top), 2))
        least = self._middle.least(setting.least)
        use = np.where(leaves.own < 0, self._middle.least_use(around), 0.0)
        place = case.fans[2].place[between]
        bound_leaves(problem, leaves.top, place, lean, least + use, setting, (base, floor))
        for chosen in best_first(floor, setting.mode, archive, LEAF_BLOCKS):
            found, inside, key, begin = self._middles(base, chosen, setting.full)
            mids = self._middle.coefficients(found, inside, around, ports=False)
            priced = self._middle.least_energy(mids)
            tables = lean[chosen], priced, found.own >= 0, key, begin
            pair, bound = _bounded(problem, tables, setting, archive)
            pair[:, 0] = chosen[pair[:, 0]]
            for rows in best_first(bound, setting.mode, archive, PAIR_BLOCKS):
                yield self._worked_out(pair[rows], (found, inside), between, around)

    def _leaf_energy(self, around: Surroundings) -> FloatArray:
        """Least energy coefficients of the leaves by level outside (0, 1, 2), shape (n, T, 3, 3).

        Of one tensor they depend on its own sharing between levels 2 and 3 alone.
        """
        costs, machine = self._case.costs, self._case.machine
        columns = []
        for t, share in enumerate(around.share_middle.tolist()):
            if (t, share) not in self._energy:
                where = t, (0, 1, 2)
                parts = tensor_coefficients(
                    costs, machine, self._leaves, around, where, ports=False
                )
                self._energy[t, share] = self._middle.least_energy(parts)
            columns.append(self._energy[t, share])
        return np.stack(columns, axis=1)

    def _middles(
        self, base: IntArray, chosen: IntArray, full: IntArray
    ) -> tuple[Leaves, IntArray, IntArray, IntArray]:
        """Level 2's placements around the chosen leaves: all of them, the tiles inside each, the
        list of every leaf, and where each list begins.
        """
        keys = np.concatenate([base[chosen], self._inside[chosen]], axis=1)
        distinct, key = np.unique(keys, axis=0, return_inverse=True)
        ranks = base.shape[1]
        lists = [self._middle.around(row[:ranks], full, row[ranks:]) for row in distinct]
        length = [len(each.mask) for each in lists]
        begin = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        together = Leaves(*(np.concatenate(columns) for columns in zip(*lists, strict=True)))
        inside = np.repeat(distinct[:, ranks:], length, axis=0)
        return together, inside, key.reshape(-1).astype(np.int64), begin

    def _worked_out(
        self,
        pair: IntArray,
        mids: tuple[Leaves, IntArray],
        between: int,
        around: Surroundings,
    ) -> tuple[Leaves, FloatArray]:
        """Pairs (leaf, middle placement) as placements inside, and their coefficients."""
        case = self._case
        inner, at_inner = np.unique(pair[:, 0], return_inverse=True)
        outer, at_outer = np.unique(pair[:, 1], return_inverse=True)
        leaf, mid = take_leaves(self._leaves, inner), take_leaves(mids[0], outer)
        below = leaf_coefficients(case.costs, case.machine, leaf, around, (0, 1, 2))[at_inner]
        above = self._middle.coefficients(mid, mids[1][outer], around, ports=True)[at_outer]
        leaf, mid = take_leaves(leaf, at_inner), take_leaves(mid, at_outer)
        kept = mid.own >= 0
        parts = np.where(
            kept[:, :, None, None, None, None], above + below[:, :, 2:], below[:, :, :2]
        )
        column = np.full((len(pair), 1), between)
        joined = leaf._replace(
            mask=leaf.mask | mid.mask << case.tensors,
            top=mid.top,
            own=np.where(kept, mid.own, leaf.own),
            middle=np.concatenate([column, mid.row[:, None], mid.tile], axis=1),
        )
        return joined, parts


def _least_accumulations(case: Case) -> tuple[float, float]:
    """Fractions of accumulations gated and active at least, so that their energy is a bound;
    zero where a gated one may cost more than an active one.
    """
    read_pj, write_pj, gated_pj, _ = case.costs.partial.T
    if (gated_pj > np.minimum(read_pj, write_pj)).any():
        return 0.0, 0.0
    made, active = float(case.computes[..., 2].min()), float(case.computes[..., 3].min())
    return made - active, active


def best_first(
    bound: FloatArray, mode: int, archive: Archive, sizes: tuple[int, int]
) -> Iterator[IntArray]:
    """Rows of the bounds (energy, cycles) that may improve the archive, best first, in blocks.

    Args:
        bound: Least energy and cycles, inf = impossible; shape (n, 2).
        mode: Objective code.
        archive: What is known when a block is asked for.
        sizes: Rows of the first block, and of every other.
    """
    order = np.argsort(bound[:, 0] * bound[:, 1], kind="stable")
    first, size = 0, sizes[0]
    while first < len(order):
        rows = order[first : first + size]
        first, size = first + size, sizes[1]
        rows = rows[still_open(mode, archive, bound[rows])]
        if len(rows):
            yield rows


@compiled
def still_open(mode, archive, bound):  # type: ignore[no-untyped-def]
    """Mark the bounds (energy, cycles) that may improve the archive."""
    good = np.zeros(bound.shape[0], dtype=np.bool_)
    for i in range(bound.shape[0]):
        good[i] = bound[i, 0] < np.inf and not no_better(mode, archive, bound[i, 0], bound[i, 1])
    return good


@compiled
def bound_leaves(problem, top, place, lean, deep, setting, out):  # type: ignore[no-untyped-def]
    """Write level 3's base tiles and their least energy and cycles, inf where they do not fit in.

    problem = (grid, machine, joined fan-out); lean (n, T, 3, 3) = energy coefficients by level
    outside; deep (n, T) = least energy of moving a tensor into level 2 and of using it there.
    """
    grid, machine, fan = problem
    base, floor = out
    floor[:] = np.inf
    for j in range(top.shape[0]):
        if not spread_tile(grid.mul, grid.div, top, j, place, setting.full, base[j]):
            continue
        for i in range(fan.used.shape[0]):
            bound, cycles = compute_bound(setting, machine, grid.total, fan.used[i])
            for t in range(lean.shape[1]):
                share = fan.shared[i, t]
                cheapest = linear(lean[j, t, 0], share)
                cheapest = min(cheapest, linear(lean[j, t, 1], share) + setting.least[t])
                bound += min(cheapest, linear(lean[j, t, 2], share) + deep[j, t])
            floor[j, 0] = min(floor[j, 0], bound)
            floor[j, 1] = min(floor[j, 1], cycles)


@compiled
def bound_pairs(problem, tables, setting, archive, pair, bound):  # type: ignore[no-untyped-def]
    """Write (leaf, middle) of pairs that may improve the archive, and their least energy and
    cycles, as many as there is room for; returns how many there are.

    tables = (leaves' and middle placements' energy coefficients, tensors kept in the middle, the
    list of every leaf, where each list begins).
    """
    grid, machine, fan = problem
    leaf, mid, kept, key, begin = tables
    count = 0
    for j in range(leaf.shape[0]):
        for m in range(begin[key[j]], begin[key[j] + 1]):
            least, fewest = np.inf, np.inf
            for i in range(fan.used.shape[0]):
                energy, cycles = compute_bound(setting, machine, grid.total, fan.used[i])
                for t in range(leaf.shape[1]):
                    share = fan.shared[i, t]
                    if kept[m, t]:
                        energy += linear(leaf[j, t, 2], share)
                        direct, through = linear(mid[m, t, 0], share), linear(mid[m, t, 1], share)
                    else:
                        direct, through = linear(leaf[j, t, 0], share), linear(leaf[j, t, 1], share)
                    energy += min(direct, through + setting.least[t])
                if not no_better(setting.mode, archive, energy, cycles):
                    least, fewest = min(least, energy), min(fewest, cycles)
            if least < np.inf:
                if count < pair.shape[0]:
                    pair[count, 0], pair[count, 1] = j, m
                    bound[count, 0], bound[count, 1] = least, fewest
                count += 1
    return count


def _bounded(problem, tables, setting, archive):  # type: ignore[no-untyped-def]
    """`bound_pairs` with room for all of them."""
    room = 1 << 14
    while True:
        pair, bound = np.empty((room, 2), dtype=np.int64), np.empty((room, 2))
        count = bound_pairs(problem, tables, setting, archive, pair, bound)
        if count <= room:
            return pair[:count], bound[:count]
        room = count
