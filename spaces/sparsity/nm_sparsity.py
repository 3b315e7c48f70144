"""N:M sparsity patterns, and the space of one pattern per layer.

N is the number of weights *kept* in every aligned group of M along the reduction dimension. Other
code bases count the dropped ones; convert at the border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, IntDistribution

from spaces.space import Columns

DEFAULT_GROUP_SIZES = (2, 4, 8, 16)
"""Group sizes M offered when nothing else is said."""


@dataclass(frozen=True, order=True)
class NMPattern:
    """Keep n of every m consecutive weights of one output channel.

    >>> NMPattern.parse("2:4").sparsity
    0.5
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise ValueError(f"N:M pattern needs 1 <= N <= M, got {self.n}:{self.m}")

    @classmethod
    def parse(cls, text: str) -> NMPattern:
        """Read "N:M" (N kept).

        Raises:
            ValueError: If the text is not two positive integers with a colon between them.
        """
        kept, colon, group = text.partition(":")
        if not colon or not kept.strip().isdigit() or not group.strip().isdigit():
            raise ValueError(f"an N:M pattern is written like 2:4 (kept:group), got {text!r}")
        return cls(int(kept), int(group))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def density(self) -> float:
        """Fraction of weights kept."""
        return self.n / self.m

    @property
    def sparsity(self) -> float:
        """Fraction of weights dropped."""
        return 1.0 - self.n / self.m

    @property
    def is_dense(self) -> bool:
        """True when nothing is dropped."""
        return self.n == self.m

    def stored_bits_per_weight(self, weight_bits: int) -> float:
        """Bits stored per dense weight with one index of ceil(log2 M) bits per kept weight.

        A dense pattern stores no index.

        >>> NMPattern(2, 4).stored_bits_per_weight(8)
        5.0
        """
        index_bits = 0 if self.is_dense else ceil(log2(self.m))
        return self.density * (weight_bits + index_bits)

    def mask_bits_per_weight(self) -> float:
        """Bits per dense weight of the shortest fixed-length mask code, ceil(log2 C(M, N)) / M.

        >>> NMPattern(2, 4).mask_bits_per_weight()
        0.75
        """
        return ceil(log2(comb(self.m, self.n))) / self.m

    def fits(self, other: NMPattern) -> bool:
        """True if every mask of this pattern is also a mask of `other` (padded with zeros).

        >>> NMPattern(1, 4).fits(NMPattern(2, 4)), NMPattern(4, 8).fits(NMPattern(2, 4))
        (True, False)
        """
        if self.m >= other.m and self.m % other.m == 0:
            return min(self.n, other.m) <= other.n
        if other.m % self.m == 0:
            return self.n * (other.m // self.m) <= other.n
        return other.is_dense


DENSE_PATTERN = NMPattern(1, 1)
"""Keep everything."""


def candidate_patterns(
    group_sizes: Sequence[int] = DEFAULT_GROUP_SIZES, kept: Sequence[int] | None = None
) -> tuple[NMPattern, ...]:
    """All N:M with M among `group_sizes` and N < M among `kept` (None = any), plus dense, once.

    Sorted from sparse to dense, equal densities by M, so that the position is an ordinal scale.

    >>> [str(p) for p in candidate_patterns((2, 4), kept=(1, 2))]
    ['1:4', '1:2', '2:4', '1:1']
    """
    for size in group_sizes:
        if size < 2:
            raise ValueError(f"group size M must be >= 2, got {size}")
    found = {NMPattern(n, m) for m in group_sizes for n in range(1, m) if kept is None or n in kept}
    if not found:
        raise ValueError(
            f"no N:M pattern has M in {list(group_sizes)} and N in {list(kept or ())}; "
            "offer a smaller N or a larger M"
        )
    return (*sorted(found, key=lambda p: (p.density, p.m)), DENSE_PATTERN)


@dataclass(frozen=True)
class NMBatch:
    """n assignments of one pattern to each of L layers.

    Attributes:
        layers: Layer names, length L.
        patterns: The candidates.
        choice: Index into `patterns`, shape (n, L).
    """

    layers: tuple[str, ...]
    patterns: tuple[NMPattern, ...]
    choice: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.choice.ndim != 2 or self.choice.shape[1] != len(self.layers):
            raise ValueError(
                f"choice must have shape (n, {len(self.layers)}), got {self.choice.shape}"
            )
        if self.choice.size and not 0 <= self.choice.min() <= self.choice.max() < len(
            self.patterns
        ):
            raise ValueError(f"choice must index the {len(self.patterns)} candidate patterns")

    def __len__(self) -> int:
        return len(self.choice)

    def take(self, indices: NDArray[np.intp]) -> NMBatch:
        """The assignments of a subset, in the order of `indices`."""
        return NMBatch(self.layers, self.patterns, self.choice[indices])

    @property
    def density(self) -> NDArray[np.float64]:
        """Fraction kept of every layer, shape (n, L)."""
        return np.array([pattern.density for pattern in self.patterns])[self.choice]

    def assignment(self, index: int) -> dict[str, NMPattern]:
        """Layer name -> pattern of one design."""
        chosen = self.choice[index]
        return {name: self.patterns[int(k)] for name, k in zip(self.layers, chosen, strict=True)}


@dataclass(frozen=True)
class NMSpace:
    """One candidate pattern per layer; layers that must stay dense are no parameters.

    Attributes:
        layers: Layer names in network order.
        patterns: Candidates, see `candidate_patterns`; the parameter of a layer is an index.
        forced_dense: Names of the layers that keep every weight.
    """

    layers: tuple[str, ...]
    patterns: tuple[NMPattern, ...]
    forced_dense: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(set(self.layers)) != len(self.layers) or not self.layers:
            raise ValueError("layers must be a non-empty list of different names")
        unknown = sorted(self.forced_dense - set(self.layers))
        if unknown:
            raise ValueError(f"forced_dense names unknown layers: {', '.join(unknown)}")
        if self.forced_dense and not any(pattern.is_dense for pattern in self.patterns):
            raise ValueError("forced_dense needs a dense candidate such as 1:1 among the patterns")

    @property
    def free_layers(self) -> tuple[str, ...]:
        """Layers whose pattern is searched."""
        return tuple(name for name in self.layers if name not in self.forced_dense)

    @property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """`nm.<layer>` -> index of its pattern, from sparse to dense."""
        last = len(self.patterns) - 1
        return {f"nm.{name}": IntDistribution(0, last) for name in self.free_layers}

    @property
    def size(self) -> int:
        """Number of different assignments."""
        return int(len(self.patterns) ** len(self.free_layers))

    def decode(self, columns: Columns) -> NMBatch:
        """Assignments from parameter columns of length n."""
        n = len(next(iter(columns.values()))) if columns else 1
        choice = np.full((n, len(self.layers)), self._dense_index(), dtype=np.int64)
        for position, name in enumerate(self.layers):
            if name not in self.forced_dense:
                choice[:, position] = np.asarray(columns[f"nm.{name}"], dtype=np.int64)
        return NMBatch(self.layers, self.patterns, choice)

    def encode(self, designs: NMBatch) -> Columns:
        """The parameter columns of these assignments."""
        return {
            f"nm.{name}": designs.choice[:, position].copy()
            for position, name in enumerate(self.layers)
            if name not in self.forced_dense
        }

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n assignments uniformly."""
        return {name: rng.integers(0, len(self.patterns), n) for name in self.parameters}

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Every assignment once; the first layer varies slowest."""
        names = list(self.parameters)
        base = len(self.patterns)
        for start in range(0, self.size, batch):
            codes = list(range(start, min(start + batch, self.size)))
            columns: dict[str, NDArray[np.int64]] = {}
            for name in reversed(names):
                columns[name] = np.array([code % base for code in codes], dtype=np.int64)
                codes = [code // base for code in codes]
            yield {name: columns[name] for name in names}

    def describe(self, designs: NMBatch, index: int) -> Mapping[str, Any]:
        """Layer name -> "N:M"."""
        return {name: str(pattern) for name, pattern in designs.assignment(index).items()}

    def to_json(self, designs: NMBatch) -> list[Any]:
        """One mapping of layer name to "N:M" per design."""
        return [dict(self.describe(designs, index)) for index in range(len(designs))]

    def from_json(self, records: Sequence[Any]) -> NMBatch:
        """The batch that `to_json` wrote down.

        Raises:
            ValueError: If a layer is missing or its pattern is no candidate.
        """
        position = {str(pattern): index for index, pattern in enumerate(self.patterns)}
        choice = np.zeros((len(records), len(self.layers)), dtype=np.int64)
        for row, record in enumerate(records):
            for column, name in enumerate(self.layers):
                text = record.get(name)
                if text not in position:
                    raise ValueError(
                        f"layer {name!r}: pattern must be one of {', '.join(position)}, got {text}"
                    )
                choice[row, column] = position[text]
        return NMBatch(self.layers, self.patterns, choice)

    def _dense_index(self) -> int:
        """Index of the dense candidate, 0 if there is none (then no layer is forced dense)."""
        return next((i for i, pattern in enumerate(self.patterns) if pattern.is_dense), 0)
