"""Pareto fronts of chips by the machines that hold their weights, measured by one yardstick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation, FloatArray
from strategies.pareto import hypervolume, non_dominated, worst_reference
from strategies.reporting.figures import PALETTE

MACHINES = ("spatial", "digital", "analog")
MIXED = "mixed"
JOINT = "joint"


@dataclass(frozen=True)
class MachineFronts:
    """Feasible chips, sorted by the machines that hold their weights.

    Attributes:
        evaluation: Metrics of n feasible chips, `<machine>_share` among them.
        objectives: Metrics that fronts are about, all minimised.
    """

    evaluation: Evaluation
    objectives: Sequence[str]

    @cached_property
    def losses(self) -> FloatArray:
        """Shape (n, objectives)."""
        return np.stack([self.evaluation.metrics[name] for name in self.objectives], axis=1)

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        """Of every chip: the machine that holds all weights, or `mixed`; shape (n,)."""
        whole = [self.evaluation.metrics[f"{name}_share"] > 1 - 1e-9 for name in MACHINES]
        return np.select(whole, MACHINES, MIXED)

    @cached_property
    def members(self) -> Mapping[str, NDArray[np.intp]]:
        """Class -> its chips; `joint` has all of them."""
        found = {
            name: np.flatnonzero(self.classes == name)
            for name in (*MACHINES, MIXED)
            if (self.classes == name).any()
        }
        return {**found, JOINT: np.arange(len(self.losses))}

    @cached_property
    def fronts(self) -> Mapping[str, NDArray[np.intp]]:
        """Class -> its non-dominated chips."""
        return {name: rows[non_dominated(self.losses[rows])] for name, rows in self.members.items()}

    @cached_property
    def hypervolumes(self) -> Mapping[str, float]:
        """Class -> hypervolume of its front, the joint front's being 1; one reference point."""
        union = np.concatenate([self.losses[rows] for rows in self.fronts.values()])
        reference = worst_reference(union)
        low = union.min(axis=0)
        scale = reference - low
        volumes = {
            name: hypervolume((self.losses[rows] - low) / scale, np.ones(len(low)))
            for name, rows in self.fronts.items()
        }
        whole = volumes[JOINT] or 1.0
        return {name: volume / whole for name, volume in volumes.items()}

    def rows(self) -> list[dict[str, Any]]:
        """One row per class: chips, front, least of every objective, hypervolume."""
        joint = set(self.fronts[JOINT].tolist())
        return [
            {
                "weights held by": name,
                "chips": len(self.members[name]),
                "front": len(front),
                "of these on the joint front": len(joint.intersection(front.tolist())),
                **{f"least {o}": float(v) for o, v in zip(self.objectives, least, strict=True)},
                "hypervolume / joint": self.hypervolumes[name],
            }
            for name, front in self.fronts.items()
            for least in [self.losses[front].min(axis=0)]
        ]

    def figure(self) -> Figure:
        """Front of every class in the planes of the first objective and each other one."""
        others = list(range(1, len(self.objectives)))
        figure = Figure(figsize=(4.6 * len(others), 4.2), layout="constrained")
        figure.suptitle("Fronts by the machines that hold the weights")
        for position, axes in enumerate(figure.subplots(1, len(others), squeeze=False)[0]):
            for colour, (name, front) in zip(PALETTE, self.fronts.items(), strict=False):
                if name == JOINT:
                    continue
                plane = self.losses[front][:, [0, others[position]]]
                axes.scatter(*plane.T, s=9, color=colour, alpha=0.6, label=name)
            axes.set_xlabel(self.objectives[0])
            axes.set_ylabel(self.objectives[others[position]])
            axes.set_xscale("log")
            axes.set_yscale("symlog" if self.losses[:, others[position]].min() <= 0 else "log")
            axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
        return figure
