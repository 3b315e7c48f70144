"""Closed-form size of encoded tiles: metadata bits, payload bits, and the entropy bound.

The unit of encoding is one stand-alone tile. The equations stand in
`evaluators.formats.compression_core`, whose scalar `tile_bits_core` other kernels call;
`code_formats` makes the table it reads::

    table = code_formats([UNCOMPRESSED, csr], ("K", "N"))         # int64 (formats, levels, 8)
    code = density_model(spec, ("K", "N"), (4096, 4096)).code     # float64 row
    metadata, payload = tile_bits_core(table[1], (64, 128, 1, 1), code, 8.0)   # inside a kernel

    metadata, payload = tile_bits(table, ids, extents, code, 8.0)    # arrays of n tiles
    bound = entropy_bound_bits(elements, density, word_bits)

Formats with a Custom level cannot be coded; `evaluators.formats.format_breakdown` prices them, and
gives every format's bits level by level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.formats import compression_core as core
from evaluators.sparsity.density_core import MAX_DIMENSIONS
from evaluators.sparsity.density_model import padded_boxes
from spaces.formats.compression_format import Format, FormatLevel, Primitive

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CODES = {
    Primitive.NONE: core.NONE,
    Primitive.B: core.B,
    Primitive.CP: core.CP,
    Primitive.RLE: core.RLE,
    Primitive.UOP: core.UOP,
}


def code_formats(formats: Sequence[Format], dimensions: Sequence[str]) -> IntArray:
    """Code formats for the compiled core: int64, shape (formats, deepest, `FIELDS`).

    Args:
        formats: Any order; an uncompressed one becomes a single open None level.
        dimensions: Dimension names of the tensor, the order of tile extents.
    """
    deepest = max((len(fmt.levels) for fmt in formats), default=1)
    table = np.zeros((len(formats), max(1, deepest), core.FIELDS), dtype=np.int64)
    table[:, :, 0] = core.END
    for index, fmt in enumerate(formats):
        if not fmt.levels:
            table[index, 0, :4] = core.NONE, -1, -1, 0
            table[index, 0, 4 : 4 + len(dimensions)] = core.OPEN
        seen: set[str] = set()
        for depth, lvl in enumerate(fmt.levels):
            table[index, depth] = _code_level(fmt, lvl, dimensions, seen)
            seen.update(lvl.dimensions)
    return table


def _code_level(
    fmt: Format, lvl: FormatLevel, dimensions: Sequence[str], seen: set[str]
) -> list[int]:
    if lvl.primitive not in _CODES:
        raise ValueError(f"format {fmt}: a Custom level has no compiled form, use format_bits")
    places = {name: place for place, name in enumerate(dimensions)}
    for name in lvl.dimensions:
        if name not in places:
            raise ValueError(
                f"format {fmt}: no dimension {name!r}, the tensor has {', '.join(dimensions)}"
            )
    row = [_CODES[lvl.primitive], _field(lvl.width_bits), _field(lvl.count_bits)]
    row += [places[lvl.dimensions[-1]], *[0] * MAX_DIMENSIONS]
    for name, size in zip(lvl.dimensions, lvl.sizes, strict=True):
        row[4 + places[name]] = size if size is not None and name in seen else core.OPEN
    return row


def _field(bits: int | None) -> int:
    return -1 if bits is None else bits


def tile_bits(
    table: IntArray,
    format_id: IntArray,
    extents: IntArray,
    density_code: FloatArray,
    word_bits: float,
) -> tuple[FloatArray, FloatArray]:
    """Expected (metadata_bits, payload_bits) of n stand-alone tiles, each of shape (n,).

    Args:
        table: From `code_formats`.
        format_id: Row of the table per tile, shape (n,).
        extents: Tile extents, shape (n, dims).
        density_code: `DensityModel.code`.
        word_bits: Payload bits per element.
    """
    ids = np.ascontiguousarray(format_id, dtype=np.int64)
    return core.many_tile_bits(table, ids, padded_boxes(extents), density_code, float(word_bits))


def binary_entropy(density: float | FloatArray) -> FloatArray:
    """H(d) = -d*log2(d) - (1-d)*log2(1-d) in bits, 0 at both ends.

    >>> float(binary_entropy(0.5))
    1.0
    """
    d = np.asarray(density, dtype=np.float64)
    inside = (d > 0.0) & (d < 1.0)
    safe = np.where(inside, d, 0.5)
    bits = -safe * np.log2(safe) - (1.0 - safe) * np.log2(1.0 - safe)
    return np.where(inside, bits, 0.0)


def entropy_bound_bits(
    elements: float | FloatArray, density: float | FloatArray, word_bits: float
) -> FloatArray:
    """Least mean bits of independent zeros: L*H(d) + L*d*w; no format can be below.

    >>> float(entropy_bound_bits(1000, 0.5, 8))
    5000.0
    """
    share = np.asarray(density, dtype=np.float64)
    return np.asarray(elements * (binary_entropy(share) + share * word_bits), dtype=np.float64)
