"""Exact search: the best mapping of one operator, certified, by enumeration with bounds.

`exact_search(terms, "edp")` covers every tiling into divisors, every spatial unrolling, every order
of the nodes of every level and every bypass, jointly with the formats offered per level. How it can
do so in milliseconds is in docs/exact_search.md.

One sweep prices a copy by the least of the formats offered. Where that mixes formats the price is
a bound, and the formats of one copy in doubt are split: the one that looks best, and the others.
Parts whose bound cannot win are dropped; when none is left the best value is the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from time import perf_counter

import numpy as np

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import MappingRules
from strategies.exact.archive import KNOWN, PARETO, Archive, info_columns, new_archive
from strategies.exact.case import Case, build_case, has_single_reuse
from strategies.exact.constraints import check_covered, constrained_terms
from strategies.exact.exclusion import describe_exclusion
from strategies.exact.grid import IntArray
from strategies.exact.incumbents import Incumbents
from strategies.exact.mapping_builder import build_mappings
from strategies.exact.plans import Doubt, plan_of
from strategies.exact.prices import Choices
from strategies.exact.search_result import OBJECTIVES, SearchResult, objective_values
from strategies.exact.stages import Stage, add_stages, stages_of
from strategies.exact.sweep import MapSpace, Sweep, sweep

MAPSPACES = ("uneven", "even", "uneven_runs")
"""Where tensors may be kept, see `exact_search`."""

SAME_VALUE = 1e-9
"""Relative difference below which a value is its lower bound."""


def exact_search(
    terms: CostTerms,
    objective: str = "edp",
    mapspace: str = "uneven",
    minimum_tile: IntArray | None = None,
    rules: MappingRules | None = None,
    time_limit: float | None = None,
    padding: Sequence[Sequence[int]] | None = None,
) -> SearchResult:
    """Find the best mapping of an operator, with the best of the formats offered per level.

    Args:
        terms: Structure of the cost; `format_choices` are the formats offered.
        objective: energy, latency, edp, or pareto (the whole energy-latency front).
        mapspace: "uneven" (every tensor at its own place, bypass where it is allowed) or "even"
            (every level keeps all tensors at one place); "uneven_runs" adds, under implicit
            stationarity, innermost tiles that stay over a run of loops outside other tensors'
            outer tiles: at most a little better, several times slower, not for four levels.
        minimum_tile: Least rank extents of the innermost level's tiles, shape (R,).
        rules: A dataflow's constraints, see `constraints`.
        time_limit: Seconds after which the best mapping found is returned with the gap that is
            left; None = until it is certified.
        padding: By rank, sizes beyond its own that it may be padded to (see `grid.padded_sizes`);
            None = whole factors of its own size only.

    Raises:
        ValueError: For an unknown objective or mapspace, or hardware or a constraint that is not
            covered.
    """
    begin = perf_counter()
    if rules is not None:
        check_covered(rules)
        terms = constrained_terms(terms, rules)
        minimum_tile = rules.minimum_tile[-1] if minimum_tile is None else minimum_tile
    if mapspace not in MAPSPACES:
        raise ValueError(f"mapspace must be one of {', '.join(MAPSPACES)}, got {mapspace!r}")
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    deadline = np.inf if time_limit is None else begin + time_limit
    search = _Search(terms, objective, MapSpace(mapspace, minimum_tile, rules), deadline)
    sizes = _padded(terms, padding)
    search.run(sizes)
    return search.result(perf_counter() - begin, sizes)


def _padded(
    terms: CostTerms, padding: Sequence[Sequence[int]] | None
) -> tuple[tuple[int, ...], ...]:
    """By rank its size and the sizes it may be padded to, increasing."""
    own = [int(size) for size in terms.rank_sizes]
    more: Sequence[Sequence[int]] = [()] * len(own) if padding is None else padding
    if len(more) != len(own):
        raise ValueError(f"padding must list sizes for {len(own)} ranks, got {len(more)}")
    for rank, size, sizes in zip(terms.rank_names, own, more, strict=True):
        if any(each < size for each in sizes):
            raise ValueError(
                f"padding of {rank} must be at least its size {size}, got {min(sizes)}"
            )
    return tuple(
        tuple(sorted({size, *(int(each) for each in sizes)}))
        for size, sizes in zip(own, more, strict=True)
    )


@dataclass(frozen=True)
class _Part:
    """A part of the space: padded rank sizes, formats offered; nothing in it costs less."""

    sizes: tuple[int, ...]
    choices: Choices
    bound: float


class _Search:
    """Sweeps over parts of the space, until none is left that could win."""

    def __init__(self, terms: CostTerms, objective: str, space: MapSpace, deadline: float) -> None:
        self._terms = terms
        self._objective = objective
        self._mode = OBJECTIVES[objective]
        self._space = space
        self._deadline = deadline
        self._best = Incumbents(self._mode)
        self._floor = np.inf
        self._stages: tuple[Stage, ...] = ()
        self._reason = ""
        self._tally = np.zeros(3, dtype=np.int64)

    def run(self, sizes: Sequence[Sequence[int]]) -> None:
        """Sweep every padding, the least first, and every split of the formats in doubt."""
        combinations = sorted(product(*sizes), key=prod, reverse=True)
        choices = self._terms.format_choices
        parts = [_Part(each, choices, 0.0) for each in combinations]
        while parts:
            part = parts.pop()
            if self._mode != PARETO and part.bound >= self._best.value:
                continue
            if perf_counter() > self._deadline and self._stages:
                self._floor = min(self._floor, part.bound)
                continue
            parts += self._sweep(part)

    def _sweep(self, part: _Part) -> list[_Part]:
        """Sweep one part; returns what has to be looked at more closely."""
        terms = replace(self._terms, format_choices=part.choices)
        case = build_case(terms, part.sizes, self._space.rules)
        even = self._space.name == "even"
        _check_mapspace(case, self._space.name)
        archive, rest = self._fill(case)
        self._tally += archive.tally[:3]
        self._stages = add_stages(self._stages, stages_of(case, terms, archive.tally))
        n = int(archive.tally[0])
        bound = float(self._values(archive, n).min()) if n else np.inf
        self._floor = min(self._floor, float(rest[min(self._mode, 2)]))
        doubts: list[Doubt] = []
        for row in range(n):
            if archive.info[row, 0] == KNOWN:
                continue
            plan, doubt = plan_of(case, archive.info[row], even)
            if doubt is None:
                self._best.take(float(archive.energy[row]), float(archive.cycles[row]), plan)
            else:
                doubts.append(doubt)
        if not n and not self._reason:
            limits = self._space.minimum_tile, self._space.rules
            self._reason = describe_exclusion(case, terms, *limits)
        return _split(part, doubts[0], bound) if doubts else []

    def _fill(self, case: Case) -> tuple[Archive, np.ndarray]:
        """The archive of a sweep, and the least that it did not look at."""
        room = 4096
        columns = info_columns(case.tensors, case.levels)
        while True:
            archive = new_archive(columns, *self._best.costs(), room)
            rest = sweep(Sweep(case, self._mode, self._space, self._deadline, archive))
            if not archive.tally[3]:
                return archive, rest
            room *= 4

    def _values(self, archive: Archive, n: int) -> np.ndarray:
        return objective_values(self._objective, archive.energy[:n], archive.cycles[:n])

    def result(self, seconds: float, sizes: tuple[tuple[int, ...], ...]) -> SearchResult:
        """What was found, with the bound of what was not looked at."""
        energy, cycles = self._best.costs()
        values = objective_values(self._objective, energy, cycles)
        bound = min(self._floor, float(values.min(initial=np.inf)))
        cut = bool(np.isfinite(self._floor))
        closed = not cut
        if len(values) and self._mode != PARETO:
            closed = bound >= float(values.min()) * (1.0 - SAME_VALUE)
        reason = "" if len(values) else self._reason
        if cut and not len(values):
            reason = "the time limit came before a valid mapping was found"
        shape = self._terms.may_keep.shape
        return SearchResult(
            mappings=build_mappings(self._best.plans, (shape[0], shape[1])),
            energy_pj=energy,
            latency_cycles=cycles,
            objective=self._objective,
            lower_bound=bound,
            certified=len(values) > 0 and closed,
            reason=reason,
            visited=int(self._tally[1]),
            pruned=int(self._tally[2]),
            seconds=seconds,
            stages=self._stages,
            padding=sizes,
        )


def _check_mapspace(case: Case, mapspace: str) -> None:
    """Refuse what a mapspace does not cover."""
    if mapspace == "uneven_runs" and case.implicit and case.levels == 4:
        raise ValueError("mapspace: uneven_runs covers two and three levels, use uneven for four")
    if mapspace != "even":
        return
    if case.levels != 3 or not has_single_reuse(case.grid):
        raise ValueError("mapspace: the even one covers matrix products on three levels only")
    if not case.machine.masks[1:, -1].all():
        raise ValueError("mapspace: the even one keeps every tensor at every level")


def _split(part: _Part, doubt: Doubt, bound: float) -> list[_Part]:
    """The others of the formats of a copy in doubt, and the one that looks best: searched first."""
    parts = []
    for keep in (False, True):
        rows = [list(row) for row in part.choices]
        for level in doubt.levels:
            offered = rows[doubt.tensor][level]
            rows[doubt.tensor][level] = tuple(
                code for code in offered if (code == doubt.format_id) == keep
            )
        choices = tuple(tuple(row) for row in rows)
        if all(rows[doubt.tensor][level] for level in doubt.levels):
            parts.append(_Part(part.sizes, choices, max(part.bound, bound)))
    return parts
