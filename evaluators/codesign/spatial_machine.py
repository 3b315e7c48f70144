"""The sparse spatial core on the boundary: every projection with its own best mapping.

The core is a hardware preset whose array and buffer are knobs and whose off-chip memory is the
boundary's. The best mapping of a product comes from an inner search (exact, by default) and is
re-priced by the accelerator's model; what was found once is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from evaluators.accelerator.intersection import NO_OPTIMIZATION, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.sparse_model import SparseModel
from evaluators.accelerator.technology import (
    Technology,
    hardware_area_mm2,
    node_factor,
    storage_access_pj,
)
from evaluators.codesign.boundary import Boundary
from evaluators.codesign.part_price import COLUMNS, Floats, Ints, PartPrice, PriceMemory
from spaces.cim.monarch_shape import monarch_shape
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart
from spaces.formats.offered_formats import FormatOffer
from spaces.formats.shared_formats import DENSE_STORAGE
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern
from spaces.sparsity.sparsity import DENSE, SparsityProfile, n_m
from spaces.workloads.workload import Operator, Workload, matmul

HARDWARE_KNOBS = ("array", "buffer_kib")
"""Knobs that change the hardware; the others change what it is offered."""


class FoundPart(Protocol):
    """The best mapping of one operator."""

    @property
    def design(self) -> MappingBatch | None:
        """A batch of one; None when no mapping is valid."""
        ...


class BestMappings(Protocol):
    """The inner search over one model, see `strategies.nested_search.NestedSearch`."""

    def parts_of(self, decisions: Mapping[str, Any]) -> Sequence[FoundPart]:
        """The best mapping of every operator under shared decisions."""
        ...


class InnerSearch(Protocol):
    """Opens the inner search over a model."""

    def __call__(self, model: SparseModel) -> BestMappings:
        """The search over this model."""
        ...


@dataclass(frozen=True)
class MappedOperator:
    """A product with its best mapping; prices are of one run, and zero without a valid mapping.

    Attributes:
        count: Runs per layer.
        operator, pattern, weight_format, hardware: What is mapped: see `SpatialCore.accelerator`.
        mapping: A batch of one; None when no mapping is valid.
        ns, pj: Time and energy.
        stored_bits, read_bits: Of one weight matrix at the outermost level.
        bottleneck: Level whose port takes the time, or `compute`.
    """

    count: int
    operator: Operator
    pattern: NMPattern
    weight_format: str
    hardware: Hardware
    mapping: MappingBatch | None
    ns: float = 0.0
    pj: float = 0.0
    stored_bits: float = 0.0
    read_bits: float = 0.0
    bottleneck: str = ""


@dataclass
class SpatialCore:
    """The core; knobs are `array` (edge of the square of units), `buffer_kib`, `weight_format`.

    Capacity is counted in bits of the global buffer.

    Attributes:
        boundary: What all machines share.
        grid: Settings of the knobs.
        kinds: One part of every kind.
        placements: What the third index of a price refers to.
        hardware: Preset of three levels: off-chip memory, buffer above the array, registers.
        search: Finds the best mapping of every operator.
        technology: Of the core; its leakage is replaced by the boundary's.
        optimization: What the core does about zeros.
        goal: What mappings minimise: energy, latency or edp.
    """

    boundary: Boundary
    grid: Sequence[Mapping[str, Any]]
    kinds: Sequence[ProjectionPart]
    placements: Sequence[Placement]
    hardware: Hardware
    search: InnerSearch
    technology: Technology = field(default_factory=Technology)
    optimization: SparseOptimization = NO_OPTIMIZATION
    goal: str = "edp"
    mapped: dict[Any, tuple[MappedOperator, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.hardware.levels) != 3 or not self.hardware.levels[1].fan_out:
            names = ", ".join(self.hardware.level_names)
            raise ValueError(
                "evaluator.spatial.hardware must have three levels with the array below the "
                f"second one, got {names}"
            )

    @cached_property
    def prices(self) -> PriceMemory:
        """Prices of (knobs, kind, placement)."""
        shape = len(self.grid), len(self.kinds), len(self.placements)
        return PriceMemory(shape, self._price)

    @property
    def capacity(self) -> Floats:
        """Bits of the buffer, per setting of the knobs."""
        return np.array([self._hardware(row, False).levels[1].capacity_bits for row in self.grid])

    @cached_property
    def area_mm2(self) -> Floats:
        """Core with its buffer, per setting of the knobs."""
        bits = self.boundary.workload.precision
        operands = (bits.weight, bits.activation)
        return np.array(
            [
                hardware_area_mm2(self.technology, self._hardware(row, False), operands)
                for row in self.grid
            ]
        )

    @cached_property
    def attention(self) -> tuple[Floats, Floats]:
        """Time [ns] and energy [pJ] of what has no weights, per setting of the knobs."""
        rows = [self._attention(row) for row in range(len(self.grid))]
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def _attention(self, row: int) -> tuple[float, float]:
        counts = [(o.count, o) for o in self.boundary.attention.operators]
        return _sums(self._mapped(self.grid[row], "attention", counts, DENSE_PATTERN, False))

    def repriced(self, boundary: Boundary, technology: Technology) -> SpatialCore:
        """The same mappings under other constants; what is not mapped yet is searched."""
        core = replace(self, boundary=boundary, technology=technology, mapped={})
        for key, parts in self.mapped.items():
            knobs, resident = dict(zip(HARDWARE_KNOBS, key[0], strict=True)), key[-1]
            hardware = core._hardware(knobs, resident)
            core.mapped[key] = tuple(
                core._priced(replace(part, hardware=hardware)) for part in parts
            )
        return core

    def operators(self, kind: int, placement: int) -> list[tuple[int, Operator]]:
        """The products of one layer of a part, each with its repeats."""
        part, placed = self.kinds[kind], self.placements[placement]
        sizes = {"M": part.tokens, "K": part.reduction, "N": part.outputs}
        if not placed.rule:
            return [(part.parallel, matmul(part.projection, sizes))]
        shape = monarch_shape(placed.rule, part.reduction, part.outputs, placed.block)
        return [
            (
                part.parallel,
                matmul(
                    f"{part.projection}.{name}",
                    {
                        "B": shape.tiles * factor.blocks,
                        "M": part.tokens,
                        "K": factor.rows,
                        "N": factor.columns,
                    },
                ),
            )
            for name, factor in zip(("stage_1", "stage_2"), shape.factors, strict=True)
        ]

    def mapped_part(
        self, row: int, kind: int, placement: int, resident: bool
    ) -> tuple[MappedOperator, ...]:
        """The products of one layer of a part with their best mappings."""
        operators = self.operators(kind, placement)
        what = tuple(self.kinds[kind].kind), self.placements[placement]
        pattern = self.placements[placement].pattern
        return self._mapped(self.grid[row], what, operators, pattern, resident)

    def bottleneck(self, row: int, kind: int, placement: int, resident: bool) -> str:
        """What limits the slowest product of a part: the port of a level, or the units."""
        parts = self.mapped_part(row, kind, placement, resident)
        name = max(parts, key=lambda part: part.count * part.ns).bottleneck
        words = {
            "compute": "units of the core",
            self.hardware.level_names[0]: "off-chip bandwidth",
        }
        return words.get(name, f"port of {name}")

    def _mapped(
        self,
        knobs: Mapping[str, Any],
        what: Any,
        operators: Sequence[tuple[int, Operator]],
        pattern: NMPattern,
        resident: bool,
    ) -> tuple[MappedOperator, ...]:
        """Best mappings of operators; dense weights are the same problem under every format."""
        fmt = DENSE_STORAGE if pattern.is_dense else str(knobs.get("weight_format", "bitmap"))
        key = (tuple(knobs.get(name) for name in HARDWARE_KNOBS), fmt, what, resident)
        if key not in self.mapped:
            hardware = self._hardware(knobs, resident)
            self.mapped[key] = tuple(
                self._best(count, operator, pattern, fmt, hardware) for count, operator in operators
            )
        return self.mapped[key]

    def _best(
        self, count: int, operator: Operator, pattern: NMPattern, fmt: str, hardware: Hardware
    ) -> MappedOperator:
        part = MappedOperator(count, operator, pattern, fmt, hardware, None)
        decisions = {"weight_format_1": fmt, "mapping_goal": self.goal}
        (best,) = self.search(self._model(part)).parts_of(decisions)
        return self._priced(replace(part, mapping=best.design))

    def _model(self, part: MappedOperator) -> SparseModel:
        given, pattern = self.boundary.workload, part.pattern
        weight = DENSE if pattern.is_dense else n_m(pattern.n, pattern.m)
        return SparseModel(
            workload=Workload(part.operator.name, (part.operator,), given.tokens, given.precision),
            sparsity=SparsityProfile(str(pattern), weight=weight),
            hardware=part.hardware,
            offered={"weight": FormatOffer((part.weight_format,))},
            technology=self._technology,
            optimization=self.optimization,
        )

    def accelerator(self, part: MappedOperator) -> SparseAccelerator:
        """The model that prices a product; it holds tables of megabytes, so none is kept."""
        return self._model(part).parts[0]

    def _priced(self, part: MappedOperator) -> MappedOperator:
        """The product with the prices of its mapping under this core's constants."""
        if part.mapping is None:
            return part
        accelerator = self.accelerator(part)
        explained = accelerator.explain(part.mapping)
        totals = explained["totals"]
        tensors = explained["levels"][part.hardware.level_names[0]]["tensors"]
        weights = tensors[part.operator.tensors[1].name]
        return replace(
            part,
            ns=totals["latency_s"] * 1e9,
            pj=totals["energy_pj"],
            stored_bits=weights["resident_bits"],
            read_bits=weights["data_read_bits"] + weights["metadata_read_bits"],
            bottleneck=explained["bottleneck"],
        )

    @property
    def _technology(self) -> Technology:
        """The technology without leakage: the boundary counts that of the whole chip."""
        return replace(
            self.technology, values={**self.technology.values, "leakage_mw_per_mm2": 0.0}
        )

    def _hardware(self, row: Mapping[str, Any], resident: bool) -> Hardware:
        """The preset with this array and buffer; resident weights wait beside the buffer.

        Their store has the buffer's energy per bit and, like the macros' cells, no port to wait
        for.
        """
        memory, buffer, registers = self.hardware.levels
        edge, kib = row.get("array"), row.get("buffer_kib")
        capacity = buffer.capacity_bits if kib is None else float(kib) * 8192
        fan_out = {axis: int(edge or size) for axis, size in buffer.fan_out.items()}
        buffer = replace(buffer, capacity_bits=capacity, fan_out=fan_out)
        per_bit, rate = self.boundary.memory_pj_per_bit, self.boundary.memory_bits_per_ns
        if resident:
            law = storage_access_pj(self.technology, "sram", capacity, buffer.access_bits)
            factor = node_factor(self.technology, "sram", self.boundary.node_nm)
            per_bit, rate = law * factor / buffer.access_bits, np.inf
        cycle_ns = 1e9 / self.hardware.clock_hz
        memory = replace(
            memory,
            read_bits_per_cycle=rate * cycle_ns,
            write_bits_per_cycle=rate * cycle_ns,
            read_energy_pj=per_bit * memory.access_bits,
            write_energy_pj=per_bit * memory.access_bits,
        )
        return replace(
            self.hardware,
            levels=(memory, buffer, registers),
            technology_nm=self.boundary.node_nm,
        )

    def _price(self, knobs: Ints, kind: Ints, placement: Ints) -> PartPrice:
        triples = zip(knobs.tolist(), kind.tolist(), placement.tolist(), strict=True)
        rows = [self._price_one(*triple) for triple in triples]
        return PartPrice(*np.array(rows, dtype=np.float64).T)

    def _price_one(self, row: int, kind: int, placement: int) -> tuple[float, ...]:
        """One triple; weights that never fit are not priced as resident (infinite)."""
        streamed = self.mapped_part(row, kind, placement, False)
        need = sum(part.count * part.stored_bits for part in streamed)
        values = dict.fromkeys(("resident_ns", "resident_pj"), np.inf)
        if self.boundary.residency == "always" or need <= self.capacity[row]:
            resident = self.mapped_part(row, kind, placement, True)
            values = dict(zip(values, _sums(resident), strict=True))
        values |= dict(zip(("streamed_ns", "streamed_pj"), _sums(streamed), strict=True))
        bits = sum(part.count * part.read_bits for part in streamed)
        values |= {"streamed_bits": bits, "written_cells": 0.0, "need": need}
        values["excess"] = float(any(part.mapping is None for part in streamed))
        return tuple(values[name] for name in COLUMNS)


def _sums(parts: Sequence[MappedOperator]) -> tuple[float, float]:
    """Time [ns] and energy [pJ] of operators that run one after another."""
    return (
        sum(part.count * part.ns for part in parts),
        sum(part.count * part.pj for part in parts),
    )
