"""The space of mappings of one operator on one hardware.

Tilings (perfect and padded), spatial unrolling with several ranks sharing an axis, loop orders,
placement (even or uneven), bypass and formats per tensor and level, under the constraints of a
dataflow. All of it holds by construction: every in-range point decodes to a mapping whose trips
multiply to the (padded) sizes, that exceeds no axis, and that obeys the dataflow. Capacity is the
evaluator's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from spaces.choice_forest import IntArray
from spaces.hardware import Hardware
from spaces.mappings.dataflow import FREE, Dataflow, mapping_rules
from spaces.mappings.loop_nest import MappingBatch, compacted, concatenate
from spaces.mappings.mapping_count import count_mappings, list_mappings
from spaces.mappings.mapping_nests import choices_of, lowered, nests
from spaces.mappings.mapping_tables import MappingChoices, MappingTables, mapping_tables
from spaces.mappings.nest_text import describe_mapping, nest_items, read_nest_items
from spaces.mappings.placement import (
    UNCOMPRESSED_ONLY,
    UNEVEN,
    FormatOffer,
    format_offer,
    placement_table,
)
from spaces.parameters import checked_columns, sample_column
from spaces.space import Columns
from spaces.validation import check_choice, check_keys
from spaces.workloads.workload import Operator, Workload

CHUNK = 8192
"""Designs decoded at once, so that intermediate arrays stay in the cache."""


@dataclass(frozen=True)
class MappingFreedom:
    """Which decisions of a mapping are free.

    Attributes:
        placement: "uneven" (each tensor at its own position in a level's block) or "even".
        bypass: Whether levels may pass tensors by; otherwise each tensor is kept wherever it may.
        maximum_padding: A rank may be padded to a friendlier size by at most this fraction, 0..1.
    """

    placement: str = UNEVEN
    bypass: bool = True
    maximum_padding: float = 0.15


ALL_FREE = MappingFreedom()
"""Uneven placement, free bypass, padding up to 15 %."""


@dataclass(frozen=True)
class MappingSpace:
    """Mappings of one operator on one hardware; its designs are a `MappingBatch`.

    Parameters, where there is a choice (names as in the hardware and the operator)::

        keep.W.GLB     whether GLB keeps W               size.N        padded size, by number
        unroll.GLB.X   ranks over the fan-out axis       tile.K.2      where K's twos go
        order.GLB      loop order of GLB's block         place.W.GLB   loops of it above W
        format.W.GLB   number in W's format table

    Unrollings are listed. Where there are too many
    (`spaces.mappings.tiling.MAXIMUM_SPATIAL_CHOICES`), those that leave most lanes idle are left
    out; `least_fill` says up to which fraction.

    Attributes:
        operator: The einsum.
        hardware: Levels and fan-outs.
        dataflow: Constraints.
        formats: Formats offered per tensor and level.
        freedom: Which decisions are free.
    """

    operator: Operator
    hardware: Hardware
    dataflow: Dataflow = FREE
    formats: FormatOffer = UNCOMPRESSED_ONLY
    freedom: MappingFreedom = ALL_FREE

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables, which are quick to build again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def tables(self) -> MappingTables:
        """What the parameters choose from.

        Raises:
            ValueError: If the constraints name what does not exist or leave no mapping.
        """
        rules = mapping_rules(self.dataflow, self.operator, self.hardware)
        freedom = (self.freedom.placement, self.freedom.bypass)
        placement = placement_table(rules, self.operator, self.hardware, self.formats, freedom)
        padding = self.freedom.maximum_padding
        return mapping_tables(self.operator, self.hardware, rules, placement, padding)

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """Name -> distribution of every decision with more than one outcome."""
        found: dict[str, BaseDistribution] = {}
        for t, level in self.tables.placement.optional:
            found[self._at("keep", t, level)] = CategoricalDistribution((False, True))
        for name, width in self._ordinal_widths().items():
            if width > 1:
                found[name] = IntDistribution(0, width - 1)
        for (t, level), ids in self.tables.placement.formats.items():
            if len(ids) > 1:
                choices = tuple(int(number) for number in ids)
                found[self._at("format", t, level)] = CategoricalDistribution(choices)
        return found or {"unroll": IntDistribution(0, 0)}

    @property
    def least_fill(self) -> float:
        """Fraction of the fan-out lanes that every mapping uses, 0..1, or the best reachable."""
        return self.tables.spatial.least_fill

    @cached_property
    def size(self) -> int:
        """Number of distinct mappings; a loop of trip count 1 makes no difference."""
        return count_mappings(self.tables)

    def decode(self, columns: Columns) -> MappingBatch:
        """The mappings of these points, in canonical form.

        Raises:
            ValueError: If a column is missing, unknown or out of range.
        """
        checked = checked_columns(self.parameters, columns)
        n = len(next(iter(checked.values())))
        parts = []
        for start in range(0, max(n, 1), CHUNK):
            piece = {name: column[start : start + CHUNK] for name, column in checked.items()}
            parts.append(nests(self._choices(piece), self.tables))
        return concatenate(parts)

    def encode(self, designs: MappingBatch) -> Columns:
        """Points that decode to these mappings.

        Raises:
            ValueError: If a mapping is not in this space.
        """
        choices, _, _ = self.tables.settle(choices_of(designs, self.tables))
        again, wanted = compacted(nests(choices, self.tables)), compacted(designs)
        same = np.ones(len(designs), dtype=bool)
        both = concatenate([again, wanted])
        for array in (both.loop_rank, both.loop_trip, both.loop_kind, both.keep_at, both.format_id):
            left, right = np.split(array.reshape(2 * len(designs), -1), 2)
            same &= (left == right).all(axis=1)
        if not same.all():
            index = int(np.argmin(same))
            text = "; ".join(nest_items(self.operator, self.hardware, designs, index))
            raise ValueError(f"mapping {index} is not in this space: {text}")
        return self._columns(choices)

    def approximate(self, designs: MappingBatch) -> Columns:
        """Points near mappings that the space may lack: two for each, the first n as they stand.

        A level's block loops once over a rank here. Loops of one rank above and below a tile of
        the block are joined at the outermost; the second n points first move tiles inwards over
        loops that do not index them, which implicit stationarity makes free.
        """
        both = concatenate([designs, lowered(designs, self.operator.relevance)])
        choices, _, _ = self.tables.settle(choices_of(both, self.tables))
        return self._columns(choices)

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n points, each parameter uniformly."""
        return {name: sample_column(dist, n, rng) for name, dist in self.parameters.items()}

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Yield every distinct mapping once, in batches of at most `batch`."""
        for choices in list_mappings(self.tables, batch):
            yield self._columns(choices)

    def describe(self, designs: MappingBatch, index: int) -> Mapping[str, Any]:
        """The nest as text and as items, the padding, the lanes in use, formats by name."""
        return describe_mapping(self.operator, self.hardware, designs, index) | {
            "formats": self._format_texts(designs, index)
        }

    def to_json(self, designs: MappingBatch) -> list[Any]:
        """Per mapping: `nest`, a list of readable items, and `formats` by tensor and level."""
        return [
            {
                "nest": nest_items(self.operator, self.hardware, designs, index),
                "formats": self._format_texts(designs, index),
            }
            for index in range(len(designs))
        ]

    def from_json(self, records: Sequence[Any]) -> MappingBatch:
        """The mappings of such records."""
        batches = []
        for record in records:
            check_keys("mapping", record, ["nest", "formats"])
            nest = read_nest_items(record.get("nest", []), self.operator, self.hardware)
            batches.append(self._with_formats(nest, record.get("formats", {})))
        return concatenate(batches)

    def _format_texts(self, designs: MappingBatch, index: int) -> dict[str, dict[str, str]]:
        """Formats of the compressed copies, tensor -> level -> text."""
        texts: dict[str, dict[str, str]] = {}
        for t, level in np.argwhere(designs.format_id[index] > 0):
            name = self.operator.tensors[t].name
            number = int(designs.format_id[index, t, level])
            text = self.formats.tables[name][number]
            texts.setdefault(name, {})[self.hardware.levels[level].name] = text
        return texts

    def _with_formats(
        self, nest: MappingBatch, formats: Mapping[str, Mapping[str, str]]
    ) -> MappingBatch:
        format_id = nest.format_id.copy()
        names = [tensor.name for tensor in self.operator.tensors]
        check_keys("mapping.formats", formats, names)
        for name, by_level in formats.items():
            check_keys(f"mapping.formats.{name}", by_level, self.hardware.level_names)
            for level, text in by_level.items():
                table = self.formats.tables.get(name, ("None",))
                check_keys(f"mapping.formats.{name}.{level}", [text], table)
                at = (0, names.index(name), self.hardware.level_names.index(level))
                format_id[at] = table.index(text)
        return replace(nest, format_id=format_id)

    def _at(self, label: str, tensor: int, level: int) -> str:
        name = self.operator.tensors[tensor].name
        return f"{label}.{name}.{self.hardware.levels[level].name}"

    def _ordinal_widths(self) -> dict[str, int]:
        """Every numbered decision and how many values it takes, in the order of the parameters."""
        tables = self.tables
        widths = dict(zip(self._spatial_names, tables.spatial_forest.widths, strict=True))
        for names, temporal in zip(self._tile_names, tables.temporal, strict=True):
            widths |= dict(zip(names, temporal.forest.widths, strict=True))
        for level, orders in zip(self.hardware.levels, tables.orders, strict=True):
            widths[f"order.{level.name}"] = len(orders.orders)
        for t, level_index in np.argwhere(tables.placement.movable):
            widths[self._at("place", t, level_index)] = len(tables.ranks) + 1
        return widths

    @cached_property
    def _spatial_names(self) -> list[str]:
        ranks = [self.operator.rank_names[r] for r in self.tables.ranks]
        return [f"size.{r}" for r in ranks] + [f"unroll.{axis.name}" for axis in self.tables.axes]

    @cached_property
    def _tile_names(self) -> list[list[str]]:
        ranks = [self.operator.rank_names[r] for r in self.tables.ranks]
        return [
            [f"tile.{rank}.{slot}" for slot in temporal.slot_names]
            for rank, temporal in zip(ranks, self.tables.temporal, strict=True)
        ]

    def _choices(self, columns: Columns) -> MappingChoices:
        """Table rows of checked columns."""
        tables = self.tables
        n = len(next(iter(columns.values())))
        keep = np.repeat(tables.placement.must_keep[None], n, axis=0)
        for t, level in tables.placement.optional:
            keep[:, t, level] = columns[self._at("keep", t, level)].astype(bool)
        unrolling = tables.spatial_forest.walk(
            np.zeros(n, dtype=np.int64), _matrix(columns, self._spatial_names, n)
        )
        roots = tables.roots(keep, unrolling)
        tiling = [
            temporal.forest.walk(roots[:, r], _matrix(columns, names, n))
            for r, (names, temporal) in enumerate(
                zip(self._tile_names, tables.temporal, strict=True)
            )
        ]
        order_names = [f"order.{level.name}" for level in self.hardware.levels]
        offset = np.zeros(keep.shape, dtype=np.int64)
        for t, level in np.argwhere(tables.placement.movable):
            offset[:, t, level] = columns[self._at("place", t, level)]
        return MappingChoices(
            keep=keep,
            unrolling=unrolling,
            tiling=np.stack(tiling, axis=1),
            order=_matrix(columns, order_names, n),
            offset=offset,
            format_id=self._formats(columns, keep.shape),
        )

    def _formats(self, columns: Columns, shape: tuple[int, ...]) -> IntArray:
        format_id = np.zeros(shape, dtype=np.int64)
        for (t, level), ids in self.tables.placement.formats.items():
            name = self._at("format", t, level)
            format_id[:, t, level] = columns[name] if name in columns else ids[0]
        return format_id

    def _columns(self, choices: MappingChoices) -> Columns:
        """Canonical columns of settled choices."""
        tables = self.tables
        found: dict[str, NDArray[Any]] = {}
        for t, level in tables.placement.optional:
            found[self._at("keep", t, level)] = choices.keep[:, t, level]
        spatial = tables.spatial_forest.ordinals[choices.unrolling]
        found |= dict(zip(self._spatial_names, spatial.T, strict=True))
        for r, (names, temporal) in enumerate(zip(self._tile_names, tables.temporal, strict=True)):
            ordinals = temporal.forest.ordinals[choices.tiling[:, r]]
            found |= dict(zip(names, ordinals.T, strict=True))
        for level_index, level_ in enumerate(self.hardware.levels):
            found[f"order.{level_.name}"] = choices.order[:, level_index]
        for t, level in np.argwhere(tables.placement.movable):
            found[self._at("place", t, level)] = choices.offset[:, t, level]
        for (t, level), ids in tables.placement.formats.items():
            kept = choices.keep[:, t, level]
            found[self._at("format", t, level)] = np.where(
                kept, choices.format_id[:, t, level], ids[0]
            )
        found.setdefault("unroll", np.zeros(len(choices), dtype=np.int64))
        return {name: found[name] for name in self.parameters}


def mapping_space(
    workload: Workload,
    hardware: Hardware,
    dataflow: Dataflow = FREE,
    operator: str | None = None,
    decisions: Mapping[str, Any] = MappingProxyType({}),
) -> MappingSpace:
    """The mapping space of one operator of a workload, from plain values.

    Args:
        workload: Where the operator comes from.
        hardware: What it runs on.
        dataflow: Constraints.
        operator: Its name; None = the one with the most MACs in the workload.
        decisions: Fields of `MappingFreedom`, and `formats`: tensor -> level -> format texts.

    Raises:
        ValueError: If an operator, tensor, level or decision does not exist, or a format does not
            parse.
    """
    if operator is None:
        chosen = max(workload.operators, key=lambda candidate: candidate.macs * candidate.count)
    else:
        check_choice("space.operator", operator, [found.name for found in workload.operators])
        chosen = next(found for found in workload.operators if found.name == operator)
    names = [item.name for item in fields(MappingFreedom)]
    check_keys("space.decisions", decisions, [*names, "formats"])
    freedom = MappingFreedom(**{name: decisions[name] for name in names if name in decisions})
    offer = format_offer(decisions.get("formats") or {}, chosen, hardware)
    return MappingSpace(chosen, hardware, dataflow, offer, freedom)


def _matrix(columns: Columns, names: Sequence[str], n: int) -> IntArray:
    """Columns side by side, shape (n, names); 0 for a decision with one outcome."""
    matrix = np.zeros((n, len(names)), dtype=np.int64)
    for position, name in enumerate(names):
        if name in columns:
            matrix[:, position] = columns[name]
    return matrix
