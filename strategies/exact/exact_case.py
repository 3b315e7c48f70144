"""The tables of one exact search, put together from cost terms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import MappingRules
from strategies.exact.exact_constraints import allowed_ranks, busy_fan
from strategies.exact.exact_kernels import Lists, new_lists
from strategies.exact.exact_problem import (
    Costs,
    Fanout,
    FormatTable,
    Grid,
    IntArray,
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

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """What one stage of a search did.

    Attributes:
        name: The stage.
        entered: Candidates that came in.
        cut: Of these, how many were dropped without being completed.
        bound: What cut them.
    """

    name: str
    entered: int
    cut: int
    bound: str


@dataclass(frozen=True)
class Case:
    """One operator on one hardware with the formats offered.

    Attributes:
        grid, points, costs, machine, fans: See `exact_problem`.
        formats: Which format each stored tile takes.
        orders, starts: Node orders, and where each keep mask's begin.
        sizes: Rank sizes, shape (R,).
        lists, ideal_lists: Stores of the outer level's Pareto lists, see `exact_scan.scan`.
        computes: See `build_computes`.
        implicit: Whether a tile that does not change is not fetched again.
        counts: Innermost placements that fit, and those of them that are beaten.
        runs: Whether innermost tiles may stay over runs of outer loops (implicit stationarity).
    """

    grid: Grid
    points: Points
    costs: Costs
    machine: Machine
    fans: tuple[Fanout, ...]
    formats: FormatTable
    orders: IntArray
    starts: IntArray
    sizes: IntArray
    lists: Lists
    ideal_lists: Lists
    computes: FloatArray
    implicit: bool
    runs: bool
    counts: dict[str, int] = field(default_factory=lambda: {"fit": 0, "beaten": 0})

    @property
    def levels(self) -> int:
        """Number of storage levels."""
        return len(self.machine.capacity)

    @property
    def tensors(self) -> int:
        """Number of tensors."""
        return len(self.costs.whole)


def build_case(terms: CostTerms, rules: MappingRules | None = None) -> Case:
    """The tables of one search, under a dataflow's constraints where given.

    Raises:
        ValueError: For hardware of fewer than two or more than three storage levels, and for
            skipping between levels.
    """
    levels = len(terms.capacity_bits)
    if levels not in (2, 3):
        raise ValueError(f"hardware.levels: the exact search takes 2 or 3 levels, got {levels}")
    if terms.transfer_fraction is not None:
        raise ValueError(
            "skipping.rules: the exact search takes rules at the innermost level only, "
            "got one between storage levels"
        )
    sizes = tuple(int(size) for size in terms.rank_sizes)
    relevant = tuple(tuple(bool(x) for x in row) for row in terms.relevant)
    grid = build_grid(sizes, relevant)
    machine = build_machine(terms)
    orders, starts = node_orders(len(relevant))
    computes, accesses = build_computes(terms)
    costs, formats = build_costs(terms, grid, terms.format_choices, accesses)
    return Case(
        grid=grid,
        points=build_points(sizes, relevant),
        costs=costs,
        machine=machine,
        fans=_fans(terms, rules, sizes, relevant),
        formats=formats,
        orders=orders,
        starts=starts,
        sizes=np.array(sizes, dtype=np.int64),
        lists=new_lists(machine.ports, len(relevant)),
        ideal_lists=new_lists(machine.ports, len(relevant)),
        computes=computes,
        implicit=terms.stationarity == "implicit",
        runs=levels == 3 and terms.stationarity == "implicit" and has_single_reuse(grid),
    )


def _fans(
    terms: CostTerms,
    rules: MappingRules | None,
    sizes: tuple[int, ...],
    relevant: tuple[tuple[bool, ...], ...],
) -> tuple[Fanout, ...]:
    if rules is None:
        return tuple(build_fanout(sizes, axes, relevant) for axes in terms.fan_out)
    allowed = allowed_ranks(terms.fan_out, rules)
    return tuple(
        busy_fan(build_fanout(sizes, axes, relevant, ranks), axes, rules.minimum_utilisation)
        for axes, ranks in zip(terms.fan_out, allowed, strict=True)
    )


def stages_of(case: Case, terms: CostTerms, tally: IntArray) -> tuple[Stage, ...]:
    """The stages of a finished search; `tally` as in `Archive`."""
    orders = int(np.diff(case.starts) @ case.machine.masks[1:].sum(axis=0))
    listed = len(case.orders) * (case.levels - 1)
    offered = sum(len(ids) for row in terms.format_choices for ids in row)
    tiles = sum(len(ids) > 0 for row in terms.format_choices for ids in row)
    walked, stopped = (int(n) for n in case.lists.used[2:] + case.ideal_lists.used[2:])
    return (
        Stage("loop orders", listed, listed - orders, "placement rules"),
        Stage("tilings", case.counts["fit"], case.counts["beaten"], "capacity and dominance"),
        Stage("formats", offered, offered - tiles, "best format of each tile"),
        Stage("joint", int(tally[1]), int(tally[2]), "compulsory traffic"),
        Stage("refinement", walked, stopped, "front of the outer placements"),
    )


def has_single_reuse(grid: Grid) -> bool:
    """True when every tensor has one irrelevant rank, and no two the same (matrix products)."""
    irrelevant = ~grid.relevant
    return bool((irrelevant.sum(axis=1) == 1).all() and (irrelevant.sum(axis=0) <= 1).all())


def describe_exclusion(case: Case, terms: CostTerms) -> str:
    """Which rule excludes every mapping, and by how much.

    With tiles of one element every fan-out fits, so only capacity and placement can exclude all.
    """
    for level in range(1, case.levels):
        masks = np.flatnonzero(case.machine.masks[level])
        if not len(masks):
            broken = np.flatnonzero(terms.must_keep[:, level] & ~terms.may_keep[:, level])
            return f"level {level} must keep tensors {broken.tolist()} but may not"
        unit = case.costs.elements[:, 0] * case.costs.own_bits[:, level, 0]
        need = min(float(sum(unit[t] for t in range(case.tensors) if m >> t & 1)) for m in masks)
        room = float(case.machine.capacity[level])
        if need > room:
            return (
                f"capacity of level {level}: the smallest tiles it must keep take {need:.0f} bits, "
                f"it has {room:.0f} ({need / room - 1:.0%} over)"
            )
    return "tiles of the levels exclude each other: no joint tiling fits every capacity"
