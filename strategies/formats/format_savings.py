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
from strategies.nested_search import NestedSearch, decision_rows
from strategies.part_search import PartResult
from strategies.separable_model import InnerSearch, SeparableModel

PJ_PER_MJ = 1e9
BITS_PER_GBIT = 1e9
COSTS = ("memory_pj", "off_chip_pj", "stored_bits")
"""Attributes of `Costs`, in the order of `ACCOUNTS`."""

ACCOUNTS = {
    "": "energy of all storage levels",
    "off-chip ": "energy of off-chip accesses",
    "stored ": "bits of whole tensors",
}
"""What is saved, by the prefix of its metrics: tools differ in it."""


class FormatModel(SeparableModel, Protocol):
    """A separable model that knows the decisions worth comparing."""

    def reference_decisions(self, goal: str) -> Mapping[str, Mapping[str, Any]]:
        """Case -> shared decisions; the last case offers every format."""
        ...

    def stored_bits(self, decisions: Mapping[str, Any]) -> float:
        """Bits of the sparse tensors, each encoded as a whole in its best offered format."""
        ...

    def level_energies(self, found: Sequence[Any]) -> Mapping[str, float]:
        """Storage level, outermost first -> energy of its accesses in one run [pJ]."""
        ...


class ModelFactory(Protocol):
    """Puts a workload with its zeros on the accelerator."""

    def __call__(self, *, workload: Workload, sparsity: SparsityProfile) -> FormatModel:
        """The model of one scenario."""
        ...


@dataclass
class FormatSavings:
    """Evaluator of the column `scenario`, "MODEL ZEROS": what formats chosen per tensor save there.

    Metrics: `memory_energy_mj` with every format offered, `saving over CASE` per fixed case, and
    `mean saving` over the stated baselines. With the prefix `off-chip ` the same of off-chip energy
    alone, under the same mappings; with `stored ` of the bits of the sparse tensors, each encoded
    as a whole: there a fixed format gets no shorter coordinates from the tiles that move.

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
    _scenarios: dict[tuple[str, str], dict[str, Costs]] = field(default_factory=dict, init=False)

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Savings of n scenarios; a model without a valid mapping is infeasible."""
        rows = [self._metrics(self._costs_of(row)) for row in scenarios(designs)]
        metrics = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
        invalid = ~np.isfinite(metrics["mean saving"])
        return Evaluation(metrics, {"no_valid_mapping": invalid.astype(float)})

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """Memory energy of every case of one scenario."""
        (row,) = scenarios(design)
        energies = self._costs_of(row)
        *_, ours = energies.values()
        table = [
            {
                "format": case,
                "memory_energy_mj": found.memory_pj / PJ_PER_MJ,
                "saved by choosing": percent(1.0 - ours.memory_pj / found.memory_pj),
                "off_chip_energy_mj": found.off_chip_pj / PJ_PER_MJ,
                "off-chip saved": percent(1.0 - ours.off_chip_pj / found.off_chip_pj),
            }
            for case, found in energies.items()
        ]
        title = f"{row['model']}, {row['zeros']}: formats with their own best mappings"
        return {"metrics": self._metrics(energies), "tables": {title: table}}

    def survey(self, designs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Savings per scenario, means per model, zeros and account, and a heat map."""
        rows: list[dict[str, Any]] = [
            {**label, **self._metrics(self._costs_of(label))} for label in scenarios(designs)
        ]
        models, zeros = list(self.workloads), list(self.profiles)
        rows.sort(key=lambda row: (models.index(row["model"]), zeros.index(row["zeros"])))
        tables = {"Memory energy saved by choosing formats per tensor": self._shown(rows)}
        for prefix, meaning in ACCOUNTS.items():
            tables[f"Mean per model, {meaning}"] = [
                *self._means(rows, "model", prefix),
                self._published(rows[0], prefix),
            ]
        tables["Mean per structure of zeros, energy of all storage levels"] = self._means(
            rows, "zeros", ""
        )
        places = {"x": "zeros", "y": "model", "colour": "mean saving", "number": "mean saving"}
        return {"tables": tables, "heat_maps": {"format_savings": {"rows": rows, **places}}}

    def _shown(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "model": row["model"],
                "zeros": row["zeros"],
                "memory_energy_mj": row["memory_energy_mj"],
                **{key: percent(row[key]) for key in _savings(row, "")},
                "off-chip mean": percent(row["off-chip mean saving"]),
                "stored mean": percent(row["stored mean saving"]),
            }
            for row in rows
        ]

    def _means(
        self, rows: Sequence[Mapping[str, Any]], by: str, prefix: str
    ) -> list[dict[str, str]]:
        groups = {
            name: [row for row in rows if row[by] == name]
            for name in dict.fromkeys(row[by] for row in rows)
        }
        return [
            {
                by: name,
                "scenarios": str(len(some)),
                **{
                    key.removeprefix(prefix): percent(fmean(row[key] for row in some))
                    for key in _savings(rows[0], prefix)
                },
            }
            for name, some in {**groups, "all": list(rows)}.items()
        ]

    def _published(self, row: Mapping[str, Any], prefix: str) -> dict[str, str]:
        names = [key.removeprefix(prefix) for key in _savings(row, prefix)]
        stated = {"mean saving": f"+{self.published_percent:.2f} %"}
        unknown = dict.fromkeys(["scenarios", *names], "not stated")
        return {"model": "published (SnipSnap)", **unknown, **stated}

    def _metrics(self, energies: Mapping[str, Costs]) -> dict[str, float]:
        *fixed, ours = energies
        metrics = {
            "memory_energy_mj": energies[ours].memory_pj / PJ_PER_MJ,
            "off_chip_energy_mj": energies[ours].off_chip_pj / PJ_PER_MJ,
            "stored_gbit": energies[ours].stored_bits / BITS_PER_GBIT,
        }
        for prefix, attribute in zip(ACCOUNTS, COSTS, strict=True):
            spent = {case: getattr(found, attribute) for case, found in energies.items()}
            saved = {case: 1.0 - spent[ours] / spent[case] for case in fixed}
            metrics |= {f"{prefix}saving over {case}": value for case, value in saved.items()}
            metrics[f"{prefix}mean saving"] = fmean(saved[case] for case in self.stated)
        return metrics

    def _costs_of(self, row: Mapping[str, str]) -> dict[str, Costs]:
        """Costs per case, the last with every format offered."""
        key = row["model"], row["zeros"]
        if key not in self._scenarios:
            model = self.model(workload=self.workloads[key[0]], sparsity=self.profiles[key[1]])
            cases = model.reference_decisions(self.goal)
            found = NestedSearch(model, self.search).choices(list(cases.values()))
            self._scenarios[key] = {
                case: _costs(model, decisions, choice.parts)
                for (case, decisions), choice in zip(cases.items(), found, strict=True)
            }
        return self._scenarios[key]


@dataclass(frozen=True)
class Costs:
    """What one run of a model takes.

    Attributes:
        memory_pj: Energy of all storage levels.
        off_chip_pj: Energy of the outermost one.
        stored_bits: Bits of the sparse tensors, each encoded as a whole.
    """

    memory_pj: float
    off_chip_pj: float
    stored_bits: float


def _costs(model: FormatModel, decisions: Mapping[str, Any], found: Sequence[PartResult]) -> Costs:
    stored = model.stored_bits(decisions)
    if any(result.design is None for result in found):
        return Costs(np.inf, np.inf, stored)
    outermost, *inner = model.level_energies([result.design for result in found]).values()
    return Costs(outermost + sum(inner), outermost, stored)


def _savings(row: Mapping[str, Any], prefix: str) -> list[str]:
    """Names of the savings under one account of energy."""
    return [key for key in row if key.startswith((f"{prefix}saving over", f"{prefix}mean saving"))]


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
