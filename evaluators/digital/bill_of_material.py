"""Options of a digital compute-in-memory study, and the bill of material a macro is counted in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from evaluators.digital.adders import (
    FULL_ADDER_AREA,
    FULL_ADDER_CAPACITANCE,
    MULTIPLIER_CAPACITANCE,
    FloatArray,
)
from evaluators.digital.technology import (
    FLIP_FLOP_AREA,
    FLIP_FLOP_CAPACITANCE,
    MUX2_AREA,
    MUX2_CAPACITANCE,
    TECHNOLOGY_28NM,
    GateTechnology,
)


class Pipeline(StrEnum):
    """Where the registers stand.

    `psum`: FlexCiM's partial-sum registers only, nothing in a monolithic macro (the published
    chips). `every_stage`: one register after every adder level too, as in the public RTL.
    """

    PSUM = "psum"
    EVERY_STAGE = "every_stage"


@dataclass(frozen=True)
class MacroOptions:
    """What all machines of a study share.

    Attributes:
        technology: Unit gate.
        weight_bits, input_bits: Operand widths.
        input_toggle_rate: Toggle rate of input bits, a_in.
        weight_bit_density: Fraction of weight bits that are one, a_w.
        pipeline: See `Pipeline`.
        psum_depth: Entries of the partial-sum buffer of a FlexCiM sub-macro.
    """

    technology: GateTechnology = TECHNOLOGY_28NM
    weight_bits: int = 8
    input_bits: int = 8
    input_toggle_rate: float = 0.5
    weight_bit_density: float = 0.5
    pipeline: Pipeline = Pipeline.PSUM
    psum_depth: int = 1

    def __post_init__(self) -> None:
        for name in ("weight_bits", "input_bits", "psum_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.pipeline not in list(Pipeline):
            raise ValueError(
                f"pipeline must be one of {', '.join(Pipeline)}, got {self.pipeline!r}"
            )
        for name in ("input_toggle_rate", "weight_bit_density"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class MacroShape:
    """Geometry of k machines as floats of shape (k,): P, rows, columns, input bits per cycle."""

    p: FloatArray
    r: FloatArray
    c: FloatArray
    bs: FloatArray

    @property
    def cells(self) -> FloatArray:
        """Weights held by one macro."""
        return self.p * self.r * self.c


@dataclass
class PartsBill:
    """Bill of material of k machines of one architecture, being filled in; arrays (k,).

    Attributes:
        area_gates, capacitance: Part -> area and switched capacitance per cycle, in unit gates.
        cell_bits: Stored bits per weight, metadata included.
        sram_bits: Bits held in SRAM cells (0 where weights stand in registers).
        stages_gates: Gate delays of every pipeline stage.
        pipeline_cycles, macs_per_cycle, cycles_per_vector, columns: See `MacroCost`.
    """

    area_gates: dict[str, FloatArray] = field(default_factory=dict)
    capacitance: dict[str, FloatArray] = field(default_factory=dict)
    cell_bits: FloatArray = field(default_factory=lambda: np.zeros(0))
    sram_bits: FloatArray = field(default_factory=lambda: np.zeros(0))
    stages_gates: list[FloatArray] = field(default_factory=list)
    pipeline_cycles: FloatArray = field(default_factory=lambda: np.ones(0))
    macs_per_cycle: FloatArray = field(default_factory=lambda: np.ones(0))
    cycles_per_vector: FloatArray = field(default_factory=lambda: np.ones(0))
    columns: FloatArray = field(default_factory=lambda: np.ones(0))

    def adders(self, name: str, count: FloatArray, activity: float) -> None:
        """Add full adders."""
        self._add(name, count * FULL_ADDER_AREA, count * FULL_ADDER_CAPACITANCE * activity)

    def registers(self, name: str, bits: FloatArray, activity: float) -> None:
        """Add flip-flop bits."""
        self._add(name, bits * FLIP_FLOP_AREA, bits * FLIP_FLOP_CAPACITANCE * activity)

    def muxes(self, name: str, count: FloatArray, activity: float) -> None:
        """Add 2-to-1 multiplexers."""
        self._add(name, count * MUX2_AREA, count * MUX2_CAPACITANCE * activity)

    def multipliers(self, count: FloatArray, activity: float) -> None:
        """Add one-bit multipliers."""
        self._add("multipliers", count, count * MULTIPLIER_CAPACITANCE * activity)

    def _add(self, name: str, area: FloatArray, capacitance: FloatArray) -> None:
        self.area_gates[name] = self.area_gates.get(name, 0.0) + area
        self.capacitance[name] = self.capacitance.get(name, 0.0) + capacitance
