"""One chip explained: where every projection went, what binds it there, and what it was up against.

A chip is a batch of one throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluators.codesign.boundary import LEFT_OUT, Boundary
from evaluators.codesign.chip import ChipModel, PartCosts
from evaluators.codesign.fidelity_proxy import proxy_note
from spaces.codesign.chip_space import ChipBatch
from spaces.codesign.placement import MACHINES

BOUND_SHARE = 0.99
"""Off-chip memory binds a part when it is busy for this share of the part's time."""

ON_CHIP_LIMIT = {
    ("digital", True): "macro cycles",
    ("digital", False): "loading and running the macros",
    ("analog", True): "settling and converters",
    ("analog", False): "programming the arrays",
}
"""(machine, resident) -> what takes the time when off-chip memory does not."""


def explain_chip(evaluator: ChipModel, design: ChipBatch) -> dict[str, Any]:
    """Metrics, tables and the energy of one chip, JSON-serialisable."""
    evaluation = evaluator.evaluate(design)
    costs = evaluator.part_costs(design)
    return {
        "metrics": {name: float(values[0]) for name, values in evaluation.metrics.items()},
        "violations": {name: float(values[0]) for name, values in evaluation.violations.items()},
        "tables": {
            "Where the projections went, and what binds them": part_rows(evaluator, design, costs),
            "Machines on this chip": machine_rows(evaluator, design, costs),
            "The best other machine for each projection": rival_rows(evaluator, design),
            "One boundary for every machine": boundary_rows(evaluator.boundary),
            "What the model of each machine leaves out": [
                {"machine": machine, "not counted": text} for machine, text in LEFT_OUT.items()
            ],
        },
        "texts": {"Fidelity proxy": proxy_note(evaluator.losses.source)},
        "energy_breakdown_pj": energy_groups(evaluator, design, costs),
    }


def part_rows(evaluator: ChipModel, design: ChipBatch, costs: PartCosts) -> list[dict[str, Any]]:
    """One row per part: placement, whether its weights stay, time, energy, limit, loss."""
    lost = evaluator.losses_of(design)[0]
    rows = []
    for index, part in enumerate(evaluator.space.parts):
        rows.append(
            {
                "projection": part.name,
                "placement": str(evaluator.space.placements[design.placement[0, index]]),
                "weights [M]": part.weights / 1e6,
                "weights are": "on chip" if costs.resident[0, index] else "streamed",
                "off-chip [MB]": float(costs.streamed_bits[0, index]) / 8e6,
                "latency_ms": float(costs.ns[0, index] + costs.link_ns[0, index]) * 1e-6,
                "energy_mj": float(costs.pj[0, index] + costs.link_pj[0, index]) * 1e-9,
                "bound by": binding_resource(evaluator, design, costs, index),
                "proxy loss": float(lost[index]),
            }
        )
    return rows


def binding_resource(evaluator: ChipModel, design: ChipBatch, costs: PartCosts, part: int) -> str:
    """What takes the time of one part."""
    placement = evaluator.space.placements[design.placement[0, part]]
    resident = bool(costs.resident[0, part])
    if not resident and costs.memory_ns[0, part] >= BOUND_SHARE * costs.ns[0, part]:
        return "off-chip bandwidth"
    if placement.machine != "spatial":
        return ON_CHIP_LIMIT[placement.machine, resident]
    return evaluator.core_bottleneck(design, part, resident)


def machine_rows(evaluator: ChipModel, design: ChipBatch, costs: PartCosts) -> list[dict[str, Any]]:
    """One row per machine in use: knobs, area, weights held, time and energy."""
    held = evaluator.space.machine_of[design.placement[0]]
    share = np.array([part.weights for part in evaluator.space.parts], dtype=np.float64)
    time_ns, energy_pj = costs.ns[0] + costs.link_ns[0], costs.pj[0] + costs.link_pj[0]
    rows = []
    for name, machine in evaluator.machines.items():
        here = held == MACHINES.index(name)
        if name != "spatial" and not here.any():
            continue
        knobs = int(design.knobs[name][0])
        attention_ns, attention_pj = 0.0, 0.0
        if name == "spatial":
            attention_ns, attention_pj = (float(c[knobs]) for c in evaluator.core.attention)
        setting = evaluator.space.grid(name)[knobs]
        rows.append(
            {
                "machine": name if name != "spatial" else "spatial core (runs attention)",
                "knobs": ", ".join(f"{key} {value}" for key, value in setting.items()),
                "area_mm2": float(machine.area_mm2[knobs]),
                "weights held": float(share[here].sum() / share.sum()),
                "on chip": float((share * costs.resident[0])[here].sum() / share.sum()),
                "latency_ms": (float(time_ns[here].sum()) + attention_ns) * 1e-6,
                "energy_mj": (float(energy_pj[here].sum()) + attention_pj) * 1e-9,
                "cells written per step [M]": float(costs.written_cells[0, here].sum()) / 1e6,
            }
        )
    return rows


def rival_rows(evaluator: ChipModel, design: ChipBatch) -> list[dict[str, Any]]:
    """For every part, the best it could do on another machine with all else unchanged.

    Best is the least energy x latency of the chip among placements on other machines that lose no
    more; a machine that the chip lacks comes with the first setting of its knobs.
    """
    space = evaluator.space
    parts, count = len(space.parts), len(space.placements)
    placement = np.repeat(design.placement, parts * count, axis=0)
    part, choice = np.divmod(np.arange(parts * count), count)
    placement[np.arange(len(part)), part] = choice
    knobs = {name: np.repeat(row, parts * count) for name, row in design.knobs.items()}
    moved = evaluator.evaluate(ChipBatch(placement, knobs))
    own = evaluator.evaluate(design).metrics
    allowed = moved.feasible
    allowed &= space.machine_of[choice] != space.machine_of[design.placement[0, part]]
    allowed &= moved.metrics["fidelity_proxy_loss"] <= own["fidelity_proxy_loss"][0] + 1e-12
    edp = np.where(allowed, moved.metrics["edp_mj_ms"], np.inf).reshape(parts, count)
    rows = []
    for index in range(parts):
        best = int(np.argmin(edp[index]))
        found = bool(np.isfinite(edp[index, best]))
        at = index * count + best
        rows.append(
            {
                "projection": space.parts[index].name,
                "is on": str(space.placements[design.placement[0, index]]),
                "best elsewhere": str(space.placements[best]) if found else "none fits",
                "latency_ms": _change(moved.metrics, own, "latency_ms", at, found),
                "energy_mj": _change(moved.metrics, own, "energy_mj_per_token", at, found),
                "area_mm2": _change(moved.metrics, own, "area_mm2", at, found),
            }
        )
    return rows


def _change(
    moved: Mapping[str, Any], own: Mapping[str, Any], metric: str, row: int, found: bool
) -> str:
    return f"{moved[metric][row] - own[metric][0]:+.4g}" if found else ""


def boundary_rows(boundary: Boundary) -> list[dict[str, Any]]:
    """What all machines share, one value per row."""
    bits = boundary.workload.precision
    values = {
        "workload": boundary.workload.name,
        "tokens per step": boundary.workload.tokens,
        "bits of weights, activations, kv": f"{bits.weight}, {bits.activation}, {bits.kv}",
        "technology node": f"{boundary.node_nm:g} nm",
        "off-chip memory": f"{boundary.memory_pj_per_bit:g} pJ/bit, "
        f"{boundary.memory_bits_per_ns / 8:g} GB/s",
        "area budget": f"{boundary.area_budget_mm2:g} mm2",
        "leakage": f"{boundary.leakage_mw_per_mm2:g} mW/mm2 of the whole chip",
        "link between machines": f"{boundary.link.pj_per_bit:g} pJ/bit, "
        f"{boundary.link.bits_per_ns:g} bit/ns, {boundary.link.latency_ns:g} ns",
        "weights stay on chip": {"capacity": "where they fit", "always": "assumed"}[
            boundary.residency
        ],
    }
    return [{"what": what, "value": str(value)} for what, value in values.items()]


def energy_groups(
    evaluator: ChipModel, design: ChipBatch, costs: PartCosts
) -> dict[str, dict[str, float]]:
    """Machine -> part of its energy of one run [pJ]; attention and leakage stand apart."""
    held = evaluator.space.machine_of[design.placement[0]]
    memory = costs.streamed_bits[0] * evaluator.boundary.memory_pj_per_bit
    groups = {}
    for code, name in enumerate(MACHINES):
        here = held == code
        if here.any():
            groups[name] = {
                "weights from off-chip memory": float(memory[here].sum()),
                "on chip": float((costs.pj[0] - memory)[here].sum()),
                "links": float(costs.link_pj[0, here].sum()),
            }
    core = int(design.knobs["spatial"][0])
    metrics = evaluator.evaluate(design).metrics
    leakage = (
        evaluator.boundary.leakage_mw_per_mm2
        * metrics["area_mm2"][0]
        * metrics["latency_ms"][0]
        * 1e6
    )
    groups["attention"] = {"keys, values and scores": float(evaluator.core.attention[1][core])}
    groups["whole chip"] = {"leakage": float(leakage)}
    return groups
