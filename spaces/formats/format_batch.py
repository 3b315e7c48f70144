"""Batches of formats as arrays, for one tensor of known sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.formats.compression_format import (
    UNCOMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    canonical,
    resolve_sizes,
)

PRIMITIVES = (Primitive.NONE, Primitive.B, Primitive.CP, Primitive.RLE, Primitive.UOP)
"""The primitive of each code in `FormatBatch.primitive`; -1 = no level."""

NO_LEVEL = -1
NONE_CODE, RLE_CODE, UOP_CODE = 0, 3, 4

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class FormatBatch:
    """n formats of one tensor, canonical, padded to a common number of levels.

    Attributes:
        dimensions: Names of the tensor's dimensions.
        primitive: Code of each level, outermost first, -1 behind the last; shape (n, levels).
        run_bits: Run bits of RLE levels, 0 = to be chosen by the evaluator; same shape.
        sizes: Size per level and dimension, 1 = not in the level; shape (n, levels, dims).
    """

    dimensions: tuple[str, ...]
    primitive: NDArray[np.int8]
    run_bits: NDArray[np.int8]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.primitive)

    @property
    def depth(self) -> IntArray:
        """Levels that are not None, shape (n,)."""
        return np.asarray((self.primitive > NONE_CODE).sum(axis=1), dtype=np.int64)

    def take(self, indices: NDArray[np.intp]) -> FormatBatch:
        """The formats of a subset, in the order of `indices`."""
        return FormatBatch(
            self.dimensions, self.primitive[indices], self.run_bits[indices], self.sizes[indices]
        )

    def format(self, index: int) -> Format:
        """One format, in canonical form; an RLE level without run bits leaves them out."""
        levels = []
        extents = dict.fromkeys(self.dimensions, 1)
        rows = zip(self.primitive[index], self.run_bits[index], self.sizes[index], strict=True)
        for code, run_bits, sizes in rows:
            if code == NO_LEVEL:
                break
            kept = [
                (name, int(size))
                for name, size in zip(self.dimensions, sizes, strict=True)
                if size > 1
            ]
            for name, size in kept:
                extents[name] *= size
            width = int(run_bits) if code == RLE_CODE and run_bits > 0 else None
            names, values = zip(*kept, strict=True)
            levels.append(FormatLevel(PRIMITIVES[code], names, values, width))
        return canonical(Format(tuple(levels)), extents) if levels else UNCOMPRESSED


def concatenate_formats(batches: Sequence[FormatBatch]) -> FormatBatch:
    """One batch of all, padded to the deepest; at least one batch, all of the same tensor."""
    levels = max(batch.primitive.shape[1] for batch in batches)
    padded = [_padded(batch, levels) for batch in batches]
    return FormatBatch(
        batches[0].dimensions,
        np.concatenate([batch.primitive for batch in padded]),
        np.concatenate([batch.run_bits for batch in padded]),
        np.concatenate([batch.sizes for batch in padded]),
    )


def _padded(batch: FormatBatch, levels: int) -> FormatBatch:
    missing = levels - batch.primitive.shape[1]
    return FormatBatch(
        batch.dimensions,
        np.pad(batch.primitive, [(0, 0), (0, missing)], constant_values=NO_LEVEL),
        np.pad(batch.run_bits, [(0, 0), (0, missing)]),
        np.pad(batch.sizes, [(0, 0), (0, missing), (0, 0)], constant_values=1),
    )


def batch_of(formats: Sequence[Format], sizes: Mapping[str, int]) -> FormatBatch:
    """Formats as a batch, in canonical form; sizes must divide.

    Raises:
        ValueError: A Custom level or explicit field widths, which a batch cannot hold.

    >>> batch = batch_of([UNCOMPRESSED], {"K": 4, "N": 2})
    >>> batch.primitive.tolist(), batch.sizes.tolist()
    ([[0]], [[[4, 2]]])
    """
    names = tuple(sizes)
    clean = [canonical(fmt, sizes) for fmt in formats]
    levels = max([1, *(len(fmt.levels) for fmt in clean)])
    primitive = np.full((len(clean), levels), NO_LEVEL, dtype=np.int8)
    run_bits = np.zeros((len(clean), levels), dtype=np.int8)
    grid = np.ones((len(clean), levels, len(names)), dtype=np.int32)
    for index, fmt in enumerate(clean):
        if not fmt.levels and any(size > 1 for size in sizes.values()):
            primitive[index, 0] = NONE_CODE
            grid[index, 0] = [sizes[name] for name in names]
        for depth, (lvl, parts) in enumerate(
            zip(fmt.levels, resolve_sizes(fmt, sizes), strict=True)
        ):
            primitive[index, depth], run_bits[index, depth] = _codes(fmt, lvl)
            for name, size in parts.items():
                grid[index, depth, names.index(name)] = size
    return FormatBatch(names, primitive, run_bits, grid)


def _codes(fmt: Format, lvl: FormatLevel) -> tuple[int, int]:
    is_run = lvl.primitive is Primitive.RLE
    explicit = (lvl.width_bits is not None and not is_run) or lvl.count_bits is not None
    if lvl.primitive is Primitive.CUSTOM or explicit:
        raise ValueError(f"format {fmt}: a batch holds no Custom level and no explicit widths")
    return PRIMITIVES.index(lvl.primitive), (lvl.width_bits or 0) if is_run else 0


def canonical_batch(batch: FormatBatch) -> FormatBatch:
    """Bring every format of a batch to canonical form, vectorised.

    Levels of one position go, a UOP with no compressed level below it becomes None, adjacent None
    levels merge, run bits of other primitives are 0.
    """
    primitive = batch.primitive.copy()
    sizes = batch.sizes.copy()
    empty = sizes.prod(axis=2) == 1
    primitive[empty] = NO_LEVEL
    _idle_offsets_to_none(primitive)
    primitive, sizes, run_bits = _left_aligned(primitive, sizes, batch.run_bits)
    for level in range(primitive.shape[1] - 1):
        both = (primitive[:, level] == NONE_CODE) & (primitive[:, level + 1] == NONE_CODE)
        sizes[both, level + 1] *= sizes[both, level]
        sizes[both, level] = 1
        primitive[both, level] = NO_LEVEL
    primitive, sizes, run_bits = _left_aligned(primitive, sizes, run_bits)
    run_bits[primitive != RLE_CODE] = 0
    return FormatBatch(batch.dimensions, primitive, run_bits, sizes)


def _idle_offsets_to_none(primitive: NDArray[np.int8]) -> None:
    useful = np.zeros(len(primitive), dtype=bool)
    for level in range(primitive.shape[1] - 1, -1, -1):
        column = primitive[:, level]
        column[(column == UOP_CODE) & ~useful] = NONE_CODE
        useful |= (column > NONE_CODE) & (column != UOP_CODE)


def _left_aligned(
    primitive: NDArray[np.int8], sizes: NDArray[np.int32], run_bits: NDArray[np.int8]
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int8]]:
    order = np.argsort(primitive == NO_LEVEL, axis=1, kind="stable")
    moved = np.take_along_axis(sizes, order[:, :, None], axis=1)
    return (
        np.take_along_axis(primitive, order, axis=1),
        moved,
        np.take_along_axis(run_bits, order, axis=1),
    )
