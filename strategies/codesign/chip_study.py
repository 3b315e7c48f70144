"""Evaluator of a study over chips: prices them, and says what all of them together show.

The survey of a finished study sorts its chips by the machines that hold their weights: a front
each and a joint one, where the projections of the joint front went, and whether the winner among
the machines changes under another constant or convention.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation, Evaluator
from strategies.codesign.machine_fronts import JOINT, MIXED, MachineFronts

SCORE = "edp_mj_ms"
"""What a winner has least of."""

LOSS = "fidelity_proxy_loss"
"""What a winner must keep within the accepted limit."""


class ChipVariant(Protocol):
    """The comparison under one change."""

    @property
    def what(self) -> str:
        """Constant or convention."""
        ...

    @property
    def value(self) -> str:
        """What it is set to."""
        ...

    @property
    def evaluator(self) -> Evaluator:
        """Prices chips under it."""
        ...


class ChipModel(Evaluator, Protocol):
    """What the study needs of the evaluator of chips."""

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """Chips to start from."""
        ...

    def constant_variants(self) -> Sequence[ChipVariant]:
        """Changed constants."""
        ...

    def convention_variants(self) -> Sequence[ChipVariant]:
        """Changed conventions."""
        ...

    def placed(self, designs: Any) -> Mapping[str, NDArray[np.str_]]:
        """Projection -> machine that holds it, shape (n,)."""
        ...


@dataclass
class ChipStudy:
    """Prices chips, starts from uniform ones, and surveys a finished study.

    Attributes:
        evaluator: Of chips.
        objectives: Metrics of the fronts, all minimised.
        accepted_loss: Chips that lose more do not compete for the winner.
    """

    evaluator: ChipModel
    objectives: Sequence[str]
    accepted_loss: float

    def evaluate(self, designs: Any) -> Evaluation:
        """As the evaluator inside."""
        return self.evaluator.evaluate(designs)

    def explain(self, design: Any) -> Mapping[str, Any]:
        """As the evaluator inside."""
        return self.evaluator.explain(design)

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """As the evaluator inside."""
        return self.evaluator.baselines(parameters)

    def survey(self, designs: Any) -> Mapping[str, Any]:
        """Tables, a figure and a heat map of all feasible chips of a study."""
        fronts = MachineFronts(self.evaluator.evaluate(designs), self.objectives)
        every = np.unique(np.concatenate(list(fronts.fronts.values())))
        candidates = designs.take(every)
        shares = self.placement_rows(fronts, designs)
        return {
            "tables": {
                "Fronts by machine": fronts.rows(),
                "Does another constant change the winner?": self.winner_rows(
                    candidates, self.evaluator.constant_variants()
                ),
                "Does another convention change the winner?": self.winner_rows(
                    candidates, self.evaluator.convention_variants()
                ),
            },
            "texts": {"How to read the tables of winners": self._reading(fronts)},
            "heat_maps": {
                "placements": {
                    "rows": shares,
                    "x": "machine",
                    "y": "projection",
                    "colour": "share of the joint front",
                    "number": "share of the joint front",
                }
            },
            "figures": {"fronts_by_machine": fronts.figure()},
        }

    def _reading(self, fronts: MachineFronts) -> str:
        single = [v for name, v in fronts.hypervolumes.items() if name not in (JOINT, MIXED)]
        verdict = "no smaller than" if max(single, default=0.0) <= 1.0 else "SMALLER than"
        return (
            f"The hypervolume of the joint front is {verdict} that of every single machine.\n"
            f"A winner has the least {SCORE} among the chips of all fronts above whose {LOSS} is\n"
            f"at most {self.accepted_loss:g}; these chips are priced again under each change, not "
            "searched again."
        )

    def placement_rows(self, fronts: MachineFronts, designs: Any) -> list[dict[str, Any]]:
        """Share of the joint front that holds each projection on each machine."""
        placed = self.evaluator.placed(designs.take(fronts.fronts[JOINT]))
        machines = sorted({str(name) for held in placed.values() for name in held})
        return [
            {
                "projection": projection,
                "machine": machine,
                "share of the joint front": float((held == machine).mean()),
            }
            for projection, held in placed.items()
            for machine in machines
        ]

    def winner_rows(self, candidates: Any, variants: Sequence[ChipVariant]) -> list[dict[str, Any]]:
        """Winner as recorded and under every change, with the best of each class."""
        recorded = self._best(self.evaluator.evaluate(candidates))
        rows = [self._winner_row("as recorded", "", recorded, recorded)]
        for variant in variants:
            best = self._best(variant.evaluator.evaluate(candidates))
            rows.append(self._winner_row(variant.what, variant.value, best, recorded))
        return rows

    def _best(self, evaluation: Evaluation) -> dict[str, dict[str, float]]:
        """Class -> metrics of its best chip within the limits; absent when it has none."""
        fronts = MachineFronts(evaluation, self.objectives)
        within = evaluation.feasible & (evaluation.metrics[LOSS] <= self.accepted_loss)
        score = np.where(within, evaluation.metrics[SCORE], np.inf)
        found = {}
        for name, rows in fronts.members.items():
            if name != JOINT and np.isfinite(score[rows]).any():
                chip = rows[int(np.argmin(score[rows]))]
                found[name] = {k: float(v[chip]) for k, v in evaluation.metrics.items()}
        return found

    def _winner_row(
        self,
        what: str,
        value: str,
        best: Mapping[str, Mapping[str, float]],
        recorded: Mapping[str, Mapping[str, float]],
    ) -> dict[str, Any]:
        winner, before = _winner(best), _winner(recorded)
        metrics = best.get(winner, {})
        return {
            "changed": what,
            "to": value,
            "winner": winner,
            "another winner": winner != before,
            "energy_mj_per_token": metrics.get("energy_mj_per_token", np.inf),
            "latency_ms": metrics.get("latency_ms", np.inf),
            **{
                f"{SCORE}, {name}": best[name][SCORE] if name in best else None
                for name in ("spatial", "digital", "analog", MIXED)
            },
        }


def _winner(best: Mapping[str, Mapping[str, float]]) -> str:
    return min(best, key=lambda name: best[name][SCORE]) if best else "none"
