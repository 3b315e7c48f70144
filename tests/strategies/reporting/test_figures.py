"""Figures stay readable: few axes of many parameters, titles that fit and say a thing once."""

from strategies.reporting.figures import MAX_AXES, parallel_coordinates_figure
from strategies.reporting.heat_map import HeatMap, heat_map_figure
from tests.strategies.problems import bowl_problem
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


def test_the_title_of_a_narrow_heat_map_is_broken_and_says_equal_columns_once() -> None:
    row = {"x": "spatial", "y": "q_proj", "share of the joint front": 0.5, "share of its own": 0.2}
    both = HeatMap([row], "x", "y", "share of the joint front", "share of its own")
    assert "\n" in heat_map_figure(both).get_suptitle()
    once = HeatMap([row], "x", "y", "share of its own", "share of its own")
    assert heat_map_figure(once).get_suptitle() == "share of its own, %"
