"""Progressive choice of the formats an accelerator supports, as an Optuna sampler.

Stages, noted in the user attribute `stage` of every trial:

1. `bound`: every offered format at once. Its cost is a lower bound for any choice of a few, and the
   formats its best mappings use are the shortlist, the most important first.
2. `sets`: the sets of shortlisted formats, those of the most important ones first, for each goal.
3. `neighbours`: one slot of the best set so far replaced by another offered format, for each goal.
4. `tpe`: Optuna's multivariate TPE, which has learnt from all of the above; `unseen` where it
   repeats itself: a random set that no trial has had.

After SnipSnap's adaptive engine (importance-based scoring, progressive search; its formulas are not
public): docs/choices.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import Protocol, runtime_checkable

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from spaces.formats.shared_formats import SharedFormatSpace
from strategies.exact.stages import Stage
from strategies.staged_sampler import Point, Proposal, StagedSampler

MAX_SETS = 120
"""Trials of the stage `sets` at most; later sets hold less important formats."""

MAX_NEIGHBOURS = 120
"""Trials of the stage `neighbours` at most."""

MAX_DRAWS = 64
"""Random sets tried in search of one that no trial has had."""


@runtime_checkable
class Shortlists(Protocol):
    """Optional capability of an evaluator: the formats that matter."""

    def shortlist(self, goals: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Tensor class -> formats in order of importance; empty when nothing is known."""
        ...


class ShortlistSampler(StagedSampler):
    """Proposes sets of formats, from the shortlist outwards; single- and multi-objective.

    With an evaluator that cannot shortlist it is Optuna's TPE.

    Args:
        space: Shared decisions of a model.
        evaluator: Prices them; asked for its shortlist once, at the first proposal.
        seed: Of the TPE stage; the stages before it are deterministic.
    """

    def __init__(
        self, space: SharedFormatSpace, evaluator: object, seed: int | None = None
    ) -> None:
        self._tpe = TPESampler(seed=seed, multivariate=True, n_startup_trials=10)
        super().__init__(space, self._tpe)
        self.formats = space
        self.evaluator = evaluator
        self._rng = np.random.default_rng(seed)
        self._seen: set[tuple[str, ...]] = set()

    def plan(self, study: Study) -> Iterator[Proposal]:
        """Sets of the shortlist, then their neighbours."""
        if not isinstance(self.evaluator, Shortlists):
            return
        known = self.evaluator.shortlist(self.formats.goals)
        offered = self.formats.offered
        shortlist = {
            tensor_class: [n for n in known.get(tensor_class, ()) if n in names] or names[:1]
            for tensor_class, names in offered.items()
        }
        total, kept = (sum(map(len, lists.values())) for lists in (offered, shortlist))
        self.note(study, Stage("bound", total, total - kept, "every format offered at once"))
        sets = list(self._fresh(self._sets(shortlist), MAX_SETS))
        cut = self.formats.size - len(sets)
        self.note(study, Stage("sets", self.formats.size, cut, "shortlist"))
        yield from (("sets", point) for point in sets)
        while not study.best_trials and (unseen := self._unseen()):
            yield "unseen", unseen  # asked for before any set is priced
        near = 0
        for point in self._fresh(self._neighbours(study), MAX_NEIGHBOURS):
            near += 1
            yield "neighbours", point
        self.note(study, Stage("neighbours", cut, cut - near, "distance from the best set"))

    def beyond(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """What TPE proposes; a random point that no trial has had where it repeats itself.

        TPE proposes nothing in its first trials: its parameters are then sampled independently.
        """
        point = self._tpe.sample_relative(study, trial, search_space)
        if not point or next(self._fresh(iter([point]), 1), None):
            return "tpe", point
        unseen = self._unseen()
        return ("unseen", unseen) if unseen else ("tpe", point)

    def _unseen(self) -> Point | None:
        """A random point that no trial has had; None when several draws found none."""
        drawn = self.space.sample(MAX_DRAWS, self._rng)
        points = ({name: str(drawn[name][i]) for name in drawn} for i in range(MAX_DRAWS))
        return next(self._fresh(points, 1), None)

    def _sets(self, shortlist: Mapping[str, Sequence[str]]) -> Iterator[Point]:
        """Sets by the summed rank of their formats: the most important ones first."""
        ranked = {
            tensor_class: sorted(
                combinations_with_replacement(range(len(names)), self.formats.slots), key=sum
            )
            for tensor_class, names in shortlist.items()
        }
        for picks in sorted(product(*ranked.values()), key=lambda p: sum(map(sum, p))):
            for goal in self.formats.goals:
                point: Point = {"mapping_goal": goal}
                for (tensor_class, names), pick in zip(shortlist.items(), picks, strict=True):
                    slots = self.formats.slot_names(tensor_class)
                    point |= {s: names[i] for s, i in zip(slots, pick, strict=True)}
                yield point

    def _neighbours(self, study: Study) -> Iterator[Point]:
        """The best trial with one slot changed, over all slots and offered formats in turn."""
        for tensor_class, names in self.formats.offered.items():
            for name in names:
                for slot, goal in product(
                    self.formats.slot_names(tensor_class), self.formats.goals
                ):
                    best = study.best_trials
                    if best:
                        yield {**best[0].params, slot: name, "mapping_goal": goal}

    def _fresh(self, points: Iterator[Point], most: int) -> Iterator[Point]:
        """At most `most` of the points, designs seen before left out."""
        count = 0
        for point in points:
            design = self.formats.from_json([point])
            key = tuple(str(design[name][0]) for name in self.formats.parameters)
            if key in self._seen:
                continue
            self._seen.add(key)
            count += 1
            yield point
            if count == most:
                return
