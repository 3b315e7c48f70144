"""A chip of up to three machines running a language model: energy, latency, area, fidelity proxy.

Every part of the model is priced on the machine that holds it, under one boundary; the core runs
what has no weights, and activations travel between it and the other machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.codesign.analog_machine import AnalogArrays
from evaluators.codesign.boundary import Boundary
from evaluators.codesign.digital_machine import DigitalMacros
from evaluators.codesign.fidelity_proxy import LostEnergy, SyntheticLoss
from evaluators.codesign.part_price import Floats, Ints, PartPrice
from evaluators.codesign.spatial_machine import SpatialCore
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import Architecture
from spaces.codesign.chip_space import ChipBatch, ChipSpace
from spaces.codesign.placement import MACHINES

Machine = SpatialCore | DigitalMacros | AnalogArrays


@dataclass(frozen=True)
class PartCosts:
    """Costs of every part of n chips in one run; arrays of shape (n, parts).

    Attributes:
        ns, pj: Time and energy on the part's machine, off-chip memory included.
        resident: Whether the weights stay on the chip.
        memory_ns: Time that off-chip memory needs for the streamed weights.
        streamed_bits: Read from off-chip memory.
        link_ns, link_pj: Activations to the machine and back.
        excess: How far the form is from possible; <= 0 = possible.
        written_cells: Cells programmed because weights are streamed.
    """

    ns: Floats
    pj: Floats
    resident: NDArray[np.bool_]
    memory_ns: Floats
    streamed_bits: Floats
    link_ns: Floats
    link_pj: Floats
    excess: Floats
    written_cells: Floats


@dataclass
class ChipModel:
    """Prices batches of chips.

    Metrics per token of the run: `energy_mj_per_token`; per run: `latency_ms` (every sequence of
    the batch waits that long for its next token), `offchip_gb`; `area_mm2`, `edp_mj_ms`,
    `tokens_per_s`; `fidelity_proxy_loss` (see `fidelity_proxy`), and by weights: `resident_share`
    and `spatial_share`, `digital_share`, `analog_share`.
    Violations: `area_budget`, `form_possible`.

    Attributes:
        space: What is placed, and where it may go.
        boundary: What all machines share.
        spatial: Builds the core: search, hardware preset, technology (see `SpatialCore`).
        digital, analog: Options of the macros and arrays.
        losses: The fidelity proxy.
    """

    space: ChipSpace
    boundary: Boundary
    spatial: Mapping[str, Any]
    digital: Mapping[str, Any] = field(default_factory=dict)
    analog: Mapping[str, Any] = field(default_factory=dict)
    losses: LostEnergy = field(default_factory=SyntheticLoss)

    @cached_property
    def _kinds(self) -> tuple[list[Any], Ints]:
        """One part of every kind, and the kind of every part, shape (parts,)."""
        names = list(dict.fromkeys(part.kind for part in self.space.parts))
        of_part = np.array([names.index(part.kind) for part in self.space.parts])
        first = [self.space.parts[int(np.argmax(of_part == i))] for i in range(len(names))]
        return first, of_part

    @cached_property
    def machines(self) -> Mapping[str, Machine]:
        """Every machine that may hold weights, and the core."""
        offered = {m: tuple(p for p in self.space.placements if p.machine == m) for m in MACHINES}

        def shared(name: str) -> tuple[Any, ...]:
            return self.boundary, self.space.grid(name), self._kinds[0], offered[name]

        found: dict[str, Machine] = {"spatial": SpatialCore(*shared("spatial"), **self.spatial)}
        if offered["digital"]:
            found["digital"] = DigitalMacros(*shared("digital"), **self.digital)
        if offered["analog"]:
            found["analog"] = AnalogArrays(*shared("analog"), **self.analog)
        return found

    @property
    def core(self) -> SpatialCore:
        """The spatial core, which is on every chip."""
        core = self.machines["spatial"]
        assert isinstance(core, SpatialCore)
        return core

    def evaluate(self, designs: ChipBatch) -> Evaluation:
        """Metrics of n chips."""
        costs = self.part_costs(designs)
        core_ns, core_pj = (column[designs.knobs["spatial"]] for column in self.core.attention)
        area = self.area_mm2(designs)
        latency_ns = (costs.ns + costs.link_ns).sum(axis=1) + core_ns
        leakage = self.boundary.leakage_mw_per_mm2 * area * latency_ns
        energy_pj = (costs.pj + costs.link_pj).sum(axis=1) + core_pj + leakage
        tokens = self.boundary.workload.tokens
        energy_mj, latency_ms = energy_pj * 1e-9 / tokens, latency_ns * 1e-6
        weights = self._weights / self._weights.sum()
        held = self.space.machine_of[designs.placement]
        metrics = {
            "energy_mj_per_token": energy_mj,
            "latency_ms": latency_ms,
            "area_mm2": area,
            "fidelity_proxy_loss": self.losses_of(designs) @ weights,
            "edp_mj_ms": energy_mj * latency_ms,
            "tokens_per_s": tokens / latency_ns * 1e9,
            "offchip_gb": costs.streamed_bits.sum(axis=1) / 8e9,
            "resident_share": costs.resident @ weights,
        }
        for code, name in enumerate(MACHINES):
            metrics[f"{name}_share"] = (held == code) @ weights
        return Evaluation(
            metrics,
            {
                "area_budget": area / self.boundary.area_budget_mm2 - 1.0,
                "form_possible": costs.excess.max(axis=1),
            },
        )

    @cached_property
    def _weights(self) -> Floats:
        return np.array([part.weights for part in self.space.parts], dtype=np.float64)

    def area_mm2(self, designs: ChipBatch) -> Floats:
        """Core, and the macros and arrays of the machines in use, shape (n,)."""
        area = self.core.area_mm2[designs.knobs["spatial"]]
        held = self.space.machine_of[designs.placement]
        for name, machine in self.machines.items():
            if name != "spatial":
                used = (held == MACHINES.index(name)).any(axis=1)
                area = area + used * machine.area_mm2[designs.knobs[name]]
        return np.asarray(area, dtype=np.float64)

    def part_costs(self, designs: ChipBatch) -> PartCosts:
        """Costs of every part of n chips."""
        shape = designs.placement.shape
        columns = {name: np.zeros(shape) for name in PartCosts.__dataclass_fields__}
        held = self.space.machine_of[designs.placement]
        for name, machine in self.machines.items():
            here = held == MACHINES.index(name)
            chip, part = np.nonzero(here)
            if not len(chip):
                continue
            for key, values in self._on_machine(name, machine, designs, (chip, part)).items():
                columns[key][here] = values
        resident = columns.pop("resident") > 0
        return PartCosts(resident=resident, **columns)

    def _on_machine(
        self, name: str, machine: Machine, designs: ChipBatch, where: tuple[Ints, Ints]
    ) -> dict[str, Floats]:
        """Costs of the parts that a machine holds, given as (chip, part), each of shape (m,)."""
        chip, part = where
        knobs = designs.knobs[name][chip]
        placement = self._local[designs.placement[chip, part]]
        price: PartPrice = machine.prices.at(knobs, self._kinds[1][part], placement)
        layers = self._layers[part]
        need = np.bincount(chip, layers * price.need, len(designs))
        fits = need[chip] <= machine.capacity[knobs]
        resident = fits | (self.boundary.residency == "always")
        streamed = np.where(resident, 0.0, layers * price.streamed_bits)
        link_ns, link_pj = self._transfer(part) if name != "spatial" else (0.0, 0.0)
        return {
            "ns": layers * np.where(resident, price.resident_ns, price.streamed_ns),
            "pj": layers * np.where(resident, price.resident_pj, price.streamed_pj),
            "resident": resident.astype(np.float64),
            "memory_ns": streamed / self.boundary.memory_bits_per_ns,
            "streamed_bits": streamed,
            "link_ns": np.broadcast_to(link_ns, chip.shape),
            "link_pj": np.broadcast_to(link_pj, chip.shape),
            "excess": price.excess,
            "written_cells": np.where(resident, 0.0, layers * price.written_cells),
        }

    def _transfer(self, part: Ints) -> tuple[Floats, Floats]:
        """Time and energy of the activations of parts, to the machine and back."""
        link, bits = self.boundary.link, self.boundary.workload.precision.activation
        moved = np.array(
            [p.layers * p.tokens * (p.reduction + p.parallel * p.outputs) for p in self.space.parts]
        )
        total = moved[part] * float(bits)
        trips = 2.0 * self._layers[part]
        return total / link.bits_per_ns + trips * link.latency_ns, total * link.pj_per_bit

    @cached_property
    def _layers(self) -> Floats:
        return np.array([part.layers for part in self.space.parts], dtype=np.float64)

    @cached_property
    def _local(self) -> Ints:
        """Position of every placement among those of its machine."""
        seen: dict[str, int] = {}
        local = []
        for placement in self.space.placements:
            local.append(seen.get(placement.machine, 0))
            seen[placement.machine] = local[-1] + 1
        return np.array(local)

    def losses_of(self, designs: ChipBatch) -> Floats:
        """Fidelity proxy of every part, shape (n, parts)."""
        columns = self._columns(designs)
        setting = np.searchsorted(self._channels, columns)
        parts = np.arange(len(self.space.parts))[None, :]
        return np.asarray(self._loss_table[setting[:, None], parts, designs.placement])

    def _columns(self, designs: ChipBatch) -> Ints:
        """Outputs that share their pairs on the macros of every chip; 0 where none do."""
        digital = self.machines.get("digital")
        if not isinstance(digital, DigitalMacros) or not _shares_pairs(digital):
            return np.zeros(len(designs), dtype=np.int64)
        return digital.columns(designs.knobs["digital"])

    @cached_property
    def _channels(self) -> Ints:
        """Every number of outputs that may share their pairs, ascending."""
        digital = self.machines.get("digital")
        if not isinstance(digital, DigitalMacros) or not _shares_pairs(digital):
            return np.zeros(1, dtype=np.int64)
        return np.unique(digital.columns(np.arange(len(digital.grid))))

    @cached_property
    def _loss_table(self) -> Floats:
        """Proxy by (outputs sharing pairs, part, placement)."""
        shape = len(self._channels), len(self.space.parts), len(self.space.placements)
        table = np.zeros(shape)
        for c, p, k in np.ndindex(*shape):
            placement = self.space.placements[k]
            shared = int(self._channels[c]) if placement.machine == "digital" else 0
            table[c, p, k] = self.losses.lost(self.space.parts[p], placement, shared)
        return table

    def placed(self, designs: ChipBatch) -> dict[str, NDArray[np.str_]]:
        """Part -> machine that holds it in each of n chips, shape (n,)."""
        held = np.array(MACHINES)[self.space.machine_of[designs.placement]]
        return {part.name: held[:, i] for i, part in enumerate(self.space.parts)}

    def core_bottleneck(self, design: ChipBatch, part: int, resident: bool) -> str:
        """What limits a part of one chip that the core holds: a level's port, or its units."""
        where = int(design.knobs["spatial"][0]), int(self._kinds[1][part])
        return self.core.bottleneck(*where, int(self._local[design.placement[0, part]]), resident)


def _shares_pairs(macros: DigitalMacros) -> bool:
    return macros.fixed.get("architecture") == Architecture.FLEXCIM_SHARED
