"""The space of hierarchical formats of one tensor: patterns of primitives x dimension allocations.

Every level covers a sub-tensor: one size per dimension, so that dimensions come in any order, are
split any number of times, and may be flattened together in one level. Parameters are one primitive
per level (and run bits), and per dimension and prime one ordinal that says how its exponent is
divided over the levels; decoding is total, and levels of one position, idle offsets and adjacent
None levels are removed, so that many points are one design. The number of designs has a formula:

    size = sum_n strings(n) * chains(n)
    chains(n)  = sum_i (-1)^(n-i) C(n, i) prod_{d, p} C(e_dp + i - 1, i - 1)
    strings(n) = sequences of n primitives without adjacent None, without UOP below the last
                 compressed level; for n = 1 also None (uncompressed)

e_dp is the exponent of prime p in dimension d; chains(n) counts the ways to write all dimensions as
products over n levels none of which is a single position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from spaces.formats.compression_format import Primitive, check_allocation
from spaces.formats.format_batch import (
    NO_LEVEL,
    NONE_CODE,
    PRIMITIVES,
    RLE_CODE,
    UOP_CODE,
    FormatBatch,
    batch_of,
    canonical_batch,
)
from spaces.formats.format_grammar import parse_format
from spaces.mappings.tiling import compositions, prime_factors
from spaces.parameters import ordinals_of, values_at
from spaces.space import Columns
from spaces.validation import check_keys

IntArray = NDArray[np.int64]

DEFAULT_PRIMITIVES = ("None", "B", "CP", "RLE", "UOP")
DEFAULT_RUN_BITS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class FormatSpace:
    """All canonical formats of a tensor with at most `max_levels` levels.

    Attributes:
        sizes: Dimension name -> size, outermost first.
        max_levels: 1 to 4 are everyday; more work.
        primitives: Allowed ones, `None` among them.
        run_bits: Widths that RLE may have; (0,) leaves the choice to the evaluator.
    """

    sizes: Mapping[str, int]
    max_levels: int = 3
    primitives: Sequence[str] = DEFAULT_PRIMITIVES
    run_bits: Sequence[int] = DEFAULT_RUN_BITS

    def __post_init__(self) -> None:
        check_keys("format space primitives", self.primitives, map(str, PRIMITIVES))
        if "None" not in self.primitives:
            raise ValueError("format space primitives must include None")
        if self.max_levels < 1:
            raise ValueError(f"format space max_levels must be >= 1, got {self.max_levels}")
        for name, size in self.sizes.items():
            if size < 1:
                raise ValueError(f"format space size of {name} must be >= 1, got {size}")

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """Primitives, run bits and exponent divisions, in that order."""
        found: dict[str, BaseDistribution] = {}
        for level in range(self.max_levels):
            found[f"primitive_{level}"] = CategoricalDistribution(tuple(map(str, self.primitives)))
            if "RLE" in self.primitives:
                found[f"run_bits_{level}"] = CategoricalDistribution(tuple(self.run_bits))
        for _, label, _, exponent in self._primes:
            found[label] = IntDistribution(0, comb(exponent + self.max_levels - 1, exponent) - 1)
        return found

    @property
    def _primes(self) -> list[tuple[int, str, int, int]]:
        """(dimension index, parameter name, prime, exponent)."""
        return [
            (index, f"split_{name}_{prime}", prime, exponent)
            for index, (name, size) in enumerate(self.sizes.items())
            for prime, exponent in prime_factors(size).items()
        ]

    def chains(self, levels: int) -> int:
        """Ways to divide all dimensions over exactly this many levels."""
        exponents = [exponent for _, _, _, exponent in self._primes]
        return sum(
            (-1) ** (levels - used)
            * comb(levels, used)
            * prod(comb(exponent + used - 1, exponent) for exponent in exponents)
            for used in range(levels + 1)
            if used > 0 or not exponents
        )

    def strings(self, levels: int) -> NDArray[np.int8]:
        """Every canonical sequence of this many primitive codes, shape (count, levels)."""
        codes = sorted(PRIMITIVES.index(Primitive(name)) for name in self.primitives)
        rows = np.array(list(product(codes, repeat=levels)), dtype=np.int8).reshape(-1, levels)
        adjacent = ((rows[:, 1:] == NONE_CODE) & (rows[:, :-1] == NONE_CODE)).any(axis=1)
        below = np.zeros(len(rows), dtype=bool)
        idle = np.zeros(len(rows), dtype=bool)
        for level in range(levels - 1, -1, -1):
            idle |= (rows[:, level] == UOP_CODE) & ~below
            below |= (rows[:, level] > NONE_CODE) & (rows[:, level] != UOP_CODE)
        return np.asarray(rows[~adjacent & ~idle])

    @cached_property
    def size(self) -> int:
        """Number of distinct formats."""
        if not self._primes:
            return 1
        total = 0
        for levels in range(1, self.max_levels + 1):
            runs = (self.strings(levels) == RLE_CODE).sum(axis=1)
            ways = sum(len(self.run_bits) ** int(count) for count in runs)
            total += ways * self.chains(levels)
        return total

    def decode(self, columns: Columns) -> FormatBatch:
        """Turn columns of length n into n canonical formats."""
        n = len(next(iter(columns.values())))
        shape = (n, self.max_levels)
        primitive, run_bits = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        codes = np.array([PRIMITIVES.index(Primitive(name)) for name in self.primitives], np.int8)
        for level in range(self.max_levels):
            primitive[:, level] = codes[self._ordinals(columns, f"primitive_{level}")]
            if "RLE" in self.primitives:
                widths = np.array(self.run_bits, dtype=np.int8)
                run_bits[:, level] = widths[self._ordinals(columns, f"run_bits_{level}")]
        sizes = np.ones((*shape, len(self.sizes)), dtype=np.int32)
        for index, label, prime, exponent in self._primes:
            ways = compositions(exponent, self.max_levels)
            sizes[:, :, index] *= (prime ** ways[np.asarray(columns[label])]).astype(np.int32)
        return canonical_batch(FormatBatch(tuple(self.sizes), primitive, run_bits, sizes))

    def _ordinals(self, columns: Columns, name: str) -> IntArray:
        return ordinals_of(self.parameters[name], np.asarray(columns[name]))

    def encode(self, designs: FormatBatch) -> Columns:
        """Columns that decode to these formats; absent levels are None of one position."""
        columns: dict[str, NDArray[Any]] = {}
        order = {PRIMITIVES.index(Primitive(p)): i for i, p in enumerate(self.primitives)}
        place = np.array([order.get(code, 0) for code in range(len(PRIMITIVES))])
        none = list(self.primitives).index("None")
        for level in range(self.max_levels):
            codes = designs.primitive[:, level]
            chosen = np.where(codes == NO_LEVEL, none, place[np.maximum(codes, 0)])
            columns[f"primitive_{level}"] = self._values(f"primitive_{level}", chosen)
            if "RLE" in self.primitives:
                columns[f"run_bits_{level}"] = self._values(
                    f"run_bits_{level}", self._run_ordinals(designs.run_bits[:, level])
                )
        for index, label, prime, exponent in self._primes:
            columns[label] = _split_ordinals(designs.sizes[:, :, index], prime, exponent)
        return {name: columns[name] for name in self.parameters}

    def _values(self, name: str, ordinals: IntArray) -> NDArray[Any]:
        return values_at(self.parameters[name], ordinals)

    def _run_ordinals(self, run_bits: NDArray[np.int8]) -> IntArray:
        widths = list(self.run_bits)
        places = {width: place for place, width in enumerate(widths)}
        return np.array([places.get(int(width), 0) for width in run_bits], dtype=np.int64)

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n points, every parameter uniform."""
        return {
            name: values_at(spread, rng.integers(0, _count(spread), n))
            for name, spread in self.parameters.items()
        }

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Yield every format once, fewest levels first."""
        for formats in self.batches(batch):
            yield self.encode(formats)

    def batches(self, batch: int = 65536) -> Iterator[FormatBatch]:
        """Every format once as `FormatBatch`es of at most `batch`, fewest levels first.

        All patterns of one allocation stand together.
        """
        if not self._primes:
            yield batch_of([parse_format("none", list(self.sizes))], self.sizes)
            return
        for levels in range(1, self.max_levels + 1):
            patterns, widths = self._patterns(levels)
            yield from self._crossed(patterns, widths, self.allocations(levels), batch)

    def _patterns(self, levels: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Primitive codes and run bits of every pattern, two arrays (patterns, levels)."""
        rows, widths = [], []
        for row in self.strings(levels):
            options = [self.run_bits if code == RLE_CODE else (0,) for code in row]
            for chosen in product(*options):
                rows.append(row)
                widths.append(chosen)
        return np.array(rows, np.int8), np.array(widths, np.int8)

    def allocations(self, levels: int) -> NDArray[np.int32]:
        """Every division over exactly this many levels, shape (chains, levels, dims)."""
        found = np.ones((1, levels, len(self.sizes)), dtype=np.int32)
        for index, _, prime, exponent in self._primes:
            ways = (prime ** compositions(exponent, levels)).astype(np.int32)
            found = np.repeat(found, len(ways), axis=0)
            found[:, :, index] *= np.tile(ways, (len(found) // len(ways), 1))
        return np.asarray(found[(found.prod(axis=2) > 1).all(axis=1)])

    def _crossed(
        self,
        patterns: NDArray[np.int8],
        widths: NDArray[np.int8],
        chains: NDArray[np.int32],
        batch: int,
    ) -> Iterator[FormatBatch]:
        total = len(patterns) * len(chains)
        for start in range(0, total, batch):
            chain, row = np.divmod(np.arange(start, min(total, start + batch)), len(patterns))
            formats = FormatBatch(tuple(self.sizes), patterns[row], widths[row], chains[chain])
            yield self._widened(formats)

    def _widened(self, formats: FormatBatch) -> FormatBatch:
        missing = self.max_levels - formats.primitive.shape[1]
        pad = [(0, 0), (0, missing)]
        return FormatBatch(
            formats.dimensions,
            np.pad(formats.primitive, pad, constant_values=NO_LEVEL),
            np.pad(formats.run_bits, pad),
            np.pad(formats.sizes, [*pad, (0, 0)], constant_values=1),
        )

    def neighbours(self, designs: FormatBatch, index: int) -> FormatBatch:
        """Formats that differ from one in a primitive, in run bits, or by one prime moved a level.

        Duplicates and the format itself are removed.
        """
        point = {name: column[0] for name, column in self.encode(_one(designs, index)).items()}
        rows = []
        for name, spread in self.parameters.items():
            if isinstance(spread, CategoricalDistribution):
                rows += [{**point, name: value} for value in spread.choices if value != point[name]]
        for _, label, _, exponent in self._primes:
            ways = compositions(exponent, self.max_levels)
            moved = np.abs(ways - ways[point[label]]).sum(axis=1) == 2
            rows += [{**point, label: ordinal} for ordinal in np.flatnonzero(moved)]
        columns = {name: np.array([row[name] for row in rows], object) for name in self.parameters}
        found = self.decode({name: _typed(column) for name, column in columns.items()})
        own = str(designs.format(index))
        texts = [str(found.format(place)) for place in range(len(found))]
        first = {text: place for place, text in reversed(list(enumerate(texts))) if text != own}
        return found.take(np.array(sorted(first.values()), dtype=np.intp))

    def describe(self, designs: FormatBatch, index: int) -> Mapping[str, Any]:
        """The format as text and its number of levels."""
        return {"format": str(designs.format(index)), "levels": int(designs.depth[index])}

    def to_json(self, designs: FormatBatch) -> list[Any]:
        """One format text per design."""
        return [str(designs.format(index)) for index in range(len(designs))]

    def from_json(self, records: Sequence[Any]) -> FormatBatch:
        """Formats from their texts.

        Raises:
            ValueError: A text that does not parse, sizes that do not multiply up, too many levels.
        """
        formats = [parse_format(str(record), list(self.sizes)) for record in records]
        for fmt in formats:
            check_allocation(fmt, self.sizes)
        batch = batch_of(formats, self.sizes)
        if batch.primitive.shape[1] > self.max_levels:
            raise ValueError(
                f"format space: at most {self.max_levels} levels, got {batch.primitive.shape[1]}"
            )
        return self._widened(batch)


def _one(designs: FormatBatch, index: int) -> FormatBatch:
    return designs.take(np.array([index], dtype=np.intp))


def _typed(column: NDArray[Any]) -> NDArray[Any]:
    return np.array(column.tolist())


def _count(spread: BaseDistribution) -> int:
    if isinstance(spread, CategoricalDistribution):
        return len(spread.choices)
    assert isinstance(spread, IntDistribution)
    return int(spread.high) + 1


def _split_ordinals(sizes: NDArray[np.int32], prime: int, exponent: int) -> IntArray:
    """Row of `compositions` with these powers of a prime, from sizes of shape (n, levels)."""
    levels = sizes.shape[1]
    powers = np.zeros(sizes.shape, dtype=np.int64)
    for power in range(1, exponent + 1):
        powers += sizes.astype(np.int64) % prime**power == 0
    weights = (exponent + 1) ** np.arange(levels)[::-1]
    known = compositions(exponent, levels) @ weights
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known[order], powers @ weights)], dtype=np.int64)
