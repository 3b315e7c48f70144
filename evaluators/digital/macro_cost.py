"""Area, energy and clock of one digital compute-in-memory macro, from gates.

A batch of machines is priced in one pass per architecture. The technology and clock of the FlexCiM
paper are not published, so absolute figures are this model's own; the gate constants are checked
against four chips in `published_chips`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.digital.adders import FloatArray
from evaluators.digital.architectures import BUILDERS
from evaluators.digital.bill_of_material import MacroOptions, MacroShape, PartsBill
from evaluators.digital.technology import GateTechnology
from spaces.cim.digital_cim import ARCHITECTURES, Architecture, MacroBatch


@dataclass(frozen=True)
class MacroCost:
    """Cost of one macro of each of n machines; arrays of shape (n,).

    Attributes:
        area_um2: Part -> area.
        energy_fj_per_cycle: Part -> energy of a cycle with every row and column at work.
        clock_ns: Shortest clock period.
        pipeline_cycles: Cycles from an input to its result, >= 1.
        macs_per_cycle: Products issued per cycle, in full operand width (bit-serial: a fraction).
        cycles_per_vector: Cycles that one input vector occupies a macro.
        columns: Output channels per macro (fewer than configured on bit-parallel arrays).
        cell_bits: Stored bits per weight cell, metadata included.
    """

    area_um2: Mapping[str, FloatArray]
    energy_fj_per_cycle: Mapping[str, FloatArray]
    clock_ns: FloatArray
    pipeline_cycles: FloatArray
    macs_per_cycle: FloatArray
    cycles_per_vector: FloatArray
    columns: FloatArray
    cell_bits: FloatArray

    @property
    def area_mm2(self) -> FloatArray:
        """Total area of one macro."""
        return np.asarray(sum(self.area_um2.values()) * 1e-6)

    @property
    def energy_fj_per_mac(self) -> FloatArray:
        """Energy of one stored (non-zero) multiply-accumulate."""
        return np.asarray(sum(self.energy_fj_per_cycle.values()) / self.macs_per_cycle)


def macro_cost(machines: MacroBatch, options: MacroOptions) -> MacroCost:
    """Price one macro of each machine.

    Args:
        machines: n machines.
        options: Shared options.

    Raises:
        ValueError: If a machine takes more bits per cycle than the input has.

    Not modelled: cell read time, input and output registers, the controller, wiring.
    """
    _check_bits(machines, options)
    bills: list[tuple[NDArray[np.intp], PartsBill]] = []
    for code in np.unique(machines.architecture):
        rows = np.flatnonzero(machines.architecture == code)
        part = machines.take(rows)
        shape = MacroShape(
            *(
                np.asarray(values, dtype=np.float64)
                for values in (part.sub_macros, part.rows, part.columns, part.bits_per_cycle)
            )
        )
        bills.append((rows, BUILDERS[ARCHITECTURES[int(code)]](shape, options)))
    return _assemble(len(machines), bills, options.technology)


def _check_bits(machines: MacroBatch, options: MacroOptions) -> None:
    too_many = machines.bits_per_cycle > options.input_bits
    if too_many.any():
        raise ValueError(
            f"bits_per_cycle must be <= input_bits = {options.input_bits}, got "
            f"{int(machines.bits_per_cycle[too_many][0])}"
        )
    sdp = machines.architecture == ARCHITECTURES.index(Architecture.SDP_LIKE)
    if (machines.bits_per_cycle[sdp] * 2 > options.input_bits).any():
        raise ValueError(
            f"sdp_like: bits_per_cycle must be <= input_bits / 2 = {options.input_bits // 2}, "
            "its Booth coding handles two bits at once"
        )


def _assemble(
    n: int, bills: list[tuple[NDArray[np.intp], PartsBill]], technology: GateTechnology
) -> MacroCost:
    """Scatter the bills of all architectures into arrays of length n, in physical units."""
    area: dict[str, FloatArray] = {}
    energy: dict[str, FloatArray] = {}
    cells = np.zeros(n)
    columns = {
        name: np.zeros(n) for name in ("clock", "pipeline", "macs", "cycles", "columns", "bits")
    }
    for rows, bill in bills:
        for name, gates in bill.area_gates.items():
            area.setdefault(name, np.zeros(n))[rows] = gates * technology.gate_area_um2
        for name, units in bill.capacitance.items():
            energy.setdefault(name, np.zeros(n))[rows] = units * technology.gate_energy_fj
        cells[rows] = bill.sram_bits * technology.cell_um2
        columns["clock"][rows] = np.max(np.stack(bill.stages_gates), axis=0)
        columns["pipeline"][rows] = bill.pipeline_cycles
        columns["macs"][rows] = bill.macs_per_cycle
        columns["cycles"][rows] = bill.cycles_per_vector
        columns["columns"][rows] = bill.columns
        columns["bits"][rows] = bill.cell_bits
    return MacroCost(
        area_um2={**area, "cells": cells},
        energy_fj_per_cycle=energy,
        clock_ns=columns["clock"] * technology.gate_delay_ns,
        pipeline_cycles=columns["pipeline"],
        macs_per_cycle=columns["macs"],
        cycles_per_vector=columns["cycles"],
        columns=columns["columns"],
        cell_bits=columns["bits"],
    )
