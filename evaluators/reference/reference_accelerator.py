"""The `sparseloop` accounting as an evaluator: one mapping at a time, for comparison.

Formats are resolved over each level's own tile, as the reference does; a width that a format leaves
open is the level's metadata width (one bit for a bitmap).
"""

from __future__ import annotations

from math import prod

import numpy as np

from evaluators.accelerator.accelerator_model import AcceleratorModel
from evaluators.accelerator.traffic import access_counts
from evaluators.evaluation import Evaluation, FloatArray
from evaluators.reference.reference_model import (
    ReferenceInput,
    ReferenceResult,
    evaluate_reference,
)
from evaluators.reference.reference_occupancy import FiberRank, effective_density, tile_units
from spaces.formats.compression_format import Format, Primitive, resolve_sizes
from spaces.hardware import Level
from spaces.mappings.loop_nest import MappingBatch

_PRIMITIVES = {Primitive.B: "B", Primitive.CP: "CP", Primitive.RLE: "RLE", Primitive.UOP: "UOP"}


def evaluate_by_reference(model: AcceleratorModel, designs: MappingBatch) -> Evaluation:
    """Price n mappings by the reference's rules; metrics and capacity violations.

    Raises:
        ValueError: If a format has a primitive that the reference does not know.
    """
    rows = [_price(model, designs.take(np.array([index]))) for index in range(len(designs))]
    metrics = {name: np.array([row[0][name] for row in rows]) for name in rows[0][0]}
    violations = {name: np.array([row[1][name] for row in rows]) for name in rows[0][1]}
    return Evaluation(metrics, violations)


def fiber_ranks(fmt: Format, extents: dict[str, int], level: Level) -> list[FiberRank]:
    """A format's ranks over a tile; flattened dimensions are one rank, None ranks join the next.

    >>> from spaces.formats.format_grammar import parse_format
    >>> csr = parse_format("csr", ("M", "K"))
    >>> [rank.shape for rank in fiber_ranks(csr, {"M": 4, "K": 8}, Level("GLB"))]
    [4, 8]
    """
    width = level.metadata_access_bits or level.access_bits
    ranks: list[FiberRank] = []
    pending = 1
    for lvl, sizes in zip(fmt.levels, resolve_sizes(fmt, extents), strict=True):
        shape = prod(sizes.values())
        if lvl.primitive is Primitive.NONE:
            pending *= shape
            continue
        if lvl.primitive not in _PRIMITIVES:
            raise ValueError(f"format {fmt}: the sparseloop accounting knows no {lvl.primitive}")
        bits = 1 if lvl.primitive is Primitive.B else width
        bits = bits if lvl.width_bits is None else lvl.width_bits
        ranks.append(FiberRank(_PRIMITIVES[lvl.primitive], shape * pending, bits, bits))
        pending = 1
    if pending > 1 and ranks:
        raise ValueError(f"format {fmt}: the sparseloop accounting needs None outside, not inside")
    return ranks


def _formats(
    model: AcceleratorModel, design: MappingBatch
) -> dict[tuple[str, str], list[FiberRank]]:
    extents = access_counts(model.operator, model.hardware, design, model.stationarity).extents[0]
    chosen = {}
    for t, tensor in enumerate(model.operator.tensors[:-1]):
        names = [dimension.name for dimension in tensor.dimensions]
        for index, level in enumerate(model.hardware.levels):
            fmt = model.formats_of(tensor.name)[design.format_id[0, t, index]]
            if design.keep_at[0, t, index] >= 0 and fmt.levels:
                sizes = dict(zip(names, map(int, extents[t, index]), strict=False))
                chosen[tensor.name, level.name] = fiber_ranks(fmt, sizes, level)
    return chosen


def _price(
    model: AcceleratorModel, design: MappingBatch
) -> tuple[dict[str, float], dict[str, float]]:
    names = [tensor.name for tensor in model.operator.tensors]
    given = ReferenceInput(
        model.densities,
        _formats(model, design),
        model.optimization,
        dict(zip(names, map(float, model.word_bits), strict=True)),
        model.technology,
    )
    result = evaluate_reference(model.operator, model.hardware, design, given, model.stationarity)
    memory = sum(pj for name, pj in result.energy_pj.items() if name != "MAC")
    cycles = max([result.cycles, *_port_cycles(model, given, result)])
    static = model.price_tables[2] * cycles
    metrics = {
        "energy_pj": memory + result.energy_pj["MAC"] + static,
        "memory_energy_pj": memory,
        "latency_cycles": cycles,
        "compute_cycles": result.cycles,
        "latency_s": cycles / model.hardware.clock_hz,
        "area_mm2": model.area_mm2,
    }
    metrics["edp_pj_cycles"] = metrics["energy_pj"] * cycles
    return metrics, _capacity(model, given, design)


def _port_cycles(
    model: AcceleratorModel, given: ReferenceInput, result: ReferenceResult
) -> list[float]:
    """Cycles of every level's ports, per instance; skipped accesses take no slot."""
    busy = []
    for level in model.hardware.levels:
        bits = {"reads": 0.0, "fills": 0.0, "updates": 0.0}
        for (name, tensor, kind), entry in result.accesses.items():
            if name == level.name:
                bits[kind] += (entry.actual + entry.gated) * given.word_bits[tensor]
                ranks = given.formats.get((tensor, name), ())
                for rank, units in zip(ranks, entry.ranks, strict=False):
                    bits[kind] += units.metadata * rank.metadata_bits
                    bits[kind] += units.payload * rank.payload_bits
        read, write = bits["reads"], bits["fills"] + bits["updates"]
        if level.shared_port:
            busy.append((read + write) / level.read_bits_per_cycle)
        else:
            busy += [read / level.read_bits_per_cycle, write / level.write_bits_per_cycle]
    return busy


def _capacity(
    model: AcceleratorModel, given: ReferenceInput, design: MappingBatch
) -> dict[str, float]:
    tiles: FloatArray = access_counts(
        model.operator, model.hardware, design, model.stationarity
    ).reuse[0, :, :, 0]
    overflow = {}
    for index, level in enumerate(model.hardware.levels):
        if not np.isfinite(level.capacity_bits):
            continue
        held = 0.0
        for t, tensor in enumerate(model.operator.tensors):
            ranks = given.formats.get((tensor.name, level.name), [])
            elements = model.operator.tensor_elements(tensor.name)
            spec = model.densities.get(tensor.name)
            share = effective_density(spec, elements) if spec and ranks else 1.0
            held += float(tiles[t, index]) * given.word_bits[tensor.name] * share
            if spec and ranks:
                units = tile_units(spec, elements, ranks)
                for rank, (metadata, payload) in zip(ranks, units, strict=True):
                    held += metadata * rank.metadata_bits + payload * rank.payload_bits
        overflow[f"capacity_{level.name}"] = held / level.capacity_bits - 1.0
    return overflow
