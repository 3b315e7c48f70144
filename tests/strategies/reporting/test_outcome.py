"""What a finished study says: its best design, its front, how it ended, why nothing is feasible."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from strategies.random_strategy import RandomStrategy
from strategies.reporting.ending import ending
from strategies.reporting.outcome import best_title, gather
from strategies.reporting.printed_outcome import FRONT_ROWS, shown_front
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.strategies.problems import Bowl, bowl_problem
from tests.strategies.tuning.test_tuner import tuned


def test_a_study_without_a_feasible_trial_names_the_constraint_and_its_distance() -> None:
    problem = bowl_problem(constraints=["energy_pj <= -1000"])
    result = tuned(problem, 20)
    findings = gather(problem.space, problem.evaluator, result)
    assert findings.tables == {}
    least = result.frame()["metric/energy_pj"].min()
    assert findings.texts["No feasible trial"] == (
        f"constraint energy_pj<=-1000: 20 of 20 trials break it, the nearest has {least:.4g}; "
        "loosen it or offer other choices"
    )


def test_failures_are_told_by_their_commonest_reason() -> None:
    problem = bowl_problem(evaluator=Bowl(fail_below=4))
    result = tuned(problem, 40)
    summary = gather(problem.space, problem.evaluator, result).summary
    ((reason, count),) = summary["failures"].items()
    assert count == result.counts["failed"] > 0
    assert f"\n{count} failed: {reason}" in ending(summary)
    assert "tile_m is too small" in reason


def test_the_best_of_a_front_says_which_baseline_it_is_and_why_it_was_chosen() -> None:
    problem = bowl_problem()
    result = tuned(problem, 40)
    assert result.best is not None
    title = best_title(result.best, result)
    assert title == f"Best design (trial {result.best.number}, knee of the front)"
    baseline = replace(result.best, tags={"baseline": "csr"})
    assert "baseline csr, knee" in best_title(baseline, result)


def test_a_long_front_is_printed_with_the_best_design_in_it() -> None:
    rows = [{"trial": number} for number in range(100, 150)]
    title, kept = shown_front(rows, best=101)
    assert {"trial": 101} in kept
    assert len(kept) == FRONT_ROWS + 1
    assert f"{FRONT_ROWS + 1} of 50 trials" in title
    assert shown_front(rows[:3], best=101) == ("Pareto front", rows[:3])


def test_a_study_of_given_designs_alone_says_that_nothing_was_proposed() -> None:
    problem = bowl_problem()
    strategy = RandomStrategy(problem.space, seed=1, batch_size=16)
    with in_memory_log(problem.meta("t", 1)) as log:
        tuner = Tuner(problem, strategy, log, Budget(trials=3))
        tuner.enqueue(problem.space.sample(5, np.random.default_rng(0)), {"baseline": "csr"})
        summary = gather(problem.space, problem.evaluator, tuner.run()).summary
    assert summary["given"] == 3
    assert "note: all 3 were given" in ending(summary)
    searched = gather(problem.space, problem.evaluator, tuned(problem, 3)).summary
    assert ending(searched).startswith("3 trials (3 feasible) in ")
    assert "note" not in ending(searched)


class Remembering(Bowl):
    """Notes what it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, Any]]] = []

    def remember(self, designs: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        self.told.append((len(designs["tile_m"]), dict(metrics)))


def test_an_evaluator_that_compares_its_results_is_told_of_all_feasible_ones() -> None:
    evaluator = Remembering()
    problem = bowl_problem(evaluator=evaluator)
    result = tuned(problem, 12)
    gather(problem.space, evaluator, result)
    ((count, metrics),) = evaluator.told
    assert count == result.counts["feasible"]
    recorded = result.reader.values("metric/energy_pj")[result.reader.states() == "feasible"]
    np.testing.assert_array_equal(metrics["energy_pj"], recorded)
