"""Pictures of in-memory designs: array occupancy, the schedule, and what a ratio depends on.

Every function returns a matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluators.analog.commands import CommandStream, Opcode
from evaluators.analog.sensitivity import Swing
from spaces.cim.legality import occupancy
from spaces.cim.placement import Placement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    Opcode.MVM: "#0072B2",
    Opcode.ADC: "#E69F00",
    Opcode.COMM: "#009E73",
    Opcode.PERMUTE: "#CC79A7",
    Opcode.DPU: "#56B4E9",
    Opcode.MHA: "#D55E00",
}
"""Commands that take time, in the schedule (colours of Okabe and Ito)."""

MOST_DIAGONALS = 16
"""Diagonals told apart by eye; of arrays with more, a corner is shown."""


def occupancy_figure(placements: Mapping[str, tuple[Placement, Sequence[int]]]) -> Figure:
    """Which diagonal fills which cells of some arrays; white = free.

    Args:
        placements: Title of a row -> placement, and the arrays drawn beside one another.
    """
    from matplotlib.figure import Figure

    across = max(len(arrays) for _, arrays in placements.values())
    size = (2.7 * across + 0.9, 2.9 * len(placements))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(placements), across, squeeze=False)
    for line, (title, (placement, arrays)) in zip(grid, placements.items(), strict=True):
        for axis in line[len(arrays) :]:
            axis.set_axis_off()
        for axis, array in zip(line, arrays, strict=False):
            _draw_array(axis, placement, array)
        line[0].set_ylabel(f"{title}\nwordline", fontsize=8)
    figure.suptitle("Occupancy of arrays; colour = diagonal, white = free", fontsize=9)
    return figure


def _draw_array(axis: Axes, placement: Placement, array: int) -> None:
    """One array, or its top left corner where diagonals are too many to see."""
    resident = occupancy(placement, array)
    diagonals = int(resident.max()) + 1
    filled = float((resident >= 0).mean())
    entry = int(np.flatnonzero(placement.table["array"] == array)[0])
    site = placement.model.sites[int(placement.table["site"][entry])].name
    title = f"array {array} ({site}, stage {int(placement.table['factor'][entry]) + 1})"
    shown = min(placement.array_size, 2 * diagonals if diagonals > MOST_DIAGONALS else 1 << 30)
    corner = "" if shown == placement.array_size else f"; first {shown} x {shown} cells"
    axis.imshow(
        np.ma.masked_less(resident[:shown, :shown], 0),
        cmap="turbo",
        vmin=-0.5,
        vmax=max(diagonals - 0.5, 0.5),
        interpolation="nearest",
    )
    axis.set_title(f"{title}\n{filled:.1%} filled{corner}", fontsize=7)
    axis.set_xlabel("bitline", fontsize=8)
    axis.tick_params(labelsize=7)


def gantt_figure(
    stream: CommandStream, until_ns: float | None = None, arrays_per_stage: int = 3
) -> Figure:
    """Busy times of a few arrays of every stage that works before `until_ns`, and of the digital
    units.

    Args:
        stream: Commands.
        until_ns: End of the picture; None = of the stream.
        arrays_per_stage: Arrays drawn of each site and stage.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    end = stream.makespan_ns if until_ns is None else until_ns
    columns = stream.columns
    timed = np.isin(columns["opcode"], [int(opcode) for opcode in COLOURS])
    timed &= (columns["duration_ns"] > 0) & (columns["start_ns"] < end)
    lines = _lines(stream, np.flatnonzero(timed), arrays_per_stage)
    figure = Figure(figsize=(9, 1.3 + 0.2 * len(lines)), layout="constrained")
    axis = figure.subplots()
    seen: dict[Opcode, None] = {}
    for row, commands in enumerate(lines.values()):
        for opcode, colour in COLOURS.items():
            chosen = commands[columns["opcode"][commands] == opcode]
            if len(chosen):
                seen[opcode] = None
                spans = np.stack([columns["start_ns"][chosen], columns["duration_ns"][chosen]], 1)
                axis.broken_barh(
                    [(float(start), float(length)) for start, length in spans],
                    (row - 0.4, 0.8),
                    facecolors=colour,
                    linewidth=0,
                )
    axis.set_yticks(range(len(lines)), list(lines), fontsize=7)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.set_xlim(0, end)
    axis.set_xlabel("time [ns]", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(axis="x", alpha=0.25)
    axis.set_title(
        f"One token: up to {arrays_per_stage} arrays of each stage until {end:,.0f} ns",
        fontsize=9,
        loc="left",
    )
    handles = [Patch(color=COLOURS[code], label=code.name) for code in COLOURS if code in seen]
    figure.legend(handles=handles, fontsize=7, loc="outside right upper")
    return figure


def _lines(
    stream: CommandStream, commands: NDArray[np.intp], arrays_per_stage: int
) -> dict[str, NDArray[np.intp]]:
    """Label -> commands of one line, in order of first use; digital units last."""
    columns = stream.columns
    digital = columns["array"][commands] < 0
    analog = commands[~digital]
    keys = np.stack([columns[name][analog] for name in ("site", "factor", "array")])
    found: dict[str, NDArray[np.intp]] = {}
    drawn: dict[tuple[int, int], int] = {}
    unique, first, line = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    for index in np.argsort(first, kind="stable"):
        site, factor, array = (int(value) for value in unique[:, index])
        drawn[site, factor] = drawn.get((site, factor), 0) + 1
        if drawn[site, factor] <= arrays_per_stage:
            label = f"{stream.site_names[site]} stage {factor + 1}, array {array}"
            found[label] = analog[line == index]
    if digital.any():
        found["digital units"] = commands[digital]
    return found


def tornado_figure(swings: Sequence[Swing], title: str, most: int = 14) -> Figure:
    """Bars from the ratio at an assumption's low end to that at its high end."""
    from matplotlib.figure import Figure

    shown = list(swings)[:most]
    figure = Figure(figsize=(8, 1.2 + 0.3 * max(len(shown), 1)), layout="constrained")
    axis = figure.subplots()
    for row, swing in enumerate(shown):
        axis.barh(row, swing.at_low - swing.base, left=swing.base, color=COLOURS[Opcode.MVM])
        axis.barh(row, swing.at_high - swing.base, left=swing.base, color=COLOURS[Opcode.ADC])
    labels = [f"{swing.name}: {swing.low} .. {swing.high}" for swing in shown]
    axis.set_yticks(range(len(shown)), labels, fontsize=7)
    axis.invert_yaxis()
    if shown:
        axis.axvline(shown[0].base, color="black", linewidth=0.8)
        title = f"{title}: {shown[0].base:.2f} with the assumptions as they are"
    axis.set_xlabel("ratio (blue: low end, orange: high end)", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(axis="x", alpha=0.25)
    axis.set_title(title, fontsize=9, loc="left")
    return figure
