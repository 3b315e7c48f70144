"""The shortlist sampler: stages in order, nothing twice, and TPE where nothing is known."""

import optuna
import pytest

from spaces.formats.offered_formats import listed_offer
from spaces.formats.shared_formats import SharedFormatSpace
from strategies.optuna_strategy import STAGE
from strategies.shortlist_sampler import ShortlistSampler
from strategies.staged_sampler import STAGES

NAMES = ["bitmap", "rle", "csr", "coo", "csb"]
SPACE = SharedFormatSpace({"weight": listed_offer(NAMES)}, slots=2)
COST = {"none": 9.0, "bitmap": 3.0, "rle": 2.0, "csr": 5.0, "coo": 6.0, "csb": 4.0}


class Knowing:
    def shortlist(self, goals):
        return {"weight": ("csr", "bitmap")}


def cost(trial: optuna.Trial) -> float:
    formats = [trial.suggest_categorical(f"weight_format_{i}", ("none", *NAMES)) for i in (1, 2)]
    goal = trial.suggest_categorical("mapping_goal", SPACE.goals)
    return min(COST[name] for name in formats) + 0.1 * SPACE.goals.index(goal)


def run(evaluator: object, trials: int, seed: int = 0) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=ShortlistSampler(SPACE, evaluator, seed))
    study.optimize(cost, n_trials=trials)
    return study


def stages(study: optuna.Study) -> list[str]:
    return [trial.user_attrs[STAGE] for trial in study.trials]


def test_sets_of_the_shortlist_come_first_the_most_important_ones_ahead() -> None:
    study = run(Knowing(), 9)
    assert stages(study) == ["sets"] * 9
    chosen = [(t.params["weight_format_1"], t.params["weight_format_2"]) for t in study.trials]
    assert chosen[::3] == [("csr", "csr"), ("csr", "bitmap"), ("bitmap", "bitmap")]
    assert [t.params["mapping_goal"] for t in study.trials[:3]] == list(SPACE.goals)


def test_neighbours_leave_the_shortlist_and_find_the_best() -> None:
    study = run(Knowing(), 60)
    planned = [stage for stage in stages(study) if stage in ("sets", "neighbours")]
    assert stages(study)[: len(planned)] == planned
    assert set(stages(study)[len(planned) :]) <= {"tpe", "unseen"}
    assert study.best_value == min(COST.values())


def test_no_design_is_proposed_twice_while_others_are_left() -> None:
    study = run(Knowing(), 50)
    designs = {
        (
            frozenset((t.params["weight_format_1"], t.params["weight_format_2"])),
            t.params["mapping_goal"],
        )
        for t in study.trials
    }
    assert len(designs) == len(study.trials)


def test_the_study_says_what_every_stage_took_in_and_cut() -> None:
    study = run(Knowing(), 60)
    bound, sets, neighbours = study.user_attrs[STAGES]
    assert (bound["entered"], bound["cut"]) == (6, 4)
    assert sets["entered"] - sets["cut"] == stages(study).count("sets") == 9
    assert neighbours["entered"] == sets["cut"]
    assert neighbours["entered"] - neighbours["cut"] == stages(study).count("neighbours")


def test_an_evaluator_without_a_shortlist_leaves_tpe() -> None:
    study = run(object(), 25)
    assert set(stages(study)) <= {"tpe", "unseen"}
    assert STAGES not in study.user_attrs


def test_equal_seeds_propose_the_same() -> None:
    first, second = ([t.params for t in run(Knowing(), 70, seed=3).trials] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("directions", [["minimize", "minimize"]])
def test_it_serves_several_objectives(directions) -> None:
    study = optuna.create_study(
        directions=directions, sampler=ShortlistSampler(SPACE, Knowing(), 1)
    )
    study.optimize(lambda trial: (cost(trial), -cost(trial)), n_trials=30)
    assert len(study.trials) == 30


def test_neighbours_wait_for_the_first_priced_set() -> None:
    study = optuna.create_study(sampler=ShortlistSampler(SPACE, Knowing(), 0))
    asked = [study.ask(dict(SPACE.parameters)) for _ in range(12)]
    assert stages(study) == ["sets"] * 9 + ["unseen"] * 3
    for trial in asked:
        study.tell(trial, cost(trial))
    study.ask(dict(SPACE.parameters))
    assert stages(study)[-1] == "neighbours"
