"""An inner search seen as an evaluator of the outer space.

A trial of a model-level study sets the shared decisions. Once they are taken the parts of the model
(its operators) separate: each has its own best mapping, found by an inner search over the part's
cost terms. `NestedSearch` finds it, remembers it, and prices the sum, so that any strategy over the
shared decisions sees an ordinary evaluator. Different parts are searched in different threads.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from evaluators.evaluation import CostTerms, Evaluation, StructuredEvaluator
from spaces.mappings.dataflow import MappingRules
from spaces.mappings.loop_nest import MappingBatch
from strategies.part_search import FormatChoices, FoundMappings, PartResult, PartSearch

Decisions = Mapping[str, Any]
"""Shared decisions of one trial, by name."""


class InnerSearch(Protocol):
    """Finds the best mapping of one part."""

    def __call__(
        self, terms: CostTerms, objective: str, *, rules: MappingRules | None
    ) -> FoundMappings:
        """The best mapping for a goal (energy, latency or edp) under a dataflow's constraints."""
        ...


class SeparableModel(Protocol):
    """A model whose parts are independent once the shared decisions are taken."""

    @property
    def parts(self) -> Sequence[StructuredEvaluator]:
        """One evaluator per part."""
        ...

    @property
    def problems(self) -> Sequence[Hashable]:
        """What each part asks of the inner search; equal problems have equal answers."""
        ...

    def part_name(self, part: int) -> str:
        """What users call a part."""
        ...

    def rules(self, part: int) -> MappingRules | None:
        """Constraints on the mappings of one part; None = none."""
        ...

    def alternatives(self, decisions: Mapping[str, Any], part: int) -> Sequence[FormatChoices]:
        """The format choices that one part may use under the shared decisions; the best counts."""
        ...

    def total(self, costs: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Metrics of the model from the metrics of its parts."""
        ...

    def unrestricted(self, goal: str) -> Mapping[str, Any]:
        """Decisions that offer everything at once, a bound on any choice of a few."""
        ...

    def formats_used(self, found: Sequence[Any]) -> Mapping[str, Sequence[str]]:
        """Tensor class -> formats in use by the best designs of the parts, the most used first."""
        ...

    def comparisons(
        self, decisions: Mapping[str, Any]
    ) -> Mapping[str, Mapping[str, tuple[SeparableModel, Mapping[str, Any]]]]:
        """Table title -> case -> (model, decisions) that users want to see side by side."""
        ...

    def comparison_rows(
        self, cases: Mapping[str, tuple[Mapping[str, float], Sequence[Any]]]
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of one such table from case -> (total metrics, best design of every part)."""
        ...

    def explain_parts(self, found: Sequence[Any]) -> Mapping[str, Any]:
        """Breakdown of the model from the best design of every part."""
        ...


class NestedSearch:
    """Evaluator over shared decisions: the best mapping of every part is inside.

    Args:
        model: The parts, and how their costs add up.
        search: Finds the best mapping of one part.
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
        self._searches: dict[tuple[Hashable, str], PartSearch] = {}

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Total costs of n sets of shared decisions."""
        results = self._solved([(self.model, row) for row in decision_rows(designs)])
        totals = [self.model.total([r.metrics for r in parts]) for parts in results]
        invalid = [sum(r.design is None for r in parts) for parts in results]
        return Evaluation(
            metrics={name: np.array([t[name] for t in totals], float) for name in totals[0]},
            violations={"parts_without_valid_mapping": np.array(invalid, float)},
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """Breakdown of one set of decisions: the model's own account of every part.

        Raises:
            ValueError: If a part has no valid mapping; says which, and what excludes it.
        """
        (row,) = decision_rows(design)
        results = self.parts_of(row)
        obstacle = self._obstacle(results)
        if obstacle:
            raise ValueError(obstacle)
        certified = all(result.certified for result in results)
        parts = self.model.explain_parts([result.design for result in results])
        return {"certified": certified, **parts}

    def obstacle(self, design: Mapping[str, Any]) -> str:
        """Which part has no valid mapping, and which rule excludes all by how much; else empty."""
        (row,) = decision_rows(design)
        return self._obstacle(self.parts_of(row))

    def _obstacle(self, results: Sequence[PartResult]) -> str:
        for part, result in enumerate(results):
            if result.design is None:
                return f"{self.model.part_name(part)} has no valid mapping: {result.reason}"
        return ""

    def shortlist(self, goals: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tensor class -> formats that the best mappings use when every format is offered."""
        chosen: dict[str, dict[str, None]] = {}
        for results in self._solved([(self.model, self.model.unrestricted(g)) for g in goals]):
            found = [result.design for result in results]
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
                {name: self._account(model, next(solved)) for name, (model, _) in named.items()}
            )
            for title, named in tables.items()
        }

    @staticmethod
    def _account(
        model: SeparableModel, results: Sequence[PartResult]
    ) -> tuple[Mapping[str, float], list[MappingBatch | None]]:
        return model.total([r.metrics for r in results]), [r.design for r in results]

    def parts_of(self, decisions: Decisions) -> list[PartResult]:
        """The best design of every part under one set of decisions."""
        return self.parts_of_each([decisions])[0]

    def parts_of_each(self, decisions: Sequence[Decisions]) -> list[list[PartResult]]:
        """The best designs under several sets at once: what one search proves bounds the others."""
        return self._solved([(self.model, each) for each in decisions])

    def _solved(self, cases: Sequence[tuple[SeparableModel, Decisions]]) -> list[list[PartResult]]:
        """The best design of every part in every case."""
        questions = [
            [
                (self._part_search(model, part, str(decisions["mapping_goal"])), offers)
                for part, offers in enumerate(_offers(model, decisions))
            ]
            for model, decisions in cases
        ]
        asked: dict[PartSearch, dict[tuple[FormatChoices, ...], None]] = {}
        for search, offers in (question for row in questions for question in row):
            asked.setdefault(search, {})[offers] = None
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(PartSearch.settle, asked, asked.values()))
        return [[search.best(offers) for search, offers in row] for row in questions]

    def _part_search(self, model: SeparableModel, part: int, goal: str) -> PartSearch:
        """The searches of one part for one goal; equal problems share them."""
        key = (model.problems[part], goal)
        if key not in self._searches:
            evaluator, rules = model.parts[part], model.rules(part)
            terms = evaluator.cost_terms()

            def search(offered: FormatChoices) -> FoundMappings:
                return self.search(replace(terms, format_choices=offered), goal, rules=rules)

            self._searches[key] = PartSearch(evaluator, goal, search)
        return self._searches[key]


def _offers(model: SeparableModel, decisions: Decisions) -> list[tuple[FormatChoices, ...]]:
    """The alternatives of every part."""
    return [tuple(model.alternatives(decisions, part)) for part in range(len(model.parts))]


def decision_rows(designs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping of names to values per design."""
    names = list(designs)
    return [dict(zip(names, row, strict=True)) for row in zip(*designs.values(), strict=True)]
