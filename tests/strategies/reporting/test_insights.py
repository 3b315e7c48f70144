"""Rows and figures that say what the trials of a study mean together."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.parameter_space import ParameterSpace
from strategies.objective import make_goal
from strategies.problem import Problem
from strategies.random_strategy import RandomStrategy
from strategies.reporting import insights
from strategies.reporting.study_result import StudyResult
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner

SPACE = ParameterSpace({"strong": {"low": 0, "high": 9}, "weak": {"low": 0, "high": 9}})


class Sum:
    """Energy follows one parameter alone, latency both against one another."""

    def evaluate(self, designs) -> Evaluation:
        strong, weak = (np.asarray(designs[name], float) for name in ("strong", "weak"))
        return Evaluation({"energy_pj": strong, "latency_cycles": 20.0 - strong - weak})

    def explain(self, design):
        return {}


class Staged(RandomStrategy):
    """Says that its first 20 proposals were coarse and the others fine."""

    asked = 0

    def ask(self, n):
        columns = super().ask(1)
        self.asked += 1
        return columns

    def tags(self):
        return [{"stage": "coarse" if self.asked <= 20 else "fine"}]


def searched(trials: int, constraints: tuple[str, ...] = ()) -> StudyResult:
    goal = make_goal(["energy_pj", "latency_cycles"], constraints=constraints)
    problem = Problem(SPACE, Sum(), goal)
    log = in_memory_log(problem.meta("insights", 0))
    return Tuner(problem, Staged(SPACE, 0, batch_size=1), log, Budget(trials=trials)).run()


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return searched(200)


def test_importance_falls_on_the_parameter_that_matters(result: StudyResult) -> None:
    rows = insights.importance_rows(result)
    assert [row["parameter"] for row in rows] == ["strong", "weak"]
    assert rows[0]["energy_pj"] > 0.9
    for metric in result.goal.metrics:
        assert sum(row[metric] for row in rows) == pytest.approx(1.0)
    assert insights.importance_rows(searched(10)) == []


def test_convergence_holds_every_gain_and_ends_at_the_best(result: StudyResult) -> None:
    for metric in result.goal.metrics:
        best = [
            row["best"] for row in insights.convergence_rows(result) if row["objective"] == metric
        ]
        assert best == sorted(best, reverse=True)
        assert len(set(best)) == len(best)
        assert best[-1] == result.best_of(metric).metrics[metric]


def test_hypervolume_grows_to_that_of_the_study(result: StudyResult) -> None:
    volumes = [row["hypervolume"] for row in insights.hypervolume_rows(result)]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(result.hypervolume)


def test_stages_count_their_trials_and_keep_their_best() -> None:
    result = searched(40, constraints=("energy_pj >= 3",))
    rows = {row["stage"]: row for row in insights.stage_rows(result)}
    assert [row["trials"] for row in rows.values()] == [20, 20]
    assert sum(row["feasible"] for row in rows.values()) == result.counts["feasible"] < 40
    assert min(row["best energy_pj"] for row in rows.values()) == 3.0


def test_every_table_of_a_figure_is_drawn(result: StudyResult) -> None:
    tables = insights.figure_tables(result, {"DRAM": {"weight": 2.0}})
    assert set(tables) == {
        "convergence",
        "hypervolume",
        "importances",
        "trials_by_stage",
        "energy_breakdown",
    }
    assert set(insights.insight_figures(tables)) == {"importances", "trials_by_stage"}
    bars = insights.insight_figures(tables)["importances"].axes[0].patches
    assert len(bars) == 2 * len(SPACE.parameters)
