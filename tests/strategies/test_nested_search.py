"""An inner search as an evaluator: remembered, re-priced, infinite where nothing is valid."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.exact.model_search import undominated
from strategies.nested_search import NestedSearch
from strategies.part_search import joint, keeps_to

UNUSABLE = 9
"""Format under which no mapping is valid."""


class Batch:
    """Mappings of one tensor kept on two levels: (format outside, format inside) per row."""

    def __init__(self, rows) -> None:
        self.rows = list(rows)
        self.keep_at = np.zeros((len(self.rows), 1, 2), np.int8)
        self.format_id = np.array(self.rows).reshape(-1, 1, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices) -> Batch:
        return Batch([self.rows[i] for i in indices])


@dataclass
class Found:
    mappings: Batch
    certified: bool = True
    lower_bound: float = 0.0
    reason: str = ""
    energy_pj: np.ndarray = field(default_factory=lambda: np.zeros(0))
    latency_cycles: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Part:
    """Energy grows with the formats' numbers, latency falls; mixing two formats may be cheaper."""

    base: int
    mixing_saves: int = 0

    def cost_terms(self) -> Terms:
        return Terms(self)

    def costs(self, outer: int, inner: int) -> tuple[float, float]:
        saved = self.mixing_saves if outer != inner else 0
        return float(self.base + outer + inner - saved), float(100 - outer)

    def evaluate(self, mappings: Batch) -> Evaluation:
        energy, cycles = np.array([self.costs(*row) for row in mappings.rows]).T
        return Evaluation(
            {"energy_pj": energy, "latency_cycles": cycles, "edp_pj_cycles": energy * cycles}
        )


@dataclass(frozen=True)
class Terms:
    """Of a part that computes once, and moves nothing that is known."""

    part: Part
    format_choices: tuple = ()
    static_pj_per_cycle: float = 0.0
    rank_sizes: tuple = (1,)
    fan_out: tuple = ()
    may_keep: np.ndarray = field(default_factory=lambda: np.ones((1, 2), bool))
    output: int = 0
    nonzeros: np.ndarray = field(default_factory=lambda: np.ones(1))
    word_bits: np.ndarray = field(default_factory=lambda: np.ones(1))
    home: np.ndarray = field(default_factory=lambda: np.zeros(1, int))
    transfer_fraction: None = None
    read_pj_per_bit: np.ndarray = field(default_factory=lambda: np.ones(2))
    read_bits_per_cycle: np.ndarray = field(default_factory=lambda: np.ones(2))

    def leaf(self, kept, compressed) -> SimpleNamespace:
        return SimpleNamespace(compute_pj=1.0, compute_cycles=1.0)


@dataclass
class Search:
    """Tries every pair of offered formats."""

    certified: bool = True
    calls: list = field(default_factory=list)

    def __call__(self, terms, goal, rules):
        assert rules is None
        outer, inner = terms.format_choices[0]
        self.calls.append((terms.part, outer, goal))
        rows = [pair for pair in product(outer, inner) if UNUSABLE not in pair]
        if not rows:
            return Found(Batch([]), False, np.inf, "capacity of RF is exceeded by 20%")
        costs = np.array([terms.part.costs(*row) for row in rows])
        if goal == "pareto":
            return Found(Batch([rows[i] for i in undominated(*costs.T)]), self.certified)
        cycles = costs[:, 1]
        energy = costs[:, 0] + terms.static_pj_per_cycle * cycles
        value = cycles if goal == "latency" else energy
        best = value.argmin()
        bound = value[best] if self.certified else value[best] / 2
        return Found(Batch([rows[best]]), self.certified, bound, "", energy[[best]], cycles[[best]])


class Model:
    """Three parts, the first two equal; decisions name the formats offered."""

    def __init__(self, mixing_saves: int = 0) -> None:
        self.parts = (Part(10, mixing_saves), Part(10, mixing_saves), Part(200, mixing_saves))
        self.problems = self.parts

    counts = (1, 1, 1)
    clock_hz = 10.0

    def part_name(self, part):
        return ("first", "second", "third")[part]

    def alternatives(self, decisions, part):
        return [(((choice,), (choice,)),) for choice in decisions["offered"]]

    def unrestricted(self, goal):
        return {"offered": (1, 2, 3, 4), "mapping_goal": goal}

    def formats_used(self, found):
        return {"weight": tuple(dict.fromkeys(int(m.format_id[0, 0, 0]) for m in found))}

    def rules(self, part):
        return None

    def total(self, costs):
        energy = sum(cost["energy_pj"] for cost in costs)
        seconds = sum(cost["latency_cycles"] for cost in costs) / self.clock_hz
        return {"energy_pj": energy, "latency_s": seconds, "edp_j_s": energy * 1e-12 * seconds}

    def explain_parts(self, found):
        return {"found": [int(mapping.format_id[0, 0, 0]) for mapping in found]}

    def comparisons(self, decisions):
        other = {**decisions, "offered": (5,)}
        return {"table": {"as it is": (self, decisions), "other": (self, other)}}

    def comparison_rows(self, cases):
        return [
            {"case": name, "energy_pj": totals["energy_pj"]} for name, (totals, _) in cases.items()
        ]


def designs(*offers: tuple[int, ...], goal: str = "energy"):
    offered = np.empty(len(offers), object)
    offered[:] = offers
    return {"offered": offered, "mapping_goal": np.array([goal] * len(offers), object)}


def total_energy(*formats: int) -> float:
    """Of the three parts with their formats, nothing saved by mixing."""
    return 220.0 + 2 * sum(formats)


@pytest.fixture
def nested() -> NestedSearch:
    return NestedSearch(Model(), Search())


def test_costs_are_the_sum_of_the_best_parts(nested) -> None:
    evaluation = nested.evaluate(designs((1,), (2,)))
    energy = evaluation.metrics["energy_pj"].tolist()
    assert energy == [total_energy(1, 1, 1), total_energy(2, 2, 2)]
    assert evaluation.feasible.all()


def test_equal_problems_are_searched_once(nested) -> None:
    nested.evaluate(designs((1,), (1,), (2,)))
    nested.evaluate(designs((2,), (1,)))
    assert len(nested.search.calls) == 4
    nested.evaluate(designs((1,), goal="latency"))
    assert len(nested.search.calls) == 4 + 2


def test_each_goal_has_its_own_best(nested) -> None:
    for goal, best in (("energy", 1), ("latency", 4)):
        energy = nested.evaluate(designs((1, 4), goal=goal)).metrics["energy_pj"]
        assert energy.tolist() == [total_energy(best, best, best)]


def test_the_best_alternative_counts(nested) -> None:
    energy = nested.evaluate(designs((3, 2), (4, 3, 2, 7))).metrics["energy_pj"]
    assert energy.tolist() == [total_energy(2, 2, 2)] * 2


def test_one_joint_search_settles_a_wide_offer_and_every_narrower_one(nested) -> None:
    nested.evaluate(designs((1, 2, 3, 4)))
    assert [offered for _, offered, _ in nested.search.calls] == [(1, 2, 3, 4)] * 2
    nested.evaluate(designs((1, 4), (1,), (3, 2, 1)))
    assert len(nested.search.calls) == 2


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("saves", [0, 1, 5])
def test_alternatives_cost_the_same_whether_or_not_mixing_them_would_be_better(
    saves, certified
) -> None:
    nested = NestedSearch(Model(mixing_saves=saves), Search(certified=certified), threads=1)
    offers = [(3, 1, 4, 2), (4, 2, 3), (3, 4, 5), (4,), (UNUSABLE, 5, 6)]
    energy = nested.evaluate(designs(*offers)).metrics["energy_pj"]
    assert energy.tolist() == [total_energy(*[min(set(o) - {UNUSABLE})] * 3) for o in offers]


def test_the_number_of_threads_changes_nothing() -> None:
    asked = designs((1, 2, 3), (2, 3), (5,))
    alone, beside = (NestedSearch(Model(2), Search(), threads=n).evaluate(asked) for n in (1, 3))
    assert alone.metrics["energy_pj"].tolist() == beside.metrics["energy_pj"].tolist()
    with pytest.raises(ValueError, match="threads: must be >= 1, got 0"):
        NestedSearch(Model(), Search(), threads=0)


def test_a_part_without_a_valid_mapping_makes_the_trial_infeasible(nested) -> None:
    evaluation = nested.evaluate(designs((UNUSABLE,), (1,)))
    assert evaluation.metrics["energy_pj"][0] == np.inf
    assert evaluation.feasible.tolist() == [False, True]
    said = "first has no valid mapping: capacity of RF is exceeded by 20%"
    assert nested.obstacle(designs((UNUSABLE,))) == said
    assert nested.obstacle(designs((1,))) == ""
    with pytest.raises(ValueError, match=said):
        nested.explain(designs((UNUSABLE,)))


def test_the_shortlist_holds_what_the_best_mappings_use(nested) -> None:
    assert nested.shortlist(("energy", "latency")) == {"weight": (1, 4)}


def test_explain_certifies_the_choice_and_shows_the_front(nested) -> None:
    explained = nested.explain(designs((3, 1, 4)))
    assert explained["certified"]
    assert explained["found"] == [1, 1, 1]
    (certificate,) = explained["tables"]["Certificate of the mappings"]
    assert certificate == {
        "the mappings minimise": "energy",
        "in": "energy_pj",
        "value": total_energy(1, 1, 1),
        "bound": total_energy(1, 1, 1),
        "gap": 0.0,
        "energy-latency front": "9 points, complete",  # sums of three of 1, 3, 4
    }
    rows = explained["tables"]["Energy-latency front of the model"]
    assert [round(10 * row["latency_s"]) for row in rows] == [*range(288, 296), 297]
    assert rows[0]["energy_pj"] == total_energy(4, 4, 4)
    assert rows[0]["latency / least"] == 1.0
    header, first, *_ = explained["files"]["model_front.csv"].splitlines()
    assert header == "energy_pj,latency_s,edp_j_s,first,second,third"
    assert first.startswith(f"{total_energy(4, 4, 4)},28.8,")
    assert list(nested.pictures(designs((3, 1, 4)))) == ["model_front"]
    assert nested.pictures(designs((3,))) == {}  # one point is no trade


def test_a_budget_is_met_by_all_parts_together(nested) -> None:
    """Format f takes 100 - f cycles a part at 10 Hz: 29.3 s leave 7 for the sum of the formats."""
    evaluation = nested.evaluate(designs((1, 3, 4), goal="energy within 29.3s"))
    assert evaluation.metrics["energy_pj"].tolist() == [total_energy(1, 3, 3)]
    assert evaluation.metrics["latency_s"].tolist() == [29.3]
    assert evaluation.metrics["goal_gap"].tolist() == [0.0]
    assert evaluation.feasible.all()
    late = designs((1, 3, 4), goal="energy within 14.4s")
    assert nested.evaluate(late).violations["over_budget"] == pytest.approx([1.0])
    said = "energy within 14.4s: no mappings do, the best exceed it by 100.00%"
    assert nested.obstacle(late) == said
    spared = nested.evaluate(designs((1, 3, 4), goal="latency within 232e-12J"))
    assert spared.metrics["latency_s"] == pytest.approx([29.4])  # formats 1 + 1 + 4 or 3 + 3
    assert spared.metrics["energy_pj"][0] <= 232.0


def test_what_a_cut_search_leaves_open_is_the_gap() -> None:
    nested = NestedSearch(Model(), Search(certified=False))
    metrics = nested.evaluate(designs((1,), (2, 3))).metrics
    assert metrics["goal_gap"] == pytest.approx([0.5, 0.5])
    assert metrics["goal_bound"] == pytest.approx(metrics["energy_pj"] / 2)
    assert metrics["goal_value"].tolist() == metrics["energy_pj"].tolist()


def test_comparison_prices_the_cases_of_the_model(nested) -> None:
    rows = nested.comparison(designs((1,)))["table"]
    assert rows == [
        {"case": "as it is", "energy_pj": total_energy(1, 1, 1)},
        {"case": "other", "energy_pj": total_energy(5, 5, 5)},
    ]


def test_a_mapping_keeps_to_an_offer_when_every_kept_copy_does() -> None:
    mapping = Batch([(1, 2)])
    assert keeps_to(mapping, (((1,), (2, 3)),))
    assert not keeps_to(mapping, (((1,), (1,)),))
    mapping.keep_at[0, 0, 1] = -1  # bypassed: its format says nothing
    assert keeps_to(mapping, (((1,), (1,)),))
    assert joint([(((1,), (0, 1)),), (((2,), (0, 2)),)]) == (((1, 2), (0, 1, 2)),)
