"""The space protocol: a space turns numbers into designs.

A space is an ordered set of named parameters and a *total* decode: every in-range point is a
design. Everything is batch-first: `Columns` maps each parameter name to an array of length n.
`spaces/parameter_space.py` and `spaces/product_space.py` are the generic implementations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

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
        """Yield every distinct design once, in batches of at most `batch`.

        Raises:
            ValueError: If the space is continuous.
        """
        ...

    def describe(self, designs: Designs, index: int) -> Mapping[str, Any]:
        """A readable, JSON-serialisable account of one design of the batch."""
        ...

    def to_json(self, designs: Designs) -> list[Any]:
        """One JSON-serialisable record per design, from which `from_json` rebuilds the batch."""
        ...

    def from_json(self, records: Sequence[Any]) -> Designs:
        """The batch of designs of these records.

        Raises:
            ValueError: If a record is malformed; the message names the field, rule and value.
        """
        ...
