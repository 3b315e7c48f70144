"""Compiled core of the sparse accelerator model: bits moved by one mapping, and what they cost.

Bits are totals over the instances of a level, by tensor, level and stream (`Stream`). The layout is
tile-major: a level's copy of a tensor is a sequence of child tiles, each encoded on its own in the
format chosen for that level; a transfer reads one encoded child tile, and the child stores it as
tiles of its own child. The innermost copy is one tile and is read in proportion.

Tables travel as tuples of flat arrays, so that one compiled function serves every operator:

    design   loop_rank, loop_trip, loop_kind (slots,); keep_at, format_id (T, L)
    table    sizes, relevant, dimensions, term_rank, term_coefficient (see traffic.OperatorTable)
    coding   formats (T, F, depth, 8), density codes (T, P), word_bits (T,), final_bits,
             decoder pJ per element (T, F)
    zeros    rules (rules, 4), element density (T,), what computes do with zeros
    geometry reuse (T, L, REUSE_COLUMNS), extents (T, L, D), totals (2 + T,)
    cache    keys (slots, 3), values (slots, 2): a direct-mapped memory of encoded tiles
"""

from __future__ import annotations

from enum import IntEnum

from numba import njit

from evaluators.compression_core import tile_bits_core
from evaluators.intersection import GATE, SKIP, leader_spans, spans_nonempty
from evaluators.traffic import (
    ABOVE,
    ABOVE_RELEVANT,
    DISTINCT,
    FETCHES,
    TILE,
    keepers,
)


class Stream(IntEnum):
    """Bits by what happens to them; all but the last are totals over instances."""

    DATA_READ = 0
    DATA_WRITE = 1
    METADATA_READ = 2
    METADATA_WRITE = 3
    GATED_READ = 4
    GATED_WRITE = 5
    DECODED = 6
    """Decoder work weighed by the energy of the primitives passed [pJ]."""
    RESIDENT = 7
    """Bits held by one instance."""


STREAMS = len(Stream)
_DR, _DW, _MR, _MW, _GR, _GW, _DEC, _RES = range(STREAMS)

COMPUTE_NONE, COMPUTE_GATING, COMPUTE_SKIPPING = range(3)


@njit(cache=True)
def encoded_tile(coding, cache, t, fmt, extents):  # type: ignore[no-untyped-def]
    """(metadata, payload) bits of one tile of tensor t, remembered in `cache`."""
    e1 = extents[1] if extents.shape[0] > 1 else 1
    e2 = extents[2] if extents.shape[0] > 2 else 1
    e3 = extents[3] if extents.shape[0] > 3 else 1
    if fmt == 0:
        return 0.0, float(extents[0]) * e1 * e2 * e3 * coding[2][t]
    keys, values = cache
    key0 = (t << 32) | fmt
    key1 = (extents[0] << 32) | e1
    key2 = (e2 << 32) | e3
    mixed = key0 * 0x9E3779B1 + key1 * 0x85EBCA77 + (key1 >> 29) * 0xC2B2AE3D + key2 * 0x27D4EB2F
    slot = (mixed ^ (mixed >> 17)) & (keys.shape[0] - 1)
    if keys[slot, 0] == key0 and keys[slot, 1] == key1 and keys[slot, 2] == key2:
        return values[slot, 0], values[slot, 1]
    shape = (extents[0], e1, e2, e3)
    metadata, payload = tile_bits_core(coding[0][t, fmt], shape, coding[1][t], coding[2][t])
    keys[slot, 0], keys[slot, 1], keys[slot, 2] = key0, key1, key2
    values[slot, 0], values[slot, 1] = metadata, payload
    return metadata, payload


@njit(cache=True)
def follow_operand_rules(design, table, density, rules, implicit, t, work):  # type: ignore[no-untyped-def]
    """Fill row t of `passing` and `active` (T, L): the fractions of transfers out of every level
    that are made, and that are made and not gated; keep the finest tests in `made`, `ungated`.
    """
    rank, trip, kind, keep_at, _ = design
    passing, active, made, ungated, spans, box, chain = work
    length = keepers(keep_at, t, chain)
    for j in range(length):
        level = chain[j]
        below = keep_at[t, chain[j + 1]] if j + 1 < length else rank.shape[0]
        spanned = False
        for r in range(rules.shape[0]):
            if rules[r, 0] != level or rules[r, 1] != t:
                continue
            if not spanned:
                reach = (keep_at[t, level], below)
                leader_spans((rank, trip, kind), table[0], table[1][t], implicit, reach, spans)
                spanned = True
            s = rules[r, 2]
            share = spans_nonempty(spans, s, (table[2], table[3], table[4]), density[s], box)
            if rules[r, 3] == SKIP:
                made[t, s] = min(made[t, s], share)
            ungated[t, s] = min(ungated[t, s], share)
        passing[t, level], active[t, level] = 1.0, 1.0
        for s in range(keep_at.shape[0] - 1):
            passing[t, level] *= made[t, s]
            active[t, level] *= min(made[t, s], ungated[t, s])


@njit(cache=True)
def compute_fractions(keep_at, format_id, zeros, finest, leaders):  # type: ignore[no-untyped-def]
    """Fractions of the computes that take a cycle, and that are really computed.

    Writes to `leaders` the share of computes left by the tests of each operand's zeros.
    """
    _, element_density, compute_rule = zeros
    made, ungated = finest
    cycles, computed = 1.0, 1.0
    operands = keep_at.shape[0] - 1
    for s in range(operands):
        reached, real = 1.0, 1.0
        for t in range(operands):
            reached = min(reached, made[t, s])
            real = min(real, ungated[t, s])
        if compute_rule == COMPUTE_GATING:
            real = min(real, element_density[s])
        if compute_rule == COMPUTE_SKIPPING and absent_known(keep_at, format_id, s):
            reached = min(reached, element_density[s])
        leaders[s] = reached
        cycles *= reached
        computed *= min(reached, real)
    return cycles, computed


@njit(cache=True)
def absent_known(keep_at, format_id, s):  # type: ignore[no-untyped-def]
    """True when the innermost copy of tensor s is compressed."""
    compressed = False
    for level in range(keep_at.shape[1]):
        if keep_at[s, level] >= 0:
            compressed = format_id[s, level] != 0
    return compressed


@njit(cache=True)
def move_operand(design, coding, geometry, cache, t, fractions, chain, streams):  # type: ignore[no-untyped-def]
    """Streams of one input tensor; `fractions` = (passing, active)."""
    keep_at, format_id = design[3], design[4]
    reuse, extents, totals = geometry
    passing, active = fractions
    length = keepers(keep_at, t, chain)
    made, lively = 1.0, 1.0
    for j in range(length):
        level = chain[j]
        last = j + 1 == length
        child = level if last else chain[j + 1]
        row, inner, stream = reuse[t, level], reuse[t, child], streams[t, level]
        fmt = format_id[t, level]
        metadata, payload = encoded_tile(coding, cache, t, fmt, extents[t, child])
        tiles = row[TILE] / inner[TILE]
        stream[_RES] = tiles * (metadata + payload)
        if j > 0:
            written = row[FETCHES] * row[ABOVE] * tiles
            stream[_DW] = written * payload * lively
            stream[_GW] = written * payload * (made - lively)
            stream[_MW] = written * metadata * made
        if last:
            words = totals[0] * row[ABOVE] * totals[2 + t] / row[ABOVE_RELEVANT]
            reads = words / row[TILE]
            lookups = reads * made
        else:
            reads = inner[FETCHES] * row[ABOVE] * inner[ABOVE_RELEVANT] / row[ABOVE_RELEVANT]
            lookups = reads * passing[t, level]
        made, lively = passing[t, level], active[t, level]
        stream[_DR] = reads * payload * lively
        stream[_GR] = reads * payload * (made - lively)
        stream[_MR] = lookups * metadata
        stream[_DEC] = lookups * inner[TILE] * coding[4][t, fmt]


@njit(cache=True)
def move_output(design, coding, geometry, cache, drain_read, chain, streams):  # type: ignore[no-untyped-def]
    """Streams of the output between levels: partial sums, and finished elements into the outermost
    keeper in its format and at the output's width.
    """
    keep_at, format_id = design[3], design[4]
    reuse, extents, _ = geometry
    t = keep_at.shape[0] - 1
    length = keepers(keep_at, t, chain)
    word_bits = coding[2][t]
    for j in range(length):
        streams[t, chain[j], _RES] = reuse[t, chain[j], TILE] * word_bits
    for j in range(1, length):
        row, above = reuse[t, chain[j]], reuse[t, chain[j - 1]]
        inner, outer = streams[t, chain[j]], streams[t, chain[j - 1]]
        share = above[ABOVE] * row[ABOVE_RELEVANT] / above[ABOVE_RELEVANT]
        again = row[FETCHES] - row[DISTINCT]
        tile = row[TILE] * word_bits
        inner[_DW] += again * row[ABOVE] * tile
        outer[_DR] += again * share * tile
        if drain_read:
            inner[_DR] += row[FETCHES] * row[ABOVE] * tile
        if j > 1:
            outer[_DW] += row[FETCHES] * share * tile
            continue
        fmt = format_id[t, chain[0]]
        metadata, payload = encoded_tile(coding, cache, t, fmt, extents[t, chain[1]])
        payload *= coding[3] / word_bits
        finished = share * row[DISTINCT]
        outer[_DW] += share * again * tile + finished * payload
        outer[_MW] += finished * metadata
        outer[_DEC] += finished * row[TILE] * coding[4][t, fmt]
        if again == 0.0:
            outer[_RES] = above[TILE] / row[TILE] * (metadata + payload)


@njit(cache=True)
def accumulate(design, zeros, geometry, fractions, leaders, streams):  # type: ignore[no-untyped-def]
    """Streams of the partial sums at their innermost keeper; `fractions` = computes
    that take a cycle, that are real, and the width of a partial sum in bits.

    One accumulation gathers `group` products where the units below the keeper reduce spatially.
    """
    keep_at = design[3]
    rules, element_density, _ = zeros
    reuse, _, totals = geometry
    t = keep_at.shape[0] - 1
    leaf = 0
    for level in range(keep_at.shape[1]):
        if keep_at[t, level] >= 0:
            leaf = level
    made, real = fractions[0], fractions[0]
    for s in range(t):
        skips, gates = False, False
        for r in range(rules.shape[0]):
            if rules[r, 0] == leaf and rules[r, 1] == t and rules[r, 2] == s:
                skips = skips or rules[r, 3] == SKIP
                gates = gates or rules[r, 3] == GATE
        left = min(leaders[s], element_density[s]) / leaders[s] if leaders[s] > 0.0 else 0.0
        made *= left if skips else 1.0
        real *= left if skips or gates else 1.0
    row = reuse[t, leaf]
    written = totals[0] * row[ABOVE] * totals[2 + t] / row[ABOVE_RELEVANT]
    group = totals[1] / row[ABOVE] / (totals[2 + t] / row[ABOVE_RELEVANT])
    if group > 1.0:
        made = 1.0 - (1.0 - made) ** group
        real = 1.0 - (1.0 - real) ** group
    bits = streams[t, leaf]
    word_bits = fractions[2]
    read = max(written - row[DISTINCT] * row[TILE] * row[ABOVE], 0.0)
    bits[_DW] += written * real * word_bits
    bits[_DR] += read * real * word_bits
    bits[_GW] += written * (made - real) * word_bits
    bits[_GR] += read * (made - real) * word_bits
