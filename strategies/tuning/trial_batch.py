"""The unit that the tuner evaluates, tells and writes down: a batch of trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json

from evaluators.evaluation import MODEL_VERSION, Evaluation
from spaces.space import Columns
from strategies.objective import Goal

GIVEN = "given"
"""Value of the tag `origin` on trials that the user gave and no strategy proposed."""


@dataclass(frozen=True)
class TrialBatch:
    """n evaluated trials with consecutive numbers.

    Attributes:
        first: Number of the first trial; the others follow without a gap.
        columns: Parameter name -> values, length n.
        evaluation: Metrics and violations, length n.
        seconds: Wall time of evaluating the whole batch [s].
        elapsed_s: Search time of the study when the batch was done, over all its sessions [s].
        finished_unix_s: When the batch was done [s since 1970].
        tags: One mapping per trial, or none at all.
    """

    first: int
    columns: Columns
    evaluation: Evaluation
    seconds: float
    elapsed_s: float
    finished_unix_s: float
    tags: Sequence[Mapping[str, str]] = ()

    def __len__(self) -> int:
        return len(self.evaluation)

    @property
    def given(self) -> bool:
        """True when the user gave these points and no strategy proposed them."""
        return bool(self.tags) and self.tags[0].get("origin") == GIVEN


@dataclass(frozen=True)
class StudyMeta:
    """What identifies a study, written once at the head of its trial log.

    Attributes:
        name: Name of the study.
        parameters: The space's parameters.
        goal: Objectives and constraints.
        seed: Seed of the strategy.
        config: The resolved configuration, JSON-serialisable and free of passwords.
        study_id: Unique identifier; made when the log is created.
        created_unix_s: When the log was created [s since 1970].
        model_version: Version of the cost models.
    """

    name: str
    parameters: Mapping[str, BaseDistribution]
    goal: Goal
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    study_id: str = ""
    created_unix_s: float = 0.0
    model_version: str = MODEL_VERSION

    @property
    def fingerprint(self) -> str:
        """The space as text: parameters with their types and ranges, in order."""
        return json.dumps({k: distribution_to_json(v) for k, v in self.parameters.items()})
