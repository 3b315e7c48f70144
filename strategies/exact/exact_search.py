"""Exact search: the best mapping of one operator, certified, by enumeration with bounds.

`exact_search(terms, "edp")` covers every tiling into divisors, every spatial unrolling, every order
of the nodes of every level and every bypass, jointly with the formats offered per level. How it can
do so in milliseconds is in docs/exact_search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import MappingRules
from spaces.mappings.loop_nest import MappingBatch, concatenate
from strategies.exact.exact_case import (
    Case,
    Stage,
    build_case,
    describe_exclusion,
    has_single_reuse,
    stages_of,
)
from strategies.exact.exact_constraints import check_covered, constrained_terms, stationary_leaves
from strategies.exact.exact_even import outer_floors, pair_bounds, scan_even
from strategies.exact.exact_kernels import clear_lists
from strategies.exact.exact_leaves import (
    Leaves,
    all_runs,
    even_placements,
    innermost_placements,
    large_enough,
    longest_runs,
    undominated,
    undominated_heads,
)
from strategies.exact.exact_problem import Fanout, ideal_costs
from strategies.exact.exact_scan import (
    EDP,
    ENERGY,
    LATENCY,
    PARETO,
    Archive,
    Setting,
    new_archive,
    promising,
    scan,
)
from strategies.exact.exact_tables import (
    OuterTable,
    Surroundings,
    compulsory_cycles,
    leaf_coefficients,
    outer_table,
)
from strategies.exact.mapping_builder import Block, Plan, build_mappings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAPSPACES = ("uneven", "even", "uneven_runs")
"""Where tensors may be kept, see `exact_search`."""

OBJECTIVES = {"energy": ENERGY, "latency": LATENCY, "edp": EDP, "pareto": PARETO}


@dataclass(frozen=True)
class SearchResult:
    """What an exact search found.

    Attributes:
        mappings: The best mapping, or the energy-latency front by increasing latency; no designs
            when nothing fits.
        energy_pj, latency_cycles: Their costs, shape (n,).
        objective: energy, latency, edp or pareto.
        lower_bound: No mapping of the space has a smaller objective (of a front: energy x latency).
        certified: The lower bound is the value found; a front is complete.
        reason: What excludes every mapping; empty when there is one.
        visited, pruned: Joins of inner and outer placements looked at, and dropped by bound.
        seconds: Wall time.
        stages: What was enumerated and what cut it, stage by stage.
    """

    mappings: MappingBatch
    energy_pj: FloatArray
    latency_cycles: FloatArray
    objective: str
    lower_bound: float
    certified: bool
    reason: str
    visited: int
    pruned: int
    seconds: float
    stages: tuple[Stage, ...] = ()

    @property
    def values(self) -> FloatArray:
        """The objective of every mapping found, shape (n,)."""
        return objective_values(self.objective, self.energy_pj, self.latency_cycles)

    @property
    def mapping(self) -> MappingBatch | None:
        """The best mapping as a batch of one; None when nothing fits."""
        if not len(self.mappings):
            return None
        return self.mappings.take(np.array([int(self.values.argmin())]))

    @property
    def gap(self) -> float:
        """(value - lower bound) / value of the best mapping; 0 = certified optimum."""
        if not len(self.mappings):
            return 0.0 if self.reason else 1.0
        return max(0.0, 1.0 - self.lower_bound / float(self.values.min()))


@dataclass(frozen=True)
class _Space:
    """Which mappings count, see `exact_search`."""

    mapspace: str = "uneven"
    minimum_tile: IntArray | None = None
    rules: MappingRules | None = None


def objective_values(objective: str, energy_pj: FloatArray, cycles: FloatArray) -> FloatArray:
    """Energy, latency, or their product for `edp` and `pareto`."""
    if objective == "energy":
        return energy_pj
    return cycles if objective == "latency" else energy_pj * cycles


def exact_search(
    terms: CostTerms,
    objective: str = "edp",
    mapspace: str = "uneven",
    minimum_tile: IntArray | None = None,
    rules: MappingRules | None = None,
) -> SearchResult:
    """Find the best mapping of an operator, with the best of the formats offered per level.

    Args:
        terms: Structure of the cost; `format_choices` are the formats offered.
        objective: energy, latency, edp, or pareto (the whole energy-latency front).
        mapspace: "uneven" (every tensor at its own place, bypass where it is allowed) or "even"
            (every level keeps all tensors at one place); "uneven_runs" adds, under implicit
            stationarity, innermost tiles that stay over a run of loops outside other tensors'
            outer tiles: at most a little better, several times slower.
        minimum_tile: Least rank extents of the innermost level's tiles, shape (R,).
        rules: A dataflow's constraints, see `exact_constraints`.

    Raises:
        ValueError: For an unknown objective or mapspace, or hardware or a constraint that is not
            covered.
    """
    begin = perf_counter()
    if rules is not None:
        check_covered(rules)
        terms = constrained_terms(terms, rules)
        minimum_tile = rules.minimum_tile[-1] if minimum_tile is None else minimum_tile
    if mapspace not in MAPSPACES:
        raise ValueError(f"mapspace must be one of {', '.join(MAPSPACES)}, got {mapspace!r}")
    space = _Space(mapspace, minimum_tile, rules)
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    found = _search_once(terms, objective, space)
    if len(found.mappings) and not found.certified:
        found = _settle(terms, found, space)
    return replace(found, seconds=perf_counter() - begin)


def _search_once(terms: CostTerms, objective: str, space: _Space) -> SearchResult:
    """One search; certified only if no tile had to be priced by a mixture of formats."""
    case = build_case(terms, space.rules)
    even = space.mapspace == "even"
    if even and (case.levels != 3 or not has_single_reuse(case.grid)):
        raise ValueError("mapspace: the even one covers matrix products on three levels only")
    archive = new_archive(case.tensors)
    _scan_all(case, OBJECTIVES[objective], space, archive)
    n = int(archive.tally[0])
    plans, tight = [], True
    for row in archive.info[:n]:
        plan, settled = _plan(case, row, even)
        plans.append(plan)
        tight = tight and settled
    energy, cycles = archive.energy[:n].copy(), archive.cycles[:n].copy()
    values = objective_values(objective, energy, cycles)
    return SearchResult(
        mappings=build_mappings(plans, (case.tensors, case.levels)),
        energy_pj=energy,
        latency_cycles=cycles,
        objective=objective,
        lower_bound=float(values.min()) if n else np.inf,
        certified=n > 0 and tight,
        reason="" if n else describe_exclusion(case, terms),
        visited=int(archive.tally[1]),
        pruned=int(archive.tally[2]),
        seconds=0.0,
        stages=stages_of(case, terms, archive.tally),
    )


def _settle(terms: CostTerms, relaxed: SearchResult, space: _Space) -> SearchResult:
    """Search again under each set of formats that the relaxed search took, one per copy.

    The relaxed value is the lower bound; what is found here has true costs.
    """
    found: list[SearchResult] = []
    for ids in np.unique(relaxed.mappings.format_id, axis=0):
        fixed = tuple(tuple((int(code),) for code in row) for row in ids)
        once = _search_once(replace(terms, format_choices=fixed), relaxed.objective, space)
        if len(once.mappings):
            found.append(once)
    if not found:
        return relaxed
    merged = merge_results(found)
    best = float(merged.values.min())
    closed = relaxed.objective != "pareto" and best <= relaxed.lower_bound * (1.0 + 1e-9)
    return replace(
        merged,
        lower_bound=relaxed.lower_bound,
        certified=closed,
        visited=merged.visited + relaxed.visited,
        pruned=merged.pruned + relaxed.pruned,
    )


def merge_results(found: Sequence[SearchResult]) -> SearchResult:
    """The best, or the joint front, of several searches for the same objective."""
    energy = np.concatenate([each.energy_pj for each in found])
    cycles = np.concatenate([each.latency_cycles for each in found])
    objective = found[0].objective
    values = objective_values(objective, energy, cycles)
    keep = np.array([int(values.argmin())])
    if objective == "pareto":
        order = np.lexsort((energy, cycles))
        least = np.minimum.accumulate(energy[order])
        keep = order[np.concatenate([[True], energy[order][1:] < least[:-1]])]
    return replace(
        found[0],
        mappings=concatenate([each.mappings for each in found]).take(keep),
        energy_pj=energy[keep],
        latency_cycles=cycles[keep],
        lower_bound=min(each.lower_bound for each in found),
        visited=sum(each.visited for each in found),
        pruned=sum(each.pruned for each in found),
    )


@dataclass(frozen=True)
class _Outer:
    """Level 1 under one choice of the fan-out above it: true and ideal prices, and their lists."""

    table: OuterTable
    ideal: OuterTable
    around: Surroundings


def _scan_all(case: Case, mode: int, space: _Space, archive: Archive) -> None:
    ranks = len(case.sizes)
    none = np.zeros((1, ranks), dtype=np.int64)
    alone = Fanout(
        none, np.ones(1), np.ones((1, case.tensors)), np.ones((1, 0, ranks), dtype=np.int64)
    )
    outer = case.fans[0] if case.levels == 3 else alone
    inner = case.fans[-1]
    top = case.grid.number - 1
    for i0 in range(len(outer.used)):
        full = case.grid.div[np.arange(ranks), top, outer.place[i0]]
        share0 = outer.shared[i0]
        table = outer_table(case.points, case.costs, case.machine, share0)
        ideal = table
        if case.costs.grows.any():
            ideal = outer_table(case.points, ideal_costs(case.costs), case.machine, share0)
        clear_lists(case.lists)
        clear_lists(case.ideal_lists)
        for i2 in range(len(inner.used)):
            around = Surroundings(case.grid.total, float(outer.used[i0]), share0, inner.shared[i2])
            setting = _setting(case, ideal, around, (full, float(inner.used[i2]), mode, (i0, i2)))
            _scan_one(
                case, _Outer(table, ideal, around), setting, (inner.place[i2], space), archive
            )


def _setting(
    case: Case,
    table: OuterTable,
    around: Surroundings,
    choice: tuple[IntArray, float, int, tuple[int, int]],
) -> Setting:
    full, used2, mode, tag = choice
    below = np.zeros((case.tensors, 4))
    below[:, 2] = around.used
    below[:, 3] = case.costs.grows
    return Setting(
        full=full,
        below=below,
        share0=around.share0,
        share2=around.share2,
        least=table.least,
        floor=compulsory_cycles(case.costs, case.machine),
        used=(around.used, used2),
        computes=case.computes,
        mode=mode,
        tag=tag,
    )


def _scan_one(
    case: Case,
    outer: _Outer,
    setting: Setting,
    inside: tuple[IntArray, _Space],
    archive: Archive,
) -> None:
    base, space = inside
    problem = (case.grid, case.points, case.costs, case.machine)
    if space.mapspace == "even":
        leaves = even_placements(problem, len(case.orders) - 1, base, setting.full)
    else:
        leaves = innermost_placements(problem, (case.orders, case.starts), base, setting.full)
    if space.minimum_tile is not None:
        leaves = large_enough(leaves, case.grid, space.minimum_tile)
    if space.rules is not None:
        leaves = stationary_leaves(leaves, case.orders, space.rules)
    if not len(leaves.mask):
        return
    if space.mapspace == "even":
        _join_even(case, outer, setting, leaves, archive)
        return
    best = undominated(leaves, case.grid, case.costs)
    case.counts["fit"] += len(leaves.mask)
    case.counts["beaten"] += len(leaves.mask) - len(best.mask)
    _join(case, outer, setting, best, archive)
    if case.runs and space.mapspace == "uneven_runs":
        best = undominated_heads(leaves, case.grid, case.costs, case.orders)
        longest = longest_runs(best, case.grid, case.orders, setting.full)
        coefficients = leaf_coefficients(case.costs, case.machine, longest, outer.around)
        good = promising(
            case.grid, case.machine, longest, coefficients, case.fans[-2], setting, archive
        )
        longer = all_runs(longest, case.grid, np.flatnonzero(good))
        if len(longer.mask):
            _join(case, outer, setting, longer, archive)


def _join_even(
    case: Case, outer: _Outer, setting: Setting, leaves: Leaves, archive: Archive
) -> None:
    whole = leaf_coefficients(case.costs, case.machine, leaves, outer.around)
    idle = leaves._replace(words=np.zeros_like(leaves.words))
    bare = leaf_coefficients(case.costs, case.machine, idle, outer.around)
    pair = np.stack([bare[:, :, 1], whole[:, :, 1]], axis=2)
    made, active = setting.computes[-1, -1, 2:]
    parts = pair[:, :, :, 0] + (made - active) * pair[:, :, :, 1] + active * pair[:, :, :, 2]
    parts = np.ascontiguousarray(parts)
    fan, floors = case.fans[-2], np.empty(case.points.own.shape[1])
    below = setting.below.copy()
    below[:, 3] = 0.0
    outer_floors(case.grid, outer.ideal, case.machine, case.implicit, below, setting.full, floors)
    bounds = np.empty((len(fan.used), len(leaves.mask), 2))
    pair_bounds(case.grid, case.machine, leaves, parts, fan, setting, case.implicit, floors, bounds)
    values = _bound_values(setting.mode, bounds).ravel()
    pairs = np.flatnonzero(np.isfinite(values))
    scan_even(
        case.grid,
        outer.table,
        case.machine,
        leaves,
        parts,
        fan,
        setting,
        case.implicit,
        pairs[np.argsort(values[pairs], kind="stable")],
        bounds,
        archive,
    )


def _bound_values(mode: int, bounds: FloatArray) -> FloatArray:
    energy, cycles = bounds[..., 0], bounds[..., 1]
    if mode == ENERGY:
        return np.asarray(energy)
    return np.where(np.isfinite(energy), cycles, np.inf) if mode == LATENCY else energy * cycles


def _join(case: Case, outer: _Outer, setting: Setting, leaves: Leaves, archive: Archive) -> None:
    coefficients = leaf_coefficients(case.costs, case.machine, leaves, outer.around)
    scan(
        case.grid,
        (outer.table, case.lists),
        (outer.ideal, case.ideal_lists),
        case.machine,
        case.orders,
        case.starts,
        leaves,
        coefficients,
        case.fans[-2],
        setting,
        archive,
    )


def _plan(case: Case, info: IntArray, even: bool) -> tuple[Plan, bool]:
    """The plan of an archive entry, and whether its formats are best in every respect."""
    i0, i2, i1, leaf_row, outer_row = (int(x) for x in info[:5])
    whole = tuple((t, case.sizes) for t in range(case.tensors))
    innermost = (int(info[5]),) * case.levels
    if even:
        innermost = (int(info[4]), int(info[5]))
        leaf_row = outer_row = len(case.orders) - 1
    nodes = [whole, _nodes(case, leaf_row, info[6 : 6 + case.tensors])]
    if case.levels == 3:
        nodes.insert(1, _outer_nodes(case, outer_row, info[6 + case.tensors :]))
    picks = (i0, i1, i2)[3 - case.levels :]
    trips: list[tuple[tuple[int, IntArray], ...]] = []
    axis = 0
    for fan, pick in zip(case.fans, picks, strict=True):
        rows = fan.axis_trips[pick]
        trips.append(tuple((axis + k, row) for k, row in enumerate(rows)))
        axis += len(rows)
    formats, tight = _formats(case, nodes)
    blocks = tuple(Block(n, t) for n, t in zip(nodes, trips, strict=True))
    return Plan(blocks, case.sizes, case.tensors, formats, innermost), tight


def _formats(case: Case, nodes: list[tuple[tuple[int, IntArray], ...]]) -> tuple[IntArray, bool]:
    """Format ids (T, L) of the tiles that these nodes store, and whether all are tight."""
    formats = np.zeros((case.tensors, case.levels), dtype=np.int64)
    tight = True
    inner: dict[int, IntArray] = {}
    for level in range(case.levels - 1, -1, -1):
        for t, extent in nodes[level]:
            use = int(t not in inner and t != case.machine.output)
            index = _sub_index(case, t, inner.get(t, extent))
            formats[t, level] = case.formats.chosen[use, t, level, index]
            tight = tight and bool(case.formats.tight[use, t, level, index])
            inner[t] = extent
    return formats, tight


def _sub_index(case: Case, tensor: int, extent: IntArray) -> int:
    rows = [
        int(np.searchsorted(case.grid.size[r, : case.grid.number[r]], extent[r]))
        for r in range(len(extent))
    ]
    return int(case.grid.sub[tensor] @ np.array(rows))


def _outer_nodes(case: Case, row: int, tiles: IntArray) -> tuple[tuple[int, IntArray], ...]:
    """Nodes of level 1: those of the order, then the ones that stand below a run."""
    ordered = _nodes(case, row, tiles)
    named = {t for t, _ in ordered}
    below = [t for t in range(case.tensors) if tiles[t] >= 0 and t not in named]
    return ordered + tuple((t, _extent(case, tiles[t])) for t in below)


def _extent(case: Case, tile: int) -> IntArray:
    index = (tile // case.grid.stride) % case.grid.number
    return np.asarray(case.grid.size[np.arange(len(index)), index], dtype=np.int64)


def _nodes(case: Case, row: int, tiles: IntArray) -> tuple[tuple[int, IntArray], ...]:
    out = []
    for t in case.orders[row]:
        if t < 0:
            break
        out.append((int(t), _extent(case, tiles[t])))
    return tuple(out)
