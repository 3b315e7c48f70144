"""Hierarchical compression formats: primitives, patterns, dimension allocation, grammar.

A format is an ordered list of levels, outermost first. Each level puts one primitive on one
dimension of the tensor, on a sub-dimension of it (`K:16`), or on several flattened together
(`B(K,N)`). Text form, after the hierarchical notation of SnipSnap (arXiv 2509.17072)::

    format    = "None" | level ("-" level)*
    level     = primitive "(" argument ("," argument)* ")"
    primitive = None | B | CP | RLE | UOP | Custom
    argument  = dimension [":" size] | key "=" value

    UOP(M)-CP(K)        B(K:256)-B(K:16)        B(K,N)        None(M)-RLE(K,r=5)

Keys: `w` = width in bits of a field (CP coordinate, UOP offset), `r` = run bits of RLE, `c` = width
of the count per fiber of CP and RLE, `f` = name of the user's callable of Custom. Widths that are
not given derive from the sizes. Sub-dimensions of one dimension are listed outermost first; the
outermost one may leave its size out: it takes what the inner ones leave, rounded up.
`spaces.formats.format_grammar` reads this text and knows the common formats by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod


class Primitive(StrEnum):
    """How one level stores the positions of its fibers."""

    NONE = "None"
    B = "B"
    CP = "CP"
    RLE = "RLE"
    UOP = "UOP"
    CUSTOM = "Custom"


COMPRESSED = frozenset({Primitive.B, Primitive.CP, Primitive.RLE, Primitive.CUSTOM})
"""Primitives that drop empty positions; None and UOP keep every one."""


@dataclass(frozen=True)
class FormatLevel:
    """One level of a format.

    Attributes:
        primitive: How positions are stored.
        dimensions: Flattened together in this order, the last one fastest.
        sizes: One per dimension; None = what the inner levels leave of the dimension.
        width_bits: CP coordinate, UOP offset or RLE run; None = derived from the sizes.
        count_bits: Count per fiber of CP and RLE; None = derived.
        function: Name under which a Custom level's callable is registered.
    """

    primitive: Primitive
    dimensions: tuple[str, ...]
    sizes: tuple[int | None, ...]
    width_bits: int | None = None
    count_bits: int | None = None
    function: str = ""

    def size_of(self, dimension: str) -> int | None:
        """The size given for a dimension of this level, None when left open."""
        return self.sizes[self.dimensions.index(dimension)]

    def __str__(self) -> str:
        arguments = [
            name if size is None else f"{name}:{size}"
            for name, size in zip(self.dimensions, self.sizes, strict=True)
        ]
        key = "r" if self.primitive is Primitive.RLE else "w"
        if self.width_bits is not None:
            arguments.append(f"{key}={self.width_bits}")
        if self.count_bits is not None:
            arguments.append(f"c={self.count_bits}")
        if self.function:
            arguments.append(f"f={self.function}")
        return f"{self.primitive}({','.join(arguments)})"


@dataclass(frozen=True)
class Format:
    """A compression format: levels outermost first; no level = uncompressed.

    >>> print(Format((level("UOP", "M"), level("CP", "K"))))
    UOP(M)-CP(K)
    """

    levels: tuple[FormatLevel, ...] = ()

    def __str__(self) -> str:
        return "-".join(map(str, self.levels)) if self.levels else Primitive.NONE.value

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Dimension names in order of first appearance."""
        return tuple(dict.fromkeys(name for lvl in self.levels for name in lvl.dimensions))

    @property
    def depth(self) -> int:
        """Number of levels that are not None: what the decoder has to walk."""
        return sum(lvl.primitive is not Primitive.NONE for lvl in self.levels)

    def sizes_of(self, dimension: str) -> list[int | None]:
        """Sizes given for one dimension, outermost first."""
        return [lvl.size_of(dimension) for lvl in self.levels if dimension in lvl.dimensions]


UNCOMPRESSED = Format()
"""Every element is stored in place; prints as `None`."""


def level(primitive: str, *dimensions: str) -> FormatLevel:
    """A level from a primitive's name and dimensions such as `"K"` or `"K:16"`.

    >>> level("B", "K:16").sizes
    (16,)
    """
    names, sizes = [], []
    for text in dimensions:
        name, _, size = text.partition(":")
        names.append(name)
        sizes.append(int(size) if size else None)
    return FormatLevel(Primitive(primitive), tuple(names), tuple(sizes))


def resolve_sizes(fmt: Format, extents: Mapping[str, int]) -> list[dict[str, int]]:
    """Sizes of every level over a tile of these extents, per dimension, outermost level first.

    From the innermost level outwards a sized sub-dimension takes its size but never more than is
    left of the extent, and the outermost sub-dimension takes ceil(extent / product of the inner
    sizes). Sizes may therefore multiply to more than the extent: a cut block is padded.

    >>> resolve_sizes(Format((level("B", "K"), level("B", "K:16"))), {"K": 24})
    [{'K': 2}, {'K': 16}]
    """
    left = dict(extents)
    pending = {name: len(fmt.sizes_of(name)) for name in fmt.dimensions}
    resolved: list[dict[str, int]] = []
    for lvl in reversed(fmt.levels):
        sizes = {}
        for name, size in zip(lvl.dimensions, lvl.sizes, strict=True):
            pending[name] -= 1
            sizes[name] = (
                left[name] if pending[name] == 0 or size is None else min(size, left[name])
            )
            left[name] = -(-left[name] // sizes[name])
        resolved.append(sizes)
    return resolved[::-1]


def check_allocation(fmt: Format, sizes: Mapping[str, int]) -> None:
    """Check a format against a tensor: every dimension covered once, sizes that multiply up.

    Raises:
        ValueError: One line naming the format, the dimension, and what to change.
    """
    if not fmt.levels:
        return
    known = ", ".join(sizes)
    for name in fmt.dimensions:
        if name not in sizes:
            raise ValueError(f"format {fmt}: no dimension {name!r}, the tensor has {known}")
    for name, size in sizes.items():
        _check_dimension(fmt, name, size)


def _check_dimension(fmt: Format, name: str, size: int) -> None:
    given = fmt.sizes_of(name)
    if not given:
        raise ValueError(f"format {fmt}: dimension {name} is left out, add None({name})")
    if None in given[1:]:
        raise ValueError(f"format {fmt}: only the outermost level of {name} may leave its size out")
    inner = prod(part for part in given if part is not None)
    if given[0] is not None and inner != size:
        raise ValueError(
            f"format {fmt}: the sizes of {name} multiply to {inner}, the dimension has {size}: "
            "make them multiply up or leave the outermost size out"
        )
    if given[0] is None and size % inner != 0:
        raise ValueError(
            f"format {fmt}: the inner sizes of {name} multiply to {inner}, "
            f"which does not divide {size}"
        )


def canonical(fmt: Format, sizes: Mapping[str, int]) -> Format:
    """The one form of all formats that store a tensor of these sizes in the same way.

    Size-1 sub-dimensions and empty levels go (a dimension of size 1 joins the innermost level);
    a UOP with no compressed level below it becomes None; adjacent None levels merge; an all-None
    format is uncompressed. A dimension that is split shows all its sizes, one that is not shows
    none. Sizes that do not divide are rounded as `resolve_sizes` does.

    >>> two = Format((level("B", "K"), level("UOP", "N"), level("B", "K:16")))
    >>> print(canonical(two, {"K": 256, "N": 1}))
    B(K:16)-B(K:16,N)
    """
    levels = _without_ones(fmt, resolve_sizes(fmt, sizes)) if fmt.levels else []
    merged = _merge_none(_drop_idle_offsets(levels), tuple(sizes))
    if all(lvl.primitive is Primitive.NONE for lvl in merged):
        return UNCOMPRESSED
    explicit = Format(tuple(_with_ones(merged, tuple(sizes))))
    split = {name for name in explicit.dimensions if len(explicit.sizes_of(name)) > 1}
    return Format(tuple(_hide_sizes(lvl, split) for lvl in explicit.levels))


def portable(fmt: Format) -> Format:
    """The format without the outermost size of each dimension: what tensors of other sizes share.

    >>> print(portable(Format((level("B", "K:256"), level("B", "K:16")))))
    B(K)-B(K:16)
    """
    seen: set[str] = set()
    levels = []
    for lvl in fmt.levels:
        sizes = tuple(
            None if name not in seen else size
            for name, size in zip(lvl.dimensions, lvl.sizes, strict=True)
        )
        seen.update(lvl.dimensions)
        levels.append(replace(lvl, sizes=sizes))
    return Format(tuple(levels))


def _without_ones(fmt: Format, resolved: Sequence[Mapping[str, int]]) -> list[FormatLevel]:
    levels = []
    for lvl, sizes in zip(fmt.levels, resolved, strict=True):
        kept = [(name, size) for name, size in sizes.items() if size > 1]
        if kept:
            names, values = zip(*kept, strict=True)
            levels.append(replace(lvl, dimensions=names, sizes=values))
    return levels


def _with_ones(levels: Sequence[FormatLevel], order: Sequence[str]) -> list[FormatLevel]:
    """The levels with the dimensions that none of them holds, of size 1, in the innermost one."""
    held = {name for lvl in levels for name in lvl.dimensions}
    missing = tuple(name for name in order if name not in held)
    last = levels[-1]
    full = replace(
        last, dimensions=last.dimensions + missing, sizes=last.sizes + (1,) * len(missing)
    )
    return [*levels[:-1], full]


def _drop_idle_offsets(levels: Sequence[FormatLevel]) -> list[FormatLevel]:
    kept: list[FormatLevel] = []
    useful = False
    for lvl in reversed(levels):
        idle = lvl.primitive is Primitive.UOP and not useful
        kept.append(_as_none(lvl) if idle else lvl)
        useful = useful or lvl.primitive in COMPRESSED
    return kept[::-1]


def _as_none(lvl: FormatLevel) -> FormatLevel:
    return FormatLevel(Primitive.NONE, lvl.dimensions, lvl.sizes)


def _merge_none(levels: Iterable[FormatLevel], order: Sequence[str]) -> list[FormatLevel]:
    merged: list[FormatLevel] = []
    for lvl in levels:
        if lvl.primitive is not Primitive.NONE:
            merged.append(lvl)
            continue
        run = [merged.pop(), lvl] if merged and merged[-1].primitive is Primitive.NONE else [lvl]
        merged.append(_one_none(run, order))
    return merged


def _one_none(levels: Sequence[FormatLevel], order: Sequence[str]) -> FormatLevel:
    totals: dict[str, int] = {}
    for lvl in levels:
        for name, size in zip(lvl.dimensions, lvl.sizes, strict=True):
            totals[name] = totals.get(name, 1) * (size or 1)
    names = tuple(name for name in order if name in totals)
    return FormatLevel(Primitive.NONE, names, tuple(totals[name] for name in names))


def _hide_sizes(lvl: FormatLevel, split: set[str]) -> FormatLevel:
    sizes = tuple(
        size if name in split else None
        for name, size in zip(lvl.dimensions, lvl.sizes, strict=True)
    )
    return replace(lvl, sizes=sizes)
