"""Composition of spaces by product: every combination of the designs of named sub-spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from spaces.parameters import checked_columns
from spaces.space import Columns, Space
from spaces.validation import check_keys


@dataclass(frozen=True)
class ProductSpace:
    """The product of sub-spaces; parameter `name` of sub-space `prefix` is `prefix.name`.

    Its designs are a mapping of prefix to the sub-space's designs.

    Attributes:
        spaces: Prefix -> sub-space, in the order of their parameters.

    >>> from spaces.parameter_space import ParameterSpace
    >>> bit = ParameterSpace({"x": {"low": 0, "high": 1}})
    >>> pair = ProductSpace({"a": bit, "b": bit})
    >>> list(pair.parameters), pair.size
    (['a.x', 'b.x'], 4)
    """

    spaces: Mapping[str, Space]

    def __post_init__(self) -> None:
        if not self.spaces:
            raise ValueError("space: a product must have at least one part")
        for prefix, space in self.spaces.items():
            if not isinstance(space, Space):
                raise ValueError(f"space.{prefix}: must be a space, got {type(space).__name__}")
        names = [name for prefix in self.spaces for name in self._names(prefix)]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"space: parameter {min(doubled)!r} is defined twice")

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """`prefix.name` -> Optuna distribution."""
        return {
            f"{prefix}.{name}": distribution
            for prefix, space in self.spaces.items()
            for name, distribution in space.parameters.items()
        }

    @cached_property
    def size(self) -> int | None:
        """Product of the sub-spaces' sizes; None when one of them is continuous."""
        sizes = [space.size for space in self.spaces.values()]
        known = [size for size in sizes if size is not None]
        return prod(known) if len(known) == len(sizes) else None

    def decode(self, columns: Columns) -> Mapping[str, Any]:
        """Prefix -> the designs of that sub-space."""
        checked = checked_columns(self.parameters, columns)
        return {
            prefix: space.decode({name: checked[f"{prefix}.{name}"] for name in space.parameters})
            for prefix, space in self.spaces.items()
        }

    def encode(self, designs: Mapping[str, Any]) -> Columns:
        """Columns of all sub-spaces."""
        return self._joined({p: space.encode(designs[p]) for p, space in self.spaces.items()})

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n points, each sub-space on its own."""
        return self._joined({p: space.sample(n, rng) for p, space in self.spaces.items()})

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Yield every combination of the sub-spaces' distinct designs."""
        for parts in _combinations(list(self.spaces.items()), batch):
            yield self._joined(parts)

    def describe(self, designs: Mapping[str, Any], index: int) -> Mapping[str, Any]:
        """Prefix -> the sub-space's account."""
        return {p: space.describe(designs[p], index) for p, space in self.spaces.items()}

    def to_json(self, designs: Mapping[str, Any]) -> list[Any]:
        """One dict of prefix to the sub-space's record per design."""
        lists = [space.to_json(designs[p]) for p, space in self.spaces.items()]
        return [dict(zip(self.spaces, row, strict=True)) for row in zip(*lists, strict=True)]

    def from_json(self, records: Sequence[Any]) -> Mapping[str, Any]:
        """The designs of these records."""
        for record in records:
            check_keys("design", record, self.spaces)
        for prefix in self.spaces:
            if any(prefix not in record for record in records):
                raise ValueError(f"design: part {prefix!r} is missing")
        return {
            prefix: space.from_json([record[prefix] for record in records])
            for prefix, space in self.spaces.items()
        }

    def _names(self, prefix: str) -> list[str]:
        return [f"{prefix}.{name}" for name in self.spaces[prefix].parameters]

    def _joined(self, parts: Mapping[str, Columns]) -> Columns:
        return {
            f"{prefix}.{name}": parts[prefix][name]
            for prefix, space in self.spaces.items()
            for name in space.parameters
        }


def _combinations(spaces: Sequence[tuple[str, Space]], batch: int) -> Iterator[dict[str, Columns]]:
    """Every combination of the distinct designs of these spaces, in batches."""
    (prefix, space), *rest = spaces
    if not rest:
        yield from ({prefix: columns} for columns in space.enumerate(batch))
        return
    for left in space.enumerate(batch):
        for right in _combinations(rest, batch):
            yield from _crossed(prefix, left, right, batch)


def _crossed(
    prefix: str, left: Columns, right: Mapping[str, Columns], batch: int
) -> Iterator[dict[str, Columns]]:
    """The cross product of two batches, cut into batches."""
    width = max((len(column) for part in right.values() for column in part.values()), default=1)
    height = max((len(column) for column in left.values()), default=1)
    for start in range(0, height * width, batch):
        pair = np.arange(start, min(start + batch, height * width))
        i, j = np.divmod(pair, width)
        crossed: dict[str, Columns] = {prefix: {name: left[name][i] for name in left}}
        for other, part in right.items():
            crossed[other] = {name: part[name][j] for name in part}
        yield crossed
