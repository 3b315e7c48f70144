"""Progressive co-search as an Optuna sampler.

After SnipSnap's progressive co-search (its equations are not published; our choices are in
docs/exact_search.md). With an evaluator that states its cost terms the stages are those of the
exact search: loop orders by stationarity, tilings under compressed capacity, formats of the tiles
in use, joint pricing with bounds, refinement. The best mapping is proposed first, then the
energy-latency front, then variations of the best trials so far. An evaluator without cost terms
gets a staged search of its own: a broad draw, of which `lower_bound` (if offered) cuts what cannot
win, then variations of the best trials with a shrinking number of changed parameters. It works in
any `study.optimize`; parameters that the space does not know are sampled independently.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from evaluators.evaluation import BoundedEvaluator, Evaluator, StructuredEvaluator
from spaces.space import Columns, Space
from strategies.exact.exact_search import exact_search
from strategies.exact.search_result import SearchResult
from strategies.exact.stages import Stage

LOGGER = logging.getLogger(__name__)

STAGE = "stage"
"""User attribute of a trial that says which stage proposed it."""

STAGES = "progressive_stages"
"""User attribute of the study: what each stage took in, cut (and by which bound) and passed on."""

BROAD_DRAW = 64
"""Points of the first stage without cost terms."""

RANDOM_SHARE = 0.1
"""Share of later proposals that stay random, so that no point is out of reach."""


class ProgressiveSampler(BaseSampler):
    """Proposes the exact optimum and its front first, then refines what the trials show.

    Args:
        space: Decodes the parameters; proposals pass through its `encode`.
        evaluator: May offer `cost_terms()` or `lower_bound()`; neither is needed.
        seed: Of every random choice.
    """

    def __init__(self, space: Space, evaluator: Evaluator, seed: int | None = None) -> None:
        self._space = space
        self._evaluator = evaluator
        self._rng = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)
        self._queue: list[tuple[str, dict[str, Any]]] | None = None
        self._stages: tuple[Stage, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What each stage did; empty before the first proposal."""
        return self._stages

    def reseed_rng(self) -> None:
        """Draw from fresh random numbers (called in every worker process)."""
        self._rng = np.random.default_rng()
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters of the space."""
        return dict(self._space.parameters)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next proposal of the current stage."""
        if self._queue is None:
            self._queue = self._plan()
            study.set_user_attr(STAGES, [asdict(stage) for stage in self._stages])
            for stage in self._stages:
                LOGGER.info("%s: %d in, %d cut (%s)", *asdict(stage).values())
        label, point = self._queue.pop(0) if self._queue else self._variation(study)
        study._storage.set_trial_user_attr(trial._trial_id, STAGE, label)
        return {name: value for name, value in point.items() if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that the space does not know, at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _plan(self) -> list[tuple[str, dict[str, Any]]]:
        if isinstance(self._evaluator, StructuredEvaluator):
            return self._exact_plan(self._evaluator)
        return self._broad_plan()

    def _exact_plan(self, evaluator: StructuredEvaluator) -> list[tuple[str, dict[str, Any]]]:
        """The optimum, then the rest of the front, of the exact search."""
        try:
            found = exact_search(evaluator.cost_terms(), "pareto")
        except ValueError as error:
            LOGGER.info("no exact search: %s", error)
            return self._broad_plan()
        self._stages = found.stages
        if found.mapping is None:
            LOGGER.warning("no valid mapping: %s", found.reason)
            return self._broad_plan()
        return self._encoded(found)

    def _encoded(self, found: SearchResult) -> list[tuple[str, dict[str, Any]]]:
        order = np.argsort(found.values, kind="stable")
        proposals: list[tuple[str, dict[str, Any]]] = []
        for place, index in enumerate(order):
            try:
                columns = self._space.encode(found.mappings.take(np.array([index])))
            except ValueError as error:
                LOGGER.info("front point %d is not in the space: %s", place, error)
                continue
            proposals.append(("joint" if place == 0 else "front", _row(columns, 0)))
        return proposals or self._broad_plan()

    def _broad_plan(self) -> list[tuple[str, dict[str, Any]]]:
        """A broad draw, best lower bounds first where the evaluator offers them."""
        columns = self._space.sample(BROAD_DRAW, self._rng)
        order = np.arange(BROAD_DRAW)
        cut = 0
        if isinstance(self._evaluator, BoundedEvaluator):
            bound = self._evaluator.lower_bound(self._space.decode(columns))
            first = next(iter(bound.metrics.values()))
            order = np.argsort(np.where(bound.feasible, first, np.inf), kind="stable")
            cut = int((~bound.feasible).sum())
            order = order[: BROAD_DRAW - cut]
        self._stages = (*self._stages, Stage("broad draw", BROAD_DRAW, cut, "lower bound"))
        return [("broad draw", _row(columns, int(i))) for i in order]

    def _variation(self, study: Study) -> tuple[str, dict[str, Any]]:
        """A good trial with some parameters drawn again: fewer as the study grows."""
        parents = self._parents(study)
        fresh = _row(self._space.sample(1, self._rng), 0)
        if not parents or self._rng.random() < RANDOM_SHARE:
            return "random", fresh
        parent = parents[int(self._rng.integers(len(parents)))]
        names = [name for name in self._space.parameters if name in parent.params]
        if not names:
            return "random", fresh
        share = max(1, round(len(names) / (2 + np.sqrt(len(study.trials)))))
        changed = set(self._rng.choice(names, size=min(share, len(names)), replace=False))
        point = {name: parent.params[name] for name in names}
        step = 1.0 / (1.0 + len(study.trials) / 20.0)
        for name in changed:
            point[name] = _towards(self._space.parameters[name], point[name], fresh[name], step)
        return "refinement", point

    def _parents(self, study: Study) -> Sequence[FrozenTrial]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        feasible = [t for t in done if all(c <= 0 for c in (t.constraints or {}).values())]
        if len(study.directions) > 1:
            return _pareto(feasible or done, study.directions)
        sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        return sorted(feasible or done, key=lambda t: sign * float(t.values[0]))[:5]


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


def _row(columns: Columns | Mapping[str, Any], index: int) -> dict[str, Any]:
    """One point of columns, as plain Python values."""
    return {
        name: value.item() if isinstance(value := values[index], np.generic) else value
        for name, values in columns.items()
    }
