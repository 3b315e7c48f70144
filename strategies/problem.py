"""What a study searches: a space, its evaluator and a goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.evaluation import Evaluator
from spaces.space import Space
from strategies.objective import Goal
from strategies.tuning.trial_batch import StudyMeta


@dataclass(frozen=True)
class Problem:
    """What a study searches.

    Attributes:
        space: Parameters and their decode.
        evaluator: Prices what the space decodes.
        goal: Objectives and constraints on the evaluator's metrics.
        workers: Processes that evaluate a batch; the result does not depend on it.
        engine: What runs several workers: `processes` of this machine, or `ray`.
    """

    space: Space
    evaluator: Evaluator
    goal: Goal
    workers: int = 1
    engine: str = "processes"

    def meta(
        self, name: str, seed: int | None = None, config: Mapping[str, object] | None = None
    ) -> StudyMeta:
        """The head of a trial log for this problem."""
        return StudyMeta(name, self.space.parameters, self.goal, seed, config or {})
