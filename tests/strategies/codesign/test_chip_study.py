"""A study over every chip of a small problem: fronts by machine, and tables of winners."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2

from strategies.codesign.chip_study import ChipStudy
from strategies.codesign.machine_fronts import JOINT, MachineFronts
from strategies.objective import make_goal
from strategies.problem import Problem
from strategies.pymoo_strategy import PymooStrategy
from strategies.tasks.study import baseline_columns
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.evaluators.codesign.small_chip import small_chip, small_space
from tests.evaluators.codesign.test_chip import every_chip

OBJECTIVES = ("energy_mj_per_token", "latency_ms", "area_mm2", "fidelity_proxy_loss")


@pytest.fixture(scope="module")
def study() -> ChipStudy:
    chip = small_chip(small_space(), area_budget_mm2=3.0)
    return ChipStudy(chip, OBJECTIVES, accepted_loss=0.2)


@pytest.fixture(scope="module")
def survey(study: ChipStudy) -> Any:
    chips = every_chip(study.evaluator.space)
    return study.survey(chips.take(np.flatnonzero(study.evaluate(chips).feasible)))


def table(survey: Any, title: str) -> list[dict[str, Any]]:
    return survey["tables"][title]


def test_the_joint_front_is_no_worse_than_that_of_any_machine(survey: Any) -> None:
    rows = {row["weights held by"]: row for row in table(survey, "Fronts by machine")}
    assert set(rows) == {"spatial", "digital", "analog", "mixed", JOINT}
    assert rows[JOINT]["hypervolume / joint"] == 1.0
    for name, row in rows.items():
        assert 0 < row["hypervolume / joint"] <= 1.0, name
        for objective in OBJECTIVES:
            assert rows[JOINT][f"least {objective}"] <= row[f"least {objective}"]


def test_the_search_finds_the_front_of_the_enumeration(study: ChipStudy) -> None:
    space = study.evaluator.space
    every = study.evaluate(every_chip(space))
    feasible = every.take(np.flatnonzero(every.feasible))
    best = {name: feasible.metrics[name].min() for name in (*OBJECTIVES[:3], "edp_mj_ms")}
    for name, least in best.items():
        problem = Problem(space, study, make_goal([name, OBJECTIVES[3]]))
        strategy = PymooStrategy(partial(NSGA2, pop_size=40), problem, seed=0)
        with in_memory_log(problem.meta("small", 0)) as log:
            tuner = Tuner(problem, strategy, log, Budget(trials=500))
            for label, columns in baseline_columns(problem):
                tuner.enqueue(columns, {"baseline": label})
            found = tuner.run().best_of(name)
            assert found is not None
            assert found.metrics[name] == pytest.approx(least, rel=1e-9), name


def test_switching_a_convention_is_reported(survey: Any) -> None:
    rows = table(survey, "Does another convention change the winner?")
    recorded = rows[0]
    assert recorded["changed"] == "as recorded"
    by_change = {(row["changed"], row["to"]): row for row in rows[1:]}
    columns = [name for name in recorded if name.startswith("edp_mj_ms")]
    for key, touched in (
        (("weights on chip", "always"), "digital"),
        (("pair select", "flexcim_serial"), "digital"),
        (("ADC law", "survey_ramp"), "analog"),
    ):
        changed = [c for c in columns if by_change[key][c] != pytest.approx(recorded[c])]
        assert f"edp_mj_ms, {touched}" in changed, key


def test_sensitivity_covers_every_machine(survey: Any) -> None:
    rows = table(survey, "Does another constant change the winner?")
    changed = {row["changed"] for row in rows}
    assert {
        "off-chip energy",
        "off-chip bandwidth",
        "on-chip energy of the core",
        "gate energy of the macros",
        "analog cell_um2",
    } <= changed
    assert all(isinstance(row["another winner"], bool) for row in rows)


def test_placements_of_the_joint_front_sum_to_one(survey: Any) -> None:
    rows = survey["heat_maps"]["placements"]["rows"]
    for name in {row["projection"] for row in rows}:
        shares = [row["share of the joint front"] for row in rows if row["projection"] == name]
        assert sum(shares) == pytest.approx(1.0)


def test_fronts_are_drawn_by_machine(survey: Any) -> None:
    axes = survey["figures"]["fronts_by_machine"].axes
    assert [axis.get_ylabel() for axis in axes] == list(OBJECTIVES[1:])


def test_a_class_is_a_machine_only_when_it_holds_everything(study: ChipStudy) -> None:
    space = study.evaluator.space
    names = [part.name for part in space.parts]
    records = [
        {"placement": dict(zip(names, pair, strict=True))}
        for pair in (("digital dense", "digital 2:4"), ("digital dense", "analog linear"))
    ]
    fronts = MachineFronts(study.evaluate(space.from_json(records)), OBJECTIVES)
    assert fronts.classes.tolist() == ["digital", "mixed"]
