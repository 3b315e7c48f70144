"""A mapped model explained for readers: tables per site, commands, and pictures.

Prices are those of the `AnalogCim` inside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.monarch import gaussian_residual
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.commands import CommandStream
from evaluators.analog.execution import counted_work, execute
from evaluators.evaluation import Evaluation
from spaces.cim.mapping import CimDesigns
from spaces.cim.placement import Placement, site_shape

PICTURED_ARRAYS = 4
"""Arrays drawn in the occupancy picture."""

LISTED_COMMANDS = 24
"""Commands printed."""

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
        placement, stream = execute(self.evaluator, design)
        listing = stream.listing(0, LISTED_COMMANDS)
        schedule = {"listing": stream.listing(0, 400).splitlines(), "commands": len(stream)}
        return {
            **shown,
            "texts": {"First commands of one token": listing},
            "files": {
                "commands.json": json.dumps(schedule, indent=1),
                **pictures(placement, stream),
            },
        }


def pictures(placement: Placement, stream: CommandStream) -> dict[str, str]:
    """File name -> SVG text of the occupancy and of the first layer's schedule."""
    from evaluators.analog.figures import gantt_figure, occupancy_figure, svg_text

    arrays = [int(array) for array in typical_arrays(placement)]
    first = stream.columns["layer"] == 0
    ends = (stream.columns["start_ns"] + stream.columns["duration_ns"])[first]
    return {
        "occupancy.svg": svg_text(occupancy_figure(placement, arrays)),
        "schedule.svg": svg_text(gantt_figure(stream, until_ns=float(ends.max()))),
    }


def typical_arrays(placement: Placement) -> NDArray[np.int64]:
    """The first array of each site, at most `PICTURED_ARRAYS`."""
    sites, first = np.unique(placement.table["site"], return_index=True)
    return np.unique(placement.table["array"][first[: min(len(sites), PICTURED_ARRAYS)]])


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
    digital = ("attention", "add", "layernorm", "activation")
    return {
        "projections": {name: value for name, value in parts.items() if name not in digital},
        "digital": {name: value for name, value in parts.items() if name in digital},
    }
