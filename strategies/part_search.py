"""The best designs of one part of a model, whichever of several format choices is offered.

Shared decisions offer a part a set of alternatives (one set of format ids each); the best of them
counts: one design where a single number counts, the front for two. An alternative is searched
alone only while its *floor* (costs that its designs cannot all avoid) is not yet matched by known
designs. The floors come from *joint* searches, in which every tensor may mix the alternatives: what
they find costs no more than any of them, and where it happens to keep to alternatives it is their
optimum, so that a single search settles the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluators.evaluation import FloatArray, StructuredEvaluator
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from strategies.pareto import non_dominated

FormatChoices = tuple[tuple[tuple[int, ...], ...], ...]
"""Offered format ids per (tensor, level), see `CostTerms.format_choices`."""

WORTH_JOINING = 3
"""Open alternatives from which on a joint search comes first."""

SAME = 1e-12
"""Relative difference of costs that counts as none."""


class FoundMappings(Protocol):
    """What an inner search returns, as far as it is needed here."""

    @property
    def mappings(self) -> MappingBatch:
        """The best designs; a batch of none when nothing is valid."""
        ...

    @property
    def energy_pj(self) -> FloatArray:
        """Energy of every design as the search counts it, shape (n,)."""
        ...

    @property
    def latency_cycles(self) -> FloatArray:
        """Latency of every design, shape (n,)."""
        ...

    @property
    def certified(self) -> bool:
        """True when the best design is proven optimal, or the front complete."""
        ...

    @property
    def lower_bound(self) -> float:
        """No design costs less; infinite when none is valid."""
        ...

    @property
    def reason(self) -> str:
        """What excludes every mapping; empty when there is one."""
        ...


@dataclass(frozen=True)
class PartResult:
    """One design of a part.

    Attributes:
        design: A batch of one; None when no mapping is valid.
        metrics: Its costs, one run; all infinite when there is no design.
        reason: What excludes every mapping; empty when there is a design.
    """

    design: MappingBatch | None
    metrics: Mapping[str, float]
    reason: str = ""


@dataclass(frozen=True)
class PartFront:
    """The best designs of one part.

    Attributes:
        points: By increasing first cost; one for a single cost, none when nothing is valid.
        costs: Of every point, shape (points, costs).
        floor: Every valid design costs at least as much as one of these rows, (k, costs); no
            rows when it is proven that none is valid.
        reason: What excludes every mapping; empty when there are points.
    """

    points: tuple[PartResult, ...]
    costs: FloatArray
    floor: FloatArray
    reason: str = ""

    @property
    def certified(self) -> bool:
        """True when no valid design can improve on the points."""
        return matched(self.floor, self.costs)


class PartSearch:
    """Searches of one part for one goal, remembered.

    Args:
        evaluator: Prices what a search finds.
        costs: What counts of a design's metrics: one number, or two for a front.
        search: Finds the best designs among the format choices given.
        least: Costs below every design's, as many as count; used where a search was cut.
    """

    def __init__(
        self,
        evaluator: StructuredEvaluator,
        costs: Callable[[Mapping[str, float]], tuple[float, ...]],
        search: Callable[[FormatChoices], FoundMappings],
        least: Sequence[float],
    ) -> None:
        self._evaluator = evaluator
        self._cost = costs
        self._search = search
        self._least = np.array(least, dtype=np.float64)
        self._points: dict[FormatChoices, tuple[PartResult, ...]] = {}
        self._floors: dict[FormatChoices, FloatArray] = {}
        self._searched: dict[FormatChoices, str] = {}
        self._joined: set[FormatChoices] = set()
        self._answers: dict[tuple[FormatChoices, ...], PartFront] = {}

    def settle(self, questions: Iterable[Sequence[FormatChoices]]) -> None:
        """Answer `best` for several sets, the widest first: its floors settle the narrower ones."""
        for alternatives in sorted(questions, key=len, reverse=True):
            self.best(alternatives)

    def best(self, alternatives: Sequence[FormatChoices]) -> PartFront:
        """The best designs under any one of the alternatives."""
        key = tuple(alternatives)
        if key not in self._answers:
            self._answers[key] = self._settled(key)
        return self._answers[key]

    def _settled(self, alternatives: Sequence[FormatChoices]) -> PartFront:
        while True:
            points = self._undominated([p for a in alternatives for p in self._points.get(a, ())])
            costs = self._costs(points)
            rest = [each for each in alternatives if each not in self._searched]
            rest = [each for each in rest if not matched(self._floor(each), costs)]
            if not rest:
                return self._front(alternatives, points, costs)
            together = joint(rest)
            if len(rest) >= WORTH_JOINING and together not in self._joined:
                self._search_jointly(rest, together)
            else:
                self._search_alone(min(rest, key=lambda each: float(self._floor(each).min())))

    def _front(
        self,
        alternatives: Sequence[FormatChoices],
        points: tuple[PartResult, ...],
        costs: FloatArray,
    ) -> PartFront:
        floor = np.concatenate([self._floor(each) for each in alternatives])
        reasons = [self._searched[each] for each in alternatives if each in self._searched]
        reason = "" if points else next(iter(reasons), "")
        return PartFront(points, costs, floor[non_dominated(floor)], reason)

    def _search_jointly(
        self, alternatives: Sequence[FormatChoices], together: FormatChoices
    ) -> None:
        """Raise the floor of every alternative by one search; keep the designs within each."""
        self._joined.add(together)
        points, floor, reason = self._found(together)
        for each in alternatives:
            kept = [p for p in points if p.design is not None and keeps_to(p.design, each)]
            self._learn(each, kept, floor)
            if not len(floor):
                self._searched[each] = reason

    def _search_alone(self, alternative: FormatChoices) -> None:
        points, floor, self._searched[alternative] = self._found(alternative)
        self._learn(alternative, points, floor)

    def _learn(
        self, alternative: FormatChoices, points: Sequence[PartResult], floor: FloatArray
    ) -> None:
        self._floors[alternative] = _both(self._floor(alternative), floor)
        known = self._points.get(alternative, ())
        self._points[alternative] = self._undominated([*known, *points])

    def _found(self, offered: FormatChoices) -> tuple[tuple[PartResult, ...], FloatArray, str]:
        """Designs of one search priced by the evaluator, the floor it proves, and its reason."""
        found = self._search(offered)
        designs = found.mappings
        points: tuple[PartResult, ...] = ()
        if len(designs):
            metrics = self._evaluator.evaluate(designs).metrics
            named = [{n: float(v[i]) for n, v in metrics.items()} for i in range(len(designs))]
            rows = [designs.take(np.array([i])) for i in range(len(designs))]
            points = self._undominated(list(map(PartResult, rows, named)))
        if found.certified:
            return points, self._costs(points), found.reason
        return points, self._proven(found.lower_bound), found.reason

    def _proven(self, lower_bound: float) -> FloatArray:
        """The floor left by a search that was cut or found that nothing is valid."""
        if np.isinf(lower_bound):
            return np.empty((0, len(self._least)))
        if len(self._least) == 1:
            return np.array([[max(lower_bound, self._least[0])]])
        return self._least[None]

    def _floor(self, alternative: FormatChoices) -> FloatArray:
        return self._floors.get(alternative, np.zeros((1, len(self._least))))

    def _undominated(self, points: Sequence[PartResult]) -> tuple[PartResult, ...]:
        """The points that no other beats, by the first cost; of equal ones the least energy."""
        ranked = sorted(points, key=lambda point: point.metrics["energy_pj"])
        best = [ranked[i] for i in non_dominated(self._costs(ranked))]
        return tuple(sorted(best, key=lambda point: self._cost(point.metrics)))

    def _costs(self, points: Sequence[PartResult]) -> FloatArray:
        rows = [self._cost(point.metrics) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(points), len(self._least))


def matched(floor: FloatArray, costs: FloatArray) -> bool:
    """Whether every row of a floor (k, m) is reached by one of the known costs (n, m).

    >>> matched(np.array([[1.0, 4.0], [2.0, 2.0]]), np.array([[1.0, 4.0], [2.0, 1.5]]))
    True
    >>> matched(np.array([[1.0, 4.0]]), np.array([[2.0, 2.0]]))
    False
    """
    reached = np.all(costs[None] <= floor[:, None] * (1.0 + SAME), axis=2)
    return bool(np.any(reached, axis=1).all())


def _both(one: FloatArray, other: FloatArray) -> FloatArray:
    """The floor of designs that are on or above each of two floors."""
    rows = np.maximum(one[:, None], other[None]).reshape(-1, one.shape[1])
    return rows[non_dominated(rows)]


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


def without_design(reason: str) -> PartResult:
    """The result of a part that has no valid mapping."""
    return PartResult(None, _Infinite(), reason)


class _Infinite(dict[str, float]):
    """Metrics of a part without a valid mapping: every one is infinite."""

    def __missing__(self, key: str) -> float:
        return float("inf")
