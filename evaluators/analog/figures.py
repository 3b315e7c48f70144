"""Pictures of in-memory designs: array occupancy, the schedule, and what a ratio depends on.

Every function returns a matplotlib figure; `svg_text` turns one into text.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from evaluators.analog.commands import CommandStream, Opcode
from evaluators.analog.sensitivity import Swing
from spaces.cim.legality import occupancy
from spaces.cim.placement import Placement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    Opcode.MVM: "tab:blue",
    Opcode.ADC: "tab:orange",
    Opcode.COMM: "tab:green",
    Opcode.PERMUTE: "tab:purple",
    Opcode.DPU: "tab:grey",
    Opcode.MHA: "tab:red",
}
"""Commands that take time, in the schedule."""


def occupancy_figure(placement: Placement, arrays: Sequence[int]) -> Figure:
    """Which diagonal fills which cells of some arrays; white = free."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(arrays), 3.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(arrays)))
    for axis, array in zip(axes, arrays, strict=True):
        resident = occupancy(placement, array)
        filled = float((resident >= 0).mean())
        shown = np.ma.masked_less(resident, 0)
        axis.imshow(shown, cmap="tab20", interpolation="nearest")
        axis.set_title(f"array {array}: {filled:.1%} filled", fontsize=9)
        axis.set_xlabel("bitline")
        axis.set_ylabel("wordline")
    return figure


def gantt_figure(stream: CommandStream, units: int = 24, until_ns: float | None = None) -> Figure:
    """Busy times of the first units that work before `until_ns` (default: the whole stream)."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    end = stream.makespan_ns if until_ns is None else until_ns
    columns = stream.columns
    timed = np.isin(columns["opcode"], [int(opcode) for opcode in COLOURS])
    timed &= (columns["duration_ns"] > 0) & (columns["start_ns"] < end)
    order = np.flatnonzero(timed)
    names = list(dict.fromkeys(columns["array"][order].tolist()))[:units]
    figure = Figure(figsize=(9, 1.2 + 0.22 * len(names)), layout="constrained")
    axis = figure.subplots()
    for row, unit in enumerate(names):
        for opcode, colour in COLOURS.items():
            chosen = order[(columns["array"][order] == unit) & (columns["opcode"][order] == opcode)]
            spans = [(columns["start_ns"][i], columns["duration_ns"][i]) for i in chosen]
            axis.broken_barh(spans, (row - 0.4, 0.8), facecolors=colour)
    labels = ["digital" if unit < 0 else f"array {unit}" for unit in names]
    axis.set_yticks(range(len(names)), labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlim(0, end)
    axis.set_xlabel("time [ns]")
    handles = [Patch(color=colour, label=opcode.name) for opcode, colour in COLOURS.items()]
    axis.legend(handles=handles, fontsize=7, ncols=len(handles), loc="lower center")
    return figure


def tornado_figure(swings: Sequence[Swing], title: str, most: int = 14) -> Figure:
    """Bars from the ratio at an assumption's low end to that at its high end."""
    from matplotlib.figure import Figure

    shown = list(swings)[:most]
    figure = Figure(figsize=(8, 1.2 + 0.3 * max(len(shown), 1)), layout="constrained")
    axis = figure.subplots()
    for row, swing in enumerate(shown):
        axis.barh(row, swing.at_low - swing.base, left=swing.base, color="tab:blue")
        axis.barh(row, swing.at_high - swing.base, left=swing.base, color="tab:orange")
    labels = [f"{swing.name}: {swing.low} .. {swing.high}" for swing in shown]
    axis.set_yticks(range(len(shown)), labels, fontsize=7)
    axis.invert_yaxis()
    if shown:
        axis.axvline(shown[0].base, color="black", linewidth=0.8)
    axis.set_xlabel("ratio (blue: low end, orange: high end)")
    axis.set_title(title, fontsize=9)
    return figure


def svg_text(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure."""
    import matplotlib

    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "cosearch"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
