"""The best design of one part of a model, whichever of several format choices is offered.

Shared decisions offer a part a set of alternatives (one set of format ids each); the best of them
counts. An alternative is searched alone only while its lower bound still beats the best that is
known. The bounds come from *joint* searches, in which every tensor may mix the alternatives: what
they find costs no more than any of them, and where it happens to keep to one alternative it is that
alternative's optimum, so that a single search settles the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluators.evaluation import StructuredEvaluator
from spaces.mappings.loop_nest import BYPASS, MappingBatch

FormatChoices = tuple[tuple[tuple[int, ...], ...], ...]
"""Offered format ids per (tensor, level), see `CostTerms.format_choices`."""

GOALS = {"energy": "energy_pj", "latency": "latency_cycles", "edp": "edp_pj_cycles"}
"""What a mapping may minimise, and the metric that says so."""

WORTH_JOINING = 3
"""Open alternatives from which on a joint search comes first."""

SAME = 1e-12
"""Relative difference of costs that counts as none."""


class FoundMappings(Protocol):
    """What an inner search returns, as far as it is needed here."""

    @property
    def mappings(self) -> MappingBatch:
        """The best design as a batch of one; a batch of none when nothing is valid."""
        ...

    @property
    def certified(self) -> bool:
        """True when a lower bound equals the value found."""
        ...

    @property
    def reason(self) -> str:
        """What excludes every mapping; empty when there is one."""
        ...


@dataclass(frozen=True)
class PartResult:
    """The best design of one part.

    Attributes:
        design: A batch of one; None when no mapping is valid.
        metrics: Its costs, one run; all infinite when there is no design.
        certified: Whether the inner search proved it optimal.
        reason: What excludes every mapping; empty when there is a design.
    """

    design: MappingBatch | None
    metrics: Mapping[str, float]
    certified: bool
    reason: str = ""


class PartSearch:
    """Searches of one part for one goal, remembered.

    Args:
        evaluator: Prices what a search finds.
        goal: energy, latency or edp.
        search: Finds the best design among the format choices given.
    """

    def __init__(
        self,
        evaluator: StructuredEvaluator,
        goal: str,
        search: Callable[[FormatChoices], FoundMappings],
    ) -> None:
        self._evaluator = evaluator
        self._metric = GOALS[goal]
        self._search = search
        self._found: dict[FormatChoices, PartResult] = {}
        self._floor: dict[FormatChoices, float] = {}
        self._joined: set[FormatChoices] = set()

    def settle(self, questions: Iterable[Sequence[FormatChoices]]) -> None:
        """Answer `best` for several sets, the widest first: its bounds settle the narrower ones."""
        for alternatives in sorted(questions, key=len, reverse=True):
            self.best(alternatives)

    def best(self, alternatives: Sequence[FormatChoices]) -> PartResult:
        """The best design under any one of the alternatives."""
        while True:
            known = [self._found[each] for each in alternatives if each in self._found]
            best = min(known, key=self._rank, default=None)
            beats = np.inf if best is None else self._rank(best)[0] * (1.0 - SAME)
            rest = [each for each in alternatives if each not in self._found]
            rest = [each for each in rest if best is None or self._floor.get(each, 0.0) < beats]
            if best is not None and not rest:
                return best
            together = joint(rest)
            if len(rest) >= WORTH_JOINING and together not in self._joined:
                self._search_jointly(rest, together)
            else:
                nearest = min(rest, key=lambda each: self._floor.get(each, 0.0))
                self._found[nearest] = self._priced(self._search(nearest))

    def _search_jointly(
        self, alternatives: Sequence[FormatChoices], together: FormatChoices
    ) -> None:
        """Bound every alternative by one search; settle the one that its mapping keeps to."""
        self._joined.add(together)
        result = self._priced(self._search(together))
        if result.design is None:
            self._found |= dict.fromkeys(alternatives, result)
            return
        if not result.certified:
            return
        value = self._rank(result)[0]
        for each in alternatives:
            self._floor[each] = max(self._floor.get(each, 0.0), value)
        for each in alternatives:
            if keeps_to(result.design, each):
                self._found[each] = result
                return

    def _rank(self, result: PartResult) -> tuple[float, float]:
        """By the goal's metric, then by energy."""
        return result.metrics[self._metric], result.metrics["energy_pj"]

    def _priced(self, found: FoundMappings) -> PartResult:
        if len(found.mappings) == 0:
            return PartResult(None, _Infinite(), False, found.reason)
        metrics = self._evaluator.evaluate(found.mappings).metrics
        named = {name: float(values[0]) for name, values in metrics.items()}
        return PartResult(found.mappings, named, found.certified)


def joint(alternatives: Sequence[FormatChoices]) -> FormatChoices:
    """Every format that any of the alternatives offers a tensor at a level.

    >>> joint([(((1,), (0, 1)),), (((2,), (0, 2)),)])
    (((1, 2), (0, 1, 2)),)
    """
    return tuple(
        tuple(tuple(sorted({i for ids in level for i in ids})) for level in zip(*rows, strict=True))
        for rows in zip(*alternatives, strict=True)
    )


def keeps_to(mapping: MappingBatch, offered: FormatChoices) -> bool:
    """Whether every copy of a mapping (a batch of one) is in an offered format."""
    kept, ids = mapping.keep_at[0] != BYPASS, mapping.format_id[0]
    return all(int(ids[t, level]) in offered[t][level] for t, level in np.argwhere(kept))


class _Infinite(dict[str, float]):
    """Metrics of a part without a valid mapping: every one is infinite."""

    def __missing__(self, key: str) -> float:
        return float("inf")
