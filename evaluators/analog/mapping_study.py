"""A mapped model explained for readers: tables per site, commands, and pictures.

Prices are those of the `AnalogCim` inside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from evaluators.accuracy.monarch import gaussian_residual
from evaluators.analog.analog_cim import DIGITAL_PARTS, AnalogCim
from evaluators.analog.execution import counted_work, execute
from evaluators.evaluation import Evaluation
from spaces.cim.mapping import CimDesigns
from spaces.cim.placement import site_shape, typical_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED_COMMANDS = 24
"""Commands printed."""

WRITTEN_COMMANDS = 20_000
"""Commands written to files."""

MOST_STEPS = 500_000
"""Analog steps above which a design is priced but not scheduled for its report."""


@dataclass(frozen=True)
class CimStudy:
    """Evaluator of a study over `CimMappingSpace`.

    Attributes:
        evaluator: Prices designs.
    """

    evaluator: AnalogCim

    def evaluate(self, designs: CimDesigns) -> Evaluation:
        """As the evaluator inside."""
        return self.evaluator.evaluate(designs)

    def explain(self, design: CimDesigns) -> Mapping[str, Any]:
        """The breakdown of `AnalogCim.explain` with tables, the first commands and pictures."""
        explained = self.evaluator.explain(design)
        shown: dict[str, Any] = {
            **explained,
            "tables": {"Projections": site_rows(design, explained)},
            "energy_breakdown_pj": energy_groups(explained),
        }
        if max(explained["violations"]["fits_array"], 0.0) > 0:
            return shown
        steps = counted_work(self.evaluator, design).steps
        if steps > MOST_STEPS:
            note = f"{steps:,.0f} analog steps per token: too many to list (limit {MOST_STEPS:,})"
            return {**shown, "texts": {"Commands": note}}
        _, stream = execute(self.evaluator, design)
        return {
            **shown,
            "texts": {"First commands of one token": stream.listing(0, LISTED_COMMANDS)},
            "files": {
                "commands.txt": stream.listing(0, WRITTEN_COMMANDS),
                "commands.json": json.dumps(stream.to_json(WRITTEN_COMMANDS)),
            },
        }

    def pictures(self, design: CimDesigns) -> Mapping[str, Callable[[], Figure]]:
        """The occupancy and the first layer's schedule; nothing for a design without them."""
        from evaluators.analog.figures import gantt_figure, occupancy_figure

        fits = float(self.evaluate(design).violations["fits_array"][0]) <= 0
        if not fits or counted_work(self.evaluator, design).steps > MOST_STEPS:
            return {}
        placement, stream = execute(self.evaluator, design)
        arrays = typical_arrays(placement)
        first = stream.columns["layer"] == 0
        ends = (stream.columns["start_ns"] + stream.columns["duration_ns"])[first]
        return {
            "occupancy": partial(occupancy_figure, {"this design": (placement, arrays)}),
            "schedule": partial(gantt_figure, stream, until_ns=float(ends.max())),
        }


def site_rows(design: CimDesigns, explained: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per site: mapping, block structure, arrays, ADC, time, energy, residual."""
    values = design.values(0)
    rows = []
    for site, record in zip(design.model.sites, explained["sites"], strict=True):
        stages = record["stages"]
        try:
            shape = site_shape(site, values)
        except ValueError:
            shape = None
        energy = sum(sum(stage["energy_per_token_pj"].values()) for stage in stages)
        rows.append(
            {
                "site": site.name,
                "matrices": site.matrices,
                "shape": f"{site.out_features} x {site.in_features}",
                "mapping": record["mapping"],
                "blocks": "dense" if shape is None else _blocks_text(shape.factors),
                "arrays": int(sum(stage["arrays"] for stage in stages)),
                "adc bits": "/".join(str(stage["adc_bits"]) for stage in stages),
                "time_ns": round(sum(stage["time_ns"] for stage in stages), 1),
                "energy_pj": round(energy, 1),
                "residual (Gaussian)": 0.0 if shape is None else round(gaussian_residual(shape), 3),
            }
        )
    return rows


def _blocks_text(factors: tuple[Any, Any]) -> str:
    return " + ".join(f"{f.blocks} of {f.rows} x {f.columns}" for f in factors)


def energy_groups(explained: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Projections and digital work -> part -> energy of one token."""
    parts = explained["energy_per_token_pj"]
    return {
        "projections": {name: value for name, value in parts.items() if name not in DIGITAL_PARTS},
        "digital": {name: value for name, value in parts.items() if name in DIGITAL_PARTS},
    }
