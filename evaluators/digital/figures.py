"""Picture of a comparison: gains of every architecture over the fixed 2:4 macro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""One per model (Okabe and Ito)."""


def gains_figure(gains: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> Figure:
    """Latency and energy gains as bars: a column of panels per N:M profile, a colour per model.

    Args:
        gains: (model, profile) -> one row per architecture, all in one order, with the keys
            `architecture`, `speedup_over_2_4` and `energy_gain_over_2_4`.
    """
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(model for model, _ in gains))
    profiles = list(dict.fromkeys(profile for _, profile in gains))
    names = [row["architecture"] for row in next(iter(gains.values()))]
    size = (3.6 * len(profiles) + 1.6, 0.9 + 0.64 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(profiles), squeeze=False, sharey=True, sharex=True)
    height = 0.8 / len(models)
    metrics = {"latency": "speedup_over_2_4", "energy": "energy_gain_over_2_4"}
    for line, (title, metric) in zip(grid, metrics.items(), strict=True):
        for axis, profile in zip(line, profiles, strict=True):
            for place, model in enumerate(models):
                values = [row[metric] for row in gains[model, profile]]
                rows = [row + (place - (len(models) - 1) / 2) * height for row in range(len(names))]
                colour = COLOURS[place % len(COLOURS)]
                axis.barh(rows, values, height, color=colour, label=model)
            axis.axvline(1.0, color="black", linewidth=0.8)
            axis.set_yticks(range(len(names)), names, fontsize=7)
            axis.set_title(f"{profile}: {title} gain over the fixed 2:4 macro", fontsize=8)
            axis.tick_params(axis="x", labelsize=7)
            axis.grid(axis="x", alpha=0.25)
    grid[0, 0].invert_yaxis()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside right upper")
    return figure
