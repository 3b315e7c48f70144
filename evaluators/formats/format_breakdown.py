"""What one encoded tile holds, level by level, and formats with a user's own primitive.

The plain walk from the outermost level inwards; `evaluators.formats.compression_core` computes the
same totals from the inside out for kernels, and the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from evaluators.formats.compression_core import ceil_log2, escape_entries, nonempty_nodes
from evaluators.sparsity.density_core import MAX_DIMENSIONS, Box
from evaluators.sparsity.density_model import DensityModel
from spaces.formats.compression_format import (
    COMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    resolve_sizes,
)

CustomSize = Callable[[float, int, float], tuple[float, float]]
"""(stored fibers, positions per fiber, expected non-empty positions of the tile) ->
(metadata bits of the level, children stored)."""

_CUSTOM: dict[str, CustomSize] = {}


def register_custom(name: str, size: CustomSize) -> None:
    """Register the callable behind a level `Custom(...,f=name)`, see `CustomSize`."""
    _CUSTOM[name] = size


@dataclass(frozen=True)
class LevelBits:
    """Expected contents of one level of an encoded tile.

    Attributes:
        text: The level, all its sizes shown.
        fibers: Fibers stored.
        entries: Children stored.
        metadata_bits: Of all fibers together.
    """

    text: str
    fibers: float
    entries: float
    metadata_bits: float


@dataclass(frozen=True)
class FormatBits:
    """Size of one encoded tile, levels outermost first; a level of one position is left out."""

    levels: tuple[LevelBits, ...]
    payload_bits: float

    @property
    def metadata_bits(self) -> float:
        """Metadata of all levels."""
        return sum(lvl.metadata_bits for lvl in self.levels)

    @property
    def total_bits(self) -> float:
        """Metadata and payload."""
        return self.metadata_bits + self.payload_bits


@dataclass(frozen=True)
class _Placed:
    """A level with its sizes over a tile and the extents of one position's subtree."""

    level: FormatLevel
    sizes: Mapping[str, int]
    grain: Mapping[str, int]

    @property
    def count(self) -> int:
        return prod(self.sizes.values())


def format_bits(
    fmt: Format, extents: Mapping[str, int], density: DensityModel, word_bits: float
) -> FormatBits:
    """Expected size of one stand-alone tile, for any primitive.

    Raises:
        ValueError: When a Custom level's callable is not registered.
    """
    if not fmt.levels:
        return FormatBits((), prod(extents.values()) * word_bits)
    placed = _place(fmt, extents)
    stored = 1.0
    rows = []
    for index, here in enumerate(placed):
        bits, entries = _level_bits(placed, index, stored, (extents, density))
        rows.append(LevelBits(_text(here), stored, entries, bits))
        stored = entries
    return FormatBits(tuple(rows), stored * word_bits)


def _place(fmt: Format, extents: Mapping[str, int]) -> list[_Placed]:
    grain = dict.fromkeys(extents, 1)
    placed = []
    for lvl, sizes in zip(reversed(fmt.levels), reversed(resolve_sizes(fmt, extents)), strict=True):
        here = _Placed(lvl, sizes, dict(grain))
        for name, size in sizes.items():
            grain[name] *= size
        if here.count > 1:
            placed.append(here)
    return placed[::-1]


def _text(here: _Placed) -> str:
    level = here.level
    bare = FormatLevel(
        level.primitive,
        level.dimensions,
        tuple(here.sizes[name] for name in level.dimensions),
        level.width_bits,
        level.count_bits,
        level.function,
    )
    return str(bare)


def _box(values: Mapping[str, int]) -> Box:
    a, b, c, d = [*values.values(), *[1] * (MAX_DIMENSIONS - len(values))]
    return (a, b, c, d)


def _level_bits(
    placed: list[_Placed],
    index: int,
    stored: float,
    tile: tuple[Mapping[str, int], DensityModel],
) -> tuple[float, float]:
    """(metadata bits, children stored) of one level."""
    here = placed[index]
    primitive, count = here.level.primitive, here.count
    if primitive is Primitive.NONE:
        return 0.0, stored * count
    if primitive is Primitive.UOP:
        return stored * _offset_bits(placed, index), stored * count
    extents, density = tile
    nonempty = nonempty_nodes(density.code, _box(extents), _box(here.grain))
    if primitive is Primitive.B:
        return stored * count, nonempty
    if primitive is Primitive.CUSTOM:
        return _custom(here.level)(stored, count, nonempty)
    width = ceil_log2(count) if here.level.width_bits is None else here.level.width_bits
    entries = nonempty
    if primitive is Primitive.RLE:
        entries += _escapes(here, extents, density, width)
    counted = 0.0 if index and placed[index - 1].level.primitive is Primitive.UOP else stored
    given = here.level.count_bits
    return entries * width + counted * (ceil_log2(count + 1) if given is None else given), entries


def _offset_bits(placed: list[_Placed], index: int) -> int:
    """Bits of one fiber of a UOP level: an offset per position and one more."""
    span = 1
    for below in placed[index:]:
        span *= below.count
        if below.level.primitive in COMPRESSED:
            width = placed[index].level.width_bits
            return (placed[index].count + 1) * (ceil_log2(span + 1) if width is None else width)
    return 0


def _escapes(
    here: _Placed, extents: Mapping[str, int], density: DensityModel, run_bits: int
) -> float:
    sizes = {name: here.sizes.get(name, 1) for name in extents}
    fast = list(extents).index(here.level.dimensions[-1])
    return float(
        escape_entries(density.code, _box(extents), _box(here.grain), _box(sizes), (run_bits, fast))
    )


def _custom(level: FormatLevel) -> CustomSize:
    if level.function not in _CUSTOM:
        names = ", ".join(_CUSTOM) or "none"
        raise ValueError(
            f"format level {level}: no callable {level.function!r} is registered, known: {names}"
        )
    return _CUSTOM[level.function]
