"""An inner search as an evaluator: remembered, re-priced, infinite where nothing is valid."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.nested_search import NestedSearch


@dataclass(frozen=True)
class Terms:
    format_choices: tuple = ()


class Part:
    def cost_terms(self) -> Terms:
        return Terms()

    def evaluate(self, mappings) -> Evaluation:
        energy = np.array([mapping[0] for mapping in mappings], float)
        cycles = np.array([mapping[1] for mapping in mappings], float)
        return Evaluation(
            {"energy_pj": energy, "latency_cycles": cycles, "edp_pj_cycles": energy * cycles}
        )

    def explain(self, mapping):
        return {}


class Batch(list):
    def take(self, indices):
        return Batch(self[int(index)] for index in indices)


@dataclass
class Found:
    mappings: Batch
    certified: bool = True


class Model:
    parts = (Part(), Part(), Part())
    problems = ("same", "same", "other")

    def alternatives(self, decisions, part):
        place = 0 if part < 2 else 2
        choices = [int(decisions["choice"])]
        choices += [3] if choices == [8] else []  # 8 offers a second alternative, which is better
        return tuple((((place, choice),),) for choice in choices)

    def rules(self, part):
        return None

    def total(self, costs):
        return {"energy_pj": sum(cost["energy_pj"] for cost in costs)}

    def explain_parts(self, found):
        return {"found": [mapping[0][0] for mapping in found]}

    def comparisons(self, decisions):
        return {
            "table": {"as it is": (self, decisions), "other": (self, {**decisions, "choice": 5})}
        }

    def comparison_rows(self, cases):
        return [
            {"case": name, "energy_pj": totals["energy_pj"]} for name, (totals, _) in cases.items()
        ]


@dataclass
class Search:
    calls: list = field(default_factory=list)

    def __call__(self, terms, goal, rules):
        assert rules is None
        ((part, choice),) = terms.format_choices[0]
        self.calls.append((part, choice, goal))
        least = 100 * part + choice
        best = {"energy": (least, 50), "latency": (3 * least, 10), "edp": (2 * least, 10)}
        return Found(Batch() if choice == 9 else Batch([best[goal]]))


def designs(*choices: int, goal: str = "energy"):
    return {"choice": np.array(choices), "mapping_goal": np.array([goal] * len(choices), object)}


@pytest.fixture
def nested() -> NestedSearch:
    return NestedSearch(Model(), Search())


def test_costs_are_the_sum_of_the_best_parts(nested) -> None:
    evaluation = nested.evaluate(designs(1, 2))
    assert evaluation.metrics["energy_pj"].tolist() == [1 + 1 + 201, 2 + 2 + 202]
    assert evaluation.feasible.all()


def test_equal_problems_are_searched_once(nested) -> None:
    nested.evaluate(designs(1, 1, 2))
    nested.evaluate(designs(2, 1))
    assert len(nested.search.calls) == 4
    nested.evaluate(designs(1, goal="edp"))
    assert len(nested.search.calls) == 4 + 2


def test_each_goal_has_its_own_best(nested) -> None:
    for goal, factor in (("energy", 1), ("latency", 3), ("edp", 2)):
        energy = nested.evaluate(designs(1, goal=goal)).metrics["energy_pj"]
        assert energy.tolist() == [factor * (1 + 1 + 201)]


def test_the_best_alternative_counts(nested) -> None:
    assert nested.evaluate(designs(8)).metrics["energy_pj"].tolist() == [3 + 3 + 203]


def test_a_part_without_a_valid_mapping_makes_the_trial_infeasible(nested) -> None:
    evaluation = nested.evaluate(designs(9, 1))
    assert evaluation.metrics["energy_pj"][0] == np.inf
    assert evaluation.feasible.tolist() == [False, True]
    with pytest.raises(ValueError, match="part 0 of the model has no valid mapping"):
        nested.explain(designs(9))


def test_explain_says_whether_every_part_is_certified(nested) -> None:
    assert nested.explain(designs(3)) == {"certified": True, "found": [3, 3, 203]}


def test_comparison_prices_the_cases_of_the_model(nested) -> None:
    rows = nested.comparison(designs(1))["table"]
    assert rows == [{"case": "as it is", "energy_pj": 203.0}, {"case": "other", "energy_pj": 215.0}]
