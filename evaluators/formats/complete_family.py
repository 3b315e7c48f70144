"""Which formats of a complete family tiles may need: those that no other beats.

A `FormatSpace` of three levels over a 4096 x 4096 tensor has millions of formats, too many to price
one by one for every tile. Where zeros are independent (Bernoulli) and every dimension is a power of
one prime, two facts make it short:

* A format of the tensor, cut to a tile of divisors, is a format of the tile, and every format of
  the tile is one of the tensor cut to it.
* The bits of a format depend on the numbers of positions of its levels alone, not on which
  dimensions they come from. So all tiles of as many elements have the same best formats, and they
  are those of one row of so many elements.

Left are, for every number of elements, the formats with no other of at most their metadata and at
most their payload bits: whatever a bit of either costs, one of them is the best of the family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from evaluators.formats.format_cost import FormatCost
from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.formats.format_batch import FormatBatch, concatenate_formats
from spaces.formats.format_space import DEFAULT_RUN_BITS, FormatSpace
from spaces.mappings.tiling import prime_factors
from spaces.sparsity.sparsity import DensitySpec

FloatArray = NDArray[np.float64]

SAME = 1e-12
"""Relative difference below which two numbers of bits are one."""

PIVOTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Prices of a payload bit over a metadata bit; the cheapest formats at them beat most others."""


@dataclass(frozen=True)
class CompleteFamily:
    """All formats of up to `max_levels` levels, see `FormatSpace`.

    Attributes:
        density: Independent zeros of the tensors.
        word_bits: Payload bits per element.
        max_levels: Of the formats.
        run_bits: Widths of RLE levels.

    Raises:
        ValueError: For zeros that are not Bernoulli.
    """

    density: DensitySpec
    word_bits: float = 8.0
    max_levels: int = 3
    run_bits: Sequence[int] = DEFAULT_RUN_BITS

    def __post_init__(self) -> None:
        if self.density.model != "bernoulli":
            raise ValueError(f"complete family: zeros must be bernoulli, got {self.density.model}")

    def space(self, sizes: Mapping[str, int]) -> FormatSpace:
        """The family on a tensor (dimension name -> size)."""
        return FormatSpace(sizes, self.max_levels, run_bits=self.run_bits)

    def needed(self, sizes: Mapping[str, int]) -> tuple[Format, ...]:
        """Formats of the family that hold the best for every tile of divisors, uncompressed first.

        What decoding costs is not looked at.

        Raises:
            ValueError: If the sizes are not powers of one prime.
        """
        powers = {name: prime_factors(size) for name, size in sizes.items()}
        primes = {prime for power in powers.values() for prime in power}
        if len(primes) > 1:
            raise ValueError(
                f"complete family: sizes must be powers of one prime, got {dict(sizes)}"
            )
        prime = primes.pop() if primes else 2
        every = concatenate_formats(
            [
                _unfolded(self._of_row(prime ** sum(tile)), [prime**part for part in tile], sizes)
                for tile in product(*(range(power.get(prime, 0) + 1) for power in powers.values()))
            ]
        )
        rows = np.column_stack(
            [every.primitive, every.run_bits, every.sizes.reshape(len(every), -1)]
        )
        _, first = np.unique(rows, axis=0, return_index=True)
        found = every.take(np.sort(first))
        return tuple(
            dict.fromkeys([UNCOMPRESSED, *(found.format(index) for index in range(len(found)))])
        )

    def _of_row(self, elements: int) -> FormatBatch:
        """The formats of a row of elements that no other beats in metadata and payload."""
        if elements not in self._rows:
            sizes = {"row": elements}
            cost = FormatCost(sizes, self.density, self.word_bits)
            batches = list(self.space(sizes).batches())
            found = [cost.evaluate(batch).metrics for batch in batches]
            metadata = np.concatenate([metrics["metadata_bits"] for metrics in found])
            payload = np.concatenate([metrics["payload_bits"] for metrics in found])
            self._rows[elements] = concatenate_formats(batches).take(_front(metadata, payload))
        return self._rows[elements]

    @cached_property
    def _rows(self) -> dict[int, FormatBatch]:
        return {}


def _front(metadata: FloatArray, payload: FloatArray) -> NDArray[np.intp]:
    """Places with no other that is at most as large in both; the first of equals.

    >>> _front(np.array([2.0, 1.0, 3.0, 2.0]), np.array([2.0, 5.0, 4.0, 2.0])).tolist()
    [1, 0]
    """
    left = np.arange(len(metadata))
    for price in PIVOTS:
        at = left[(metadata[left] + price * payload[left]).argmin()]
        beaten = (metadata[left] >= metadata[at]) & (payload[left] >= payload[at])
        left = left[~beaten | (left == at)]
    order = left[np.lexsort((payload[left], metadata[left]))]
    lowest = np.minimum.accumulate(payload[order])
    better = payload[order][1:] < lowest[:-1] * (1.0 - SAME)
    return np.asarray(order[np.concatenate([[True], better])])


def _unfolded(row: FormatBatch, tile: Sequence[int], sizes: Mapping[str, int]) -> FormatBatch:
    """Formats of a row as formats of a tensor that are these on a tile of as many elements.

    Levels take the innermost dimension of the tile first; the outermost has all the rest.
    """
    positions = row.sizes[:, :, 0]
    parts = np.ones((*positions.shape, len(sizes)), dtype=np.int32)
    left = np.tile(np.array(tile, dtype=np.int32), (len(row), 1))
    whole = np.tile(np.array(list(sizes.values()), dtype=np.int32), (len(row), 1))
    outermost = np.zeros(len(row), dtype=np.int64)
    for level in range(positions.shape[1] - 1, 0, -1):
        open_positions = positions[:, level].copy()
        for dimension in range(len(sizes) - 1, -1, -1):
            taken = np.minimum(open_positions, left[:, dimension])
            parts[:, level, dimension] = taken
            left[:, dimension] //= taken
            whole[:, dimension] //= taken
            open_positions //= taken
    parts[np.arange(len(row)), outermost] = whole
    return FormatBatch(tuple(sizes), row.primitive, row.run_bits, parts)
