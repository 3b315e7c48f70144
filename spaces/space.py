"""The space protocol, and its two generic implementations.

A space turns numbers into designs. It is an ordered set of named parameters and a *total* decode:
every in-range point is a design. Everything is batch-first: `Columns` maps each parameter name to
an array of length n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
)

Columns = Mapping[str, NDArray[Any]]
"""Parameter name -> array of length n, in the parameter's own values."""

Designs = Any
"""A batch of n designs; its type belongs to the space. The generic type is `Columns`."""


@runtime_checkable
class Space(Protocol):
    """Ordered, named parameters and a total decode of their values into designs."""

    @property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """Name -> Optuna distribution, in a fixed order."""
        ...

    @property
    def size(self) -> int | None:
        """Number of distinct designs (not encodings); None when the space is continuous."""
        ...

    def decode(self, columns: Columns) -> Designs:
        """Turn columns of length n into a batch of n designs; total over the in-range points."""
        ...

    def encode(self, designs: Designs) -> Columns:
        """Columns that decode to these designs (the inverse of `decode` on canonical points)."""
        ...

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n points, vectorised."""
        ...

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Yield every distinct design once, in batches of at most `batch`."""
        ...

    def describe(self, designs: Designs, index: int) -> Mapping[str, Any]:
        """A readable, JSON-serialisable account of one design of the batch."""
        ...
