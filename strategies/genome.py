"""Parameters as genes: integers for discrete parameters, 0..1 for continuous ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution

from evaluators.evaluation import FloatArray
from spaces.parameters import cardinality, ordinals_of, values_at
from spaces.space import Columns


class Genome:
    """Translates columns of n points into an (n, genes) array and back.

    A discrete parameter of c values is the gene 0..c-1; its bounds reach half a step beyond, so
    that rounding uniform reals gives uniform integers. A continuous one is scaled to 0..1, on its
    logarithm where the parameter is logarithmic.
    """

    def __init__(self, parameters: Mapping[str, BaseDistribution]):
        self.parameters = dict(parameters)
        counts = [cardinality(distribution) for distribution in self.parameters.values()]
        self.discrete = np.array([count is not None for count in counts])
        self.lower = np.where(self.discrete, -0.5, 0.0)
        self.upper = np.array([1.0 if count is None else count - 0.5 for count in counts])

    def rounded(self, genes: FloatArray) -> FloatArray:
        """The genes with discrete ones at integers and all within their bounds."""
        inside = np.clip(genes, self.lower, self.upper)
        whole = np.clip(np.rint(inside), 0.0, np.floor(self.upper))
        return np.where(self.discrete, whole, inside)

    def decode(self, genes: FloatArray) -> Columns:
        """Columns of rounded genes of shape (n, genes)."""
        return {
            name: self._values(name, genes[:, index]) for index, name in enumerate(self.parameters)
        }

    def encode(self, columns: Columns) -> FloatArray:
        """Genes of columns, shape (n, genes)."""
        return np.stack([self._genes(name, columns[name]) for name in self.parameters], axis=1)

    def _values(self, name: str, gene: FloatArray) -> NDArray[np.generic]:
        distribution = self.parameters[name]
        if cardinality(distribution) is not None:
            return values_at(distribution, gene.astype(np.int64))
        low, high, log = _range(distribution)
        values = low + gene * (high - low)
        exact = np.exp(values) if log else values
        return np.clip(exact, distribution.low, distribution.high)  # type: ignore[attr-defined]

    def _genes(self, name: str, values: NDArray[np.generic]) -> FloatArray:
        distribution = self.parameters[name]
        if cardinality(distribution) is not None:
            return ordinals_of(distribution, np.asarray(values)).astype(np.float64)
        low, high, log = _range(distribution)
        numbers = np.asarray(values, dtype=np.float64)
        return np.clip(((np.log(numbers) if log else numbers) - low) / (high - low), 0.0, 1.0)


def _range(distribution: BaseDistribution) -> tuple[float, float, bool]:
    """Ends of a continuous range, of its logarithm where it is logarithmic."""
    assert isinstance(distribution, FloatDistribution)
    if distribution.log:
        return float(np.log(distribution.low)), float(np.log(distribution.high)), True
    return distribution.low, distribution.high, False
