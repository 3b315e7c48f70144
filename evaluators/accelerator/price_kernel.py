"""Compiled batch loop of the sparse accelerator model: energy, latency and violations per design.

Tables beyond those of `stream_kernel`:

    prices   pJ per bit (L, 5): data read, data write, metadata read, metadata write, gated;
             per compute (2,): active, gated; static pJ per cycle
    machine  bits per cycle (L, 2): read, write; shared port (L,); capacity_bits (L,);
             axis size (X,), axis level (X,); may_keep, must_keep (T, L);
             bits that a resident tensor reserves at its home (T,), 0 = not resident;
             MACs per cycle of one unit, MACs per cycle of all units, MACs of the operator, elements
             per cycle of the decoder of one instance
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.stream_kernel import (
    STREAMS,
    accumulate,
    encode_tiles,
    follow_rules,
    move_operands,
    move_outputs,
    survive_computes,
)
from evaluators.accelerator.traffic import count_reuse, measure_tiles, new_geometry
from spaces.compiled import compiled, compiled_inside


class Cost(IntEnum):
    """Rows of the result; the violations follow: capacities (L), fan-outs (X), placement."""

    ENERGY_PJ = 0
    MEMORY_ENERGY_PJ = 1
    LATENCY_CYCLES = 2
    COMPUTE_CYCLES = 3
    UTILIZATION = 4


COSTS = len(Cost)
CACHE_SLOTS = 1 << 15
"""Encoded tiles remembered by one evaluator: a tile's size is a pure function of its shape."""

CHUNK = 64
"""Designs worked on together, so that the intermediate tables stay in the processor's cache."""


def new_surviving(designs: int, tensors: int, levels: int) -> tuple[NDArray[Any], ...]:
    """Fractions of transfers and computes that survive gating and skipping; all of them."""
    return (
        np.ones((designs, tensors, levels)),
        np.ones((designs, tensors, levels)),
        np.ones((designs, 2 + tensors)),
    )


def new_cache() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """An empty memory of encoded tiles: keys and (metadata, payload) bits."""
    return np.full((CACHE_SLOTS, 3), -1, dtype=np.int64), np.zeros((CACHE_SLOTS, 2))


@compiled_inside
def stream_chunk(batch, model, start, tables, cache):  # type: ignore[no-untyped-def]
    """Fill the tables of one chunk."""
    table, coding, zeros, implicit, drain_read = model
    geometry, surviving, finest, coded, spans, box, streams = tables
    nests = (batch[0], batch[1], batch[2], batch[3])
    count_reuse(nests, table, implicit, start, geometry)
    measure_tiles(nests, table, spans, start, geometry)
    streams[:] = 0.0
    if zeros[0].shape[0] > 0 or zeros[2] > 0 or zeros[3].shape[0] > 0:
        work = (surviving[0], surviving[1], finest[0], finest[1], spans, box)
        follow_rules(batch, table, coding, zeros[0], implicit, start, work)
        survive_computes(batch, zeros, start, finest, surviving[2])
    encode_tiles(batch, coding, geometry, cache, start, coded)
    move_operands(batch, coding, zeros[4], geometry, surviving, coded, start, streams)
    move_outputs(batch, coding, geometry, drain_read, coded, start, streams)
    accumulate(batch, coding, zeros, geometry, surviving[2], start, streams)


def new_tables(designs: int, tensors: int, levels: int, ranks: int) -> tuple[Any, ...]:
    """The tables that `price_batch` fills for the last chunk: geometry, fractions of transfers and
    computes, finest tests, encoded tiles, scratch; and the streams.
    """
    return (
        new_geometry(designs, tensors, levels),
        new_surviving(designs, tensors, levels),
        (np.ones((designs, tensors, tensors)), np.ones((designs, tensors, tensors))),
        np.zeros((designs, tensors, levels, 2)),
        np.ones(ranks, dtype=np.int64),
        np.ones(4, dtype=np.int64),
        np.zeros((designs, tensors, levels, STREAMS)),
    )


@compiled_inside
def bring_home(reserved, streams):  # type: ignore[no-untyped-def]
    """Let level 0 of resident tensors stand for their home, see `spaces.mappings.residency`."""
    for t in range(streams.shape[1]):
        if reserved[t] > 0.0:
            for i in range(streams.shape[0]):
                for stream in range(streams.shape[3]):
                    streams[i, t, 1, stream] += streams[i, t, 0, stream]
                    streams[i, t, 0, stream] = 0.0
                streams[i, t, 1, STREAMS - 1] = reserved[t]


@compiled_inside
def price_chunk(batch, totals, computes, streams, prices, machine, start, out):  # type: ignore[no-untyped-def]
    """Energy and latency of one chunk."""
    trips, kinds = batch[1], batch[2]
    pj_per_bit, compute_pj, static_pj = prices
    bandwidth, shared, _, axis_level, issue = machine
    tensors, levels = streams.shape[1:3]
    for i in range(min(streams.shape[0], trips.shape[0] - start)):
        n = start + i
        memory, decoders = 0.0, 0.0
        latency = totals[i, 0] * computes[i, 0] / issue[0]
        out[3, n] = latency
        for level in range(levels):
            read, write, gated_read, gated_write = 0.0, 0.0, 0.0, 0.0
            metadata_read, metadata_write, decoded = 0.0, 0.0, 0.0
            for t in range(tensors):
                read += streams[i, t, level, 0]
                write += streams[i, t, level, 1]
                metadata_read += streams[i, t, level, 2]
                metadata_write += streams[i, t, level, 3]
                gated_read += streams[i, t, level, 4]
                gated_write += streams[i, t, level, 5]
                memory += streams[i, t, level, 6] * pj_per_bit[level, 2]
                decoders += streams[i, t, level, 7]
                decoded += streams[i, t, level, 8]
            memory += read * pj_per_bit[level, 0] + write * pj_per_bit[level, 1]
            memory += metadata_read * pj_per_bit[level, 2] + metadata_write * pj_per_bit[level, 3]
            memory += (gated_read + gated_write) * pj_per_bit[level, 4]
            used = 1.0
            for p in range(kinds.shape[1]):
                if kinds[n, p] != 0 and axis_level[kinds[n, p] - 1] < level:
                    used *= trips[n, p]
            read += metadata_read + gated_read
            write += metadata_write + gated_write
            if shared[level]:
                busy = (read + write) / (used * bandwidth[level, 0])
            else:
                busy = max(read / bandwidth[level, 0], write / bandwidth[level, 1]) / used
            latency = max(latency, busy, decoded / (used * issue[3]))
        real, gated = computes[i, 1], computes[i, 0] - computes[i, 1]
        macs = totals[i, 0] * totals[i, 1]
        energy = memory + decoders + macs * (real * compute_pj[0] + gated * compute_pj[1])
        out[0, n] = energy + latency * static_pj
        out[1, n] = memory
        out[2, n] = latency
        useful = issue[2] * computes[i, 0]
        out[4, n] = useful / (latency * issue[1]) if latency > 0.0 else 0.0


@compiled_inside
def judge_chunk(batch, streams, limits, start, out):  # type: ignore[no-untyped-def]
    """Relative overflows of each level's capacity and of each axis; number of broken placements."""
    trips, kinds, keep_at = batch[1], batch[2], batch[3]
    capacity, axis_size, may_keep, must_keep, _ = limits
    tensors, levels = streams.shape[1:3]
    last = COSTS + levels + axis_size.shape[0]
    for i in range(min(streams.shape[0], trips.shape[0] - start)):
        n = start + i
        broken = 0.0
        for level in range(levels):
            held = 0.0
            for t in range(tensors):
                held += streams[i, t, level, STREAMS - 1]
                kept = keep_at[n, t, level] >= 0
                if (kept and not may_keep[t, level]) or (must_keep[t, level] and not kept):
                    broken += 1.0
            out[COSTS + level, n] = held / capacity[level] - 1.0
        for axis in range(axis_size.shape[0]):
            used = 1.0
            for p in range(kinds.shape[1]):
                if kinds[n, p] == axis + 1:
                    used *= trips[n, p]
            out[COSTS + levels + axis, n] = used / axis_size[axis] - 1.0
        out[last, n] = broken


@compiled
def price_batch(batch, model, prices, machine, cache, tables, out):  # type: ignore[no-untyped-def]
    """Price n designs into `out`, shape (COSTS + L + X + 1, n), a chunk at a time."""
    streams = tables[6]
    chunk = streams.shape[0]
    for start in range(0, batch[0].shape[0], chunk):
        stream_chunk(batch, model, start, tables, cache)
        bring_home(machine[2][4], streams)
        price_chunk(batch, tables[0][2], tables[1][2], streams, prices, machine, start, out)
        judge_chunk(batch, streams, machine[2], start, out)
