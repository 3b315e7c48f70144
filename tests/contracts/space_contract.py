"""What every space must do; a fixture lists the implementations."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.parameters import choice_array
from spaces.space import Columns, Space


def concatenated(batches: Iterator[Columns]) -> dict[str, np.ndarray]:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def extreme_points(parameters: Mapping[str, BaseDistribution]) -> dict[str, np.ndarray]:
    """The corners where every parameter is at its first, or at its last value."""
    columns = {}
    for name, distribution in parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            ends = [distribution.choices[0], distribution.choices[-1]]
            columns[name] = choice_array(ends)
        else:
            assert isinstance(distribution, IntDistribution | FloatDistribution)
            columns[name] = np.array([distribution.low, distribution.high])
    return columns


def assert_columns_equal(left: Columns, right: Columns) -> None:
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


class SpaceContract:
    """Inherit and provide a fixture `space`; `small` says whether it can be enumerated here."""

    samples = 200
    enumerable = 20_000

    def test_is_a_space(self, space: Space) -> None:
        assert isinstance(space, Space)
        assert space.parameters
        assert all(isinstance(d, BaseDistribution) for d in space.parameters.values())

    def test_sample_has_every_parameter_in_range(self, space: Space) -> None:
        columns = space.sample(self.samples, np.random.default_rng(0))
        assert list(columns) == list(space.parameters)
        for name, distribution in space.parameters.items():
            assert len(columns[name]) == self.samples
            for value in columns[name].tolist():
                internal = distribution.to_internal_repr(value)
                assert distribution._contains(internal), (name, value)

    def test_sample_is_determined_by_the_seed(self, space: Space) -> None:
        first = space.sample(self.samples, np.random.default_rng(7))
        assert_columns_equal(first, space.sample(self.samples, np.random.default_rng(7)))
        other = space.sample(self.samples, np.random.default_rng(8))
        if space.size is None or space.size > 50:
            assert any(np.any(first[name] != other[name]) for name in first)

    def test_decode_is_total(self, space: Space) -> None:
        corners = extreme_points(space.parameters)
        assert len(space.to_json(space.decode(corners))) == 2
        columns = space.sample(self.samples, np.random.default_rng(1))
        assert len(space.to_json(space.decode(columns))) == self.samples

    def test_encode_inverts_decode_on_designs(self, space: Space) -> None:
        designs = space.decode(space.sample(self.samples, np.random.default_rng(2)))
        again = space.decode(space.encode(designs))
        assert space.to_json(again) == space.to_json(designs)

    def test_encode_is_a_fixpoint_on_canonical_points(self, space: Space) -> None:
        points = space.sample(self.samples, np.random.default_rng(3))
        canonical = space.encode(space.decode(points))
        assert_columns_equal(space.encode(space.decode(canonical)), canonical)

    def test_batches_do_not_change_designs(self, space: Space) -> None:
        columns = space.sample(9, np.random.default_rng(4))
        together = space.to_json(space.decode(columns))
        alone = [
            space.to_json(space.decode({name: c[i : i + 1] for name, c in columns.items()}))[0]
            for i in range(9)
        ]
        assert together == alone

    def test_json_round_trip(self, space: Space) -> None:
        designs = space.decode(space.sample(20, np.random.default_rng(5)))
        records = json.loads(json.dumps(space.to_json(designs), allow_nan=False))
        assert space.to_json(space.from_json(records)) == space.to_json(designs)

    def test_describe_is_json(self, space: Space) -> None:
        designs = space.decode(space.sample(3, np.random.default_rng(6)))
        for index in range(3):
            json.dumps(space.describe(designs, index), allow_nan=False)

    def test_pickles(self, space: Space) -> None:
        copy: Any = pickle.loads(pickle.dumps(space))
        columns = space.sample(5, np.random.default_rng(7))
        assert copy.to_json(copy.decode(columns)) == space.to_json(space.decode(columns))

    def test_enumerates_every_distinct_design_once(self, space: Space) -> None:
        if space.size is None or space.size > self.enumerable:
            first = next(iter_or_empty(space))
            assert first is None or all(len(column) <= 64 for column in first.values())
            return
        points = concatenated(space.enumerate(batch=97))
        records = space.to_json(space.decode(points))
        assert len(records) == space.size
        assert len({json.dumps(record, sort_keys=True) for record in records}) == space.size
        assert_columns_equal(space.encode(space.decode(points)), points)

    def test_samples_are_among_the_enumerated(self, space: Space) -> None:
        if space.size is None or space.size > self.enumerable:
            return
        listed = space.to_json(space.decode(concatenated(space.enumerate())))
        known = {json.dumps(record, sort_keys=True) for record in listed}
        drawn = space.to_json(space.decode(space.sample(self.samples, np.random.default_rng(9))))
        assert {json.dumps(record, sort_keys=True) for record in drawn} <= known


def iter_or_empty(space: Space) -> Iterator[Columns | None]:
    """The first batch of a large space; None of a continuous one, which cannot be enumerated."""
    if space.size is None:
        yield None
    else:
        yield next(space.enumerate(batch=64))
