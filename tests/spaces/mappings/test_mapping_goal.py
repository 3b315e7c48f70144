"""Mapping goals as users write them."""

import pytest

from spaces.mappings.mapping_goal import MappingGoal, parse_goal


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("edp", MappingGoal("edp")),
        ("memory_energy within 2 s", MappingGoal("memory_energy", 2.0)),
        ("latency within 250mJ", MappingGoal("latency", 2.5e11)),
    ],
)
def test_goals_are_read(text: str, goal: MappingGoal) -> None:
    assert parse_goal(text) == goal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enrgy", "must begin with what it minimises, got 'enrgy'; did you mean 'energy'"),
        ("", "got ''; valid: energy, memory_energy, latency, edp"),
        ("edp within 1s", "one word or 'energy within 160ms'"),
        ("energy below 1s", "one word or 'energy within 160ms'"),
        ("energy within 0.2", "budget of the mapping goal .* units s, ms, us, ns"),
        ("energy within 2mJ", "budget of the mapping goal .* units s, ms, us, ns"),
        ("latency within 2ms", "budget of the mapping goal .* units fJ"),
        ("latency within 0J", "must be positive"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_goal(text)
