"""Where the numbers of one design come from: counts, bits, energies and latency bounds by name.

The breakdown sums to the totals that `evaluate` gives; every quantity has its definition beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evaluators.accelerator.accelerator_model import AcceleratorModel
from evaluators.accelerator.stream_kernel import Stream
from evaluators.accelerator.traffic import Access, access_counts
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.mappings.residency import at_home

DEFINITIONS = {
    # traffic and energy
    "tile_elements": "elements of the tensor's tile at this level",
    "fetches": "times one instance loads the tile",
    "data_read_bits": "payload bits read, after compression, gating and skipping",
    "data_written_bits": "payload bits written: fills, partial sums, accumulations",
    "metadata_bits": "bits of bitmaps, coordinates, runs and offsets read or written; those of a "
    "leader whose follower is skipped are read ahead and hold no slot",
    "gated_bits": "payload bits whose access is gated: cheap, but they hold their slot",
    "resident_bits": "encoded bits that one instance holds (expected)",
    "data_pj": "payload bits x pJ per bit",
    "metadata_pj": "metadata bits x pJ per bit of metadata",
    "gated_pj": "gated bits x pJ per gated bit",
    "decoder_pj": "elements that decoders pass x pJ per primitive on the way",
    "total_pj": "data, metadata, gated and decoder",
    # dense accesses, all instances, before sparsity
    "read": "words of operands read: by the next level inwards, or by the compute units",
    "fill": "words written when a tile or a spilled partial sum arrives from outside",
    "drain_write": "words of partial or finished sums that arrive from inside",
    "refetch_read": "spilled partial sums read back by the next level inwards",
    "drain_read": "words of the output read to send them outwards",
    "accumulate_read": "partial sums read by the compute units, none for a first product",
    "accumulate_write": "partial sums written by the compute units",
    # latency bounds
    "instances": "instances of the level in the hardware",
    "used": "instances that have work",
    "capacity_bits": "bits that one instance can hold",
    "bound_cycles": "levels: bits through the busiest port of one instance / its bandwidth; "
    "decoders: elements / elements per cycle; computes: temporal trips x fraction of computes "
    "that take a cycle / issue rate",
    "energy_pj": "bits x pJ per bit, data and metadata apart; computes; leakage",
    # compute units
    "macs_useful": "multiplications of the operator",
    "macs_issued": "the same with padded trips",
    "real": "computed at full energy",
    "gated": "gated: a cycle each, little energy",
    "skipped": "skipped: neither",
    # totals
    "memory_energy_pj": "energy of all levels and decoders, without computes and leakage",
    "latency_cycles": "largest of the bounds: perfect overlap",
    "compute_cycles": "the bound of the compute units",
    "latency_s": "cycles / clock",
    "edp_pj_cycles": "energy x latency",
    "average_power_w": "energy / latency",
    "utilization": "useful MACs that are not skipped / what the units could issue meanwhile",
    "area_mm2": "memories, registers and MACs of all instances; DRAM excluded",
    # roofline
    "intensity_macs_per_byte": "useful MACs per byte moved at the outermost level (roofline x)",
    "macs_per_cycle": "useful MACs per cycle reached (roofline y)",
}
"""What each number of an explanation means."""


def explain_design(model: AcceleratorModel, design: MappingBatch) -> dict[str, Any]:
    """Breakdown of a batch of one mapping: nested, JSON-serialisable, units in names.

    Raises:
        ValueError: If the batch does not hold exactly one mapping.
    """
    if len(design) != 1:
        raise ValueError(f"explain takes one design, got a batch of {len(design)}")
    evaluation = model.evaluate(design)
    streams, computes = _streams(model, design)
    counts = access_counts(model.operator, model.hardware, design, model.stationarity)
    words = at_home(model.operator, counts.words[0], 0.0)
    reuse = at_home(model.operator, counts.reuse[0], 0.0)
    shown = replace(
        design,
        keep_at=at_home(model.operator, design.keep_at[0], BYPASS)[None],
        format_id=at_home(model.operator, design.format_id[0], 0)[None],
    )
    totals = {name: float(values[0]) for name, values in evaluation.metrics.items()}
    levels = {
        level.name: _level(model, shown, (streams, words, reuse), index)
        for index, level in enumerate(model.hardware.levels)
    }
    compute = _compute(model, counts.macs[0], computes, totals)
    bounds = {name: level["bound_cycles"] for name, level in levels.items()}
    bounds |= _decoder_bounds(model, design, streams)
    bounds["compute"] = totals["compute_cycles"]
    binding = max(bounds, key=lambda name: bounds[name])
    return {
        "operator": model.operator.name,
        "totals": totals,
        "violations": {name: float(v[0]) for name, v in evaluation.violations.items()},
        "levels": levels,
        "compute": compute,
        "static_energy_pj": totals["latency_cycles"] * model.price_tables[2],
        "bounds_cycles": bounds,
        "bottleneck": binding,
        "roofline": _roofline(model, streams, totals),
        "definitions": DEFINITIONS,
    }


def _streams(model: AcceleratorModel, design: MappingBatch) -> tuple[Any, Any]:
    """Streams of shape (T, L, STREAMS) and the fractions of computes (cycles, real)."""
    _, tables = model.price(design)
    return tables[6][0], tables[1][2][0, :2]


def _decoder_bounds(
    model: AcceleratorModel, design: MappingBatch, streams: Any
) -> dict[str, float]:
    """Cycles of the decoders behind every level, where decoding takes time."""
    speed = model.decoder.elements_per_cycle
    if not np.isfinite(speed):
        return {}
    elements = streams[:, :, Stream.DECODED_ELEMENTS].sum(axis=0)
    return {
        f"{level.name} decoder": float(elements[index])
        / _used_instances(model, design, index)
        / speed
        for index, level in enumerate(model.hardware.levels)
    }


def _level(
    model: AcceleratorModel, design: MappingBatch, arrays: tuple[Any, Any, Any], index: int
) -> dict[str, Any]:
    streams, words, reuse = arrays
    used = _used_instances(model, design, index)
    tensors = {
        tensor.name: _tensor(
            model, design, (streams[t, index], words[t, index], reuse[t, index]), (t, index)
        )
        for t, tensor in enumerate(model.operator.tensors)
        if design.keep_at[0, t, index] != BYPASS
    }
    level = model.hardware.levels[index]
    bits = streams[:, index].sum(axis=0)
    reads = bits[Stream.DATA_READ] + bits[Stream.METADATA_READ] + bits[Stream.GATED_READ]
    writes = bits[Stream.DATA_WRITE] + bits[Stream.METADATA_WRITE] + bits[Stream.GATED_WRITE]
    if level.shared_port:
        bound = (reads + writes) / used / level.read_bits_per_cycle
    else:
        bound = max(reads / level.read_bits_per_cycle, writes / level.write_bits_per_cycle) / used
    return {
        "instances": model.hardware.instances[index],
        "instances_used": used,
        "read_bits": float(reads),
        "written_bits": float(writes),
        "resident_bits": float(bits[Stream.RESIDENT]),
        "capacity_bits": _finite(level.capacity_bits),
        "energy_pj": sum(entry["energy_pj"]["total"] for entry in tensors.values()),
        "bound_cycles": float(bound),
        "tensors": tensors,
    }


def _tensor(
    model: AcceleratorModel,
    design: MappingBatch,
    arrays: tuple[Any, Any, Any],
    place: tuple[int, int],
) -> dict[str, Any]:
    bits, words, reuse = arrays
    t, index = place
    price = model.price_tables[0][index]
    gated = float(bits[Stream.GATED_READ] + bits[Stream.GATED_WRITE])
    energy = {
        "data": float(bits[Stream.DATA_READ] * price[0] + bits[Stream.DATA_WRITE] * price[1]),
        "metadata": float(
            (bits[Stream.METADATA_READ] + bits[Stream.SCANNED]) * price[2]
            + bits[Stream.METADATA_WRITE] * price[3]
        ),
        "gated": gated * float(price[4]),
        "decoder": float(bits[Stream.DECODED]),
    }
    energy["total"] = sum(energy.values())
    formats = model.formats_of(model.operator.tensors[t].name)
    return {
        "format": str(formats[design.format_id[0, t, index]]),
        "tile_elements": float(reuse[0]),
        "fetches": float(reuse[1]),
        "distinct_tiles": float(reuse[2]),
        "accesses": {kind.name.lower(): float(words[kind]) for kind in Access},
        "data_read_bits": float(bits[Stream.DATA_READ]),
        "data_written_bits": float(bits[Stream.DATA_WRITE]),
        "metadata_read_bits": float(bits[Stream.METADATA_READ] + bits[Stream.SCANNED]),
        "metadata_written_bits": float(bits[Stream.METADATA_WRITE]),
        "gated_bits": gated,
        "resident_bits": float(bits[Stream.RESIDENT]),
        "energy_pj": energy,
    }


def _compute(
    model: AcceleratorModel, macs: float, computes: Any, totals: dict[str, float]
) -> dict[str, Any]:
    cycles, real = float(computes[0]), float(computes[1])
    active_pj, gated_pj = (float(value) for value in model.price_tables[1])
    return {
        "macs_useful": model.operator.macs,
        "macs_issued": float(macs),
        "real": float(macs) * real,
        "gated": float(macs) * (cycles - real),
        "skipped": float(macs) * (1.0 - cycles),
        "energy_pj": float(macs) * (real * active_pj + (cycles - real) * gated_pj),
        "bound_cycles": totals["compute_cycles"],
    }


def _roofline(model: AcceleratorModel, streams: Any, totals: dict[str, float]) -> dict[str, Any]:
    outermost = streams[:, 0, : Stream.SCANNED].sum()
    moved_bytes = float(outermost) / 8
    peak = model.hardware.instances[-1] * model.hardware.compute.macs_per_cycle
    bandwidth = model.hardware.levels[0].read_bits_per_cycle / 8
    macs = model.operator.macs
    intensity = macs / moved_bytes if moved_bytes else 0.0
    return {
        "intensity_macs_per_byte": intensity,
        "macs_per_cycle": macs / totals["latency_cycles"] if totals["latency_cycles"] else 0.0,
        "peak_macs_per_cycle": peak,
        "bandwidth_bytes_per_cycle": _finite(bandwidth),
        "roof_macs_per_cycle": float(min(peak, intensity * bandwidth)),
        "ridge_macs_per_byte": _finite(peak / bandwidth),
    }


def _used_instances(model: AcceleratorModel, design: MappingBatch, index: int) -> int:
    axes = model.hardware.axes
    used = 1
    for trip, kind in zip(design.loop_trip[0], design.loop_kind[0], strict=True):
        if kind != 0 and axes[kind - 1][0] < index:
            used *= int(trip)
    return used


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
