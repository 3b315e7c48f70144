"""Memory energy saved by choosing formats per tensor, over formats that are fixed for all tensors.

Every case has its own best mapping of every operator, found by an inner search: a fixed format is
not judged on a mapping that was made for another. `saving over X` is 1 - energy(every format
offered) / energy(X), of the storage levels of one run of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.sparsity.sparsity import SparsityProfile
from spaces.workloads.workload import Workload
from strategies.nested_search import InnerSearch, NestedSearch, SeparableModel, decision_rows

METRIC = "memory_energy_pj"
PJ_PER_MJ = 1e9


class FormatModel(SeparableModel, Protocol):
    """A separable model that knows the decisions worth comparing."""

    def reference_decisions(self, goal: str) -> Mapping[str, Mapping[str, Any]]:
        """Case -> shared decisions; the last case offers every format."""
        ...


class ModelFactory(Protocol):
    """Puts a workload with its zeros on the accelerator."""

    def __call__(self, *, workload: Workload, sparsity: SparsityProfile) -> FormatModel:
        """The model of one scenario."""
        ...


@dataclass
class FormatSavings:
    """Evaluator of the column `scenario`, "MODEL ZEROS": what hierarchical formats save there.

    Metrics: `memory_energy_mj` with every format offered, `saving over CASE` per fixed case,
    and `mean saving` over the stated baselines.

    Attributes:
        workloads: Name -> workload.
        profiles: Name -> zeros.
        model: Puts both on the accelerator.
        search: Best mapping of one operator.
        stated: Fixed formats that the mean is over.
        published_percent: The mean saving that a paper reports, shown beside ours.
        goal: What mappings minimise.
    """

    workloads: Mapping[str, Workload]
    profiles: Mapping[str, SparsityProfile]
    model: ModelFactory
    search: InnerSearch
    stated: Sequence[str]
    published_percent: float
    goal: str = "energy"
    _scenarios: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict, init=False)

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Savings of n scenarios; a model without a valid mapping is infeasible."""
        rows = [self._metrics(row) for row in scenarios(designs)]
        return Evaluation(
            {name: np.array([row[name] for row in rows], float) for name in rows[0]},
            {
                "no_valid_mapping": np.array(
                    [not np.isfinite(r["mean saving"]) for r in rows], float
                )
            },
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """Memory energy of every case of one scenario."""
        (row,) = scenarios(design)
        energies = self._energies(row)
        *_, ours = energies
        table = [
            {
                "format": case,
                "memory_energy_mj": energy / PJ_PER_MJ,
                "saved by choosing": percent(1.0 - energies[ours] / energy),
            }
            for case, energy in energies.items()
        ]
        title = f"{row['model']}, {row['zeros']}: formats with their own best mappings"
        return {"metrics": self._metrics(row), "tables": {title: table}}

    def survey(self, designs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Savings per scenario, their means per model and baseline, and a heat map."""
        rows: list[dict[str, Any]] = [{**row, **self._metrics(row)} for row in scenarios(designs)]
        shown = [key for key in rows[0] if key.startswith(("saving", "mean"))]
        shown_rows = [
            {
                "model": row["model"],
                "zeros": row["zeros"],
                "memory_energy_mj": row["memory_energy_mj"],
                **{key: percent(float(row[key])) for key in shown},
            }
            for row in rows
        ]
        stated = ", ".join(self.stated)
        return {
            "tables": {
                "Memory energy saved by hierarchical formats, per scenario": shown_rows,
                f"Mean per model (mean saving: over {stated})": self._means(rows, shown),
            },
            "heat_maps": {
                "format_savings": {
                    "rows": rows,
                    "x": "zeros",
                    "y": "model",
                    "colour": "mean saving",
                    "number": "mean saving",
                }
            },
        }

    def _means(
        self, rows: Sequence[Mapping[str, Any]], shown: Sequence[str]
    ) -> list[dict[str, str]]:
        groups = {
            name: [row for row in rows if row["model"] == name]
            for name in dict.fromkeys(row["model"] for row in rows)
        }
        table = [
            {"model": name, **{key: percent(fmean(row[key] for row in some)) for key in shown}}
            for name, some in {**groups, "all models": rows}.items()
        ]
        published = dict.fromkeys(shown, "not stated")
        published["mean saving"] = f"+{self.published_percent:.2f} %"
        return [*table, {"model": "published (SnipSnap)", **published}]

    def _metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        energies = self._energies(row)
        *fixed, ours = energies
        saved = {case: 1.0 - energies[ours] / energies[case] for case in fixed}
        return {
            "memory_energy_mj": energies[ours] / PJ_PER_MJ,
            **{f"saving over {case}": value for case, value in saved.items()},
            "mean saving": fmean(saved[case] for case in self.stated),
        }

    def _energies(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Memory energy per case, the last with every format offered."""
        key = str(row["model"]), str(row["zeros"])
        if key not in self._scenarios:
            model = self.model(workload=self.workloads[key[0]], sparsity=self.profiles[key[1]])
            nested = NestedSearch(model, self.search)
            self._scenarios[key] = {
                case: float(model.total([r.metrics for r in nested.parts_of(decisions)])[METRIC])
                for case, decisions in model.reference_decisions(self.goal).items()
            }
        return self._scenarios[key]


def scenarios(designs: Mapping[str, Any]) -> list[dict[str, str]]:
    """`model` and `zeros` of every design.

    >>> scenarios({"scenario": np.array(["vgg16 random_70"])})
    [{'model': 'vgg16', 'zeros': 'random_70'}]
    """
    return [
        dict(zip(("model", "zeros"), str(row["scenario"]).split(maxsplit=1), strict=True))
        for row in decision_rows(designs)
    ]


def percent(share: float) -> str:
    """A share in percent, signed.

    >>> percent(0.1824)
    '+18.24 %'
    """
    return f"{100 * share:+.2f} %"
