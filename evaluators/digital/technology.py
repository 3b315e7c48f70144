"""Gate-level constants of digital compute-in-memory at 28 nm, with units and sources.

Source of the gate values and factors: the validation of ZigZag-IMC (ICCAD 2023; public repository
KULeuven-MICAS/zigzag-imc), where they were fitted to four published 28 nm macros. The other
constants name their own source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

REFERENCE_NODE_NM = 28.0
REFERENCE_VOLTAGE_V = 0.9

XOR2_AREA, XOR2_DELAY, XOR2_CAPACITANCE = 2.4, 2.4, 1.5
"""Factors of a 2-input XOR relative to the unit gate (ZigZag-IMC)."""

FLIP_FLOP_AREA, FLIP_FLOP_CAPACITANCE = 6.0, 3.0
"""Factors of one flip-flop bit relative to the unit gate (ZigZag-IMC)."""

MUX2_AREA, MUX2_CAPACITANCE, MUX2_DELAY = 3.0, 1.5, 2.0
"""Factors of a 2-to-1 multiplexer: three NAND2, two of them in series; half of their
capacitance switches (derived)."""

SRAM_CELL_UM2 = 0.2
"""Area of one bit cell in an array: 0.127 um2 of a 28 nm 6T cell x 1.6 overhead (assumption)."""

BUFFER_READ_PJ_PER_BIT = 416.0 / 512.0
BUFFER_WRITE_PJ_PER_BIT = 378.0 / 512.0
"""On-chip 256 KB SRAM, 416/378 pJ per 512-bit access (zigzag `inputs/hardware/dimc.yaml`)."""

DRAM_READ_PJ_PER_BIT = 700.0 / 64.0
"""Off-chip read, 700 pJ per 64 bits (zigzag `inputs/hardware/dimc.yaml`)."""

CELL_WRITE_PJ_PER_BIT = 0.095 / 8.0
"""Write of one CiM bit cell, 0.095 pJ per 8-bit weight (zigzag `inputs/hardware/dimc.yaml`)."""


@dataclass(frozen=True)
class GateTechnology:
    """The unit gate (NAND2/NOR2) that every block is counted in.

    Attributes:
        gate_area_um2: Area.
        gate_delay_ns: Propagation delay.
        gate_capacitance_ff: Switched capacitance.
        cell_um2: Area of one SRAM bit cell in an array.
        voltage_v: Supply.
        node_nm: Process node.
    """

    gate_area_um2: float = 0.614
    gate_delay_ns: float = 0.0478
    gate_capacitance_ff: float = 0.7
    cell_um2: float = SRAM_CELL_UM2
    voltage_v: float = REFERENCE_VOLTAGE_V
    node_nm: float = REFERENCE_NODE_NM

    @property
    def gate_energy_fj(self) -> float:
        """Energy of switching one unit of gate capacitance, C V^2."""
        return self.gate_capacitance_ff * self.voltage_v**2

    @property
    def memory_energy_scale(self) -> float:
        """Factor on the memory energies, which are stated at 28 nm and 0.9 V."""
        return self.node_nm / REFERENCE_NODE_NM * (self.voltage_v / REFERENCE_VOLTAGE_V) ** 2

    def scaled(self, node_nm: float, voltage_v: float) -> GateTechnology:
        """First-order scaling: area with the node squared, delay and capacitance with the node.

        Energy then follows as (node/28) * (V/0.9)^2. Delay does not depend on the voltage here.

        Raises:
            ValueError: If the node or the voltage is not positive.

        >>> round(GateTechnology().scaled(14.0, 0.9).gate_area_um2, 4)
        0.1535
        """
        if node_nm <= 0 or voltage_v <= 0:
            raise ValueError(
                f"technology: node_nm and voltage_v must be > 0, got {node_nm} and {voltage_v}"
            )
        shrink = node_nm / self.node_nm
        return replace(
            self,
            gate_area_um2=self.gate_area_um2 * shrink**2,
            gate_delay_ns=self.gate_delay_ns * shrink,
            gate_capacitance_ff=self.gate_capacitance_ff * shrink,
            cell_um2=self.cell_um2 * shrink**2,
            voltage_v=voltage_v,
            node_nm=node_nm,
        )


TECHNOLOGY_28NM = GateTechnology()
"""The values fitted to the four published macros."""
