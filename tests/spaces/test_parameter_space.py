from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.parameter_space import ParameterSpace
from spaces.product_space import ProductSpace


def test_plain_definitions_become_distributions() -> None:
    space = ParameterSpace(
        {
            "x": {"low": 0, "high": 10},
            "lr": {"low": 1e-4, "high": 1, "log": True},
            "k": {"choices": ["a", "b"]},
            "s": {"low": 0, "high": 10, "step": 4},
            "f": {"low": 0, "high": 1, "type": "float"},
        }
    )
    assert dict(space.parameters) == {
        "x": IntDistribution(0, 10),
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "k": CategoricalDistribution(("a", "b")),
        "s": IntDistribution(0, 8, step=4),
        "f": FloatDistribution(0.0, 1.0),
    }
    assert space.size is None


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"low": 0, "hihg": 1}, r"x: unknown key 'hihg'; did you mean 'high'\?"),
        ({"low": 2, "high": 1}, r"x: low must be <= high, got low=2, high=1"),
        ({"low": 0}, r"x.high: is missing"),
        ({"low": "a", "high": 1}, r"x.low: must be a number, got 'a'"),
        ({"low": "1e-5", "high": 1}, r"x.low: must be a number, got '1e-5'; write 1.0e-5"),
        ({"low": True, "high": 1}, r"x.low: must be a number, got True"),
        ({"low": 0, "high": 1, "log": True}, r"x.low: must be > 0 when log is true, got 0"),
        ({"low": 0, "high": 1, "log": "yes"}, r"x.log: must be true or false, got 'yes'"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, r"x.step: must be absent when log"),
        ({"low": 0, "high": 1, "step": 0}, r"x.step: must be > 0, got 0"),
        ({"low": 0, "high": 1.5, "type": "int"}, r"x: low, high and step must be whole"),
        ({"low": 0, "high": 1, "type": "real"}, r"x.type: must be int or float, got 'real'"),
        ({"choices": []}, r"x.choices: must be a list of at least one value, got \[\]"),
        ({"choices": "ab"}, r"x.choices: must be a list"),
        ({"choices": ["a", "a"]}, r"x.choices: must be distinct, got \['a', 'a'\]"),
        ({"choices": [[1]]}, r"x.choices: each must be a text"),
        ({"choices": [1], "low": 0}, r"x.low: a parameter with choices has no other key"),
        (3, r"x: must be a mapping such as .*, got 3"),
    ],
)
def test_malformed_definitions_are_one_clear_line(definition: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        ParameterSpace({"x": definition})  # type: ignore[dict-item]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [11], "k": ["a"]}, r"x: must be in 0..10, got 11"),
        ({"x": [1.5], "k": ["a"]}, r"x: must be in 0..10, got 1.5"),
        ({"x": ["a"], "k": ["a"]}, r"x: must be a number, got 'a'"),
        ({"x": [1], "k": ["c"]}, r"k: must be one of 'a', 'b', got 'c'"),
        ({"x": [1]}, r"parameter 'k' is missing"),
        ({"x": [1], "k": ["a"], "kk": [1]}, r"unknown key 'kk'"),
        ({"x": [1, 2], "k": ["a"]}, r"must be of one length, got {'x': 2, 'k': 1}"),
    ],
)
def test_columns_out_of_range_are_named(columns: dict[str, object], message: str) -> None:
    space = ParameterSpace({"x": {"low": 0, "high": 10}, "k": {"choices": ["a", "b"]}})
    with pytest.raises(ValueError, match=message):
        space.decode({name: np.array(values) for name, values in columns.items()})


def test_choices_keep_their_types() -> None:
    space = ParameterSpace({"k": {"choices": [1, True, None, "1"]}})
    designs = space.from_json([{"k": value} for value in (True, 1, None, "1")])
    assert [type(v["k"]) for v in space.to_json(designs)] == [bool, int, type(None), str]


def test_enumeration_counts_the_last_parameter_fastest() -> None:
    space = ParameterSpace({"x": {"low": 0, "high": 1}, "y": {"low": 1.0, "high": 2, "step": 0.5}})
    batches = list(space.enumerate(batch=4))
    assert [len(batch["x"]) for batch in batches] == [4, 2]
    assert np.concatenate([b["x"] for b in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    assert np.concatenate([b["y"] for b in batches]).tolist() == [1.0, 1.5, 2.0, 1.0, 1.5, 2.0]


def test_a_continuous_space_cannot_be_enumerated() -> None:
    space = ParameterSpace({"x": {"low": 0.0, "high": 1.0}})
    with pytest.raises(ValueError, match="x: is continuous and cannot be enumerated"):
        next(space.enumerate())


def test_logarithmic_samples_spread_over_the_decades() -> None:
    space = ParameterSpace(
        {
            "f": {"low": 1e-4, "high": 1.0, "log": True},
            "i": {"low": 1, "high": 10_000, "log": True},
        }
    )
    columns = space.sample(4000, np.random.default_rng(0))
    assert abs(np.mean(columns["f"] < 1e-2) - 0.5) < 0.03
    assert abs(np.mean(columns["i"] <= 100) - 0.5) < 0.1
    assert columns["i"].dtype == np.int64


def test_a_product_prefixes_names_and_multiplies_sizes() -> None:
    part = ParameterSpace({"x": {"low": 0, "high": 2}})
    space = ProductSpace({"a": part, "b": part})
    assert list(space.parameters) == ["a.x", "b.x"]
    assert space.size == 9
    designs = space.decode({"a.x": np.array([0, 1]), "b.x": np.array([2, 2])})
    assert designs["b"]["x"].tolist() == [2, 2]
    assert space.describe(designs, 1) == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_product_rejects_what_is_no_space_and_doubled_names() -> None:
    part = ParameterSpace({"b.x": {"low": 0, "high": 2}})
    other = ParameterSpace({"x": {"low": 0, "high": 2}})
    with pytest.raises(ValueError, match=r"parameter 'a.b.x' is defined twice"):
        ProductSpace({"a": part, "a.b": other})
    with pytest.raises(ValueError, match=r"space.a: must be a space, got int"):
        ProductSpace({"a": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="part 'b' is missing"):
        ProductSpace({"a": other, "b": other}).from_json([{"a": {"x": 1}}])
