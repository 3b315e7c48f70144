"""Compiled batch loop of the sparse accelerator model: energy, latency and violations per design.

Tables beyond those of `stream_kernel`:

    prices   pJ per bit (L, 5): data read, data write, metadata read, metadata write, gated;
             per compute (2,): active, gated; static pJ per cycle
    machine  bits per cycle (L, 2): read, write; shared port (L,); capacity_bits (L,);
             axis size (X,), axis level (X,); may_keep, must_keep (T, L);
             MACs per cycle of one unit, MACs per cycle of all units, MACs of the operator
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from evaluators.stream_kernel import (
    STREAMS,
    accumulate,
    compute_fractions,
    follow_operand_rules,
    move_operand,
    move_output,
)
from evaluators.traffic import REUSE_COLUMNS, walk_inwards, walk_outwards


class Cost(IntEnum):
    """Rows of the result; the violations follow: capacities (L), fan-outs (X), placement."""

    ENERGY_PJ = 0
    MEMORY_ENERGY_PJ = 1
    LATENCY_CYCLES = 2
    COMPUTE_CYCLES = 3
    UTILIZATION = 4


COSTS = len(Cost)
CACHE_SLOTS = 1 << 12
"""Encoded tiles remembered during one batch."""


@njit(cache=True)
def storage_energy(streams, pj_per_bit):  # type: ignore[no-untyped-def]
    """Energy of all streams (memory, decoders) [pJ]; streams of shape (T, L, STREAMS)."""
    memory, decoders = 0.0, 0.0
    for t in range(streams.shape[0]):
        for level in range(streams.shape[1]):
            bits, price = streams[t, level], pj_per_bit[level]
            memory += bits[0] * price[0] + bits[1] * price[1] + bits[2] * price[2]
            memory += bits[3] * price[3] + (bits[4] + bits[5]) * price[4]
            decoders += bits[6]
    return memory, decoders


@njit(cache=True)
def port_cycles(streams, level, used, bandwidth, shared):  # type: ignore[no-untyped-def]
    """Cycles that the ports of one instance of a level are busy; gated accesses take their slot."""
    read, write = 0.0, 0.0
    for t in range(streams.shape[0]):
        bits = streams[t, level]
        read += bits[0] + bits[2] + bits[4]
        write += bits[1] + bits[3] + bits[5]
    if shared:
        return (read + write) / used / bandwidth[0]
    return max(read / used / bandwidth[0], write / used / bandwidth[1])


@njit(cache=True)
def used_instances(loop_trip, loop_kind, axis_level, level):  # type: ignore[no-untyped-def]
    """Instances of a level that have work; `level` = number of levels asks for compute units."""
    used = 1.0
    for p in range(loop_kind.shape[0]):
        if loop_kind[p] != 0 and axis_level[loop_kind[p] - 1] < level:
            used *= loop_trip[p]
    return used


@njit(cache=True)
def violations(design, machine, streams, out):  # type: ignore[no-untyped-def]
    """Write relative overflows: of each level's capacity, of each axis, and broken placements."""
    _, trip, kind, keep_at, _ = design
    capacity, axis_size, may_keep, must_keep = machine
    tensors, levels = keep_at.shape
    broken = 0.0
    for level in range(levels):
        held = 0.0
        for t in range(tensors):
            held += streams[t, level, STREAMS - 1]
            kept = keep_at[t, level] >= 0
            if (kept and not may_keep[t, level]) or (must_keep[t, level] and not kept):
                broken += 1.0
        out[level] = held / capacity[level] - 1.0
    for axis in range(axis_size.shape[0]):
        used = 1.0
        for p in range(kind.shape[0]):
            if kind[p] == axis + 1:
                used *= trip[p]
        out[levels + axis] = used / axis_size[axis] - 1.0
    out[levels + axis_size.shape[0]] = broken


@njit(cache=True)
def stream_design(design, model, geometry, work, cache, streams):  # type: ignore[no-untyped-def]
    """Fill the streams of one design; return the fractions of computes (cycles, real)."""
    table, coding, zeros, implicit, drain_read = model
    reuse, extents, totals = geometry
    passing, active, made, ungated, spans, box, chain, leaders = work
    rank, trip, kind, keep_at, format_id = design
    walk_inwards(rank, trip, kind, keep_at, table[1], implicit, reuse, totals)
    walk_outwards(
        rank, trip, keep_at, table[0], table[2], table[3], table[4], spans, reuse, extents
    )
    streams[:] = 0.0
    operands = keep_at.shape[0] - 1
    rules = zeros[0]
    cycles, real = 1.0, 1.0
    leaders[:] = 1.0
    if rules.shape[0] > 0 or zeros[2] > 0:
        made[:] = 1.0
        ungated[:] = 1.0
        scratch = (passing, active, made, ungated, spans, box, chain)
        for t in range(operands):
            follow_operand_rules(design, table, coding[1], rules, implicit, t, scratch)
        cycles, real = compute_fractions(keep_at, format_id, zeros, (made, ungated), leaders)
    for t in range(operands):
        move_operand(design, coding, geometry, cache, t, (passing, active), chain, streams)
    move_output(design, coding, geometry, cache, drain_read, chain, streams)
    fractions = (cycles, real, coding[2][operands])
    accumulate(design, zeros, geometry, fractions, leaders, streams)
    return cycles, real


@njit(cache=True)
def new_work(tensors, levels, ranks):  # type: ignore[no-untyped-def]
    """Scratch arrays of `stream_design`."""
    return (
        np.ones((tensors, levels)),
        np.ones((tensors, levels)),
        np.ones((tensors, tensors)),
        np.ones((tensors, tensors)),
        np.ones(ranks, dtype=np.int64),
        np.ones(4, dtype=np.int64),
        np.zeros(levels, dtype=np.int64),
        np.ones(tensors),
    )


@njit(cache=True)
def new_geometry(tensors, levels, dimensions):  # type: ignore[no-untyped-def]
    """Scratch arrays of the dense analysis: reuse, extents, totals."""
    return (
        np.ones((tensors, levels, REUSE_COLUMNS)),
        np.ones((tensors, levels, dimensions), dtype=np.int64),
        np.ones(2 + tensors),
    )


@njit(cache=True)
def new_cache():  # type: ignore[no-untyped-def]
    """An empty memory of encoded tiles."""
    return np.full((CACHE_SLOTS, 3), -1, dtype=np.int64), np.zeros((CACHE_SLOTS, 2))


@njit(cache=True)
def price_batch(batch, model, prices, machine, out):  # type: ignore[no-untyped-def]
    """Price n designs into `out`, shape (COSTS + L + X + 1, n)."""
    ranks, trips, kinds, keeps, formats = batch
    pj_per_bit, compute_pj, static_pj = prices
    bandwidth, shared, limits, axis_level, issue = machine
    n, tensors, levels = keeps.shape
    table = model[0]
    geometry = new_geometry(tensors, levels, table[3].shape[1])
    work = new_work(tensors, levels, table[0].shape[0])
    cache = new_cache()
    streams = np.zeros((tensors, levels, STREAMS))
    broken = np.zeros(out.shape[0] - COSTS)
    totals = geometry[2]
    for i in range(n):
        design = (ranks[i], trips[i], kinds[i], keeps[i], formats[i])
        cycles, real = stream_design(design, model, geometry, work, cache, streams)
        memory, decoders = storage_energy(streams, pj_per_bit)
        macs = totals[0] * totals[1]
        compute = totals[0] * cycles / issue[0]
        latency = compute
        for level in range(levels):
            used = used_instances(trips[i], kinds[i], axis_level, level)
            busy = port_cycles(streams, level, used, bandwidth[level], shared[level])
            latency = max(latency, busy)
        energy = memory + decoders + macs * (real * compute_pj[0] + (cycles - real) * compute_pj[1])
        out[0, i] = energy + latency * static_pj
        out[1, i] = memory
        out[2, i] = latency
        out[3, i] = compute
        out[4, i] = issue[2] / (latency * issue[1]) if latency > 0.0 else 0.0
        violations(design, limits, streams, broken)
        for c in range(broken.shape[0]):
            out[COSTS + c, i] = broken[c]
