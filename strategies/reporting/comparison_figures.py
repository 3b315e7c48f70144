"""Figures of a comparison: overlaid fronts, and waterfalls of energy from one design to another.

Each is drawn twice from the same numbers: by matplotlib for files, by Plotly for the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from strategies.reporting.figures import GREY, PALETTE, SIZE_IN, new_axes

if TYPE_CHECKING:
    from strategies.reporting.comparison import Comparison

MARKERS = "os^Dvp*X"
MAX_STEPS = 12
"""Parts of a waterfall that get a bar of their own; the others are gathered in one."""


def drawn(comparison: Comparison) -> dict[str, Figure]:
    """Matplotlib figures by file name."""
    figures = {}
    if len(comparison.objectives) > 1:
        figures["fronts"] = fronts_figure(comparison)
    for index, steps in waterfalls(comparison).items():
        title = f"Energy from {comparison.labels[0]} to {comparison.labels[index]}"
        figures[f"energy_waterfall_{index}"] = waterfall_figure(steps, title)
    return figures


def plotted(comparison: Comparison) -> dict[str, Any]:
    """Plotly figures by title."""
    figures = {}
    if len(comparison.objectives) > 1:
        figures["Pareto fronts"] = plotly_fronts(comparison)
    for index, steps in waterfalls(comparison).items():
        title = f"Energy from {comparison.labels[0]} to {comparison.labels[index]}"
        figures[title] = _plotly_waterfall(steps)
    return figures


def waterfalls(comparison: Comparison) -> dict[int, list[tuple[str, float]]]:
    """Subject index -> steps from the first subject's energy to its own."""
    energies = comparison.energy_pj
    if not all(energies):
        return {}
    names = comparison.labels
    return {
        index: waterfall_steps(energies[0], energies[index], (names[0], names[index]))
        for index in range(1, len(energies))
    }


def waterfall_steps(
    first: Mapping[str, float], last: Mapping[str, float], names: tuple[str, str]
) -> list[tuple[str, float]]:
    """Total of the first, its changes from the largest to the smallest, total of the last [pJ].

    The changes add up to the difference of the totals.

    >>> waterfall_steps({"DRAM": 8.0, "MAC": 1.0}, {"DRAM": 5.0, "MAC": 2.0}, ("a", "b"))
    [('a', 9.0), ('DRAM', -3.0), ('MAC', 1.0), ('b', 7.0)]
    """
    parts = dict.fromkeys([*first, *last])
    changes = {part: last.get(part, 0.0) - first.get(part, 0.0) for part in parts}
    order = sorted((p for p in changes if changes[p]), key=lambda p: -abs(changes[p]))
    steps = [(part, changes[part]) for part in order[:MAX_STEPS]]
    if order[MAX_STEPS:]:
        steps.append(("other parts", sum(changes[part] for part in order[MAX_STEPS:])))
    return [(names[0], sum(first.values())), *steps, (names[1], sum(last.values()))]


def fronts_figure(comparison: Comparison) -> Figure:
    """The fronts in the plane of the first two shared objectives, and the reference point."""
    first, second = (objective.metric for objective in comparison.objectives[:2])
    figure, axes = new_axes("Pareto fronts", first, second)
    for index, label in enumerate(comparison.labels):
        values = comparison.front_values(index)
        values = values[np.argsort(values[:, 0])]
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(
            values[:, 0], values[:, 1], f"{marker}-", color=PALETTE[index % 7], ms=5, label=label
        )
    axes.legend(frameon=False, fontsize=8)
    return figure


def waterfall_figure(steps: Sequence[tuple[str, float]], title: str) -> Figure:
    """Totals in grey, savings in green, additions in orange; read from top to bottom."""
    figure, axes = new_axes(title, "energy_pj", "")
    level = steps[0][1]
    for position, (_, value) in enumerate(steps):
        if position in (0, len(steps) - 1):
            axes.barh(position, value, color=GREY)
            continue
        colour = PALETTE[2] if value < 0 else PALETTE[5]
        axes.barh(position, value, left=level, color=colour)
        axes.annotate(
            f"{value:+.3g}",
            (max(level, level + value), position),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
        level += value
    axes.set_yticks(range(len(steps)), [name for name, _ in steps], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    figure.set_size_inches(SIZE_IN[0], max(2.5, 0.35 * len(steps) + 1.4))
    return figure


def plotly_fronts(comparison: Comparison) -> Any:
    """The fronts for a page; hovering names study and trial."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, label in enumerate(comparison.labels):
        values = comparison.front_values(index)
        order = np.argsort(values[:, 0])
        numbers = comparison.fronts[index][order]
        figure.add_scatter(
            x=values[order, 0].tolist(),
            y=values[order, 1].tolist(),
            text=[f"{label}, trial {number}" for number in numbers],
            name=label,
            mode="lines+markers",
            marker={"color": PALETTE[index % 7], "size": 7},
            hovertemplate="%{text}<br>%{x:.5g}, %{y:.5g}",
        )
    figure.update_xaxes(title=comparison.objectives[0].metric)
    figure.update_yaxes(title=comparison.objectives[1].metric)
    return figure


def _plotly_waterfall(steps: Sequence[tuple[str, float]]) -> Any:
    import plotly.graph_objects as go

    middle = len(steps) - 2
    figure = go.Figure(
        go.Waterfall(
            x=[name for name, _ in steps],
            y=[value for _, value in steps],
            measure=["absolute", *["relative"] * middle, "total"],
            decreasing={"marker": {"color": PALETTE[2]}},
            increasing={"marker": {"color": PALETTE[5]}},
            totals={"marker": {"color": GREY}},
        )
    )
    figure.update_yaxes(title="energy_pj")
    return figure
