"""Exact search: the best mapping of one operator, certified, by enumeration with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.loop_nest import MappingBatch
from strategies.exact_kernels import Lists, new_lists
from strategies.exact_leaves import innermost_placements
from strategies.exact_problem import (
    Costs,
    Fanout,
    Grid,
    Machine,
    Points,
    build_computes,
    build_costs,
    build_fanout,
    build_grid,
    build_machine,
    build_points,
    node_orders,
)
from strategies.exact_scan import (
    EDP,
    ENERGY,
    LATENCY,
    PARETO,
    Archive,
    Setting,
    new_archive,
    scan,
)
from strategies.exact_tables import (
    OuterTable,
    Surroundings,
    leaf_coefficients,
    least_outer,
    outer_table,
)
from strategies.mapping_builder import Block, Plan, build_mappings

OBJECTIVES = {"energy": ENERGY, "latency": LATENCY, "edp": EDP, "pareto": PARETO}


@dataclass(frozen=True)
class SearchResult:
    """What an exact search found.

    Attributes:
        mappings: The best mapping, or the energy-latency front by increasing latency; empty (0
            designs) when nothing fits.
        energy_pj, latency_cycles: Of those, shape (n,).
        lower_bound: No mapping of the space has a smaller objective (the first metric's, for a
            front: its least EDP).
        certified: The search was complete: lower bound = value.
        visited, pruned: Joins of inner and outer placements looked at and dropped by bound.
        seconds: Wall time.
    """

    mappings: MappingBatch
    energy_pj: NDArray[np.float64]
    latency_cycles: NDArray[np.float64]
    lower_bound: float
    certified: bool
    visited: int
    pruned: int
    seconds: float


@dataclass(frozen=True)
class _Case:
    """The tables of one search."""

    grid: Grid
    points: Points
    costs: Costs
    machine: Machine
    fans: tuple[Fanout, ...]
    orders: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    formats: NDArray[np.int64]
    lists: Lists
    computes: NDArray[np.float64]
    accesses: NDArray[np.float64]

    @property
    def levels(self) -> int:
        return len(self.machine.capacity)


def _case(terms: CostTerms, formats: NDArray[np.int64]) -> _Case:
    sizes = tuple(int(size) for size in terms.rank_sizes)
    relevant = tuple(tuple(bool(x) for x in row) for row in terms.relevant)
    grid = build_grid(sizes, relevant)
    machine = build_machine(terms)
    orders, starts = node_orders(len(relevant))
    computes, accesses = build_computes(terms, formats)
    return _Case(
        grid=grid,
        points=build_points(sizes, relevant),
        costs=build_costs(terms, grid, formats),
        machine=machine,
        fans=tuple(build_fanout(sizes, axes, relevant) for axes in terms.fan_out),
        orders=orders,
        starts=starts,
        sizes=np.array(sizes, dtype=np.int64),
        formats=formats,
        lists=new_lists(machine.ports, len(relevant)),
        computes=computes,
        accesses=accesses,
    )


def exact_search(
    terms: CostTerms, objective: str = "edp", formats: NDArray[np.int64] | None = None
) -> SearchResult:
    """Find the best mapping of an operator over all tilings, placements and spatial trips.

    Args:
        terms: Structure of the cost, see `CostTerms`.
        objective: energy, latency, edp, or pareto (the whole energy-latency front).
        formats: Format id per (tensor, level); None = uncompressed.
    """
    begin = perf_counter()
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if formats is None:
        formats = np.zeros(terms.may_keep.shape, dtype=np.int64)
    case = _case(terms, formats)
    archive = new_archive(len(terms.relevant))
    _scan_all(case, OBJECTIVES[objective], archive)
    n = int(archive.count[0])
    energy, cycles = archive.energy[:n].copy(), archive.cycles[:n].copy()
    plans = [_plan(case, archive.info[i]) for i in range(n)]
    return SearchResult(
        mappings=build_mappings(plans),
        energy_pj=energy,
        latency_cycles=cycles,
        lower_bound=float((energy * cycles).min()) if n else np.inf,
        certified=True,
        visited=int(archive.count[1]),
        pruned=int(archive.count[2]),
        seconds=perf_counter() - begin,
    )


def _scan_all(case: _Case, mode: int, archive: Archive) -> None:
    tensors, ranks = case.grid.relevant.shape
    none = np.zeros((1, ranks), dtype=np.int64)
    alone = Fanout(none, np.ones(1), np.ones((1, tensors)), np.ones((1, 0, ranks), dtype=np.int64))
    outer = case.fans[0] if case.levels == 3 else alone
    inner = case.fans[-1]
    top = case.grid.count - 1
    for i0 in range(len(outer.used)):
        full = case.grid.div[np.arange(ranks), top, outer.index[i0]]
        share0 = outer.shared[i0]
        table = outer_table(case.points, case.costs, case.machine, share0)
        case.lists.keys[:] = -1
        case.lists.used[:2] = 0
        for i2 in range(len(inner.used)):
            around = Surroundings(case.grid.total, float(outer.used[i0]), share0, inner.shared[i2])
            setting = _setting(case, table, around, (full, float(inner.used[i2]), mode, (i0, i2)))
            _scan_one(case, table, around, setting, inner.index[i2], archive)


def _setting(
    case: _Case,
    table: OuterTable,
    around: Surroundings,
    choice: tuple[NDArray[np.int64], float, int, tuple[int, int]],
) -> Setting:
    full, used2, mode, tag = choice
    tensors = len(around.share0)
    below = np.zeros((tensors, 6))
    below[:, 2] = around.used
    below[:, 3] = case.costs.grows
    if case.levels == 3:
        made, active = case.accesses[:, 1, 0].T
        below[:, 4], below[:, 5] = made - active, active
    return Setting(
        full=full,
        below=below,
        share0=around.share0,
        share2=around.share2,
        least=least_outer(table),
        used=(around.used, used2),
        computes=case.computes,
        mode=mode,
        tag=tag,
    )


def _scan_one(
    case: _Case,
    table: OuterTable,
    around: Surroundings,
    setting: Setting,
    base: NDArray[np.int64],
    archive: Archive,
) -> None:
    leaves = innermost_placements(
        (case.grid, case.points, case.costs, case.machine),
        (case.orders, case.starts),
        base,
        setting.full,
    )
    coefficients = leaf_coefficients(case.costs, case.machine, leaves, around, case.accesses)
    scan(
        case.grid,
        table,
        case.machine,
        case.orders,
        case.starts,
        leaves,
        coefficients,
        case.fans[-2],
        setting,
        case.lists,
        archive,
    )


def _plan(case: _Case, info: NDArray[np.int64]) -> Plan:
    tensors = case.grid.relevant.shape[0]
    i0, i2, i1, leaf_row, outer_row = (int(x) for x in info[:5])
    whole = tuple((t, case.sizes) for t in range(tensors))
    leaf = _nodes(case, leaf_row, info[5 : 5 + tensors])
    picks = (i0, i1, i2)[3 - case.levels :]
    trips: list[tuple[tuple[int, NDArray[np.int64]], ...]] = []
    axis = 0
    for fan, pick in zip(case.fans, picks, strict=True):
        rows = fan.axis_trips[pick]
        trips.append(tuple((axis + k, row) for k, row in enumerate(rows)))
        axis += len(rows)
    nodes = [whole, leaf]
    if case.levels == 3:
        nodes.insert(1, _nodes(case, outer_row, info[5 + tensors :]))
    blocks = tuple(Block(n, t) for n, t in zip(nodes, trips, strict=True))
    return Plan(blocks, case.sizes, tensors, case.formats)


def _nodes(
    case: _Case, row: int, tiles: NDArray[np.int64]
) -> tuple[tuple[int, NDArray[np.int64]], ...]:
    out = []
    for t in case.orders[row]:
        if t < 0:
            break
        index = (tiles[t] // case.grid.stride) % case.grid.count
        extent = case.grid.size[np.arange(len(index)), index].astype(np.int64)
        out.append((int(t), extent))
    return tuple(out)
