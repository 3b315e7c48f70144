"""A space of named numbers and choices, whose designs are the columns themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.parameters import (
    cardinality,
    checked_columns,
    enumerate_ordinals,
    sample_column,
    values_at,
)
from spaces.space import Columns
from spaces.validation import check_keys

RANGE_KEYS = ("low", "high", "log", "step", "type")
"""Keys of a numeric parameter."""

PARAMETER_KEYS = ("choices", *RANGE_KEYS)
"""Every key a parameter may have."""


@dataclass(frozen=True)
class ParameterSpace:
    """Independent named parameters, written as plain data.

    A parameter is `{choices: [a, b]}`, or `{low: 0, high: 10}` with the optional keys `step`, `log`
    and `type` ("int" or "float"). Without `type`, it is an integer when low, high and step are.

    Attributes:
        definitions: Name -> definition.

    >>> space = ParameterSpace({"x": {"low": 0, "high": 3}, "k": {"choices": ["a", "b"]}})
    >>> space.size
    8
    >>> space.describe(space.from_json([{"x": 2, "k": "b"}]), 0)
    {'x': 2, 'k': 'b'}
    """

    definitions: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        _ = self.parameters

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """Name -> Optuna distribution, in the order written."""
        if not isinstance(self.definitions, Mapping) or not self.definitions:
            raise ValueError(
                f"space: must map parameter names to definitions, got {self.definitions!r}"
            )
        return {
            str(name): distribution_of(str(name), definition)
            for name, definition in self.definitions.items()
        }

    @property
    def size(self) -> int | None:
        """Product of the numbers of values; None when a parameter is continuous."""
        counts = [cardinality(distribution) for distribution in self.parameters.values()]
        discrete = [count for count in counts if count is not None]
        return prod(discrete) if len(discrete) == len(counts) else None

    def decode(self, columns: Columns) -> Columns:
        """The columns themselves, checked, in each parameter's own type."""
        return checked_columns(self.parameters, columns)

    def encode(self, designs: Columns) -> Columns:
        """The columns themselves, checked."""
        return checked_columns(self.parameters, designs)

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n points, each parameter on its own."""
        return {name: sample_column(dist, n, rng) for name, dist in self.parameters.items()}

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Yield every point, the last parameter fastest."""
        radices = []
        for name, distribution in self.parameters.items():
            count = cardinality(distribution)
            if count is None:
                raise ValueError(f"{name}: is continuous and cannot be enumerated; give it a step")
            radices.append(count)
        for ordinals in enumerate_ordinals(radices, batch):
            pairs = zip(self.parameters.items(), ordinals, strict=True)
            yield {name: values_at(dist, ordinal) for (name, dist), ordinal in pairs}

    def describe(self, designs: Columns, index: int) -> Mapping[str, Any]:
        """Name -> value of one design."""
        return {name: _plain(designs[name][index]) for name in self.parameters}

    def to_json(self, designs: Columns) -> list[Any]:
        """One dict of values per design."""
        lists = [[_plain(value) for value in designs[name]] for name in self.parameters]
        return [dict(zip(self.parameters, row, strict=True)) for row in zip(*lists, strict=True)]

    def from_json(self, records: Sequence[Any]) -> Columns:
        """The columns of these dicts; errors name the parameter, the rule and the value."""
        columns: dict[str, Any] = {}
        for record in records:
            check_keys("design", record, self.parameters)
        for name in self.parameters:
            missing = [record for record in records if name not in record]
            if missing:
                raise ValueError(f"design: parameter {name!r} is missing")
            column = np.empty(len(records), dtype=object)
            column[:] = [record[name] for record in records]
            numeric = not isinstance(self.parameters[name], CategoricalDistribution)
            columns[name] = np.array(column.tolist()) if numeric else column
        return checked_columns(self.parameters, columns)


def distribution_of(name: str, definition: Mapping[str, Any]) -> BaseDistribution:
    """The Optuna distribution that a plain definition means.

    Raises:
        ValueError: One line with the parameter, the rule and the value.

    >>> distribution_of("lr", {"low": 0.001, "high": 1, "log": True})
    FloatDistribution(high=1.0, log=True, low=0.001, step=None)
    """
    if not isinstance(definition, Mapping):
        raise ValueError(
            f"{name}: must be a mapping such as {{low: 0, high: 10}}, got {definition!r}"
        )
    check_keys(name, definition, PARAMETER_KEYS)
    if "choices" in definition:
        return _categorical(name, definition)
    return _numeric(name, definition)


def _categorical(name: str, definition: Mapping[str, Any]) -> CategoricalDistribution:
    extra = [key for key in definition if key != "choices"]
    if extra:
        raise ValueError(f"{name}.{extra[0]}: a parameter with choices has no other key")
    choices = definition["choices"]
    if isinstance(choices, str | bytes) or not isinstance(choices, Sequence) or not choices:
        raise ValueError(f"{name}.choices: must be a list of at least one value, got {choices!r}")
    for choice in choices:
        if not isinstance(choice, str | int | float | bool | None):
            raise ValueError(
                f"{name}.choices: each must be a text, number, truth value or null, got {choice!r}"
            )
    seen = [(type(choice), choice) for choice in choices]
    if len(set(seen)) < len(seen):
        raise ValueError(f"{name}.choices: must be distinct, got {list(choices)!r}")
    return CategoricalDistribution(tuple(choices))


def _numeric(name: str, definition: Mapping[str, Any]) -> IntDistribution | FloatDistribution:
    for key in ("low", "high"):
        if key not in definition:
            raise ValueError(f"{name}.{key}: is missing; a parameter has low and high, or choices")
    low = _number(f"{name}.low", definition["low"])
    high = _number(f"{name}.high", definition["high"])
    step = None if definition.get("step") is None else _number(f"{name}.step", definition["step"])
    log = definition.get("log", False)
    _check_range(name, definition, (low, high, step), log)
    if _is_integer(name, definition, (low, high, step)):
        return IntDistribution(int(low), _last(low, high, int(step or 1)), log, int(step or 1))
    return FloatDistribution(float(low), float(high), log, step)


def _check_range(
    name: str,
    definition: Mapping[str, Any],
    bounds: tuple[float, float, float | None],
    log: object,
) -> None:
    low, high, step = bounds
    if low > high:
        raise ValueError(f"{name}: low must be <= high, got low={low}, high={high}")
    if not isinstance(log, bool):
        raise ValueError(f"{name}.log: must be true or false, got {log!r}")
    if log and low <= 0:
        raise ValueError(f"{name}.low: must be > 0 when log is true, got {low}")
    if log and step is not None:
        raise ValueError(f"{name}.step: must be absent when log is true, got {step}")
    if step is not None and step <= 0:
        raise ValueError(f"{name}.step: must be > 0, got {step}")
    kind = definition.get("type")
    if kind not in (None, "int", "float"):
        raise ValueError(f"{name}.type: must be int or float, got {kind!r}")


def _is_integer(
    name: str, definition: Mapping[str, Any], bounds: tuple[float, float, float | None]
) -> bool:
    integral = all(isinstance(bound, Integral) for bound in bounds if bound is not None)
    if definition.get("type") == "int" and not integral:
        raise ValueError(f"{name}: low, high and step must be whole numbers when type is int")
    return integral and definition.get("type") != "float"


def _number(field: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real) or value != value:
        hint = "; write 1.0e-5, not 1e-5" if isinstance(value, str) and "e" in value else ""
        raise ValueError(f"{field}: must be a number, got {value!r}{hint}")
    return value


def _last(low: float, high: float, step: int) -> int:
    """The largest value reached in steps from low, so that high itself is in the range."""
    return int(low + (high - low) // step * step)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
