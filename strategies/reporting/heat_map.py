"""A heat map drawn from a table: one panel per value of a column, cells coloured by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = tuple[float, float, float, float]

PANELS_ACROSS = 3
"""More panels go into further rows, so that the words in them stay readable on a page."""


TITLE_CHARACTERS_PER_IN = 13
"""At the size of the title; longer ones are broken."""


@dataclass(frozen=True)
class HeatMap:
    """What to draw of a table.

    Attributes:
        rows: The table; of rows that share a cell the last one is drawn.
        x, y: Columns whose values are the places of a cell.
        colour: Column that colours a cell: words, or numbers.
        number: Column written into a cell: a share, shown in percent, or a word.
        panel: Column that divides the rows into panels; empty = one panel.
    """

    rows: Sequence[Mapping[str, Any]]
    x: str
    y: str
    colour: str
    number: str
    panel: str = ""


def heat_map_figure(heat_map: HeatMap) -> Figure:
    """Draw a heat map; words get a legend, numbers the scale of their own range."""
    across, down = _values(heat_map, heat_map.x), _values(heat_map, heat_map.y)
    panels = _values(heat_map, heat_map.panel) if heat_map.panel else [None]
    colours = _colours(heat_map)
    columns = min(len(panels), PANELS_ACROSS)
    rows = -(-len(panels) // columns)
    width, height = 2.8 + 0.62 * len(across) * columns, 0.4 + (1.5 + 0.5 * len(down)) * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for idle in axes[len(panels) :]:
        idle.remove()
    axes = axes[: len(panels)]
    for axis, panel in zip(axes, panels, strict=True):
        _frame(axis, heat_map, across, down)
        axis.set_title("" if panel is None else f"{heat_map.panel} = {_label(panel)}", fontsize=9)
        for row in heat_map.rows:
            if panel is None or row[heat_map.panel] == panel:
                place = (across.index(row[heat_map.x]), down.index(row[heat_map.y]))
                _cell(axis, place, colours[row[heat_map.colour]], row[heat_map.number])
    if any(isinstance(value, str) for value in colours):
        swatches = [Patch(color=colour, label=value) for value, colour in colours.items()]
        figure.legend(handles=swatches, loc="outside right upper", fontsize=8)
    figure.suptitle(
        "\n".join(wrap(_title(heat_map), int(TITLE_CHARACTERS_PER_IN * width))), fontsize=9
    )
    return figure


def _title(heat_map: HeatMap) -> str:
    """What colours and numbers mean, once where they mean the same."""
    words = any(isinstance(row[heat_map.number], str) for row in heat_map.rows)
    content = heat_map.number if words else f"{heat_map.number}, %"
    same = heat_map.colour == heat_map.number
    return content if same else f"{heat_map.colour} (in the cells: {content})"


def _values(heat_map: HeatMap, column: str) -> list[Any]:
    """Different values of a column: numbers ascending, words in order of appearance."""
    values = list(dict.fromkeys(row[column] for row in heat_map.rows))
    return values if any(isinstance(value, str) for value in values) else sorted(values)


def _colours(heat_map: HeatMap) -> dict[Any, Colour]:
    """Value of the colour column -> colour."""
    values = _values(heat_map, heat_map.colour)
    if any(isinstance(value, str) for value in values):
        return {
            value: _rgba("tab20", place % 20 / 20) for place, value in enumerate(sorted(values))
        }
    low, high = float(values[0]), float(values[-1])
    span = (high - low) or 1.0
    return {value: _rgba("Blues", 0.1 + 0.6 * (float(value) - low) / span) for value in values}


def _rgba(name: str, share: float) -> Colour:
    red, green, blue, alpha = colormaps[name](share)
    return float(red), float(green), float(blue), float(alpha)


def _frame(axis: Axes, heat_map: HeatMap, across: Sequence[Any], down: Sequence[Any]) -> None:
    turned = any(isinstance(value, str) for value in across)
    labels = [_label(value) for value in across]
    axis.set_xticks(range(len(across)), labels, fontsize=7)
    if turned:
        axis.tick_params(axis="x", rotation=40)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(down)), [_label(value) for value in down], fontsize=8)
    axis.set(xlabel=heat_map.x, xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5))


def _label(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _cell(axis: Axes, place: tuple[int, int], colour: Colour, content: Any) -> None:
    corner = (place[0] - 0.5, place[1] - 0.5)
    axis.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white"))
    text = content if isinstance(content, str) else f"{100 * float(content):.0f}"
    axis.text(*place, text, ha="center", va="center", fontsize=8)
