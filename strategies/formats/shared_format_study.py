"""Formats shared by several models as a study: how many, how members are weighed, which compete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation
from spaces.formats.offered_formats import FormatOffer
from spaces.validation import check_key
from strategies.formats.format_savings import percent
from strategies.formats.format_sharing import SharedFormats, share_formats
from strategies.nested_search import decision_rows

FloatArray = NDArray[np.float64]

IMPORTANCES = ("traffic", "energy", "given")
"""Weights of members: dense bits they move, energy of their best format, or a priority per model
that its members share by energy."""


class SharingMember(Protocol):
    """A tensor that will use one of the shared formats."""

    @property
    def model(self) -> str:
        """Whose tensor it is."""
        ...

    @property
    def name(self) -> str:
        """Its own name."""
        ...

    @property
    def density(self) -> float:
        """Fraction of non-zeros."""
        ...

    @property
    def traffic_bits(self) -> float:
        """Dense bits moved in one run of the model."""
        ...


class MemberSource(Protocol):
    """Members and what formats cost them."""

    @property
    def members(self) -> Sequence[SharingMember]:
        """In a fixed order."""
        ...

    def costs(self, texts: Sequence[str]) -> FloatArray:
        """Energies [pJ], shape (members, candidates)."""
        ...


@dataclass
class SharedFormatStudy:
    """Evaluator of columns `formats` (how many), `importance` and `offer`.

    Every choice is a proven optimum of its k-median problem. Metrics: `score` (weighted mean of
    1 + regret), `regret MODEL` (energy of a model's members over that with the best candidate of
    the offer for each), `worst_regret` over models, `energy over own best` (over the best
    candidate of any offer, all models equally weighted) and `formats_used`.

    Attributes:
        source: The members.
        offers: Name -> candidates.
        priorities: Model -> importance, for importance=given.
    """

    source: MemberSource
    offers: Mapping[str, FormatOffer]
    priorities: Mapping[str, float]
    _costs: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Choose and price n sets of shared formats."""
        rows = [self._metrics(row) for row in decision_rows(designs)]
        return Evaluation({name: np.array([row[name] for row in rows]) for name in rows[0]})

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """The chosen formats of one design, and every member's format and regret."""
        (row,) = decision_rows(design)
        shared, offer = self._shared(row), self.offers[str(row["offer"])]
        weights = self._importance(row)
        table = [
            {
                "model": member.model,
                "tensor": member.name,
                "density": member.density,
                "weight": f"{weight / weights.sum():.2%}",
                "format": str(entry["format"]),
                "regret": percent(float(entry["regret"])),
            }
            for member, weight, entry in zip(
                self.source.members,
                weights,
                shared.rows([m.name for m in self.source.members], offer.texts),
                strict=True,
            )
        ]
        return {"metrics": self._metrics(row), "tables": {"Members of the best design": table}}

    def survey(self, designs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Regret per model of every design, the chosen formats, and a heat map."""
        rows = sorted(
            decision_rows(designs),
            key=lambda row: (str(row["offer"]), str(row["importance"]), int(row["formats"])),
        )
        table, cells = [], []
        for row in rows:
            texts, regrets = self.offers[str(row["offer"])].texts, self._regrets(row)
            chosen = " | ".join(texts[place] for place in self._shared(row).chosen)
            shown = {f"regret {name}": percent(value) for name, value in regrets.items()}
            table.append({**row, "chosen": chosen, **shown})
            panel = f"{row['offer']}, {row['importance']}"
            cells += [
                {"formats shared": int(row["formats"]), "model": name, "case": panel, "regret": r}
                for name, r in regrets.items()
            ]
        places = {"x": "formats shared", "y": "model", "panel": "case"}
        picture = {"rows": cells, "colour": "regret", "number": "regret", **places}
        return {
            "tables": {"Regret of sharing, per model": table},
            "heat_maps": {"regret": picture},
        }

    def _metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        shared, regrets = self._shared(row), self._regrets(row)
        spent = self._spent(row)
        least = np.min([self._offer_costs(name).min(axis=1) for name in self.offers], axis=0)
        ratios = list(self._per_model(spent, least).values())
        return {
            "score": shared.score,
            "worst_regret": max(regrets.values()),
            "energy over own best": float(np.mean(ratios)) + 1.0,
            "formats_used": float(len(shared.chosen)),
            **{f"regret {name}": value for name, value in regrets.items()},
        }

    def _shared(self, row: Mapping[str, Any]) -> SharedFormats:
        costs = self._offer_costs(str(row["offer"]))
        return share_formats(costs, self._importance(row).tolist(), int(row["formats"]))

    def _spent(self, row: Mapping[str, Any]) -> FloatArray:
        """Energy of every member in the format it uses."""
        costs = self._offer_costs(str(row["offer"]))
        return np.asarray(costs[np.arange(len(costs)), self._shared(row).used])

    def _regrets(self, row: Mapping[str, Any]) -> dict[str, float]:
        least = self._offer_costs(str(row["offer"])).min(axis=1)
        return self._per_model(self._spent(row), least)

    def _per_model(self, spent: FloatArray, least: FloatArray) -> dict[str, float]:
        """Model -> its energy over the least one, less 1."""
        owners = np.array([member.model for member in self.source.members])
        return {
            name: float(spent[owners == name].sum() / least[owners == name].sum()) - 1.0
            for name in dict.fromkeys(owners.tolist())
        }

    def _importance(self, row: Mapping[str, Any]) -> FloatArray:
        """Weight of every member, any scale."""
        kind, members = str(row["importance"]), self.source.members
        check_key("importance", kind, IMPORTANCES)
        if kind == "traffic":
            return np.array([member.traffic_bits for member in members])
        energy: FloatArray = self._offer_costs(str(row["offer"])).min(axis=1)
        if kind == "energy":
            return energy
        owners = np.array([member.model for member in members])
        totals = {name: energy[owners == name].sum() for name in owners.tolist()}
        for name in totals:
            if name not in self.priorities:
                raise ValueError(f"priorities: none given for model {name!r}")
        scale = [self.priorities[name] / totals[name] for name in owners.tolist()]
        return np.asarray(energy * np.array(scale))

    def _offer_costs(self, offer: str) -> FloatArray:
        check_key("offer", offer, list(self.offers))
        if offer not in self._costs:
            self._costs[offer] = self.source.costs(self.offers[offer].texts)
        return self._costs[offer]
