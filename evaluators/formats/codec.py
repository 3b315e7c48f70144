"""Bit-exact encoders and decoders: the truth that the closed form is held to.

A stack of stand-alone tiles is encoded level by level, outermost first. Every level writes a stream
of fixed-width fields; what is below the last level is the payload, one word per stored element:

    B     one bit per position of every stored fiber
    CP    a count per fiber (unless a UOP directly above gives it), a coordinate per entry
    RLE   the same with runs; see evaluators.formats.run_length for the escapes
    UOP   running offsets per fiber, one more than positions, into the entries of the next
          compressed level
    None  nothing

Decoding reads the streams only, so that decode(encode(x)) == x proves them sufficient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.compression_core import ceil_log2
from spaces.formats.compression_format import (
    COMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    resolve_sizes,
)

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_COUNTED = (Primitive.CP, Primitive.RLE)


@dataclass(frozen=True)
class Stream:
    """Metadata of one level: counts per fiber, then fields; one array element per bit."""

    counts: Bits
    fields: Bits

    @property
    def bits(self) -> int:
        """Length."""
        return len(self.counts) + len(self.fields)


@dataclass(frozen=True)
class EncodedTiles:
    """A stack of tiles as bits.

    Attributes:
        fmt: The format.
        extents: Dimension name -> extent of one tile.
        tiles: How many tiles.
        streams: One per level of more than one position, outermost first.
        payload: Words of all stored elements, one array element per bit.
        word_bits: Bits per word.
    """

    fmt: Format
    extents: Mapping[str, int]
    tiles: int
    streams: tuple[Stream, ...]
    payload: Bits
    word_bits: int

    @property
    def metadata_bits(self) -> int:
        """All streams together, all tiles together."""
        return sum(stream.bits for stream in self.streams)

    @property
    def payload_bits(self) -> int:
        """All stored words, all tiles together."""
        return len(self.payload)

    @property
    def total_bits(self) -> int:
        """Metadata and payload."""
        return self.metadata_bits + self.payload_bits

    def packed(self) -> bytes:
        """The whole stack as bytes: streams outermost first, then the payload."""
        parts = [bits for stream in self.streams for bits in (stream.counts, stream.fields)]
        return np.packbits(np.concatenate([*parts, self.payload])).tobytes()


@dataclass(frozen=True)
class _Level:
    """One level over a tile: its positions, field widths, and entries down to the next level."""

    primitive: Primitive
    count: int
    width: int
    count_width: int
    counted: bool


def cut_tiles(array: NDArray[Any], extents: Sequence[int]) -> NDArray[Any]:
    """Cut an array into aligned tiles, shape (tiles, *extents); cut ones are padded with zeros."""
    padding = [(0, -size % extent) for size, extent in zip(array.shape, extents, strict=True)]
    whole = np.pad(array, padding)
    grid = [
        part
        for size, extent in zip(whole.shape, extents, strict=True)
        for part in (size // extent, extent)
    ]
    axes = [*range(0, 2 * array.ndim, 2), *range(1, 2 * array.ndim, 2)]
    return whole.reshape(grid).transpose(axes).reshape(-1, *extents)


def encode(
    tiles: NDArray[np.integer[Any]], fmt: Format, dimensions: Sequence[str], word_bits: int
) -> EncodedTiles:
    """Encode a stack of stand-alone tiles.

    Args:
        tiles: Unsigned words below 2^word_bits, shape (tiles, *extents); 0 is empty.
        fmt: Any format without Custom levels.
        dimensions: Name of each tile dimension.
        word_bits: Payload bits per stored element, 1..64.

    Raises:
        ValueError: A value that a field or a word cannot hold, a Custom level, a missing dimension.
    """
    extents = dict(zip(dimensions, tiles.shape[1:], strict=True))
    words = np.asarray(tiles).astype(np.uint64)
    levels = _levels(fmt, extents)
    content = _to_level_order(words, fmt, extents)
    streams: list[Stream] = []
    payload, _ = _encode_level(levels, content, streams)
    return EncodedTiles(
        fmt, extents, len(tiles), tuple(streams), _to_bits(payload, word_bits), word_bits
    )


def decode(encoded: EncodedTiles) -> Words:
    """The tiles back from their bits, shape (tiles, *extents)."""
    levels = _levels(encoded.fmt, encoded.extents)
    words = _from_bits(encoded.payload, encoded.word_bits)
    content = _decode_level(levels, list(encoded.streams), words, encoded.tiles, None)
    return _from_level_order(content, encoded.fmt, encoded.extents)


def _levels(fmt: Format, extents: Mapping[str, int]) -> list[_Level]:
    sized = [
        (lvl, prod(sizes.values()))
        for lvl, sizes in zip(fmt.levels, resolve_sizes(fmt, extents), strict=True)
    ]
    kept = [(lvl, count) for lvl, count in sized if count > 1]
    levels = []
    for index, (lvl, count) in enumerate(kept):
        above = kept[index - 1][0].primitive if index else None
        counted = lvl.primitive in _COUNTED and above is not Primitive.UOP
        width = _field_width(lvl, count, kept[index:])
        given = lvl.count_bits
        count_width = ceil_log2(count + 1) if given is None else given
        levels.append(_Level(lvl.primitive, count, width, count_width, counted))
    return levels


def _field_width(lvl: FormatLevel, count: int, inwards: list[tuple[FormatLevel, int]]) -> int:
    if lvl.primitive is Primitive.CUSTOM:
        raise ValueError(f"codec: level {lvl} is Custom, it has no encoder")
    if lvl.primitive is Primitive.UOP:
        span = _entries_below(inwards)
        return 0 if span == 0 else _given(lvl.width_bits, ceil_log2(span + 1))
    return 1 if lvl.primitive is Primitive.B else _given(lvl.width_bits, ceil_log2(count))


def _given(width: int | None, derived: int) -> int:
    return derived if width is None else width


def _entries_below(inwards: list[tuple[FormatLevel, int]]) -> int:
    """Positions of one fiber down to the next compressed level, 0 when there is none."""
    span = 1
    for lvl, count in inwards:
        span *= count
        if lvl.primitive in COMPRESSED:
            return span
    return 0


def _order(fmt: Format, extents: Mapping[str, int]) -> tuple[list[int], list[int], list[int]]:
    """Sub-dimension sizes by dimension, the axes that put them in level order, padded extents."""
    resolved = resolve_sizes(fmt, extents)
    parts: list[tuple[str, int, int]] = [
        (name, depth, sizes[name])
        for depth, (lvl, sizes) in enumerate(zip(fmt.levels, resolved, strict=True))
        for name in lvl.dimensions
    ]
    by_dimension = sorted(
        range(len(parts)), key=lambda at: (list(extents).index(parts[at][0]), parts[at][1])
    )
    shape = [parts[at][2] for at in by_dimension]
    axes = [by_dimension.index(at) for at in range(len(parts))]
    padded = [prod(size for part, _, size in parts if part == name) for name in extents]
    return shape, axes, padded


def _to_level_order(words: Words, fmt: Format, extents: Mapping[str, int]) -> Words:
    if not fmt.levels:
        return words.reshape(len(words), -1)
    missing = [name for name in extents if name not in fmt.dimensions]
    if missing:
        raise ValueError(
            f"format {fmt}: dimension {missing[0]} is left out, add None({missing[0]})"
        )
    shape, axes, padded = _order(fmt, extents)
    wide = [(0, 0)] + [
        (0, full - extent) for full, extent in zip(padded, extents.values(), strict=True)
    ]
    split = np.pad(words, wide).reshape(len(words), *shape)
    return split.transpose([0, *[axis + 1 for axis in axes]]).reshape(len(words), -1)


def _from_level_order(content: Words, fmt: Format, extents: Mapping[str, int]) -> Words:
    tiles = len(content)
    if not fmt.levels:
        return content.reshape(tiles, *extents.values())
    shape, axes, padded = _order(fmt, extents)
    ordered = content.reshape(tiles, *[shape[axis] for axis in axes])
    back = np.argsort([0, *[axis + 1 for axis in axes]])
    whole = ordered.transpose(back).reshape(tiles, *padded)
    return whole[(slice(None), *[slice(extent) for extent in extents.values()])]


def _to_bits(values: NDArray[Any], width: int) -> Bits:
    """Fixed-width fields, most significant bit first; `ValueError` when one does not fit."""
    numbers = np.asarray(values).astype(np.uint64).ravel()
    if width < 64 and len(numbers) and int(numbers.max()) >> width:
        raise ValueError(f"codec: the value {int(numbers.max())} does not fit into {width} bits")
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint64)
    return ((numbers[:, None] >> shifts) & np.uint64(1)).astype(np.uint8).ravel()


def _from_bits(bits: Bits, width: int) -> Words:
    fields = bits.reshape(-1, width).astype(np.uint64)
    weights = np.uint64(1) << np.arange(width - 1, -1, -1, dtype=np.uint64)
    return np.asarray((fields * weights).sum(axis=1, dtype=np.uint64))


def _encode_level(
    levels: list[_Level], content: Words, streams: list[Stream]
) -> tuple[Words, Ints | None]:
    """Encode stored fibers (fibers, elements) from here inwards, appending streams.

    Returns: payload words, and the entries per fiber of the next compressed level (None: no such).
    """
    if not levels:
        return content.ravel(), None
    here, fibers = levels[0], len(content)
    below = content.reshape(fibers, here.count, content.shape[1] // here.count)
    if here.primitive in COMPRESSED:
        return _encode_compressed(levels, below, streams)
    inner: list[Stream] = []
    children = below.reshape(fibers * here.count, below.shape[2])
    payload, entries = _encode_level(levels[1:], children, inner)
    per_position = None if entries is None else entries.reshape(fibers, here.count)
    streams.append(_offsets(here, per_position))
    streams.extend(inner)
    return payload, None if per_position is None else per_position.sum(axis=1)


def _offsets(here: _Level, per_position: Ints | None) -> Stream:
    nothing = np.zeros(0, dtype=np.uint8)
    if here.primitive is Primitive.NONE or per_position is None:
        return Stream(nothing, nothing)
    running = np.cumsum(per_position, axis=1)
    offsets = np.concatenate([np.zeros((len(running), 1), dtype=np.int64), running], axis=1)
    return Stream(nothing, _to_bits(offsets, here.width))


def _encode_compressed(
    levels: list[_Level], below: Words, streams: list[Stream]
) -> tuple[Words, Ints]:
    here = levels[0]
    kept: Mask = (below != 0).any(axis=2)
    entries, children = kept.sum(axis=1), below[kept]
    if here.primitive is Primitive.B:
        fields = kept.ravel().astype(np.uint8)
    elif here.primitive is Primitive.CP:
        fields = _to_bits(np.nonzero(kept)[1], here.width)
    else:
        runs, source, entries = _runs(kept, 1 << here.width)
        fields = _to_bits(runs, here.width)
        filled = np.zeros((len(runs), below.shape[2]), dtype=np.uint64)
        filled[source >= 0] = children[source[source >= 0]]
        children = filled
    counts = entries if here.counted else np.zeros(0, dtype=np.int64)
    streams.append(Stream(_to_bits(counts, here.count_width), fields))
    payload, _ = _encode_level(levels[1:], children, streams)
    return payload, entries


def _runs(kept: Mask, reach: int) -> tuple[Ints, Ints, Ints]:
    """Run fields, the child each one carries (-1 = null), and entries per fiber."""
    fiber, place = np.nonzero(kept)
    previous = np.where(np.diff(fiber, prepend=-1) != 0, -1, np.roll(place, 1))
    gaps = place - previous - 1
    last = np.cumsum(gaps // reach + 1) - 1
    total = int(last[-1]) + 1 if len(last) else 0
    runs = np.full(total, reach - 1, dtype=np.int64)
    source = np.full(total, -1, dtype=np.int64)
    runs[last], source[last] = gaps % reach, np.arange(len(place))
    entries = np.bincount(fiber, weights=gaps // reach + 1, minlength=len(kept))
    return runs, source, entries.astype(np.int64)


def _decode_level(
    levels: list[_Level],
    streams: list[Stream],
    words: Words,
    fibers: int,
    known: Ints | None,
) -> Words:
    """Content (fibers, elements) of stored fibers; `known` = entries per fiber given from above."""
    if not levels:
        return words.reshape(fibers, len(words) // fibers if fibers else 1)
    here, stream = levels[0], streams[0]
    if here.primitive in COMPRESSED:
        kept = _positions(here, stream, fibers, known)
        stored = _decode_level(levels[1:], streams[1:], words, len(kept[0]), None)
        below = np.zeros((fibers, here.count, stored.shape[1]), dtype=np.uint64)
        below[kept] = stored
        return below.reshape(fibers, here.count * stored.shape[1])
    counts = None
    if here.primitive is Primitive.UOP and len(levels) > 1 and levels[1].primitive in _COUNTED:
        offsets = _from_bits(stream.fields, here.width).astype(np.int64)
        counts = np.diff(offsets.reshape(fibers, here.count + 1), axis=1).ravel()
    stored = _decode_level(levels[1:], streams[1:], words, fibers * here.count, counts)
    return stored.reshape(fibers, here.count * stored.shape[1])


def _positions(here: _Level, stream: Stream, fibers: int, known: Ints | None) -> tuple[Ints, Ints]:
    """(fiber, position) of every entry, in stored order."""
    if here.primitive is Primitive.B:
        fiber, place = np.nonzero(stream.fields.reshape(fibers, here.count))
        return fiber, place
    counts = known
    if counts is None:
        counts = _from_bits(stream.counts, here.count_width).astype(np.int64)
    fiber = np.repeat(np.arange(fibers), counts)
    fields = _from_bits(stream.fields, here.width).astype(np.int64)
    if here.primitive is Primitive.CP:
        return fiber, fields
    ends = np.cumsum(fields + 1)
    starts = np.concatenate([[0], ends])[np.cumsum(counts) - counts]
    return fiber, ends - np.repeat(starts, counts) - 1
