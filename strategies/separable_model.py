"""What a nested search asks of a model and of the search inside it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from evaluators.evaluation import CostTerms, StructuredEvaluator
from spaces.mappings.dataflow import MappingRules
from strategies.part_search import FormatChoices, FoundMappings

Decisions = Mapping[str, Any]
"""Shared decisions of one trial, by name."""


class InnerSearch(Protocol):
    """Finds the best mappings of one part under a dataflow's constraints."""

    def __call__(
        self, terms: CostTerms, objective: str, *, rules: MappingRules | None
    ) -> FoundMappings:
        """The best mapping for energy, latency or edp, or the energy-latency front (pareto)."""
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

    @property
    def counts(self) -> Sequence[int]:
        """Runs of every part in one run of the model."""
        ...

    @property
    def clock_hz(self) -> float:
        """Cycles per second."""
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
