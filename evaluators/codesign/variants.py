"""The same comparison under another constant, or another convention: changed evaluators by name.

Mappings that were found stay as they are and are priced again; nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from evaluators.accelerator.technology import Technology
from evaluators.analog.adc import ADC_LAWS
from evaluators.codesign.boundary import RESIDENCIES, Boundary
from evaluators.codesign.chip import ChipModel
from evaluators.digital.bill_of_material import MacroOptions
from spaces.cim.digital_cim import Architecture
from spaces.quantities import bandwidth_bits_per_cycle

ANALOG_RANGES = ("cell_um2", "cell_read_pj", "settle_ns", "cell_write_pj")
"""Analog constants that are set to both ends of their plausible range."""

PAIR_SELECTS = tuple(name for name in Architecture if name.startswith("flexcim"))
"""Answers to the pair-select question, see `spaces.cim.digital_cim.Architecture`."""


@dataclass(frozen=True)
class Variant:
    """One change.

    Attributes:
        what: Constant or convention.
        value: What it is set to, as text.
        evaluator: The comparison under it.
    """

    what: str
    value: str
    evaluator: ChipModel


def with_boundary(evaluator: ChipModel, **changes: Any) -> ChipModel:
    """The evaluator under a changed boundary."""
    return _rebuilt(evaluator, replace(evaluator.boundary, **changes), {})


def with_core_technology(evaluator: ChipModel, factors: Mapping[str, float]) -> ChipModel:
    """The evaluator with constants of the core multiplied."""
    technology: Technology = evaluator.core.technology
    values = {name: technology.constant(name) * factor for name, factor in factors.items()}
    changed = replace(technology, values={**technology.values, **values})
    return _rebuilt(evaluator, evaluator.boundary, {"technology": changed})


def with_gate_energy(evaluator: ChipModel, factor: float) -> ChipModel:
    """The evaluator with the switched capacitance of the digital macros multiplied."""
    options = evaluator.digital.get("options", MacroOptions())
    capacitance = options.technology.gate_capacitance_ff * factor
    gates = replace(options.technology, gate_capacitance_ff=capacitance)
    digital = {**evaluator.digital, "options": replace(options, technology=gates)}
    return replace(_rebuilt(evaluator, evaluator.boundary, {}), digital=digital)


def with_analog(evaluator: ChipModel, **changes: Any) -> ChipModel:
    """The evaluator with a changed technology of the arrays."""
    technology = replace(evaluator.analog["technology"], **changes)
    analog = {**evaluator.analog, "technology": technology}
    return replace(_rebuilt(evaluator, evaluator.boundary, {}), analog=analog)


def with_pair_select(evaluator: ChipModel, architecture: str) -> ChipModel:
    """The evaluator under another answer to the pair-select question."""
    fixed = {**evaluator.digital["fixed"], "architecture": architecture}
    digital = {**evaluator.digital, "fixed": fixed}
    return replace(_rebuilt(evaluator, evaluator.boundary, {}), digital=digital)


def _rebuilt(evaluator: ChipModel, boundary: Boundary, core: Mapping[str, Any]) -> ChipModel:
    """A new evaluator that keeps the mappings of the old one's core."""
    technology = core.get("technology", evaluator.core.technology)
    mapped = evaluator.core.repriced(boundary, technology).mapped
    spatial = {**evaluator.spatial, **core, "mapped": mapped}
    return replace(evaluator, boundary=boundary, spatial=spatial)


def constant_variants(evaluator: ChipModel) -> list[Variant]:
    """Every constant of the sensitivity table at its changed values."""
    boundary = evaluator.boundary
    speed = bandwidth_bits_per_cycle(boundary.memory_bandwidth, 1e9, "memory_bandwidth") / 8
    found = [
        Variant(what, f"x {factor:g}", with_boundary(evaluator, **{field: value * factor}))
        for what, field, value, factors in (
            ("off-chip energy", "memory_pj_per_bit", boundary.memory_pj_per_bit, (0.5, 2.0)),
            ("leakage", "leakage_mw_per_mm2", boundary.leakage_mw_per_mm2, (0.0, 2.0)),
            ("area budget", "area_budget_mm2", boundary.area_budget_mm2, (0.5, 2.0)),
        )
        for factor in factors
    ]
    found += [
        Variant(
            "off-chip bandwidth",
            f"x {factor:g}",
            with_boundary(evaluator, memory_bandwidth=f"{speed * factor}GB/s"),
        )
        for factor in (0.5, 2.0, 10.0)
    ]
    energies = ("sram_pj", "register_pj_per_bit", "multiply_pj", "add_pj")
    found += [
        Variant(
            "on-chip energy of the core",
            f"x {factor:g}",
            with_core_technology(evaluator, dict.fromkeys(energies, factor)),
        )
        for factor in (0.5, 2.0)
    ]
    if "digital" in evaluator.machines:
        found += [
            Variant("gate energy of the macros", f"x {f:g}", with_gate_energy(evaluator, f))
            for f in (0.5, 2.0)
        ]
    if "analog" in evaluator.machines:
        found += _analog_ranges(evaluator)
    return found


def _analog_ranges(evaluator: ChipModel) -> list[Variant]:
    technology = evaluator.analog["technology"]
    return [
        Variant(
            f"analog {name}",
            f"{value:g} {technology.quantities[name].unit}",
            with_analog(evaluator, constants=technology.constants.with_values({name: value})),
        )
        for name in ANALOG_RANGES
        for value in (technology.quantities[name].low, technology.quantities[name].high)
        if value != getattr(technology.constants, name)
    ]


def convention_variants(evaluator: ChipModel) -> list[Variant]:
    """Every convention at each of its other values."""
    found = [
        Variant("weights on chip", name, with_boundary(evaluator, residency=name))
        for name in RESIDENCIES
        if name != evaluator.boundary.residency
    ]
    if "digital" in evaluator.machines:
        now = evaluator.digital["fixed"].get("architecture")
        found += [
            Variant("pair select", str(name), with_pair_select(evaluator, str(name)))
            for name in PAIR_SELECTS
            if name != now
        ]
    if "analog" in evaluator.machines:
        now = evaluator.analog["technology"].adc
        found += [
            Variant("ADC law", name, with_analog(evaluator, adc=law))
            for name, law in ADC_LAWS.items()
            if law != now
        ]
    return found
