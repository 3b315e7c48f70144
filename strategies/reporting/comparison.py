"""Several subjects of a comparison and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import FloatArray
from strategies.objective import Objective
from strategies.tasks.recorded_study import Subject


@dataclass(frozen=True)
class Comparison:
    """Subjects and what they have in common.

    Attributes:
        subjects: At least two, labelled differently.
        objectives: Those that every study has.
        losses: Per subject the shared objectives of every trial, (trials, m), smaller is better.
        fronts: Per subject the numbers of its non-dominated trials in them.
        reference: A point just beyond the worst of all fronts, as losses, shape (m,).
        energy_pj: Per subject `group/part` -> energy of its chosen design; empty where unknown.
    """

    subjects: Sequence[Subject]
    objectives: Sequence[Objective]
    losses: Sequence[FloatArray]
    fronts: Sequence[NDArray[np.intp]]
    reference: FloatArray
    energy_pj: Sequence[Mapping[str, float]]

    @property
    def labels(self) -> list[str]:
        """Names of the subjects, in order."""
        return [subject.label for subject in self.subjects]

    def front_values(self, index: int) -> FloatArray:
        """The front of one subject in the objectives' own values, (k, m)."""
        losses = self.losses[index][self.fronts[index]]
        return np.stack(
            [o.loss(column) for o, column in zip(self.objectives, losses.T, strict=True)], axis=1
        )
