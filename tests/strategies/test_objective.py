from __future__ import annotations

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.objective import make_goal, parse_constraint
from strategies.tuning.budget import Budget


@pytest.mark.parametrize(
    ("text", "metric", "relation", "limit"),
    [
        ("latency_cycles <= 1e6", "latency_cycles", "<=", 1e6),
        ("area_mm2<=4", "area_mm2", "<=", 4.0),
        ("retained_fraction >= 0.9", "retained_fraction", ">=", 0.9),
        ("breakdown/dram_pj >= -1.5", "breakdown/dram_pj", ">=", -1.5),
    ],
)
def test_constraints_are_read(text: str, metric: str, relation: str, limit: float) -> None:
    constraint = parse_constraint(text)
    assert (constraint.metric, constraint.relation, constraint.limit) == (metric, relation, limit)


@pytest.mark.parametrize("text", ["latency", "latency < 3", "a <= b", "<= 3", "a <= inf", "a == 1"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"objective.constraints: each must be 'METRIC <= NUMBER'"):
        parse_constraint(text)


def test_a_constraint_on_zero_is_absolute() -> None:
    violation = parse_constraint("slack >= 0").violation(np.array([-3.0, 2.0]))
    assert violation.tolist() == [3.0, -2.0]


def test_constraints_join_the_evaluators_violations() -> None:
    goal = make_goal(["energy_pj"], constraints=["area_mm2 <= 2"])
    evaluation = Evaluation(
        {"energy_pj": np.ones(2), "area_mm2": np.array([1.0, 3.0])},
        {"capacity": np.array([-1, 0.0])},
    )
    constrained = goal.constrain(evaluation)
    assert constrained.violations["area_mm2<=2"].tolist() == [-0.5, 0.5]
    assert constrained.feasible.tolist() == [True, False]


def test_losses_turn_maximised_metrics() -> None:
    goal = make_goal(["a", "b"], ["minimize", "maximize"])
    losses = goal.losses(Evaluation({"a": np.array([1.0]), "b": np.array([2.0])}))
    assert losses.tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": []}, "objective.metrics: must name at least one"),
        ({"metrics": ["a", "a"]}, "each once"),
        ({"metrics": ["a"], "directions": "down"}, "must be minimize or maximize, got 'down'"),
        ({"metrics": ["a"], "directions": ["minimize"] * 2}, "got 2 for 1 metrics"),
        ({"metrics": ["a"], "reference": {"b": 1.0}}, "objective.reference: 'b' is not one of"),
    ],
)
def test_wrong_goals_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_goal(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "budget.trials: must be a whole number >= 1, got 0"),
        ({"trials": 2.5}, "budget.trials"),
        ({"seconds": 0}, "budget.seconds: must be a finite number > 0, got 0"),
        ({"seconds": float("nan")}, "budget.seconds"),
        ({"gap": 1.0}, r"budget.gap: must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_budgets_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**arguments)  # type: ignore[arg-type]


def test_whichever_limit_comes_first_ends_a_study() -> None:
    budget = Budget(trials=10, seconds=5.0, gap=0.1)
    assert budget.spent(9, 4.0, None) is None
    assert budget.spent(10, 4.0, None) == "trials"
    assert budget.spent(9, 5.0, None) == "seconds"
    assert budget.spent(9, 4.0, 0.1) == "gap"
