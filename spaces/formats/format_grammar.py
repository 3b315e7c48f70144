"""Reads compression formats from text, and knows the names of the common ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from spaces.formats.compression_format import (
    UNCOMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    level,
)
from spaces.validation import nearest

RUN_BITS = 5
"""Run bits of the plain `rle` format: Eyeriss codes runs of up to 31 zeros in 5 bits
(Chen et al., ISCA 2016, section on run-length compression)."""

BLOCK = 4
"""Block edge of the plain `bcsr` format: 4x4, the common register block."""

INNER = 16
"""Inner size of the plain two-level bitmap and of a `csb` block."""

_LEVEL = re.compile(r"\s*([A-Za-z_]\w*)\s*\(([^()]*)\)\s*")
_DIMENSION = re.compile(r"(\*|[A-Za-z_][\w+]*)(?::(\d+))?")
_ROLES: dict[str, Callable[[Sequence[str]], Sequence[str]]] = {
    "*": lambda dims: dims,
    "first": lambda dims: dims[:1],
    "rest": lambda dims: dims[1:],
    "last": lambda dims: dims[-1:],
}
"""Words for dimensions of any tensor: all, the outermost, the others, the innermost."""

_KEYS = {"w": "width_bits", "r": "width_bits", "c": "count_bits"}
_ALLOWED_KEYS = {
    Primitive.NONE: "",
    Primitive.B: "",
    Primitive.CP: "wc",
    Primitive.RLE: "rc",
    Primitive.UOP: "w",
    Primitive.CUSTOM: "f",
}
_WIDEST_FIELD_BITS = 64


def _flat(primitive: str, dimensions: Sequence[str]) -> FormatLevel:
    return level(primitive, *dimensions)


def _rle(dims: Sequence[str]) -> Format:
    return Format((FormatLevel(Primitive.RLE, tuple(dims), (None,) * len(dims), RUN_BITS),))


def _rows(outer: str, inner: str) -> Callable[[Sequence[str]], Format]:
    def build(dims: Sequence[str]) -> Format:
        return Format((level(outer, dims[0]), _flat(inner, dims[1:])))

    return build


def _columns(dims: Sequence[str]) -> Format:
    return Format((level("UOP", dims[-1]), _flat("CP", dims[:-1])))


def _block_rows(dims: Sequence[str]) -> Format:
    block = [f"{name}:{BLOCK}" for name in dims]
    return Format((level("UOP", dims[0]), _flat("CP", dims[1:]), level("None", *block)))


def _blocks(dims: Sequence[str]) -> Format:
    return Format((_flat("UOP", dims), level("CP", *[f"{name}:{INNER}" for name in dims])))


def _bitmaps(*inner_sizes: int) -> Callable[[Sequence[str]], Format]:
    def build(dims: Sequence[str]) -> Format:
        inner = [level("B", f"{dims[-1]}:{size}") for size in inner_sizes]
        return Format((_flat("B", dims), *inner))

    return build


NAMED: dict[str, tuple[int, Callable[[Sequence[str]], Format]]] = {
    "none": (1, lambda dims: UNCOMPRESSED),
    "uncompressed": (1, lambda dims: UNCOMPRESSED),
    "bitmap": (1, lambda dims: Format((_flat("B", dims),))),
    "rle": (1, _rle),
    "coo": (1, lambda dims: Format((_flat("CP", dims),))),
    "csr": (2, _rows("UOP", "CP")),
    "csc": (2, _columns),
    "dcsr": (2, _rows("CP", "CP")),
    "bcsr": (2, _block_rows),
    "csb": (2, _blocks),
    "two_level_bitmap": (1, _bitmaps(INNER)),
    "three_level_bitmap": (1, _bitmaps(4, 4)),
}
"""Known name -> (least number of dimensions, builder from the tensor's dimension names)."""


def named_format(name: str, dimensions: Sequence[str]) -> Format:
    """A known format on a tensor's dimensions, outermost first.

    Raises:
        ValueError: When the name is unknown or the tensor has too few dimensions.

    >>> print(named_format("two_level_bitmap", ["K", "N"]))
    B(K,N)-B(N:16)
    """
    key = name.strip().lower()
    if key not in NAMED:
        raise ValueError(f"unknown format name {name!r}{nearest(key, NAMED)}")
    needed, build = NAMED[key]
    if len(dimensions) < needed:
        raise ValueError(
            f"format {key}: needs a tensor of {needed} dimensions or more, "
            f"this one has {', '.join(dimensions)}"
        )
    return build(dimensions)


def parse_format(text: str, dimensions: Sequence[str]) -> Format:
    """Read a format, or a known name such as `csr`, for a tensor with these dimensions.

    The grammar is that of `spaces.formats.compression_format`; words are matched without regard to
    case. In place of dimension names, `*`, `first`, `rest` and `last` fit any tensor:
    `B(*)-B(last:16)`.

    Raises:
        ValueError: One line with the position of the fault and the nearest valid word.

    >>> print(parse_format("csr", ["K", "N"]), parse_format("b(K:256) - B(K:16)", ["K"]))
    UOP(K)-CP(N) B(K:256)-B(K:16)
    >>> print(parse_format("UOP(first)-CP(rest)-None(*:4)", ["K", "N"]))
    UOP(K)-CP(N)-None(K:4,N:4)
    """
    plain = text.strip()
    if plain.lower() in NAMED:
        return named_format(plain, dimensions)
    if not plain:
        raise ValueError("format is empty; write for example B(K) or csr")
    levels = _read_levels(text, dimensions)
    fmt = Format(tuple(levels))
    for name in dimensions:
        sizes = fmt.sizes_of(name)
        if not sizes:
            raise ValueError(f"format {text!r}: dimension {name} is left out, add None({name})")
        if None in sizes[1:]:
            raise ValueError(
                f"format {text!r}: only the outermost level of {name} may leave its size out"
            )
    return fmt


def _read_levels(text: str, dimensions: Sequence[str]) -> list[FormatLevel]:
    levels = []
    position = 0
    while True:
        match = _LEVEL.match(text, position)
        if match is None:
            raise _unreadable(text, position)
        levels.append(_read_level(text, match, dimensions))
        position = match.end()
        if position == len(text):
            return levels
        if text[position] != "-":
            raise ValueError(
                f"format {text!r}: expected '-' between levels at position {position}, "
                f"got {text[position]!r}"
            )
        position += 1


def _unreadable(text: str, position: int) -> ValueError:
    word = re.match(r"\s*(\w*)", text[position:])
    hint = nearest(word.group(1) if word else "", [*map(str, Primitive), *NAMED])
    return ValueError(
        f"format {text!r}: expected a level such as B(K) at position {position}, "
        f"got {text[position:] or 'the end'!r}{hint}"
    )


def _read_level(text: str, match: re.Match[str], dimensions: Sequence[str]) -> FormatLevel:
    word = match.group(1)
    by_name = {primitive.lower(): primitive for primitive in Primitive}
    if word.lower() not in by_name:
        raise ValueError(
            f"format {text!r}: unknown primitive {word!r} at position {match.start(1)}"
            f"{nearest(word, map(str, Primitive))}"
        )
    primitive = by_name[word.lower()]
    names: list[str] = []
    sizes: list[int | None] = []
    fields: dict[str, int | str] = {}
    for argument in match.group(2).split(","):
        if "=" in argument:
            fields.update(_read_field(text, primitive, argument))
            continue
        for name, size in _read_dimensions(text, argument, dimensions):
            if name in names:
                raise ValueError(f"format {text!r}: {name} stands twice in one level")
            names.append(name)
            sizes.append(size)
    return _build_level(text, FormatLevel(primitive, tuple(names), tuple(sizes)), fields)


def _build_level(text: str, bare: FormatLevel, fields: dict[str, int | str]) -> FormatLevel:
    if not bare.dimensions:
        raise ValueError(f"format {text!r}: {bare.primitive} names no dimension")
    width, count = fields.get("width_bits"), fields.get("count_bits")
    function = str(fields.get("function", ""))
    if bare.primitive is Primitive.CUSTOM and not function:
        raise ValueError(f"format {text!r}: Custom needs f=NAME of a registered callable")
    return FormatLevel(
        bare.primitive,
        bare.dimensions,
        bare.sizes,
        None if width is None else int(width),
        None if count is None else int(count),
        function,
    )


def _read_dimensions(
    text: str, argument: str, dimensions: Sequence[str]
) -> list[tuple[str, int | None]]:
    """The dimensions that one argument stands for, each with its size."""
    match = _DIMENSION.fullmatch(argument.strip())
    if match is None:
        raise ValueError(
            f"format {text!r}: expected a dimension such as K or K:16, got {argument.strip()!r}"
        )
    name = match.group(1)
    names = [name] if name in dimensions else _role(name, dimensions)
    if not names:
        known = ", ".join([*dimensions, *_ROLES])
        raise ValueError(f"format {text!r}: no dimension {name!r}, the tensor has {known}")
    size = int(match.group(2)) if match.group(2) else None
    if size == 0:
        raise ValueError(f"format {text!r}: the size of {name} must be >= 1, got 0")
    return [(each, size) for each in names]


def _role(name: str, dimensions: Sequence[str]) -> Sequence[str]:
    return _ROLES[name](dimensions) if name in _ROLES else []


def _read_field(text: str, primitive: Primitive, argument: str) -> dict[str, int | str]:
    key, _, value = (part.strip() for part in argument.partition("="))
    allowed = _ALLOWED_KEYS[primitive]
    if len(key) != 1 or key not in allowed:
        takes = ", ".join(allowed) or "none"
        raise ValueError(f"format {text!r}: {primitive} has no field {key!r}, it takes {takes}")
    if key == "f":
        return {"function": value}
    least = 1 if key == "r" else 0
    if not value.isdigit() or not least <= int(value) <= _WIDEST_FIELD_BITS:
        raise ValueError(
            f"format {text!r}: {key} must be {least}..{_WIDEST_FIELD_BITS} bits, got {value!r}"
        )
    return {_KEYS[key]: int(value)}
