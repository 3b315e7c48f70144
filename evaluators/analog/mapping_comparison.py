"""Mappings of several models side by side, as ratios to the linear mapping of the same model.

Designs are columns: any of `COLUMNS`, the rest taken from defaults. `explain` puts the table of all
models and mappings beside the published numbers, with the projection residual beside every gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators.analog.adc import ADC_LAWS
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.published_ratios import PublishedRatio, compare_published
from evaluators.analog.sensitivity import tornado
from evaluators.analog.technology import AnalogTechnology
from evaluators.evaluation import Evaluation
from spaces.cim.mapping import (
    ORGANISATION,
    SITE_CHOICES,
    CimChoices,
    CimDesigns,
    check_choices,
    one_design,
)
from spaces.cim.model import CimModel
from spaces.cim.placement import place, typical_arrays
from spaces.space import Columns
from spaces.validation import check_key, check_keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULTS: dict[str, Any] = {
    "mapping": "sparse",
    "packing": "spread",
    "rule": "padded",
    "block": 0,
    "array_size": 256,
    "adcs_per_array": 8,
    "adc_bits": 0,
    "sub_steps": 1,
    "adc": "",
}
"""Values of columns that a space leaves out; an empty `adc` is the technology's own law."""

RATIOS = {
    "latency_speedup": "latency_ns",
    "energy_saving": "energy_pj",
    "array_saving": "arrays",
    "area_saving": "area_mm2",
    "memory_saving": "weight_memory_bits",
    "flop_saving": "flops",
}
"""Ratio metric -> metric: linear over this mapping, same organisation and ADC law."""


@dataclass(frozen=True)
class CimComparison:
    """Prices (model, mapping, organisation) combinations.

    Attributes:
        models: Name -> model; a space without a `model` column uses the first.
        evaluator: Prices one model; its technology is the assumption set of every number.
        fixed: Overrides of `DEFAULTS`.
    """

    models: Mapping[str, CimModel]
    evaluator: AnalogCim
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("comparison: models must name at least one model, got none")
        check_keys("comparison.fixed", self.fixed, DEFAULTS)
        for model in self.models.values():
            check_choices(model, self._choices({"mapping": "sparse"}))

    def evaluate(self, designs: Columns) -> Evaluation:
        """Metrics of `AnalogCim` and their ratios to the linear mapping."""
        check_keys("design", designs, ("model", *DEFAULTS))
        n = len(next(iter(designs.values())))
        rows = [self._row({name: column[i] for name, column in designs.items()}) for i in range(n)]
        metrics = {
            name: np.array([row[0][name] for row in rows], dtype=np.float64) for name in rows[0][0]
        }
        violations = {"fits_array": np.array([row[1] for row in rows])}
        return Evaluation(metrics, violations)

    def _row(self, given: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        """Metrics and violation of one combination; a linear twin gives the ratios."""
        chosen = {**DEFAULTS, **self.fixed, **{name: _plain(v) for name, v in given.items()}}
        model = str(chosen.pop("model", next(iter(self.models))))
        check_key("model", model, self.models)
        key = tuple(chosen[name] for name in DEFAULTS)
        return self._priced(model, key)

    def _priced(self, model: str, key: tuple[Any, ...]) -> tuple[dict[str, float], float]:
        if (model, key) not in self._cache:
            chosen = dict(zip(DEFAULTS, key, strict=True))
            metrics, excess = self._metrics(model, chosen)
            if chosen["mapping"] != "linear":
                twin, _ = self._metrics(model, {**chosen, "mapping": "linear"})
            else:
                twin = metrics
            for ratio, metric in RATIOS.items():
                metrics[ratio] = twin[metric] / metrics[metric]
            self._cache[model, key] = metrics, excess
        return self._cache[model, key]

    @cached_property
    def _cache(self) -> dict[tuple[str, tuple[Any, ...]], tuple[dict[str, float], float]]:
        return {}

    def _metrics(self, model: str, chosen: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        evaluator = self.evaluator
        if chosen["adc"]:
            check_key("adc", chosen["adc"], ADC_LAWS)
            technology = replace(evaluator.technology, adc=ADC_LAWS[chosen["adc"]])
            evaluator = replace(evaluator, technology=technology)
        evaluation = evaluator.evaluate(one_design(self.models[model], self._choices(chosen)))
        metrics = {name: float(values[0]) for name, values in evaluation.metrics.items()}
        return metrics, float(evaluation.violations["fits_array"][0])

    def explain(self, design: Columns) -> Mapping[str, Any]:
        """Tables over all models and mappings, beside what was published; sensitivities."""
        published = [self.published_row(target) for target in compare_published()]
        swings = tornado(self.evaluator.technology, self.mean_ratios)
        return {
            "metrics": {name: float(v[0]) for name, v in self.evaluate(design).metrics.items()},
            "tables": {
                "Models and mappings": self.table(),
                "Beside the published ratios": published,
                **{
                    f"What the {name} depends on": [swing.row() for swing in found[:10]]
                    for name, found in swings.items()
                },
            },
        }

    def pictures(self, design: Columns) -> Mapping[str, Callable[[], Figure]]:
        """A tornado per ratio, and the occupancy of the first model under every mapping."""
        from evaluators.analog.figures import occupancy_figure, tornado_figure

        swings = tornado(self.evaluator.technology, self.mean_ratios)
        drawn: dict[str, Callable[[], Figure]] = {
            f"tornado_{name.replace(' ', '_')}": partial(tornado_figure, found, name)
            for name, found in swings.items()
        }
        placements = {}
        for mapping, packing in _TABLE_ROWS:
            if mapping != "linear":
                choices = self._choices({"mapping": mapping, "packing": packing})
                placement = place(one_design(next(iter(self.models.values())), choices), 0)
                placements[f"{mapping}, {packing}"] = (placement, typical_arrays(placement))
        return {"occupancy": partial(occupancy_figure, placements), **drawn}

    def _choices(self, given: Mapping[str, Any]) -> CimChoices:
        """One value for every decision."""
        chosen = {**DEFAULTS, **self.fixed, **given}
        return CimChoices(**{name: (chosen[name],) for name in (*ORGANISATION, *SITE_CHOICES)})

    def table(self) -> list[dict[str, Any]]:
        """One row per model and mapping with packing."""
        rows = []
        for model in self.models:
            for mapping, packing in _TABLE_ROWS:
                metrics, _ = self._row({"model": model, "mapping": mapping, "packing": packing})
                rows.append(
                    {"model": model, "mapping": mapping, "packing": packing, **_shown(metrics)}
                )
        return rows

    def published_row(self, target: PublishedRatio) -> dict[str, Any]:
        """A published number, ours, and what ours assumes."""
        mapping, packing, metric = target.ours
        ours = [
            self._row({"model": model, "mapping": mapping, "packing": packing})[0]
            for model in self.models
        ]
        value = float(np.mean([target.value_of(metrics) for metrics in ours]))
        return {
            "quantity": target.name,
            "published": target.published,
            "ours": round(value, 3),
            "mapping": f"{mapping}, {packing}",
            "metric": metric,
            "residual (Gaussian weights)": round(
                float(np.mean([m["gaussian_residual"] for m in ours])), 3
            ),
            "derivable": "yes" if target.derivable else "no: needs unpublished constants",
        }

    def mean_ratios(self, technology: AnalogTechnology) -> dict[str, float]:
        """The ratios of `_TORNADOS`, averaged over the models, under another technology."""
        chosen = {**DEFAULTS, **self.fixed}
        mappings = ("linear", *dict.fromkeys(mapping for mapping, _ in _TORNADOS.values()))
        names = [name for name in (*ORGANISATION, *SITE_CHOICES) if name != "mapping"]
        choices = CimChoices(mapping=mappings, **{name: (chosen[name],) for name in names})
        evaluator = replace(self.evaluator, technology=technology)
        totals = dict.fromkeys(_TORNADOS, 0.0)
        for model in self.models.values():
            site = np.zeros((len(mappings), len(model.sites), len(SITE_CHOICES)), dtype=np.int64)
            site[:, :, 0] = np.arange(len(mappings))[:, None]
            organisation = np.zeros((len(mappings), len(ORGANISATION)), dtype=np.int64)
            metrics = evaluator.evaluate(CimDesigns(model, choices, organisation, site)).metrics
            for name, (mapping, ratio) in _TORNADOS.items():
                values = metrics[RATIOS[ratio]]
                totals[name] += float(values[0] / values[mappings.index(mapping)])
        return {name: total / len(self.models) for name, total in totals.items()}


_TORNADOS = {
    "speed-up of SparseMap": ("sparse", "latency_speedup"),
    "speed-up of DenseMap A": ("dense_a", "latency_speedup"),
    "speed-up of DenseMap B": ("dense_b", "latency_speedup"),
    "energy saving of DenseMap A": ("dense_a", "energy_saving"),
}

_TABLE_ROWS = (
    ("linear", "spread"),
    ("sparse", "spread"),
    ("dense_a", "per_factor"),
    ("dense_a", "spread"),
    ("shared_a", "spread"),
    ("dense_b", "spread"),
)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _shown(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Rounded columns of the big table."""
    return {
        "arrays": int(metrics["arrays"]),
        "utilisation": round(metrics["utilisation"], 3),
        "area_mm2": round(metrics["area_mm2"], 1),
        "memory_mb": round(metrics["weight_memory_bits"] / 8e6, 1),
        "gflops": round(metrics["flops"] / 1e9, 1),
        "latency_us": round(metrics["latency_ns"] / 1e3, 1),
        "energy_mj": round(metrics["energy_pj"] / 1e9, 3),
        "speed-up": round(metrics["latency_speedup"], 2),
        "energy saving": round(metrics["energy_saving"], 2),
        "area saving": round(metrics["area_saving"], 2),
        "residual (Gaussian weights)": round(metrics["gaussian_residual"], 3),
        "conversions outside the ADC law": round(metrics["adc_extrapolated"], 2),
    }
