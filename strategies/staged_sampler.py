"""What samplers share that propose a plan first, stage by stage, and learn afterwards.

A stage says what came into it, what was cut and by which bound, and what went on. The stages are
logged, written to the study (user attribute `progressive_stages`) and, in a tuned study, tracked
and drawn as a funnel; every trial carries the name of the stage that proposed it (`stage`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from spaces.space import Space
from strategies.exact.stages import Stage
from strategies.optuna_strategy import STAGE

LOGGER = logging.getLogger(__name__)

STAGES = "progressive_stages"
"""User attribute of the study: what each stage took in, cut (and by which bound) and passed on."""

Point = dict[str, Any]
"""Parameter name -> value; a full point of the space."""

Proposal = tuple[str, Point]
"""Name of the stage, and what it proposes."""


class StagedSampler(BaseSampler):
    """Base: implement `plan`, and `beyond` for what comes after it.

    Works in any `study.optimize`. Parameters that the space does not know are left to the learner.

    Args:
        space: Decodes the parameters.
        learner: Samples independently, and sees every finished trial.
    """

    def __init__(self, space: Space, learner: BaseSampler) -> None:
        self.space = space
        self.learner = learner
        self._proposals: Iterator[Proposal] | None = None
        self._stages: list[Stage] = []

    def plan(self, study: Study) -> Iterator[Proposal]:
        """The planned proposals, in order; asked for one at a time, as the study goes on."""
        raise NotImplementedError

    def beyond(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """What to propose once the plan is exhausted."""
        raise NotImplementedError

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What each stage did so far; empty before the first proposal."""
        return tuple(self._stages)

    def note(self, study: Study, *stages: Stage) -> None:
        """Put stages on record."""
        for stage in stages:
            LOGGER.info(
                "stage %d, %s: %d in, %d cut by %s, %d on",
                len(self._stages), stage.name, stage.entered, stage.cut, stage.bound,
                stage.entered - stage.cut,
            )  # fmt: skip
            self._stages.append(stage)
        study.set_user_attr(STAGES, [asdict(stage) for stage in self._stages])

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: every proposal is a complete point."""
        return dict(self.space.parameters)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Point:
        """The next proposal of the plan, or what comes after it."""
        if self._proposals is None:
            self._proposals = self.plan(study)
        proposal = next(self._proposals, None) or self.beyond(study, trial, search_space)
        stage, point = proposal
        study._storage.set_trial_user_attr(trial._trial_id, STAGE, stage)
        return {name: value for name, value in point.items() if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that the space does not know, or that a proposal left out."""
        return self.learner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass the outcome on."""
        self.learner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Draw from fresh random numbers (called in every worker process)."""
        self.learner.reseed_rng()
