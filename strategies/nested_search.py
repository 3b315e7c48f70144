"""An inner search seen as an evaluator of the outer space.

A trial of a model-level study sets the shared decisions. Once they are taken the parts of the model
(its operators) separate but for the goal: each offers its best mappings, found by an inner search
over its cost terms, and one choice is made for all (`strategies.model_choice`). `NestedSearch`
finds them, remembers them, and prices the sum, so that any strategy over the shared decisions sees
an ordinary evaluator. Different parts are searched in different threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms, Evaluation, LeafTerms
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.mapping_goal import EDP, LATENCY, MEMORY_ENERGY, parse_goal
from strategies.compulsory import compulsory_costs
from strategies.model_choice import (
    GOAL_METRICS,
    ModelChoice,
    Question,
    Search,
    Totals,
    least_of_one,
    least_sum,
    least_within,
)
from strategies.model_front import TITLE as FRONT_TITLE
from strategies.model_front import ModelFront, model_front
from strategies.model_product import least_product
from strategies.part_search import FormatChoices, FoundMappings, PartFront, PartResult, PartSearch
from strategies.priced_search import FRONT, PricedSearch
from strategies.separable_model import Decisions, InnerSearch, SeparableModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NestedSearch:
    """Evaluator over shared decisions: the best mapping of every part is inside.

    A decision `mapping_goal` says what the model's mappings minimise together, see
    `spaces.mappings.mapping_goal`. Beside the model's totals the metrics are `goal_value` (in the
    unit of the goal: pJ, s, J s), `goal_bound` (no mappings do better) and `goal_gap` (relative
    distance of the two; 0 = certified).

    Args:
        model: The parts, and how their costs add up.
        search: Finds the best mappings of one part.
        threads: Parts searched at a time; the result does not depend on it. None = one per core.
    """

    def __init__(
        self, model: SeparableModel, search: InnerSearch, threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"evaluator.threads: must be >= 1, got {threads}")
        self.model = model
        self.search = search
        self.threads = threads or os.cpu_count() or 1
        self._searches: dict[tuple[Hashable, Question], PartSearch] = {}
        self._priced: dict[tuple[Hashable, str], PricedSearch] = {}
        self._least: dict[Hashable, float] = {}

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Total costs of n sets of shared decisions."""
        rows = decision_rows(designs)
        found = self.choices(rows)
        totals = [
            self._metrics(choice, str(row["mapping_goal"]))
            for row, choice in zip(rows, found, strict=True)
        ]
        invalid = [sum(part.design is None for part in choice.parts) for choice in found]
        return Evaluation(
            metrics={name: np.array([t[name] for t in totals], float) for name in totals[0]},
            violations={
                "parts_without_valid_mapping": np.array(invalid, float),
                "over_budget": np.array([choice.excess for choice in found]),
            },
        )

    def _metrics(self, choice: ModelChoice, goal: str) -> dict[str, float]:
        totals = self.model.total([part.metrics for part in choice.parts])
        value = totals[GOAL_METRICS[parse_goal(goal).minimise]]
        bound = value * (1.0 - choice.gap) if choice.gap < 1.0 else 0.0
        return {**totals, "goal_value": value, "goal_bound": bound, "goal_gap": choice.gap}

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """Breakdown of one set of decisions: the model's own account of every part.

        Raises:
            ValueError: If a part has no valid mapping; says which, and what excludes it.
        """
        (row,) = decision_rows(design)
        (choice,) = self.choices([row])
        obstacle = self._obstacle(choice)
        if obstacle:
            raise ValueError(obstacle)
        parts = self.model.explain_parts([part.design for part in choice.parts])
        metrics = self._metrics(choice, str(row["mapping_goal"]))
        front = self.front(row)
        certificate = {
            "the mappings minimise": row["mapping_goal"],
            "in": GOAL_METRICS[parse_goal(str(row["mapping_goal"])).minimise],
            **{name: metrics[f"goal_{name}"] for name in ("value", "bound", "gap")},
            "energy-latency front": front.extent,
        }
        tables = {"Certificate of the mappings": [certificate], FRONT_TITLE: front.table()}
        return {
            "certified": choice.certified,
            **parts,
            "tables": {**parts.get("tables", {}), **tables},
            "files": {**parts.get("files", {}), "model_front.csv": front.csv()},
        }

    def pictures(self, design: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """The model's energy-latency front under one set of decisions, where there is one."""
        (row,) = decision_rows(design)
        (choice,) = self.choices([row])
        front, metrics = self.front(row), self._metrics(choice, str(row["mapping_goal"]))
        chosen = metrics["energy_pj"], metrics["latency_s"]
        return {"model_front": lambda: front.figure(*chosen)} if len(front) > 1 else {}

    def front(self, decisions: Decisions) -> ModelFront:
        """Every trade of the model's energy against its latency under one set of decisions."""
        model = self.model
        (fronts,) = self._fronts([(model, decisions, Question(FRONT))])
        names = [model.part_name(part) for part in range(len(model.parts))]
        return model_front(names, fronts, model.counts, model.clock_hz)

    def obstacle(self, design: Mapping[str, Any]) -> str:
        """Which part has no valid mapping, or how far the budget is exceeded; else empty."""
        (row,) = decision_rows(design)
        (choice,) = self.choices([row])
        if choice.excess > 0:
            return (
                f"{row['mapping_goal']}: no mappings do, the best exceed it by {choice.excess:.2%}"
            )
        return self._obstacle(choice)

    def _obstacle(self, choice: ModelChoice) -> str:
        for part, result in enumerate(choice.parts):
            if result.design is None:
                return f"{self.model.part_name(part)} has no valid mapping: {result.reason}"
        return ""

    def shortlist(self, goals: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tensor class -> formats that the best mappings use when every format is offered."""
        chosen: dict[str, dict[str, None]] = {}
        for choice in self.choices([self.model.unrestricted(goal) for goal in goals]):
            found = [part.design for part in choice.parts]
            if any(design is None for design in found):
                return {}
            for tensor_class, names in self.model.formats_used(found).items():
                chosen.setdefault(tensor_class, {}).update(dict.fromkeys(names))
        return {tensor_class: tuple(names) for tensor_class, names in chosen.items()}

    def comparison(self, design: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The design beside the model's baselines, each with its own best mappings."""
        (row,) = decision_rows(design)
        tables = self.model.comparisons(row)
        cases = [case for named in tables.values() for case in named.values()]
        solved = iter(self._solved(cases))
        return {
            title: self.model.comparison_rows(
                {name: _account(model, next(solved)) for name, (model, _) in named.items()}
            )
            for title, named in tables.items()
        }

    def parts_of(self, decisions: Decisions) -> tuple[PartResult, ...]:
        """The best design of every part under one set of decisions."""
        return self.choices([decisions])[0].parts

    def choices(self, decisions: Sequence[Decisions]) -> list[ModelChoice]:
        """The best designs under several sets at once: what one search proves bounds the others."""
        return self._solved([(self.model, each) for each in decisions])

    def _solved(self, cases: Sequence[tuple[SeparableModel, Decisions]]) -> list[ModelChoice]:
        """The best designs of the parts in every case."""
        searches = [self._search_of(model, decisions) for model, decisions in cases]
        asked = {number: next(search) for number, search in enumerate(searches)}
        found: dict[int, ModelChoice] = {}
        while asked:
            fronts = self._fronts([(*cases[number], asked[number]) for number in asked])
            for number, answers in zip(list(asked), fronts, strict=True):
                try:
                    asked[number] = searches[number].send(answers)
                except StopIteration as end:
                    found[number] = end.value
                    del asked[number]
        return [found[number] for number in range(len(cases))]

    def _search_of(self, model: SeparableModel, decisions: Decisions) -> Search:
        """The search for the goal of one case."""
        goal = parse_goal(str(decisions["mapping_goal"]))
        totals = Totals(model.counts, partial(self._least_cycles, model))
        if goal.limit is not None:
            to_limit = 1.0 if goal.minimise == LATENCY else model.clock_hz
            return least_within(goal, goal.limit * to_limit, totals)
        if goal.minimise != EDP:
            return least_sum(goal, totals)
        return least_of_one(totals) if len(set(model.problems)) == 1 else least_product(totals)

    def _least_cycles(self, model: SeparableModel) -> float:
        """Latency of a model that no mappings and no formats go below [cycles]."""
        cycles = [self._compulsory_cycles(model, part) for part in range(len(model.parts))]
        return float(np.dot(model.counts, cycles))

    def _compulsory_cycles(self, model: SeparableModel, part: int) -> float:
        """The same of one run of one part."""
        problem = model.problems[part]
        if problem not in self._least:
            _, self._least[problem] = compulsory_costs(model.parts[part].cost_terms())
        return self._least[problem]

    def _fronts(
        self, cases: Sequence[tuple[SeparableModel, Decisions, Question]]
    ) -> list[list[PartFront]]:
        """What every part can do in every case."""
        questions = [
            [
                (self._part_search(model, part, question), offers)
                for part, offers in enumerate(_offers(model, decisions))
            ]
            for model, decisions, question in cases
        ]
        asked: dict[PartSearch, dict[tuple[FormatChoices, ...], None]] = {}
        for search, offers in (question for row in questions for question in row):
            asked.setdefault(search, {})[offers] = None
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(PartSearch.settle, asked, asked.values()))
        return [[search.best(offers) for search, offers in row] for row in questions]

    def _part_search(self, model: SeparableModel, part: int, question: Question) -> PartSearch:
        """The searches of one part for one question; equal problems share them."""
        key = (model.problems[part], question)
        if key not in self._searches:
            priced = self._priced_search(model, part, question.energy)
            least = (0.0, self._compulsory_cycles(model, part))
            floor = least if question.objective == FRONT else least[:1]
            search = priced.asked(question.objective, question.pj_per_cycle)
            self._searches[key] = PartSearch(model.parts[part], question.costs, search, floor)
        return self._searches[key]

    def _priced_search(self, model: SeparableModel, part: int, energy: str) -> PricedSearch:
        """What is known of one part at any price of latency, for one kind of energy."""
        key = (model.problems[part], energy)
        if key not in self._priced:
            rules = model.rules(part)
            terms = counted_terms(model.parts[part].cost_terms(), energy)

            def search(objective: str, price: float, offered: FormatChoices) -> FoundMappings:
                static = terms.static_pj_per_cycle + price
                chosen = replace(terms, format_choices=offered, static_pj_per_cycle=static)
                return self.search(chosen, objective, rules=rules)

            self._priced[key] = PricedSearch(search, self._compulsory_cycles(model, part))
        return self._priced[key]


def counted_terms(terms: CostTerms, energy: str) -> CostTerms:
    """The terms of a cost whose energy is a metric of the evaluator: all of it, or the memory's."""
    if energy != GOAL_METRICS[MEMORY_ENERGY]:
        return terms
    leaf = terms.leaf

    def free(kept: NDArray[np.bool_], compressed: NDArray[np.bool_]) -> LeafTerms:
        return replace(leaf(kept, compressed), compute_pj=0.0)

    return replace(terms, leaf=free, static_pj_per_cycle=0.0)


def _account(
    model: SeparableModel, choice: ModelChoice
) -> tuple[Mapping[str, float], list[MappingBatch | None]]:
    """Totals of a case and the design of every part."""
    return model.total([part.metrics for part in choice.parts]), [p.design for p in choice.parts]


def _offers(model: SeparableModel, decisions: Decisions) -> list[tuple[FormatChoices, ...]]:
    """The alternatives of every part."""
    return [tuple(model.alternatives(decisions, part)) for part in range(len(model.parts))]


def decision_rows(designs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping of names to values per design."""
    names = list(designs)
    return [dict(zip(names, row, strict=True)) for row in zip(*designs.values(), strict=True)]
