"""Compiled core of the sparse accelerator model: bits moved by one mapping, and what they cost.

Bits are totals over the instances of a level, by tensor, level and stream (`Stream`). The layout is
tile-major: a level's copy of a tensor is a sequence of child tiles, each encoded on its own in the
format chosen for that level; a transfer reads one encoded child tile, and the child stores it as
tiles of its own child. The innermost copy is one tile and is read in proportion.

Tables travel as tuples of flat arrays, so that one compiled function serves every operator:

    batch    loop_rank, loop_trip, loop_kind (n, slots); keep_at, format_id (n, T, L)
    table    sizes, relevant, dimensions, term_rank, term_coefficient (see traffic.OperatorTable)
    coding   formats (T, F, depth, 8), density codes (T, P), word_bits (T,), final_bits,
             decoder pJ per element (T, F)
    zeros    rules (rules, 4), element density (T,), what computes do with zeros, packings (p, 2),
             whether a tensor leads at a level (T, L)
    geometry reuse (c, T, L, REUSE_COLUMNS), extents (c, T, L, 4), totals (c, 2 + T)
    surviving passing, active (c, T, L): fractions of the transfers out of a level that are made,
             and that are made and not gated; computes (c, 2 + T): fractions of the computes that
             take a cycle, that are real, and that are left by the tests of each operand's zeros
    cache    keys (slots, 3), values (slots, 2): a direct-mapped memory of encoded tiles

Every function works on a chunk of c designs, from design `start` of the batch on.
"""

from __future__ import annotations

from enum import IntEnum

from evaluators.accelerator.intersection import (
    GATE,
    SKIP,
    leader_spans,
    packed_share,
    spans_nonempty,
)
from evaluators.accelerator.traffic import (
    ABOVE,
    ABOVE_RELEVANT,
    DISTINCT,
    FETCHES,
    TILE,
    leaf_accesses,
    next_keeper,
)
from evaluators.formats.compression_core import tile_bits_core
from spaces.compiled import compiled_inside


class Stream(IntEnum):
    """Bits by what happens to them; all but the last are totals over instances."""

    DATA_READ = 0
    DATA_WRITE = 1
    METADATA_READ = 2
    METADATA_WRITE = 3
    GATED_READ = 4
    GATED_WRITE = 5
    SCANNED = 6
    """Metadata of a leader read where its follower is skipped: ahead of the data, in no slot."""
    DECODED = 7
    """Decoder work weighed by the energy of the primitives passed [pJ]."""
    DECODED_ELEMENTS = 8
    """Elements of compressed tiles that decoders pass over, zeros included."""
    RESIDENT = 9
    """Bits held by one instance."""


STREAMS = len(Stream)
_DR, _DW, _MR, _MW, _GR, _GW, _SCAN, _DEC, _ELEMENTS, _RES = range(STREAMS)

COMPUTE_NONE, COMPUTE_GATING, COMPUTE_SKIPPING = range(3)


@compiled_inside
def tile_slot(keys, t, fmt, e0, e1, e2, e3):  # type: ignore[no-untyped-def]
    """Slot of an encoded tile in the cache; ~slot (negative) when another tile holds it."""
    kind = (t << 32) | fmt
    mixed = kind * 0x9E3779B1 + e0 * 0x85EBCA77 + e1 * 0xC2B2AE3D + (e2 << 7 ^ e3) * 0x27D4EB2F
    slot = (mixed ^ (mixed >> 17)) & (keys.shape[0] - 1)
    hit = keys[slot, 0] == kind
    hit &= keys[slot, 1] == (e0 << 32 | e1)
    hit &= keys[slot, 2] == (e2 << 32 | e3)
    return slot if hit else ~slot


@compiled_inside
def remember_tile(slot, t, fmt, tile, coding, cache):  # type: ignore[no-untyped-def]
    """Work out the (metadata, payload) bits of one tile of tensor t and keep them in a slot."""
    formats, density, word_bits, _, _ = coding
    keys, values = cache
    metadata, payload = tile_bits_core(formats[t, fmt], tile, density[t], word_bits[t])
    keys[slot, 0] = (t << 32) | fmt
    keys[slot, 1] = tile[0] << 32 | tile[1]
    keys[slot, 2] = tile[2] << 32 | tile[3]
    values[slot, 0], values[slot, 1] = metadata, payload


@compiled_inside
def encode_tiles(batch, coding, geometry, cache, start, coded):  # type: ignore[no-untyped-def]
    """Fill `coded` (c, T, L, 2): bits of one encoded child tile of every copy.

    Of the output only the outermost copy is encoded: partial sums are stored as they are.
    """
    keep_at, format_id = batch[3], batch[4]
    word_bits = coding[2]
    reuse, extents, _ = geometry
    keys, values = cache
    tensors = keep_at.shape[1]
    for i in range(min(reuse.shape[0], keep_at.shape[0] - start)):
        n = start + i
        for t in range(tensors):
            level = 0
            while level >= 0:
                child = next_keeper(keep_at, n, t, level)
                c = level if child < 0 else child
                fmt = format_id[n, t, level]
                if fmt == 0 or (t == tensors - 1 and level > 0):
                    coded[i, t, level, 0] = 0.0
                    coded[i, t, level, 1] = reuse[i, t, c, TILE] * word_bits[t]
                else:
                    e0, e1 = extents[i, t, c, 0], extents[i, t, c, 1]
                    e2, e3 = extents[i, t, c, 2], extents[i, t, c, 3]
                    slot = tile_slot(keys, t, fmt, e0, e1, e2, e3)
                    if slot < 0:
                        slot = ~slot
                        remember_tile(slot, t, fmt, (e0, e1, e2, e3), coding, cache)
                    coded[i, t, level, 0] = values[slot, 0]
                    coded[i, t, level, 1] = values[slot, 1]
                level = child


@compiled_inside
def follow_rules(batch, table, coding, rules, implicit, start, work):  # type: ignore[no-untyped-def]
    """Fill `passing` and `active`, and keep the finest tests of each design.

    Args:
        work: passing, active (c, T, L); made, ungated (c, T, T): non-empty probability of the
            finest part of leader s tested for follower t, by skipping and by any rule; scratch
            spans (R,) and box (4,).
    """
    ranks, trips, kinds, keep_at, _ = batch
    passing, active, made, ungated, spans, box = work
    operands = keep_at.shape[1] - 1
    made[:] = 1.0
    ungated[:] = 1.0
    for i in range(min(made.shape[0], ranks.shape[0] - start)):
        n = start + i
        for t in range(operands):
            level = 0
            while level >= 0:
                child = next_keeper(keep_at, n, t, level)
                below = keep_at[n, t, child] if child >= 0 else ranks.shape[1]
                spanned = False
                for r in range(rules.shape[0]):
                    if rules[r, 0] != level or rules[r, 1] != t:
                        continue
                    if not spanned:
                        nest = (ranks[n], trips[n], kinds[n])
                        reach = (keep_at[n, t, level], below)
                        leader_spans(nest, table[0], table[1][t], implicit, reach, spans)
                        spanned = True
                    s = rules[r, 2]
                    projection = (table[2], table[3], table[4])
                    share = spans_nonempty(spans, s, projection, coding[1][s], box)
                    if rules[r, 3] == SKIP:
                        made[i, t, s] = min(made[i, t, s], share)
                    ungated[i, t, s] = min(ungated[i, t, s], share)
                through, lively = 1.0, 1.0
                for s in range(operands):
                    through *= made[i, t, s]
                    lively *= min(made[i, t, s], ungated[i, t, s])
                passing[i, t, level], active[i, t, level] = through, lively
                level = child


@compiled_inside
def survive_computes(batch, zeros, start, finest, computes):  # type: ignore[no-untyped-def]
    """Fill `computes`: fractions that take a cycle, that are real, left by each operand's tests."""
    keep_at, format_id = batch[3], batch[4]
    _, element_density, compute_rule, packings, _ = zeros
    made, ungated = finest
    operands = keep_at.shape[1] - 1
    for i in range(min(made.shape[0], keep_at.shape[0] - start)):
        cycles, computed = 1.0, 1.0
        for s in range(operands):
            reached, real = 1.0, 1.0
            for t in range(operands):
                reached = min(reached, made[i, t, s])
                real = min(real, ungated[i, t, s])
            if compute_rule == COMPUTE_GATING:
                real = min(real, element_density[s])
            if compute_rule == COMPUTE_SKIPPING and absent_known(keep_at, format_id, start + i, s):
                reached = min(reached, element_density[s])
            for r in range(packings.shape[0]):
                if packings[r, 0] == s:
                    share = pack_line(batch, start + i, s, packings[r, 1], element_density[s])
                    reached = min(reached, share)
                    real = min(real, element_density[s])
            computes[i, 2 + s] = reached
            cycles *= reached
            computed *= min(reached, real)
        computes[i, 0], computes[i, 1] = cycles, computed


@compiled_inside
def pack_line(batch, n, s, axis, density):  # type: ignore[no-untyped-def]
    """`packed_share` of the lines of tensor s that one axis of design n spreads.

    A line runs along the rank on the axis, as far as the innermost tile of the tensor reaches.
    """
    ranks, trips, kinds, keep_at, _ = batch
    position = 0
    for level in range(keep_at.shape[2]):
        position = max(position, keep_at[n, s, level])
    width, spread = 1, -1
    for p in range(ranks.shape[1]):
        if kinds[n, p] == axis and trips[n, p] > 1:
            width *= trips[n, p]
            spread = ranks[n, p]
    positions = 1
    for p in range(position, ranks.shape[1]):
        if ranks[n, p] == spread:
            positions *= trips[n, p]
    return packed_share(max(positions, width), width, density) if spread >= 0 else 1.0


@compiled_inside
def absent_known(keep_at, format_id, n, s):  # type: ignore[no-untyped-def]
    """True when the innermost copy of tensor s is compressed."""
    compressed = False
    for level in range(keep_at.shape[2]):
        if keep_at[n, s, level] >= 0:
            compressed = format_id[n, s, level] != 0
    return compressed


@compiled_inside
def move_operands(batch, coding, leads, geometry, surviving, coded, start, streams):  # type: ignore[no-untyped-def]
    """Streams of the input tensors."""
    keep_at, format_id = batch[3], batch[4]
    decoding = coding[4]
    reuse, _, totals = geometry
    passing, active, _ = surviving
    for i in range(min(reuse.shape[0], keep_at.shape[0] - start)):
        n = start + i
        for t in range(keep_at.shape[1] - 1):
            level = 0
            made, lively = 1.0, 1.0
            while level >= 0:
                child = next_keeper(keep_at, n, t, level)
                c = level if child < 0 else child
                fmt = format_id[n, t, level]
                metadata, payload = coded[i, t, level, 0], coded[i, t, level, 1]
                above = reuse[i, t, level, ABOVE]
                tiles = reuse[i, t, level, TILE] / reuse[i, t, c, TILE]
                streams[i, t, level, _RES] = tiles * (metadata + payload)
                if level > 0:
                    written = reuse[i, t, level, FETCHES] * above * tiles
                    streams[i, t, level, _DW] = written * payload * lively
                    streams[i, t, level, _GW] = written * payload * (made - lively)
                    streams[i, t, level, _MW] = written * metadata * made
                if child < 0:
                    reads = leaf_accesses(totals, reuse, i, t, level) / reuse[i, t, level, TILE]
                else:
                    share = reuse[i, t, c, ABOVE_RELEVANT] / reuse[i, t, level, ABOVE_RELEVANT]
                    reads = reuse[i, t, c, FETCHES] * above * share
                outside = made
                made, lively = passing[i, t, level], active[i, t, level]
                lookups = reads * (outside if child < 0 and leads[t, level] else made)
                streams[i, t, level, _DR] = reads * payload * lively
                streams[i, t, level, _GR] = reads * payload * (made - lively)
                streams[i, t, level, _MR] = reads * made * metadata
                streams[i, t, level, _SCAN] = (lookups - reads * made) * metadata
                decoded = lookups * reuse[i, t, c, TILE]
                streams[i, t, level, _DEC] = decoded * decoding[t, fmt]
                streams[i, t, level, _ELEMENTS] = decoded if fmt != 0 else 0.0
                level = child


@compiled_inside
def move_outputs(batch, coding, geometry, drain_read, coded, start, streams):  # type: ignore[no-untyped-def]
    """Streams of the output between levels: partial sums, and finished elements into the outermost
    keeper in its format and at the output's width.
    """
    keep_at, format_id = batch[3], batch[4]
    _, _, word_bits, final_bits, decoding = coding
    reuse = geometry[0]
    t = keep_at.shape[1] - 1
    word = word_bits[t]
    for i in range(min(reuse.shape[0], keep_at.shape[0] - start)):
        n = start + i
        level = 0
        streams[i, t, 0, _RES] = reuse[i, t, 0, TILE] * word
        c = next_keeper(keep_at, n, t, 0)
        while c >= 0:
            streams[i, t, c, _RES] = reuse[i, t, c, TILE] * word
            above, inner = reuse[i, t, level, ABOVE], reuse[i, t, c, ABOVE]
            share = above * reuse[i, t, c, ABOVE_RELEVANT] / reuse[i, t, level, ABOVE_RELEVANT]
            visits = reuse[i, t, c, FETCHES]
            again = visits - reuse[i, t, c, DISTINCT]
            tile = reuse[i, t, c, TILE] * word
            streams[i, t, c, _DW] += again * inner * tile
            streams[i, t, level, _DR] += again * share * tile
            if drain_read:
                streams[i, t, c, _DR] += visits * inner * tile
            if level > 0:
                streams[i, t, level, _DW] += visits * share * tile
            else:
                fmt = format_id[n, t, 0]
                metadata, payload = coded[i, t, 0, 0], coded[i, t, 0, 1]
                payload *= final_bits / word
                finished = share * reuse[i, t, c, DISTINCT]
                streams[i, t, 0, _DW] += share * again * tile + finished * payload
                streams[i, t, 0, _MW] += finished * metadata
                streams[i, t, 0, _DEC] += finished * reuse[i, t, c, TILE] * decoding[t, fmt]
                if again == 0.0:
                    tiles = reuse[i, t, 0, TILE] / reuse[i, t, c, TILE]
                    streams[i, t, 0, _RES] = tiles * (metadata + payload)
            level = c
            c = next_keeper(keep_at, n, t, level)


@compiled_inside
def accumulate(batch, coding, zeros, geometry, computes, start, streams):  # type: ignore[no-untyped-def]
    """Streams of the partial sums at their innermost keeper.

    One accumulation gathers `group` products where the units below the keeper reduce spatially.
    """
    keep_at = batch[3]
    rules, element_density = zeros[0], zeros[1]
    reuse, _, totals = geometry
    t = keep_at.shape[1] - 1
    word = coding[2][t]
    for i in range(min(reuse.shape[0], keep_at.shape[0] - start)):
        leaf = 0
        for level in range(keep_at.shape[2]):
            if keep_at[start + i, t, level] >= 0:
                leaf = level
        made, real = computes[i, 0], computes[i, 0]
        for s in range(t if rules.shape[0] > 0 else 0):
            skips, gates = False, False
            for r in range(rules.shape[0]):
                if rules[r, 0] == leaf and rules[r, 1] == t and rules[r, 2] == s:
                    skips = skips or rules[r, 3] == SKIP
                    gates = gates or rules[r, 3] == GATE
            left = computes[i, 2 + s]
            left = min(left, element_density[s]) / left if left > 0.0 else 0.0
            made *= left if skips else 1.0
            real *= left if skips or gates else 1.0
        own = reuse[i, t, leaf, ABOVE] / reuse[i, t, leaf, ABOVE_RELEVANT]
        group = totals[i, 1] / totals[i, 2 + t] / own
        if group > 1.0 and made < 1.0:
            made = 1.0 - (1.0 - made) ** group
            real = 1.0 - (1.0 - real) ** group
        written = totals[i, 0] * totals[i, 2 + t] * own * word
        first = reuse[i, t, leaf, DISTINCT] * reuse[i, t, leaf, TILE] * reuse[i, t, leaf, ABOVE]
        read = max(written - first * word, 0.0)
        streams[i, t, leaf, _DW] += written * real
        streams[i, t, leaf, _DR] += read * real
        streams[i, t, leaf, _GW] += written * (made - real)
        streams[i, t, leaf, _GR] += read * (made - real)
