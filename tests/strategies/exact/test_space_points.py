"""Mappings of the exact search as points of a mapping space."""

import numpy as np
import pytest

from spaces.mappings.mapping_space import MappingSpace
from spaces.mappings.nest_text import read_nest_items
from strategies.exact.exact_search import exact_search
from strategies.exact.space_points import space_points
from strategies.tasks.notebook import compose, problem_of


def test_the_optimum_of_a_shipped_study_is_a_point_of_its_space() -> None:
    """Its nest loops over N above and below W's tile in one block, which the space cannot say."""
    problem = problem_of(compose(["+experiment=operator_mapping", "tracking=none"]))
    space, evaluator = problem.space, problem.evaluator
    found = exact_search(evaluator.cost_terms(), "edp")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="is not in this space"):
        space.encode(found.mappings)
    (point,) = space_points(found, space, evaluator)
    assert point.value == pytest.approx(found.lower_bound)
    priced = evaluator.evaluate(space.decode(point.columns))
    assert priced.feasible.all()
    assert priced.metrics["edp_pj_cycles"][0] == pytest.approx(found.lower_bound)


def test_what_a_space_has_is_approximated_by_itself_first() -> None:
    problem = problem_of(compose(["+experiment=operator_mapping", "tracking=none"]))
    space = problem.space
    assert isinstance(space, MappingSpace)
    drawn = space.decode(space.sample(200, np.random.default_rng(0)))
    near = space.approximate(drawn)
    exact = space.encode(drawn)
    for name, column in exact.items():
        np.testing.assert_array_equal(near[name][:200], column)


def test_lowered_tiles_cost_the_same_under_implicit_stationarity() -> None:
    problem = problem_of(compose(["+experiment=operator_mapping", "tracking=none"]))
    space, evaluator = problem.space, problem.evaluator
    assert isinstance(space, MappingSpace)
    items = [
        "DRAM keeps A, W, Z", "GLB keeps Z", "for K in 16", "spatial X: K in 16",
        "spatial Y: K in 16", "RF keeps A", "for N in 2048", "RF keeps W", "for N in 2",
    ]  # fmt: skip
    nest = read_nest_items(items, space.operator, space.hardware)
    both = space.decode(space.approximate(nest))
    energy = evaluator.evaluate(both).metrics["energy_pj"]
    assert energy[1] == pytest.approx(evaluator.evaluate(nest).metrics["energy_pj"][0])
