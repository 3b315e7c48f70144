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
from strategies.exact.growth import growth_of
from strategies.exact.leaves import (
    Leaves,
    even_placements,
    innermost_placements,
    large_enough,
    undominated,
    undominated_heads,
)
from strategies.exact.lists import Lists, clear_lists, new_lists
from strategies.exact.pairs import Inside, MiddleLevel
from strategies.exact.prices import ideal_costs
from strategies.exact.runs import all_runs, longest_runs
from strategies.exact.scan import Setting, left_over, promising, scan
from strategies.exact.streams import Surroundings, leaf_coefficients
from strategies.exact.tables import OuterTable, outer_table


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


def sweep(task: Sweep) -> FloatArray:
    """Fill the archive; returns the least (energy, cycles, product) not looked at, inf = none."""
    case = task.case
    outer = _outer_fan(case)
    rest = np.full(3, np.inf)
    middle = MiddleLevel(case) if case.levels == 4 else None
    lists = [new_lists(case.machine.ports, case.tensors, log2) for log2 in _list_sizes(task)]
    for i0 in range(len(outer.used)):
        tables = _tables(task, outer.shared[i0])
        for each in lists:
            clear_lists(each)
        stores = Outer((tables[0], lists[0]), (tables[1], lists[1]))
        for i2 in range(len(case.fans[-1].used)):
            if middle is None:
                left = _sweep_setting(task, stores, (i0, i2))
            else:
                left = _sweep_pairs(task, stores, (i0, i2), middle)
            rest = np.minimum(rest, left)
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
    if case.levels > 2:
        return case.fans[0]
    ranks = len(case.sizes)
    none = np.zeros((1, ranks), dtype=np.int64)
    shape = (1, 0, ranks)
    return Fanout(none, np.ones(1), np.ones((1, case.tensors)), np.ones(shape, dtype=np.int64))


def _tables(task: Sweep, share: FloatArray) -> tuple[OuterTable, OuterTable]:
    """Level 1's table with true and with ideal prices."""
    case = task.case
    points, costs, machine = case.points, case.costs, case.machine
    if not costs.grows.any():
        table = outer_table(points, costs, machine, growth_of(case.grid, costs, 1), share)
        return table, table
    ideal = ideal_costs(costs)
    none = growth_of(case.grid, ideal, 1)
    growth = none if task.space.name == "even" else growth_of(case.grid, costs, 1)
    return (
        outer_table(points, costs, machine, growth, share),
        outer_table(points, ideal, machine, none, share),
    )


def _setting(
    task: Sweep, stores: Outer, tag: tuple[int, int], between: int = 0
) -> tuple[Setting, Surroundings]:
    """What the scan is after, and what stands around, under one choice of every fan-out but the
    joined one: tag = (above level 1, below the innermost level), between = that of four levels.
    """
    case = task.case
    outer, inner = _outer_fan(case), case.fans[-1]
    used, shared = 1.0, np.ones(case.tensors)
    if case.levels == 4:
        used, shared = float(case.fans[2].used[between]), case.fans[2].shared[between]
    around = Surroundings(
        total=case.grid.total,
        used=float(outer.used[tag[0]]),
        share0=outer.shared[tag[0]],
        share2=shared * inner.shared[tag[1]],
        used_middle=used,
        share_middle=shared,
    )
    ranks = np.arange(len(case.sizes))
    below = np.zeros((case.tensors, 4))
    below[:, 2] = around.used
    below[:, 3] = case.costs.grows
    setting = Setting(
        full=case.grid.div[ranks, case.grid.number - 1, outer.place[tag[0]]],
        below=below,
        share0=around.share0,
        share2=around.share2,
        gather=float(inner.shared[tag[1], case.machine.output]),
        least=stores.ideal[0].least,
        floor=case.compulsory[1],
        used=(around.used, used * float(inner.used[tag[1]])),
        computes=case.computes,
        mode=task.mode,
        tag=tag,
    )
    return setting, around


def _unseen(case: Case, setting: Setting) -> FloatArray:
    """Least costs under a choice of fan-outs that was not looked at at all."""
    units = setting.used[0] * float(case.joined.used.max()) * setting.used[1]
    cycles = max(setting.floor, case.grid.total * float(case.computes[:, :, 1].min()) / units)
    energy = case.compulsory[0] + case.grid.total * float(case.computes[:, :, 0].min())
    energy += case.machine.static_pj * cycles
    return np.array([energy, cycles, energy * cycles])


def _sweep_setting(task: Sweep, stores: Outer, tag: tuple[int, int]) -> FloatArray:
    """Two or three levels under one choice of the fan-outs at both ends."""
    case = task.case
    setting, around = _setting(task, stores, tag)
    if perf_counter() > task.deadline:
        return _unseen(case, setting)
    box = case.fans[-1].place[tag[1]], setting.full
    problem = (case.grid, case.points, case.costs, case.machine)
    if task.space.name == "even":
        leaves = _allowed(task, even_placements(problem, len(case.orders) - 1, *box))
        tables = (stores.true[0], stores.ideal[0], around)
        return join_even(case, tables, setting, leaves, (task.archive, task.deadline))
    rest = _join(task, stores, setting, *_priced(case, _innermost(task, box), around))
    if task.space.name == "uneven_runs" and case.implicit and case.levels == 3:
        orders = (case.orders, case.starts)
        grown = innermost_placements(problem, orders, box, heads_grow=True)
        longer = _join_runs(task, stores, (setting, around), _allowed(task, grown))
        rest = np.asarray(np.minimum(rest, longer))
    return rest


def _sweep_pairs(
    task: Sweep, stores: Outer, tag: tuple[int, int], middle: MiddleLevel
) -> FloatArray:
    """Four levels under one choice of the fan-outs at both ends."""
    case = task.case
    rest = np.full(3, np.inf)
    box = case.fans[-1].place[tag[1]], _setting(task, stores, tag)[0].full
    inside = Inside(case, middle, _innermost(task, box))
    for between in range(len(case.fans[2].used)):
        setting, around = _setting(task, stores, tag, between)
        if perf_counter() > task.deadline:
            rest = np.minimum(rest, _unseen(case, setting))
            continue
        for leaves, coefficients in inside.pairs(between, around, setting, task.archive):
            rest = np.minimum(rest, _join(task, stores, setting, leaves, coefficients))
    return rest


def _innermost(task: Sweep, box: tuple[IntArray, IntArray]) -> Leaves:
    """The innermost placements in a box that the constraints leave and that none beats."""
    case = task.case
    problem, orders = (case.grid, case.points, case.costs, case.machine), (case.orders, case.starts)
    leaves = _allowed(task, innermost_placements(problem, orders, box))
    best = undominated(leaves, case.grid, case.costs, case.levels - 1)
    case.counts["fit"] += len(leaves.mask)
    case.counts["beaten"] += len(leaves.mask) - len(best.mask)
    return best


def _priced(case: Case, leaves: Leaves, around: Surroundings) -> tuple[Leaves, FloatArray]:
    """The placements of the innermost of two or three levels, and their coefficients."""
    parents = (0, 1)[: case.levels - 1]
    return leaves, leaf_coefficients(case.costs, case.machine, leaves, around, parents)


def _allowed(task: Sweep, leaves: Leaves) -> Leaves:
    """The innermost placements that the space's constraints leave."""
    if task.space.minimum_tile is not None:
        case = task.case
        leaves = large_enough(leaves, case.grid, case.points, task.space.minimum_tile)
    if task.space.rules is not None:
        leaves = stationary_leaves(leaves, task.case.orders, task.space.rules)
    return leaves


def _join_runs(
    task: Sweep, stores: Outer, place: tuple[Setting, Surroundings], leaves: Leaves
) -> FloatArray:
    """Join the innermost placements whose first tile stays over a run of outer loops."""
    case = task.case
    setting, around = place
    best = undominated_heads(leaves, case.grid, case.costs, case.orders)
    longest = longest_runs(best, case.grid, case.orders, setting.full)
    coefficients = _priced(case, longest, around)[1]
    problem = (case.grid, case.machine, case.orders, case.starts)
    good = promising(problem, longest, coefficients, case.joined, setting, task.archive)
    some = all_runs(longest, case.grid, np.flatnonzero(good))
    return _join(task, stores, setting, *_priced(case, some, around))


def _join(
    task: Sweep, stores: Outer, setting: Setting, leaves: Leaves, coefficients: FloatArray
) -> FloatArray:
    """Scan the spatial choices, all at once or, against a deadline, one after another."""
    if not len(leaves.mask):
        return np.full(3, np.inf)
    case, fan = task.case, task.case.joined
    problem = (case.grid, case.machine, case.orders, case.starts)
    step = 1 if np.isfinite(task.deadline) else len(fan.used)
    for first in range(0, len(fan.used), step):
        if perf_counter() > task.deadline:
            return np.asarray(left_over(problem, leaves, coefficients, fan, setting, first))
        span = (first, min(first + step, len(fan.used)))
        pair = (stores.true, stores.ideal)
        scan(problem, pair, leaves, coefficients, fan, setting, span, task.archive)
    return np.full(3, np.inf)
