"""Digital in-memory macros on the boundary: FlexCiM under one answer to the pair-select question.

Prices are those of `evaluators.digital.digital_cim`; off-chip memory is the boundary's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from evaluators.codesign.boundary import Boundary
from evaluators.codesign.part_price import COLUMNS, Floats, Ints, PartPrice, PriceMemory
from evaluators.digital.bill_of_material import MacroOptions
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer
from evaluators.digital.gemm_cost import CimOptions, Residency
from evaluators.digital.technology import REFERENCE_VOLTAGE_V
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import CimBatch, machine_batch
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart
from spaces.sparsity.nm_sparsity import NMBatch


@dataclass
class DigitalMacros:
    """Macros of one architecture; knobs are those of `MACHINE_PARAMETERS`.

    Capacity is counted in tiles, one per macro.

    Attributes:
        boundary: What all machines share.
        grid: Settings of the knobs.
        kinds: One part of every kind.
        placements: What the third index of a price refers to.
        fixed: Machine parameters that are no knobs, for example {architecture: flexcim_shared}.
        options: Gate-level options; widths and node are the boundary's.
    """

    boundary: Boundary
    grid: Sequence[Mapping[str, Any]]
    kinds: Sequence[ProjectionPart]
    placements: Sequence[Placement]
    fixed: Mapping[str, Any]
    options: MacroOptions = field(default_factory=MacroOptions)

    @cached_property
    def macro(self) -> MacroOptions:
        """The options at the boundary's node and word widths."""
        bits = self.boundary.workload.precision
        technology = self.options.technology.scaled(self.boundary.node_nm, REFERENCE_VOLTAGE_V)
        return replace(
            self.options,
            technology=technology,
            weight_bits=bits.weight,
            input_bits=bits.activation,
        )

    @cached_property
    def prices(self) -> PriceMemory:
        """Prices of (knobs, kind, placement)."""
        shape = len(self.grid), len(self.kinds), len(self.placements)
        return PriceMemory(shape, self._price)

    @property
    def capacity(self) -> Floats:
        """Tiles that the macros hold, per setting of the knobs."""
        return np.array([self._machine(row)["macros"] for row in self.grid], dtype=np.float64)

    @cached_property
    def area_mm2(self) -> Floats:
        """All macros, per setting of the knobs."""
        rows = np.arange(len(self.grid))
        dense = np.zeros(len(rows), dtype=np.int64)
        return self._evaluate(Residency.BUFFER, 0, rows, dense).metrics["area_mm2"]

    def columns(self, knobs: Ints) -> Ints:
        """Output channels of a macro, which share their pairs under `flexcim_shared`."""
        return np.array([self._machine(row)["columns"] for row in self.grid])[knobs]

    def _machine(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.fixed, **row}

    def _price(self, knobs: Ints, kind: Ints, placement: Ints) -> PartPrice:
        columns = np.zeros((len(COLUMNS), len(knobs)))
        for number in np.unique(kind):
            rows = np.flatnonzero(kind == number)
            price = self._price_kind(int(number), knobs[rows], placement[rows])
            columns[:, rows] = [getattr(price, name) for name in COLUMNS]
        return PartPrice(*columns)

    def _price_kind(self, kind: int, knobs: Ints, placement: Ints) -> PartPrice:
        """One layer: its parallel matrices one after another when streamed, and when resident."""
        parallel = self.kinds[kind].parallel
        here = self._evaluate(Residency.MACRO, kind, knobs, placement)
        loaded = self._evaluate(Residency.DOUBLE_BUFFER, kind, knobs, placement)
        bits = loaded.metrics["storage_bits"]
        memory = self.boundary
        streamed = np.maximum(loaded.metrics["latency_ns"], bits / memory.memory_bits_per_ns)
        tiles = np.rint((here.violations["cim_capacity"] + 1.0) * self.capacity[knobs])
        return PartPrice(
            resident_ns=parallel * here.metrics["latency_ns"],
            resident_pj=parallel * here.metrics["energy_pj"],
            streamed_ns=parallel * streamed,
            streamed_pj=parallel * (loaded.metrics["energy_pj"] + bits * memory.memory_pj_per_bit),
            streamed_bits=parallel * bits,
            written_cells=parallel * bits,
            need=parallel * tiles,
            excess=np.zeros(len(knobs)),
        )

    def _evaluate(
        self, residency: Residency, kind: int, knobs: Ints, placement: Ints
    ) -> Evaluation:
        """One matrix of a kind on these machines under these patterns."""
        part = self.kinds[kind]
        layer = GemmLayer(part.projection, part.tokens, part.reduction, part.outputs, "part")
        patterns = tuple(dict.fromkeys(p.pattern for p in self.placements))
        choice = np.array([patterns.index(p.pattern) for p in self.placements])[placement]
        machines = machine_batch([self._machine(self.grid[int(row)]) for row in knobs])
        evaluator = DigitalCimEvaluator((layer,), CimOptions(self.macro, residency))
        return evaluator.evaluate(CimBatch(machines, NMBatch(("part",), patterns, choice[:, None])))
