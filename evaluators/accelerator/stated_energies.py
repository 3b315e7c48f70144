"""A design whose hardware states every energy that the technology would have given it."""

from __future__ import annotations

from dataclasses import replace

from evaluators.accelerator.priced_design import accelerator_of
from evaluators.accelerator.technology import compute_energy_pj, level_cost
from spaces.hardware import ComputeUnit
from spaces.mappings.design_file import Design


def with_stated_energies(design: Design) -> Design:
    """The same design with the price of every access written down [pJ]; prices do not change."""
    part = accelerator_of(design)
    hardware = design.hardware
    levels = []
    for level in hardware.levels:
        cost = level_cost(part.technology, level, hardware.technology_nm)
        levels.append(
            replace(
                level,
                read_energy_pj=cost.read_pj,
                write_energy_pj=cost.write_pj,
                gated_energy_pj=cost.gated_pj,
                metadata_access_bits=cost.metadata_access_bits,
                metadata_energy_pj=cost.metadata_read_pj,
                metadata_write_energy_pj=cost.metadata_write_pj,
            )
        )
    operands = design.operator.tensors[:2]
    widths = (
        design.precision.bits(operands[0].tensor_class),
        design.precision.bits(operands[1].tensor_class),
    )
    active, gated = compute_energy_pj(part.technology, hardware, widths, design.precision.psum)
    unit = ComputeUnit(hardware.compute.macs_per_cycle, active, gated)
    return replace(design, hardware=replace(hardware, levels=tuple(levels), compute=unit))
