"""Progressive co-search as an Optuna sampler.

After SnipSnap's progressive co-search (its equations are not published; our choices are in
docs/co_search.md). With an evaluator that states its cost terms the stages are

0. bounds: what every mapping in every format costs at least;
1. loop orders, by which tensors stay: most orders are equal;
2. tilings and placements that fit with the formats' bits;
3. formats of the tiles in use;
4. joint: pairs of inner and outer placements, dropped when their bound is beaten;
5. refinement: what a format saves is room, so the outer tiles grow again.

The best mapping is proposed first, then the energy-latency front, then variations of the best
trials so far. An evaluator without cost terms gets a staged search of its own: a broad draw, of
which `lower_bound` (if offered) cuts what cannot be feasible, the least bounds first, then
variations of the best trials with a shrinking number of changed parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from evaluators.evaluation import BoundedEvaluator, Evaluator, StructuredEvaluator
from spaces.space import Columns, Space
from strategies.compulsory import compulsory_costs
from strategies.exact.exact_search import exact_search
from strategies.exact.space_points import space_points
from strategies.exact.stages import Stage
from strategies.staged_sampler import LOGGER, Point, Proposal, StagedSampler

BROAD_DRAW = 64
"""Points of the first stage without cost terms."""

RANDOM_SHARE = 0.1
"""Share of later proposals that stay random, so that no point is out of reach."""

PARENTS = 5
"""Trials that variations of a single-objective study start from."""


class ProgressiveSampler(StagedSampler):
    """Proposes the exact optimum and its front first, then refines what the trials show.

    Works in any `study.optimize`, with one objective or several; the stages are in `stages`.

    Args:
        space: Decodes the parameters; proposals pass through its `encode`.
        evaluator: May offer `cost_terms()` or `lower_bound()`; neither is needed.
        seed: Of every random choice.
    """

    def __init__(self, space: Space, evaluator: Evaluator, seed: int | None = None) -> None:
        super().__init__(space, RandomSampler(seed=seed))
        self._evaluator = evaluator
        self._rng = np.random.default_rng(seed)

    def reseed_rng(self) -> None:
        """Draw from fresh random numbers (called in every worker process)."""
        super().reseed_rng()
        self._rng = np.random.default_rng()

    def plan(self, study: Study) -> Iterator[Proposal]:
        """The optimum and the front of the exact search; a broad draw where there is none."""
        found: list[Proposal] = []
        if isinstance(self._evaluator, StructuredEvaluator):
            found = self._exact_proposals(study, self._evaluator)
        yield from found or self._broad_draw(study)

    def beyond(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """A variation of one of the best trials so far."""
        return self._variation(study)

    def _exact_proposals(self, study: Study, evaluator: StructuredEvaluator) -> list[Proposal]:
        """The optimum, then the rest of the front, of the exact search."""
        terms = evaluator.cost_terms()
        energy, cycles = compulsory_costs(terms)
        self.note(study, Stage("bounds", 1, 0, f"at least {energy:.4g} pJ, {cycles:.4g} cycles"))
        try:
            found = exact_search(terms, "pareto")
        except ValueError as error:
            LOGGER.info("no exact search: %s", error)
            return []
        self.note(study, *found.stages)
        if found.mapping is None:
            LOGGER.warning("no valid mapping: %s", found.reason)
        points = space_points(found, self.space, evaluator)
        LOGGER.info("%d of %d mappings found are in the space", len(points), len(found.mappings))
        return [
            ("front" if place else "joint", _row(point.columns, 0))
            for place, point in enumerate(points)
        ]

    def _broad_draw(self, study: Study) -> list[Proposal]:
        """Random points, least lower bounds first where the evaluator offers them."""
        columns = self.space.sample(BROAD_DRAW, self._rng)
        order, cut, bound = np.arange(BROAD_DRAW), 0, "nothing: no bound is offered"
        if isinstance(self._evaluator, BoundedEvaluator):
            least = self._evaluator.lower_bound(self.space.decode(columns))
            first = next(iter(least.metrics.values()))
            order = np.argsort(np.where(least.feasible, first, np.inf), kind="stable")
            cut, bound = int((~least.feasible).sum()), "lower bound"
            order = order[: BROAD_DRAW - cut]
        self.note(study, Stage("broad draw", BROAD_DRAW, cut, bound))
        return [("broad draw", _row(columns, int(i))) for i in order]

    def _variation(self, study: Study) -> Proposal:
        """A good trial with some parameters drawn again: fewer as the study grows."""
        parents = self._parents(study)
        fresh = _row(self.space.sample(1, self._rng), 0)
        if not parents or self._rng.random() < RANDOM_SHARE:
            return "random", fresh
        parent = parents[int(self._rng.integers(len(parents)))]
        names = [name for name in self.space.parameters if name in parent.params]
        if not names:
            return "random", fresh
        share = max(1, round(len(names) / (2 + np.sqrt(len(study.trials)))))
        changed = set(self._rng.choice(names, size=min(share, len(names)), replace=False))
        point = {name: parent.params[name] for name in names}
        step = 1.0 / (1.0 + len(study.trials) / 20.0)
        for name in changed:
            point[name] = _towards(self.space.parameters[name], point[name], fresh[name], step)
        return "refinement", point

    def _parents(self, study: Study) -> Sequence[FrozenTrial]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        feasible = [t for t in done if all(c <= 0 for c in (t.constraints or {}).values())]
        if len(study.directions) > 1:
            return _pareto(feasible or done, study.directions)
        sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        return sorted(feasible or done, key=lambda t: sign * float(t.values[0]))[:PARENTS]


def _towards(distribution: BaseDistribution, start: Any, end: Any, step: float) -> Any:
    """A float on the way from one to the other; choices and integers are drawn afresh."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return end
    if distribution.log:
        return float(np.clip(start * (end / start) ** step, distribution.low, distribution.high))
    return float(start + step * (end - start))


def _pareto(
    trials: Sequence[FrozenTrial], directions: Sequence[optuna.study.StudyDirection]
) -> list[FrozenTrial]:
    sign = np.array([1 if d == optuna.study.StudyDirection.MINIMIZE else -1 for d in directions])
    if not trials:
        return []
    values = np.array([t.values for t in trials]) * sign
    no_worse = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    return [
        t for t, beaten in zip(trials, (no_worse & better).any(axis=1), strict=True) if not beaten
    ]


def _row(columns: Columns | Mapping[str, Any], index: int) -> Point:
    """One point of columns, as plain Python values."""
    return {
        name: value.item() if isinstance(value := values[index], np.generic) else value
        for name, values in columns.items()
    }
