"""Four published 28 nm digital compute-in-memory macros, priced with the gate-level model.

This is the check of the constants in `technology`: the inputs below are those of the
ZigZag-IMC validation (ICCAD 2023), and the model has to return that validation's own figures. The
chip values themselves come from the ISSCC papers as collected there.
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.digital.adders import (
    FULL_ADDER_AREA,
    FULL_ADDER_CAPACITANCE,
    MULTIPLIER_CAPACITANCE,
    accumulator_delay,
    tree_delay,
    tree_full_adders,
)
from evaluators.digital.technology import (
    FLIP_FLOP_AREA,
    FLIP_FLOP_CAPACITANCE,
    TECHNOLOGY_28NM,
    GateTechnology,
)


@dataclass(frozen=True)
class TreeStage:
    """Equal adder trees that work in parallel, per output.

    Attributes:
        trees: How many.
        inputs: Words summed by each, a power of two.
        bits: Width of those words.
        activity: Toggle rate times weight factor of its adders, 0..1.
    """

    trees: int
    inputs: int
    bits: int
    activity: float


@dataclass(frozen=True)
class ChipMacro:
    """Counts of one published macro.

    Attributes:
        name: Short name of the validation.
        banks, outputs: Independent arrays, and results of each per input vector.
        macs_per_output: Products summed per output and input vector.
        cycles: Cycles per input vector.
        multiplier_gates: One-bit multipliers per output.
        multiplier_activity: Their toggle rate times weight factor.
        stages: Adder trees, in the order of the data.
        accumulator_bits, accumulator_input_bits: Accumulator, once per output.
        accumulator_copies: Accumulators per output in area (1 in energy).
        pipeline_bits, pipeline_copies: Pipeline register per output: width, copies in area.
        pipeline_energy_copies: Copies in energy.
        pipeline_after: Stages before the pipeline register; None = no register, 0 = after the
            multipliers.
        cell_mm2: Area of one bank's cells.
        extra_adders, extra_register_um2: Further full adders and register area per bank.
    """

    name: str
    banks: int
    outputs: int
    macs_per_output: int
    cycles: int
    multiplier_gates: int
    multiplier_activity: float
    stages: tuple[TreeStage, ...]
    accumulator_bits: int
    accumulator_input_bits: int
    cell_mm2: float
    accumulator_copies: int = 1
    pipeline_bits: int = 0
    pipeline_copies: int = 0
    pipeline_energy_copies: int = 0
    pipeline_after: int | None = None
    extra_adders: int = 0
    extra_register_um2: float = 0.0

    def area_mm2(self, technology: GateTechnology = TECHNOLOGY_28NM) -> float:
        """Multipliers, trees, accumulators, registers and cells [mm2]; no I/O registers."""
        adders = sum(
            stage.trees * float(tree_full_adders(stage.inputs, stage.bits)) for stage in self.stages
        )
        accumulator = self.accumulator_bits * (FULL_ADDER_AREA + FLIP_FLOP_AREA)
        pipeline = self.pipeline_copies * self.pipeline_bits * FLIP_FLOP_AREA
        gates = self.outputs * (
            self.multiplier_gates
            + adders * FULL_ADDER_AREA
            + self.accumulator_copies * accumulator
            + pipeline
        )
        gates += self.extra_adders * FULL_ADDER_AREA
        logic_um2 = gates * technology.gate_area_um2 + self.extra_register_um2
        return self.banks * (logic_um2 * 1e-6 + self.cell_mm2)

    def delay_ns(self, technology: GateTechnology = TECHNOLOGY_28NM) -> float:
        """Clock period [ns]: the longer side of the pipeline register; no cell read time."""
        delays = [1.0] + [float(tree_delay(stage.inputs, stage.bits)) for stage in self.stages]
        delays.append(float(accumulator_delay(self.accumulator_bits, self.accumulator_input_bits)))
        if self.pipeline_after is None:
            gates = sum(delays)
        else:
            cut = 1 + self.pipeline_after
            gates = max(sum(delays[:cut]), sum(delays[cut:]))
        return gates * technology.gate_delay_ns

    def energy_fj_per_mac(self, technology: GateTechnology = TECHNOLOGY_28NM) -> float:
        """Multipliers, trees, accumulator and registers per MAC [fJ]; no cell reads, no I/O."""
        trees = sum(
            stage.trees * float(tree_full_adders(stage.inputs, stage.bits)) * stage.activity
            for stage in self.stages
        )
        accumulator = self.accumulator_bits * (FULL_ADDER_CAPACITANCE + FLIP_FLOP_CAPACITANCE)
        pipeline = self.pipeline_energy_copies * self.pipeline_bits * FLIP_FLOP_CAPACITANCE
        switched = (
            self.multiplier_gates * MULTIPLIER_CAPACITANCE * self.multiplier_activity
            + trees * FULL_ADDER_CAPACITANCE
            + accumulator
            + pipeline
        )
        return switched * technology.gate_energy_fj * self.cycles / self.macs_per_output


PUBLISHED_CHIPS = (
    ChipMacro(  # ISSCC 2022 15.5: radix-4 Booth, floating-point units in the area only
        name="DIMC1",
        banks=64,
        outputs=6,
        macs_per_output=32,
        cycles=4,
        multiplier_gates=32 * 8,
        multiplier_activity=0.25,
        stages=(TreeStage(1, 32, 9, 0.25),),
        accumulator_bits=32,
        accumulator_input_bits=14,
        cell_mm2=0.00065545,
        extra_adders=5 * (32 + 32),
        extra_register_um2=5 * 32 * 1.764,
    ),
    ChipMacro(  # ISSCC 2022 11.7: accumulates over input bits before the tree
        name="DIMC2",
        banks=2,
        outputs=1,
        macs_per_output=32,
        cycles=8,
        multiplier_gates=32 * 8,
        multiplier_activity=0.45,
        stages=(TreeStage(1, 32, 16, 0.45),),
        accumulator_bits=16,
        accumulator_input_bits=16,
        accumulator_copies=32,
        cell_mm2=0.00396,
        pipeline_bits=8,
        pipeline_copies=32,
        pipeline_energy_copies=1,
        pipeline_after=0,
    ),
    ChipMacro(  # ISSCC 2023 7.2: eight one-bit-weight trees, then one across them
        name="DIMC3",
        banks=8,
        outputs=1,
        macs_per_output=128,
        cycles=4,
        multiplier_gates=128 * 8 * 2,
        multiplier_activity=0.25,
        stages=(TreeStage(8, 128, 2, 0.25), TreeStage(1, 8, 16, 1.0)),
        accumulator_bits=23,
        accumulator_input_bits=17,
        cell_mm2=0.00193147,
    ),
    ChipMacro(  # ISSCC 2023 16.3: three tree stages, pipelined before the last
        name="DIMC4",
        banks=4,
        outputs=8,
        macs_per_output=128,
        cycles=8,
        multiplier_gates=128,
        multiplier_activity=0.5,
        stages=(
            TreeStage(64, 16, 1, 0.25),
            TreeStage(8, 8, 4, 0.25),
            TreeStage(1, 8, 6, 0.25),
        ),
        accumulator_bits=17,
        accumulator_input_bits=9,
        cell_mm2=0.00416728,
        pipeline_bits=6,
        pipeline_copies=8,
        pipeline_energy_copies=8,
        pipeline_after=2,
    ),
)
"""Inputs of the ZigZag-IMC validation; DIMC2's accumulator adds one sum delay, as its script does
(`accumulator_input_bits=8` gives the 131 % of its figure instead)."""
