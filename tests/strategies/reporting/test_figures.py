"""Figures stay readable: few axes of many parameters, titles that fit and say a thing once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.reporting.figures import MAX_AXES, parallel_coordinates_figure, pareto_figure
from strategies.reporting.heat_map import HeatMap, heat_map_figure
from tests.strategies.problems import Bowl, bowl_problem
from tests.strategies.tuning.test_tuner import tuned


def test_parallel_coordinates_show_the_parameters_that_tell_most() -> None:
    idle = {f"idle_{index}": {"low": 5, "high": 5} for index in range(MAX_AXES)}
    ends = ({"tile": {"low": 0, "high": 9}}, {"kind": {"choices": ["a", "b"]}})
    problem = bowl_problem(definitions={**ends[0], **idle, **ends[1]})
    axes = parallel_coordinates_figure(tuned(problem, 40)).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[0] == "tile"
    assert names[-2:] == ["energy_pj", "latency_cycles"]
    assert len(names) == MAX_AXES + 2
    assert f"({MAX_AXES} of {MAX_AXES + 2} parameters)" in axes.get_title(loc="left")


class Priced(Bowl):
    """With a third metric that falls as the first parameter grows."""

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        found = super().evaluate(designs)
        area = 20.0 - np.asarray(designs["tile_m"], dtype=float)
        return Evaluation({**found.metrics, "area_mm2": area}, found.violations)


@pytest.mark.parametrize("choices", [["64KiB", "128KiB", "1MiB"], ["1MiB", "64KiB", "128KiB"]])
def test_categories_stand_in_the_order_of_their_choices(choices: list[str]) -> None:
    problem = bowl_problem(
        definitions={"tile": {"low": 0, "high": 9}, "size": {"choices": choices}}
    )
    axes = parallel_coordinates_figure(tuned(problem, 40)).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts[2:4] == [choices[0], choices[-1]]


def test_a_front_of_three_objectives_is_drawn_whole_and_coloured_by_the_third() -> None:
    metrics = ("energy_pj", "latency_cycles", "area_mm2")
    result = tuned(bowl_problem(metrics=metrics, evaluator=Priced()), 40)
    axes, bar = pareto_figure(result).axes
    cloud = next(drawn for drawn in axes.collections if drawn.get_array() is not None)
    assert len(cloud.get_offsets()) == len(result.front) > 2
    assert sorted(cloud.get_array()) == pytest.approx(
        np.sort(result.reader.values("metric/area_mm2")[result.front])
    )
    assert bar.get_ylabel() == "area_mm2"


def test_the_title_of_a_narrow_heat_map_is_broken_and_says_equal_columns_once() -> None:
    row = {"x": "spatial", "y": "q_proj", "share of the joint front": 0.5, "share of its own": 0.2}
    both = HeatMap([row], "x", "y", "share of the joint front", "share of its own")
    assert "\n" in heat_map_figure(both).get_suptitle()
    once = HeatMap([row], "x", "y", "share of its own", "share of its own")
    assert heat_map_figure(once).get_suptitle() == "share of its own, %"
