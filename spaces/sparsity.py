"""How sparse a tensor is: the specification that density models are built from.

A specification is data. `evaluators/density.py` turns it into probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DensitySpec:
    """Distribution of one tensor's zeros.

    Attributes:
        model: dense, bernoulli, hypergeometric, fixed_structured, n_m, block, banded,
            dead_columns or mask.
        density: Fraction of non-zero elements, 0..1.
        parameters: Of the model, for example {"n": 2, "m": 4, "dimension": "K"} (N kept of M).
        source: Where the number comes from; "synthetic" when it is nobody's measurement.
    """

    model: str = "dense"
    density: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = "synthetic"

    def __post_init__(self) -> None:
        if not 0.0 <= self.density <= 1.0:
            raise ValueError(f"density must be between 0 and 1, got {self.density}")


DENSE = DensitySpec(source="no zeros assumed")
"""The tensor has no zeros worth storing."""
