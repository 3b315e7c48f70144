"""Parameter types (Optuna distributions) as finite, vectorised columns.

A discrete distribution of c values is also the range of *ordinals* 0..c-1; spaces count, enumerate
and draw by ordinal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.space import Columns
from spaces.validation import check_keys

Ordinals = NDArray[np.int64]

FEW_CHOICES = 16
"""Up to this many choices are compared one by one, more by sorting: whichever is faster."""


def cardinality(distribution: BaseDistribution) -> int | None:
    """Number of values; None when continuous.

    >>> cardinality(IntDistribution(2, 8, step=3))  # 2, 5, 8
    3
    """
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step) + 1
    return 1 if distribution.single() else None


def values_at(distribution: BaseDistribution, ordinals: Ordinals) -> NDArray[Any]:
    """Values of a discrete distribution at these ordinals, in the distribution's own type."""
    if isinstance(distribution, CategoricalDistribution):
        return choice_array(distribution.choices)[ordinals]
    if isinstance(distribution, IntDistribution):
        return np.asarray(distribution.low + distribution.step * ordinals, dtype=np.int64)
    if isinstance(distribution, FloatDistribution):
        return np.asarray(distribution.low + (distribution.step or 0.0) * ordinals)
    raise ValueError(f"a parameter must be int, float or categorical, got {distribution!r}")


def ordinals_of(distribution: BaseDistribution, values: NDArray[Any]) -> Ordinals:
    """The inverse of `values_at`; values must be in range (see `checked_column`)."""
    if isinstance(distribution, CategoricalDistribution):
        index = {_choice_key(value): i for i, value in enumerate(distribution.choices)}
        keys = (_choice_key(value) for value in values.tolist())
        return np.fromiter((index[key] for key in keys), dtype=np.int64, count=len(values))
    if isinstance(distribution, IntDistribution):
        return np.asarray((values - distribution.low) // distribution.step, dtype=np.int64)
    if isinstance(distribution, FloatDistribution):
        step = distribution.step or 1.0
        return np.rint((values - distribution.low) / step).astype(np.int64)
    raise ValueError(f"a parameter must be int, float or categorical, got {distribution!r}")


def sample_column(distribution: BaseDistribution, n: int, rng: np.random.Generator) -> NDArray[Any]:
    """n independent draws: uniform over the values, or over their logarithm when `log`."""
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        if distribution.log:
            drawn = _log_uniform(distribution.low, distribution.high, n, rng)
            return np.clip(drawn, distribution.low, distribution.high)
        return rng.uniform(distribution.low, distribution.high, n)
    if isinstance(distribution, IntDistribution) and distribution.log:
        drawn = np.rint(_log_uniform(distribution.low - 0.5, distribution.high + 0.5, n, rng))
        return np.clip(drawn, distribution.low, distribution.high).astype(np.int64)
    return values_at(distribution, rng.integers(0, cardinality(distribution), n))


def choice_array(choices: Sequence[Any]) -> NDArray[Any]:
    """Choices as an array of int64, float64 or bool where all are of that type, else of objects."""
    for kind in (bool, int, float):
        if all(type(choice) is kind for choice in choices):
            return np.array(choices, dtype=kind)
    array = np.empty(len(choices), dtype=object)
    array[:] = list(choices)
    return array


def checked_column(name: str, distribution: BaseDistribution, values: Any) -> NDArray[Any]:
    """Values as an array of the distribution's own type.

    Raises:
        ValueError: If a value is outside the distribution; names parameter, rule and value.
    """
    column = np.asarray(values)
    if isinstance(distribution, CategoricalDistribution):
        return _checked_choices(name, distribution, column)
    if column.dtype.kind not in "iufb":
        raise ValueError(f"{name}: must be a number, got {column.ravel().tolist()[0]!r}")
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if _certainly_inside(distribution, column):
        return column
    inside = (column >= distribution.low) & (column <= distribution.high)
    if distribution.step is not None:
        steps = (column - distribution.low) / distribution.step
        inside &= np.abs(steps - np.rint(steps)) < 1e-6
    if not np.all(inside):
        bad = column[np.argmin(inside)]
        raise ValueError(f"{name}: must be in {_range_text(distribution)}, got {bad}")
    return column.astype(np.int64 if isinstance(distribution, IntDistribution) else np.float64)


def checked_columns(parameters: Mapping[str, BaseDistribution], columns: Columns) -> Columns:
    """The columns of exactly these parameters, in their order, each checked.

    Raises:
        ValueError: If a column is missing, unknown, of another length, or out of range.
    """
    check_keys("columns", columns, parameters)
    checked = {}
    for name, distribution in parameters.items():
        if name not in columns:
            raise ValueError(f"columns: parameter {name!r} is missing")
        checked[name] = checked_column(name, distribution, columns[name])
    lengths = {name: len(column) for name, column in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns: must be of one length, got {lengths}")
    return checked


def enumerate_ordinals(radices: Sequence[int], batch: int) -> Iterator[list[Ordinals]]:
    """Every combination of digits below these radices, the last digit fastest, in batches."""
    total = prod(radices)
    for start in range(0, total, batch):
        rest = np.arange(start, min(start + batch, total), dtype=np.int64)
        digits: list[Ordinals] = []
        for radix in reversed(radices):
            rest, digit = np.divmod(rest, radix)
            digits.append(digit)
        yield digits[::-1]


def _log_uniform(low: float, high: float, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(rng.uniform(log(low), log(high), size=n))


def _certainly_inside(
    distribution: IntDistribution | FloatDistribution, column: NDArray[Any]
) -> bool:
    """A quick yes for the common case: whole numbers in unit steps."""
    if column.dtype != np.int64 or not isinstance(distribution, IntDistribution):
        return False
    if distribution.step != 1 or not len(column):
        return False
    return bool(column.min() >= distribution.low and column.max() <= distribution.high)


def _checked_choices(
    name: str, distribution: CategoricalDistribution, column: NDArray[Any]
) -> NDArray[Any]:
    choices = choice_array(distribution.choices)
    if column.dtype == choices.dtype and column.dtype.kind in "iufb":
        few = len(choices) <= FEW_CHOICES
        inside = (
            np.logical_or.reduce([column == choice for choice in choices])
            if few
            else np.isin(column, choices)
        )
        bad = None if inside.all() else column[np.argmin(inside)]
    else:
        known = {_choice_key(choice) for choice in distribution.choices}
        bad = next((v for v in column.tolist() if _choice_key(v) not in known), None)
        inside = np.array([_choice_key(v) in known for v in column.tolist()], dtype=bool)
    if not inside.all():
        names = ", ".join(map(repr, distribution.choices))
        raise ValueError(f"{name}: must be one of {names}, got {bad!r}")
    if column.dtype == choices.dtype:
        return column
    return choices[ordinals_of(distribution, column)]


def _choice_key(value: Any) -> tuple[str, Any]:
    """Keeps True and 1 apart, which compare equal."""
    return (type(value).__name__, value)


def _range_text(distribution: IntDistribution | FloatDistribution) -> str:
    text = f"{distribution.low}..{distribution.high}"
    stepped = distribution.step is not None and distribution.step != 1
    return f"{text} step {distribution.step}" if stepped else text
