"""Analog in-memory accelerators running a mapped model: arrays, area, energy, latency.

Weights are stationary; one inference reads them once per token. Counts come from `counts`, the
same that the command stream holds. Not modelled: leakage, embeddings and LM head, reprogramming
(see `streaming` for weights that do not stay).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.analog.prices import ENERGY_PARTS, StagePrice, price_stage
from evaluators.analog.site_choices import (
    CountedChoices,
    SiteChoices,
    count_choices,
    distinct_choices,
)
from evaluators.analog.technology import AnalogTechnology
from evaluators.evaluation import Evaluation
from spaces.cim.mapping import CimDesigns
from spaces.cim.model import CimModel, ProjectionSite

Floats = NDArray[np.float64]

OVERLAPS = ("token", "pipelined")
"""`token`: one token after another. `pipelined`: tokens follow one another through the stages
between two attentions; attention waits for all of them."""

OUTSIDE_LAW = ("flag", "refuse")
"""Conversions outside the range of the ADC law: counted in `adc_extrapolated`, or infeasible."""

DIGITAL_PARTS = ("attention", "add", "layernorm", "activation")
"""Kinds of digital work that are priced."""


@dataclass(frozen=True)
class AnalogCim:
    """Evaluator of `CimDesigns`.

    Attributes:
        technology: Constants, ADC law and precision.
        overlap: Of `OVERLAPS`.
        array_budget: Arrays available; None = no limit.
        explicit_permutation: Permute between the stages in a command, not by addresses.
        outside_adc_law: Of `OUTSIDE_LAW`.
    """

    technology: AnalogTechnology
    overlap: str = "pipelined"
    array_budget: int | None = None
    explicit_permutation: bool = False
    outside_adc_law: str = "flag"

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS:
            raise ValueError(f"overlap must be one of {', '.join(OVERLAPS)}, got {self.overlap!r}")
        if self.outside_adc_law not in OUTSIDE_LAW:
            raise ValueError(
                f"outside_adc_law must be one of {', '.join(OUTSIDE_LAW)}, got "
                f"{self.outside_adc_law!r}"
            )
        if self.array_budget is not None and self.array_budget < 1:
            raise ValueError(f"array_budget must be >= 1, got {self.array_budget}")

    def evaluate(self, designs: CimDesigns) -> Evaluation:
        """Metrics of n designs: see `docs/block_diagonal_cim.md` for each."""
        gathered = self.site_columns(designs)
        digital = self.digital_energy(designs.model)
        tokens = designs.model.tokens
        token_pj = gathered["energy_pj"].sum(axis=1) + sum(digital.values())
        arrays = gathered["arrays"].sum(axis=1)
        cells = gathered["cells"].sum(axis=1)
        latency, path = self._latency(designs.model, gathered)
        macs = cells + designs.model.digital_sizes().get("attention", 0)
        conversions = np.maximum(gathered["conversions"].sum(axis=1), 1.0)
        metrics = {
            "energy_pj": token_pj * tokens,
            "latency_ns": latency,
            "token_latency_ns": path,
            "token_interval_bound_ns": gathered["bound_ns"].max(axis=1),
            "arrays": arrays,
            "utilisation": cells / np.maximum(gathered["array_cells"].sum(axis=1), 1.0),
            "area_mm2": gathered["area_mm2"].sum(axis=1),
            "weight_memory_bits": cells * self.technology.precision.weight_bits,
            "flops": 2.0 * tokens * macs,
            "edp_pj_ns": token_pj * tokens * latency,
            "gaussian_residual": np.sqrt(gathered["lost"].sum(axis=1) / designs.model.parameters),
            "adc_shortfall_bits": gathered["adc_shortfall"].max(axis=1),
            "adc_extrapolated": gathered["unsupported"].sum(axis=1) / conversions,
        }
        violations = {"fits_array": gathered["excess"].max(axis=1)}
        if self.array_budget is not None:
            violations["array_budget"] = arrays / self.array_budget - 1.0
        if self.outside_adc_law == "refuse":
            violations["adc_law"] = metrics["adc_extrapolated"]
        return Evaluation(metrics, violations)

    def site_columns(self, designs: CimDesigns) -> dict[str, Floats]:
        """What every site adds to the metrics, before any sum or maximum; shape (n, sites)."""
        choices = distinct_choices(designs)
        table = _ChoiceTable.of(choices, designs, self)
        return {name: column[choices.inverse] for name, column in table.columns.items()}

    def digital_energy(self, model: CimModel) -> dict[str, float]:
        """Energy of one token outside the arrays, by kind, in pJ."""
        constants = self.technology.constants
        price = {
            "attention": constants.attention_mac_pj,
            "add": constants.digital_add_pj,
            "layernorm": constants.layernorm_pj,
            "activation": constants.activation_pj,
        }
        return {kind: price[kind] * size for kind, size in model.digital_sizes().items()}

    def digital_ns(self, kind: str, size: int) -> float:
        """Duration of one digital operation."""
        constants = self.technology.constants
        if kind == "attention":
            return size / constants.attention_macs_per_ns
        return float(getattr(constants, f"{kind}_ns"))

    def _latency(self, model: CimModel, columns: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Latency of one inference and of one token alone, shapes (n,)."""
        n = len(columns["time_ns"])
        total, path = np.zeros(n), np.zeros(n)
        for segment in segments(model):
            fill, interval = np.zeros(n), np.zeros(n)
            for stage in segment:
                sites = [i for i, site in enumerate(model.sites) if site.stage == stage]
                fill += columns["time_ns"][:, sites].max(axis=1)
                interval = np.maximum(interval, columns["busy_ns"][:, sites].max(axis=1))
                for kind, size in _vector_work(model, sites):
                    duration = self.digital_ns(kind, size)
                    fill += duration
                    interval = np.maximum(interval, duration)
            layers, waits = self._attention(model, segment)
            path += layers * (fill + waits)
            total += layers * (fill + (model.tokens - 1) * interval + model.tokens * waits)
        return (total if self.overlap == "pipelined" else path * model.tokens), path

    def _attention(self, model: CimModel, segment: tuple[int, ...]) -> tuple[int, float]:
        """Layers of a segment, and the attention that ends it."""
        sites = [site for site in model.sites if site.stage in segment]
        work = [size for site in sites for kind, size in site.after if kind == "attention"]
        return sites[0].layers, sum(self.digital_ns("attention", size) for size in work)

    def explain(self, design: CimDesigns) -> Mapping[str, Any]:
        """Breakdown of a batch of one: totals, energy by part, and a record per site."""
        evaluation = self.evaluate(design)
        choices = distinct_choices(design)
        counted = count_choices(choices, design.choices)
        prices = tuple(price_stage(counted, factor, self.technology) for factor in (0, 1))
        rows = choices.inverse[0]
        parts = {
            part: float(sum(price.energy_pj[part][rows].sum() for price in prices))
            for part in ENERGY_PARTS
        }
        return {
            "metrics": {name: float(values[0]) for name, values in evaluation.metrics.items()},
            "violations": {name: float(v[0]) for name, v in evaluation.violations.items()},
            "energy_per_token_pj": {**parts, **self.digital_energy(design.model)},
            "sites": [
                _site_record(site, int(row), counted, prices)
                for site, row in zip(design.model.sites, rows, strict=True)
            ],
        }


@dataclass(frozen=True)
class _ChoiceTable:
    """Per distinct site choice, what `evaluate` adds up; columns of shape (k,)."""

    columns: dict[str, Floats]

    @classmethod
    def of(cls, choices: SiteChoices, designs: CimDesigns, evaluator: AnalogCim) -> _ChoiceTable:
        counted = count_choices(choices, designs.choices)
        technology = evaluator.technology
        prices = [price_stage(counted, factor, technology) for factor in (0, 1)]
        names = ("time_ns", "area_mm2", "arrays", "conversions", "unsupported")
        columns = {name: getattr(prices[0], name) + getattr(prices[1], name) for name in names}
        for name in ("busy_ns", "bound_ns", "adc_shortfall"):
            columns[name] = np.maximum(getattr(prices[0], name), getattr(prices[1], name))
        energy = np.zeros(len(counted.layers))
        for price in prices:
            energy += np.sum(list(price.energy_pj.values()), axis=0)
        if evaluator.explicit_permutation:
            has_middle = counted.middle > 0
            columns["time_ns"] = columns["time_ns"] + has_middle * technology.constants.permute_ns
            moved = 2.0 * counted.middle * counted.layers
            energy += moved * technology.constants.buffer_pj
        columns["energy_pj"] = energy
        columns["cells"] = 1.0 * counted.stages[0].cells + counted.stages[1].cells
        size = counted.values["array_size"].astype(np.float64)
        planes = technology.precision.planes
        columns["array_cells"] = columns["arrays"] / planes * size**2
        columns["excess"], columns["lost"] = counted.excess, counted.lost
        return cls(columns)


def segments(model: CimModel) -> list[tuple[int, ...]]:
    """Stages that tokens may flow through without waiting for one another.

    A segment ends after a stage that attention follows, and at the end of a stack of layers.
    """
    found: list[list[int]] = [[]]
    stack = model.sites[0].name.rpartition(".")[0]
    for stage in sorted({site.stage for site in model.sites}):
        sites = [site for site in model.sites if site.stage == stage]
        here = sites[0].name.rpartition(".")[0]
        if here != stack and found[-1]:
            found.append([])
        stack = here
        found[-1].append(stage)
        if any(kind == "attention" for site in sites for kind, _ in site.after):
            found.append([])
    return [tuple(segment) for segment in found if segment]


def _vector_work(model: CimModel, sites: list[int]) -> list[tuple[str, int]]:
    work = [item for index in sites for item in model.sites[index].after]
    return [(kind, size) for kind, size in work if kind != "attention"]


def _site_record(
    site: ProjectionSite, row: int, counted: CountedChoices, prices: tuple[StagePrice, ...]
) -> dict[str, Any]:
    """What one site costs, JSON-serialisable."""
    stages = [
        {
            "arrays": float(price.arrays[row]),
            "adc_bits": int(price.bits[row]),
            "adc_rounds": int(price.rounds[row]),
            "slots": int(counts.slots[row]),
            "step_ns": float(price.step_ns[row]),
            "time_ns": float(price.time_ns[row]),
            "area_mm2": float(price.area_mm2[row]),
            "energy_per_token_pj": {k: float(v[row]) for k, v in price.energy_pj.items()},
            "adc_extrapolated": bool(price.unsupported[row] > 0),
        }
        for counts, price in zip(counted.stages, prices, strict=True)
        if counts.slots[row]
    ]
    choice = {name: values[row].item() for name, values in counted.values.items()}
    return {"site": site.name, "matrices": site.matrices, **choice, "stages": stages}
