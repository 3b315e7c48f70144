"""The tables of one exact search, put together from cost terms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import MappingRules
from strategies.exact.constraints import allowed_ranks, busy_fan
from strategies.exact.fanouts import Fanout, build_fanout
from strategies.exact.grid import (
    FloatArray,
    Grid,
    IntArray,
    Points,
    build_grid,
    build_points,
    node_orders,
)
from strategies.exact.machine import Machine, assumed_packed, build_computes, build_machine
from strategies.exact.prices import Costs, FormatTable, build_costs
from strategies.exact.tables import compulsory_costs

LEVELS = (2, 3, 4)
"""Numbers of storage levels covered."""


@dataclass(frozen=True)
class Case:
    """One operator on one hardware with the formats offered.

    Attributes:
        grid, points, costs, machine, fans: See the modules that define them.
        formats: Which format each stored tile takes.
        assumed_packed: See `machine.assumed_packed`, shape (T, L).
        one_format: Tensors that have one format on all levels, shape (T,).
        orders, starts: Node orders, and where each keep mask's begin.
        sizes: Rank sizes, padding included, shape (R,).
        computes: See `build_computes`.
        compulsory: Energy of level 0 at least [pJ], and cycles that its ports are busy at least.
        implicit: Whether a tile that does not change is not fetched again.
        counts: Innermost placements that fit, those of them that are beaten, outer placements
            walked, and those stopped by the front.
    """

    grid: Grid
    points: Points
    costs: Costs
    machine: Machine
    fans: tuple[Fanout, ...]
    formats: FormatTable
    assumed_packed: NDArray[np.bool_]
    one_format: NDArray[np.bool_]
    orders: IntArray
    starts: IntArray
    sizes: IntArray
    computes: FloatArray
    compulsory: tuple[float, float]
    implicit: bool
    counts: dict[str, int] = field(
        default_factory=lambda: {"fit": 0, "beaten": 0, "walked": 0, "stopped": 0}
    )

    @property
    def levels(self) -> int:
        """Number of storage levels."""
        return len(self.machine.capacity)

    @property
    def joined(self) -> Fanout:
        """The fan-out at which inner and outer placements meet: below level 1, of two levels 0."""
        return self.fans[1 if self.levels > 2 else 0]

    @property
    def tensors(self) -> int:
        """Number of tensors."""
        return len(self.costs.whole)


def build_case(terms: CostTerms, sizes: tuple[int, ...], rules: MappingRules | None = None) -> Case:
    """The tables of one search, with ranks padded to these sizes, under a dataflow's constraints.

    Raises:
        ValueError: For hardware of fewer than two or more than four storage levels, and for
            skipping between levels.
    """
    levels = len(terms.capacity_bits)
    if levels not in LEVELS:
        raise ValueError(f"hardware.levels: the exact search takes 2 to 4 levels, got {levels}")
    if terms.transfer_fraction is not None:
        raise ValueError(
            "skipping.rules: the exact search takes rules at the innermost level only, "
            "got one between storage levels"
        )
    relevant = tuple(tuple(bool(x) for x in row) for row in terms.relevant)
    grid = build_grid(sizes, relevant)
    machine = build_machine(terms)
    orders, starts = node_orders(len(relevant))
    computes, accesses = build_computes(terms, machine.masks)
    costs, formats = build_costs(terms, sizes, accesses)
    return Case(
        grid=grid,
        points=build_points(sizes, relevant),
        costs=costs,
        machine=machine,
        fans=_fans(terms, rules, sizes, relevant),
        formats=formats,
        assumed_packed=assumed_packed(terms),
        one_format=terms.one_format,
        orders=orders,
        starts=starts,
        sizes=np.array(sizes, dtype=np.int64),
        computes=computes,
        compulsory=compulsory_costs(costs, machine, computes),
        implicit=terms.stationarity == "implicit",
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


def has_single_reuse(grid: Grid) -> bool:
    """True when every tensor has one irrelevant rank, and no two the same (matrix products)."""
    irrelevant = ~grid.relevant
    return bool((irrelevant.sum(axis=1) == 1).all() and (irrelevant.sum(axis=0) <= 1).all())
