"""An inner search seen as an evaluator of the outer space.

A trial of a model-level study sets the shared decisions. Once they are taken the parts of the model
(its operators) separate: each has its own best mapping, found by an inner search over the part's
cost terms. `NestedSearch` finds it, remembers it, and prices the sum, so that any strategy over the
shared decisions sees an ordinary evaluator.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from evaluators.evaluation import CostTerms, Evaluation, StructuredEvaluator
from spaces.mappings.dataflow import MappingRules

FormatChoices = tuple[tuple[tuple[int, ...], ...], ...]
"""Offered format ids per (tensor, level), see `CostTerms.format_choices`."""


class FoundMappings(Protocol):
    """What an inner search returns, as far as the adapter needs it."""

    @property
    def mappings(self) -> Any:
        """The best design as a batch of one; a batch of none when nothing is valid."""
        ...

    @property
    def certified(self) -> bool:
        """True when a lower bound equals the value found."""
        ...


class InnerSearch(Protocol):
    """Finds the best mapping of one part."""

    def __call__(
        self, terms: CostTerms, objective: str, *, rules: MappingRules | None
    ) -> FoundMappings:
        """The best mapping for a goal (energy, latency or edp) under a dataflow's constraints."""
        ...


GOALS = {"energy": "energy_pj", "latency": "latency_cycles", "edp": "edp_pj_cycles"}
"""What a mapping may minimise, and the metric that says so."""


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


@dataclass(frozen=True)
class PartResult:
    """The best design of one part under one set of decisions.

    Attributes:
        design: Batch of one; None when no mapping is valid.
        metrics: Its re-priced metrics; infinite when none is valid.
        certified: The inner search proved it optimal.
    """

    design: Any
    metrics: Mapping[str, float]
    certified: bool


class NestedSearch:
    """Evaluator over shared decisions: the best mapping of every part is inside.

    Args:
        model: The parts, and how their costs add up.
        search: Finds the best mapping of one part.
    """

    def __init__(self, model: SeparableModel, search: InnerSearch) -> None:
        self.model = model
        self.search = search
        self._terms: dict[Hashable, CostTerms] = {}
        self._variants: dict[int, NestedSearch] = {id(model): self}
        self._found: dict[tuple[Hashable, FormatChoices, str], PartResult] = {}

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Total costs of n sets of shared decisions."""
        results = [self.parts_of(row) for row in decision_rows(designs)]
        totals = [self.model.total([r.metrics for r in parts]) for parts in results]
        invalid = [sum(r.design is None for r in parts) for parts in results]
        return Evaluation(
            metrics={name: np.array([t[name] for t in totals], float) for name in totals[0]},
            violations={"parts_without_valid_mapping": np.array(invalid, float)},
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """Breakdown of one set of decisions: the model's own account of every part."""
        (row,) = decision_rows(design)
        results = self.parts_of(row)
        for index, result in enumerate(results):
            if result.design is None:
                raise ValueError(f"part {index} of the model has no valid mapping")
        certified = all(result.certified for result in results)
        parts = self.model.explain_parts([result.design for result in results])
        return {"certified": certified, **parts}

    def shortlist(self, goals: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tensor class -> formats that the best mappings use when every format is offered."""
        chosen: dict[str, dict[str, None]] = {}
        for goal in goals:
            found = [result.design for result in self.parts_of(self.model.unrestricted(goal))]
            if any(design is None for design in found):
                return {}
            for tensor_class, names in self.model.formats_used(found).items():
                chosen.setdefault(tensor_class, {}).update(dict.fromkeys(names))
        return {tensor_class: tuple(names) for tensor_class, names in chosen.items()}

    def comparison(self, design: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The design beside the model's baselines, each with its own best mappings."""
        (row,) = decision_rows(design)
        return {
            title: self.model.comparison_rows(
                {name: self._case(model, chosen) for name, (model, chosen) in cases.items()}
            )
            for title, cases in self.model.comparisons(row).items()
        }

    def _case(
        self, model: SeparableModel, decisions: Mapping[str, Any]
    ) -> tuple[Mapping[str, float], list[Any]]:
        if id(model) not in self._variants:
            variant = self._variants[id(model)] = NestedSearch(model, self.search)
            variant._found, variant._terms = self._found, self._terms
        nested = self._variants[id(model)]
        results = nested.parts_of(decisions)
        return model.total([r.metrics for r in results]), [r.design for r in results]

    def parts_of(self, decisions: Mapping[str, Any]) -> list[PartResult]:
        """The best design of every part under one set of decisions."""
        goal = str(decisions["mapping_goal"])
        return [
            min(
                (self._search(part, chosen, goal) for chosen in alternatives),
                key=lambda result: _rank(result, goal),
            )
            for part, alternatives in enumerate(self._alternatives(decisions))
        ]

    def _alternatives(self, decisions: Mapping[str, Any]) -> list[Sequence[FormatChoices]]:
        return [self.model.alternatives(decisions, part) for part in range(len(self.model.parts))]

    def _search(self, part: int, offered: FormatChoices, goal: str) -> PartResult:
        problem = self.model.problems[part]
        key = (problem, offered, goal)
        if key not in self._found:
            evaluator = self.model.parts[part]
            if problem not in self._terms:
                self._terms[problem] = evaluator.cost_terms()
            terms = replace(self._terms[problem], format_choices=offered)
            found = self.search(terms, goal, rules=self.model.rules(part))
            self._found[key] = self._priced(evaluator, found)
        return self._found[key]

    @staticmethod
    def _priced(evaluator: StructuredEvaluator, found: FoundMappings) -> PartResult:
        if len(found.mappings) == 0:
            return PartResult(None, _Infinite(), False)
        metrics = evaluator.evaluate(found.mappings).metrics
        named = {name: float(values[0]) for name, values in metrics.items()}
        return PartResult(found.mappings, named, found.certified)


def _rank(result: PartResult, goal: str) -> tuple[float, float]:
    """By the goal's metric, then by energy."""
    return result.metrics[GOALS[goal]], result.metrics["energy_pj"]


class _Infinite(dict[str, float]):
    """Metrics of a part without a valid mapping: every one is infinite."""

    def __missing__(self, key: str) -> float:
        return float("inf")


def decision_rows(designs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping of names to values per design."""
    names = list(designs)
    return [dict(zip(names, row, strict=True)) for row in zip(*designs.values(), strict=True)]
