"""Progressive choice of the formats an accelerator supports, as an Optuna sampler.

Stages, noted in the user attribute `stage` of every trial:

1. `bound`: every offered format at once. Its cost is a lower bound for any choice of a few, and the
   formats its best mappings use are the shortlist, the most important first.
2. `sets`: the sets of shortlisted formats, those of the most important ones first, for each goal.
3. `neighbours`: one slot of the best set so far replaced by another offered format, for each goal.
4. `tpe`: Optuna's multivariate TPE, which has learnt from all of the above.

After SnipSnap's adaptive engine (importance-based scoring, progressive search; its formulas are not
public): docs/choices.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import Any, Protocol, runtime_checkable

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from spaces.formats.shared_formats import SharedFormatSpace
from strategies.optuna_strategy import STAGE

MAX_SETS = 120
"""Trials of the stage `sets` at most; later sets hold less important formats."""

MAX_NEIGHBOURS = 120
"""Trials of the stage `neighbours` at most."""

Point = dict[str, Any]


@runtime_checkable
class Shortlists(Protocol):
    """Optional capability of an evaluator: the formats that matter."""

    def shortlist(self, goals: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Tensor class -> formats in order of importance; empty when nothing is known."""
        ...


class ShortlistSampler(BaseSampler):
    """Proposes sets of formats, from the shortlist outwards; single- and multi-objective.

    With an evaluator that cannot shortlist it is Optuna's TPE.

    Args:
        space: Shared decisions of a model.
        evaluator: Prices them; asked for its shortlist once, at the first proposal.
        seed: Of the TPE stage; the stages before it are deterministic.
    """

    def __init__(self, space: SharedFormatSpace, evaluator: object, seed: int | None = None):
        self.space = space
        self.evaluator = evaluator
        self._tpe = TPESampler(seed=seed, multivariate=True, n_startup_trials=10)
        self._plan: Iterator[tuple[str, Point]] | None = None
        self._seen: set[tuple[str, ...]] = set()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: every proposal is a complete point."""
        return dict(self.space.parameters)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point of the plan, or what TPE proposes after it."""
        if self._plan is None:
            self._plan = self._stages(study)
        stage, point = next(self._plan, ("tpe", {}))
        if not point:
            stage, point = "tpe", self._tpe.sample_relative(study, trial, search_space)
        study._storage.set_trial_user_attr(trial._trial_id, STAGE, stage)
        return point

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What TPE draws for a parameter that the space does not have, or in its first trials."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass the outcome on."""
        self._tpe.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed the TPE stage."""
        self._tpe.reseed_rng()

    def _stages(self, study: Study) -> Iterator[tuple[str, Point]]:
        if not isinstance(self.evaluator, Shortlists):
            return
        known = self.evaluator.shortlist(self.space.goals)
        shortlist = {
            tensor_class: [n for n in known.get(tensor_class, ()) if n in names] or names[:1]
            for tensor_class, names in self.space.offered.items()
        }
        for point in self._fresh(self._sets(shortlist), MAX_SETS):
            yield "sets", point
        for point in self._fresh(self._neighbours(study), MAX_NEIGHBOURS):
            yield "neighbours", point

    def _sets(self, shortlist: Mapping[str, Sequence[str]]) -> Iterator[Point]:
        """Sets by the summed rank of their formats: the most important ones first."""
        ranked = {
            tensor_class: sorted(
                combinations_with_replacement(range(len(names)), self.space.slots), key=sum
            )
            for tensor_class, names in shortlist.items()
        }
        for picks in sorted(product(*ranked.values()), key=lambda p: sum(map(sum, p))):
            for goal in self.space.goals:
                point: Point = {"mapping_goal": goal}
                for (tensor_class, names), pick in zip(shortlist.items(), picks, strict=True):
                    slots = self.space.slot_names(tensor_class)
                    point |= {s: names[i] for s, i in zip(slots, pick, strict=True)}
                yield point

    def _neighbours(self, study: Study) -> Iterator[Point]:
        """The best trial with one slot changed, over all slots and offered formats in turn."""
        for tensor_class, names in self.space.offered.items():
            for name in names:
                for slot, goal in product(self.space.slot_names(tensor_class), self.space.goals):
                    best = study.best_trials
                    if best:
                        yield {**best[0].params, slot: name, "mapping_goal": goal}

    def _fresh(self, points: Iterator[Point], most: int) -> Iterator[Point]:
        """At most `most` of the points, designs seen before left out."""
        count = 0
        for point in points:
            design = self.space.from_json([point])
            key = tuple(str(design[name][0]) for name in self.space.parameters)
            if key in self._seen:
                continue
            self._seen.add(key)
            count += 1
            yield point
            if count == most:
                return
