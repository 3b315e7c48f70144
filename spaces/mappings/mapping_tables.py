"""The tables behind a mapping space: what may be chosen, and where it stands in the nest.

Choices are kept in an intermediate form between columns and nests, `MappingChoices`: numbers of
rows in these tables. Decode, encode, counting and enumeration all speak it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import ChoiceForest, IntArray, RowIndex, row_index
from spaces.hardware import Hardware
from spaces.mappings.dataflow import MappingRules
from spaces.mappings.loop_order import BlockOrders, block_orders
from spaces.mappings.placement import PlacementTable
from spaces.mappings.tiling import (
    AxisRule,
    SpatialTable,
    TemporalChoices,
    TileLimits,
    padded_sizes,
    spatial_table,
    temporal_choices,
)
from spaces.workloads.workload import Operator


@dataclass(frozen=True)
class MappingChoices:
    """n mappings as numbers of table rows; T tensors, L levels, R ranks that are ever > 1.

    Attributes:
        keep: Shape (n, T, L).
        unrolling: Row of the spatial table, shape (n,).
        tiling: Row of each rank's temporal table, shape (n, R).
        order: Order number per block, shape (n, L).
        offset: Existing loops of the level's block above the tensor, shape (n, T, L).
        format_id: Shape (n, T, L).
    """

    keep: NDArray[np.bool_]
    unrolling: IntArray
    tiling: IntArray
    order: IntArray
    offset: IntArray
    format_id: IntArray

    def __len__(self) -> int:
        return len(self.unrolling)


@dataclass(frozen=True)
class SlotLayout:
    """Where the loops stand in a nest of S slots.

    Attributes:
        block_start: First slot of each level's temporal block, shape (L,).
        spatial: (slot, axis, rank number) of each spatial slot, outermost first.
        slots: S.
    """

    block_start: tuple[int, ...]
    spatial: tuple[tuple[int, int, int], ...]
    slots: int


@dataclass(frozen=True)
class MappingTables:
    """Everything a mapping space looks up.

    Attributes:
        ranks: Index in the operator of each rank whose padded size may exceed 1, shape (R,).
        axes: The fan-out axes; their ranks are numbers into `ranks`.
        spatial: Joint padded sizes and unrollings, and how to walk and find them.
        temporal: Tilings per rank.
        orders: Loop orders per level.
        placement: Keep, position and format choices.
        active_sets: Sets of levels that may keep something together.
        active_number: Number of the set with these level bits, -1 if impossible, shape (2^L,).
        layout: Slots of the nest.
    """

    ranks: IntArray
    axes: tuple[AxisRule, ...]
    spatial: SpatialTable
    spatial_forest: ChoiceForest
    spatial_index: RowIndex
    temporal: tuple[TemporalChoices, ...]
    orders: tuple[BlockOrders, ...]
    placement: PlacementTable
    active_sets: tuple[tuple[int, ...], ...]
    active_number: IntArray
    layout: SlotLayout

    def roots(self, keep: NDArray[np.bool_], unrolling: IntArray) -> IntArray:
        """Root of each rank's temporal forest, shape (n, R)."""
        levels = np.arange(keep.shape[2])
        number = self.active_number[(keep.any(axis=1) << levels).sum(axis=1)]
        cases = np.stack([choices.case_of[unrolling] for choices in self.temporal], axis=1)
        return np.asarray(cases * len(self.active_sets) + number[:, None])

    def temporal_trips(self, tiling: IntArray) -> IntArray:
        """Trip counts of the temporal loops, shape (n, R, L)."""
        per_rank = [choices.trips[tiling[:, r]] for r, choices in enumerate(self.temporal)]
        return np.stack(per_rank, axis=1)

    def settle(self, choices: MappingChoices) -> tuple[MappingChoices, IntArray, IntArray]:
        """The canonical form, the trips (n, R, L), and the masks of existing loops (n, L)."""
        trips = self.temporal_trips(choices.tiling)
        exists = trips > 1
        bits = np.int64(1) << np.arange(trips.shape[1])
        masks = (exists * bits[None, :, None]).sum(axis=1)
        order = np.stack(
            [
                block.canonical[masks[:, level], choices.order[:, level]]
                for level, block in enumerate(self.orders)
            ],
            axis=1,
        )
        offset = self.placement.settled_offsets(choices.offset, choices.keep, exists.sum(axis=1))
        format_id = self.placement.settled_formats(choices.format_id, choices.keep)
        settled = MappingChoices(
            choices.keep, choices.unrolling, choices.tiling, order, offset, format_id
        )
        return settled, trips, masks


def mapping_tables(
    operator: Operator,
    hardware: Hardware,
    rules: MappingRules,
    placement: PlacementTable,
    maximum_padding: float,
) -> MappingTables:
    """Build the tables of one operator on one hardware.

    Raises:
        ValueError: If the rules leave no mapping, or too many to list.
    """
    sizes = _size_options(operator, hardware, maximum_padding)
    ranks = np.array([r for r, option in enumerate(sizes) if option[-1] > 1] or [0])
    axes = _axis_rules(hardware, rules, ranks)
    active_sets = placement.active_sets()
    table = spatial_table([sizes[r] for r in ranks], axes, rules.minimum_utilisation)
    table, temporal = _feasible(table, axes, active_sets, _tile_limits(rules, ranks))
    orders = tuple(block_orders(rule[np.ix_(ranks, ranks)]) for rule in rules.stands_outside)
    active_number = np.full(2 ** len(hardware.levels), -1, dtype=np.int64)
    for number, active in enumerate(active_sets):
        active_number[sum(1 << level for level in active)] = number
    return MappingTables(
        ranks=ranks,
        axes=axes,
        spatial=table,
        spatial_forest=table.forest(),
        spatial_index=row_index(table.signature()),
        temporal=temporal,
        orders=orders,
        placement=placement,
        active_sets=tuple(active_sets),
        active_number=active_number,
        layout=_layout(len(hardware.levels), len(ranks), axes),
    )


def _size_options(
    operator: Operator, hardware: Hardware, maximum_padding: float
) -> list[tuple[int, ...]]:
    if not 0 <= maximum_padding <= 1:
        raise ValueError(f"maximum_padding: must be in 0..1, got {maximum_padding}")
    fan_outs = [size for _, _, size in hardware.axes]
    multiples = [*fan_outs, prod(fan_outs)]
    return [padded_sizes(size, multiples, maximum_padding) for size in operator.ranks.values()]


def _axis_rules(hardware: Hardware, rules: MappingRules, ranks: IntArray) -> tuple[AxisRule, ...]:
    return tuple(
        AxisRule(
            name=f"{hardware.levels[level].name}.{name}",
            level=level,
            size=size,
            ranks=tuple(np.flatnonzero(rules.spatial_allowed[a][ranks]).tolist()),
        )
        for a, (level, name, size) in enumerate(hardware.axes)
    )


def _tile_limits(rules: MappingRules, ranks: IntArray) -> list[TileLimits]:
    return [TileLimits(rules.maximum_trip[:, r], rules.minimum_tile[:, r]) for r in ranks]


def _feasible(
    table: SpatialTable,
    axes: Sequence[AxisRule],
    active_sets: Sequence[tuple[int, ...]],
    limits: Sequence[TileLimits],
) -> tuple[SpatialTable, tuple[TemporalChoices, ...]]:
    """The unrollings that leave every rank a tiling within its limits, and those tilings."""
    levels = [axis.level for axis in axes]
    while True:
        found = [
            temporal_choices(rank, table, levels, active_sets, limit)
            for rank, limit in enumerate(limits)
        ]
        good = np.logical_and.reduce([possible for _, possible in found])
        if good.all():
            return table, tuple(choices for choices, _ in found)
        if not good.any():
            raise ValueError(
                "dataflow: no mapping satisfies maximum_trip and minimum_tile together"
            )
        table = table.take(good)


def _layout(levels: int, ranks: int, axes: Sequence[AxisRule]) -> SlotLayout:
    """Per level: its block of temporal loops, then a slot per axis below it and rank allowed."""
    block_start, spatial, slot = [], [], 0
    for level in range(levels):
        block_start.append(slot)
        slot += ranks
        for number, axis in enumerate(axes):
            for rank in axis.ranks if axis.level == level else ():
                spatial.append((slot, number, rank))
                slot += 1
    return SlotLayout(tuple(block_start), tuple(spatial), slot)
