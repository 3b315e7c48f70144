"""One sweep over the mappings of a case: every fan-out, inner and outer placements, joined.

A sweep fills an archive. Where formats are mixed its prices are bounds (see `prices.build_costs`);
where time runs out it says what is the least that it has not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from spaces.mappings.dataflow import MappingRules
from strategies.exact.archive import Archive
from strategies.exact.case import Case
from strategies.exact.constraints import stationary_leaves
from strategies.exact.even_sweep import join_even
from strategies.exact.fanouts import Fanout
from strategies.exact.grid import FloatArray, IntArray
from strategies.exact.leaves import (
    Leaves,
    all_runs,
    even_placements,
    innermost_placements,
    large_enough,
    longest_runs,
    undominated,
    undominated_heads,
)
from strategies.exact.lists import Lists, clear_lists, new_lists
from strategies.exact.prices import ideal_costs
from strategies.exact.scan import Setting, left_over, promising, scan
from strategies.exact.tables import (
    OuterTable,
    Surroundings,
    compulsory_costs,
    leaf_coefficients,
    outer_table,
)


@dataclass(frozen=True)
class MapSpace:
    """Which mappings count, see `exact_search`.

    Attributes:
        name: "uneven", "even" or "uneven_runs".
        minimum_tile: Least rank extents of the innermost level's tiles, shape (R,); None = 1.
        rules: A dataflow's constraints; None = none.
    """

    name: str = "uneven"
    minimum_tile: IntArray | None = None
    rules: MappingRules | None = None


@dataclass(frozen=True)
class Sweep:
    """What one sweep works on.

    Attributes:
        case: The tables.
        mode: Objective code.
        space: Which mappings count.
        deadline: `perf_counter` at which to stop.
        archive: Takes what is found.
    """

    case: Case
    mode: int
    space: MapSpace
    deadline: float
    archive: Archive


class Outer(NamedTuple):
    """Level 1 under one choice of the fan-out above it: (table, lists) true and ideal."""

    true: tuple[OuterTable, Lists]
    ideal: tuple[OuterTable, Lists]
    around: Surroundings


def sweep(task: Sweep) -> FloatArray:
    """Fill the archive; returns the least (energy, cycles, product) not looked at, inf = none."""
    case = task.case
    outer, inner = _outer_fan(case), case.fans[-1]
    compulsory = compulsory_costs(case.costs, case.machine, case.computes)
    rest = np.full(3, np.inf)
    lists = [new_lists(case.machine.ports, case.tensors, log2) for log2 in _list_sizes(task)]
    for i0 in range(len(outer.used)):
        tables = _tables(case, outer.shared[i0])
        for each in lists:
            clear_lists(each)
        for i2 in range(len(inner.used)):
            around = Surroundings(
                case.grid.total, float(outer.used[i0]), outer.shared[i0], inner.shared[i2]
            )
            stores = Outer((tables[0], lists[0]), (tables[1], lists[1]), around)
            setting = _setting(task, stores, (i0, i2), compulsory[1])
            if perf_counter() > task.deadline:
                rest = np.minimum(rest, _unseen(case, setting, compulsory[0]))
                continue
            rest = np.minimum(rest, _sweep_setting(task, stores, setting, inner.place[i2]))
    for each in lists:
        case.counts["walked"] += int(each.used[2])
        case.counts["stopped"] += int(each.used[3])
    return rest


def _list_sizes(task: Sweep) -> tuple[int, int]:
    """log2 of the keys that the stores of true and of ideal lists have room for."""
    if task.space.name == "even":
        return 1, 1
    return 16, 16 if task.case.costs.grows.any() or task.space.name == "uneven_runs" else 1


def _outer_fan(case: Case) -> Fanout:
    """The fan-out above level 1; of two levels none."""
    if case.levels == 3:
        return case.fans[0]
    ranks = len(case.sizes)
    none = np.zeros((1, ranks), dtype=np.int64)
    shape = (1, 0, ranks)
    return Fanout(none, np.ones(1), np.ones((1, case.tensors)), np.ones(shape, dtype=np.int64))


def _tables(case: Case, share: FloatArray) -> tuple[OuterTable, OuterTable]:
    """Level 1's table with true and with ideal prices."""
    grid, points, costs, machine = case.grid, case.points, case.costs, case.machine
    table = outer_table((grid, points, costs, machine), share)
    if not costs.grows.any():
        return table, table
    return table, outer_table((grid, points, ideal_costs(costs), machine), share)


def _setting(task: Sweep, stores: Outer, tag: tuple[int, int], floor: float) -> Setting:
    case, around = task.case, stores.around
    outer, inner = _outer_fan(case), case.fans[-1]
    ranks = np.arange(len(case.sizes))
    below = np.zeros((case.tensors, 4))
    below[:, 2] = around.used
    below[:, 3] = case.costs.grows
    return Setting(
        full=case.grid.div[ranks, case.grid.number - 1, outer.place[tag[0]]],
        below=below,
        share0=around.share0,
        share2=around.share2,
        least=stores.ideal[0].least,
        floor=floor,
        used=(around.used, float(inner.used[tag[1]])),
        computes=case.computes,
        mode=task.mode,
        tag=tag,
    )


def _unseen(case: Case, setting: Setting, compulsory_pj: float) -> FloatArray:
    """Least costs under a choice of fan-outs that was not looked at at all."""
    units = setting.used[0] * float(case.fans[-2].used.max()) * setting.used[1]
    cycles = max(setting.floor, case.grid.total * float(case.computes[:, :, 1].min()) / units)
    energy = compulsory_pj + case.grid.total * float(case.computes[:, :, 0].min())
    energy += case.machine.static_pj * cycles
    return np.array([energy, cycles, energy * cycles])


def _sweep_setting(task: Sweep, stores: Outer, setting: Setting, base: IntArray) -> FloatArray:
    case = task.case
    problem = (case.grid, case.points, case.costs, case.machine)
    if task.space.name == "even":
        leaves = even_placements(problem, len(case.orders) - 1, base, setting.full)
        leaves = _allowed(task, leaves)
        tables = (stores.true[0], stores.ideal[0], stores.around)
        return join_even(case, tables, setting, leaves, (task.archive, task.deadline))
    orders = (case.orders, case.starts)
    leaves = _allowed(task, innermost_placements(problem, orders, (base, setting.full)))
    best = undominated(leaves, case.grid, case.costs)
    case.counts["fit"] += len(leaves.mask)
    case.counts["beaten"] += len(leaves.mask) - len(best.mask)
    rest = _join(task, stores, setting, best)
    if task.space.name == "uneven_runs" and case.implicit and case.levels == 3:
        grown = innermost_placements(problem, orders, (base, setting.full), heads_grow=True)
        longer = _join_runs(task, stores, setting, _allowed(task, grown))
        rest = np.asarray(np.minimum(rest, longer))
    return rest


def _allowed(task: Sweep, leaves: Leaves) -> Leaves:
    """The innermost placements that the space's constraints leave."""
    if task.space.minimum_tile is not None:
        case = task.case
        leaves = large_enough(leaves, case.grid, case.points, task.space.minimum_tile)
    if task.space.rules is not None:
        leaves = stationary_leaves(leaves, task.case.orders, task.space.rules)
    return leaves


def _join_runs(task: Sweep, stores: Outer, setting: Setting, leaves: Leaves) -> FloatArray:
    """Join the innermost placements whose first tile stays over a run of outer loops."""
    case = task.case
    best = undominated_heads(leaves, case.grid, case.costs, case.orders)
    longest = longest_runs(best, case.grid, case.orders, setting.full)
    coefficients = leaf_coefficients(case.costs, case.machine, longest, stores.around)
    problem = (case.grid, case.machine, case.orders, case.starts)
    good = promising(problem, longest, coefficients, case.fans[-2], setting, task.archive)
    return _join(task, stores, setting, all_runs(longest, case.grid, np.flatnonzero(good)))


def _join(task: Sweep, stores: Outer, setting: Setting, leaves: Leaves) -> FloatArray:
    """Scan the spatial choices, all at once or, against a deadline, one after another."""
    if not len(leaves.mask):
        return np.full(3, np.inf)
    case, fan = task.case, task.case.fans[-2]
    coefficients = leaf_coefficients(case.costs, case.machine, leaves, stores.around)
    problem = (case.grid, case.machine, case.orders, case.starts)
    step = 1 if np.isfinite(task.deadline) else len(fan.used)
    for first in range(0, len(fan.used), step):
        if perf_counter() > task.deadline:
            return np.asarray(left_over(problem, leaves, coefficients, fan, setting, first))
        span = (first, min(first + step, len(fan.used)))
        pair = (stores.true, stores.ideal)
        scan(problem, pair, leaves, coefficients, fan, setting, span, task.archive)
    return np.full(3, np.inf)
