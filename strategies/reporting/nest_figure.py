"""Draws loop nests: a block per item inside the one above it, and the formats in it as trees.

A nest is read from its listing, in which each line is an item and deeper lines stand inside the
shallower ones before them: `LEVEL keeps T 4x8 as B(K)-CP(N), ...`, `for K in 16`,
`spatial X: N in 4`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strategies.reporting.figures import GREY, PALETTE

KEEPS, TEMPORAL, SPATIAL = "keeps", "for", "spatial"
COLOURS = {KEEPS: PALETTE[0], TEMPORAL: GREY, SPATIAL: PALETTE[1]}
MAX_NESTS = 12
"""Nests drawn for one design; their listings are all in the report."""

INDENT = 0.35
ROW_IN = 0.24
"""Height of a line [inch]."""

_ITEM = re.compile(r"^(?P<indent> *)(?:(?P<level>\S+) keeps |for |spatial )\S.*$")
_STORED = re.compile(r"(\S+) \S+ as ((?:[^\s,(]+|\([^)]*\))+)")


@dataclass(frozen=True)
class NestItem:
    """One line of a listing.

    Attributes:
        depth: Loops around it.
        kind: `keeps`, `for` or `spatial`.
        text: As it is written.
    """

    depth: int
    kind: str
    text: str


def nest_items(listing: str) -> list[NestItem]:
    """The items of a listing; empty when the text is no loop nest.

    >>> listing = "DRAM keeps A 4\\nfor K in 4\\n  RF keeps A 1"
    >>> [(item.depth, item.kind) for item in nest_items(listing)]
    [(0, 'keeps'), (0, 'for'), (1, 'keeps')]
    """
    items = []
    for line in listing.splitlines():
        match = _ITEM.match(line)
        if match is None:
            return []
        text = line.strip()
        kind = KEEPS if match["level"] else text.split(" ")[0]
        items.append(NestItem(len(match["indent"]) // 2, kind, text))
    return items


def stored_formats(items: list[NestItem]) -> dict[str, list[str]]:
    """`TENSOR in LEVEL` -> the primitives of its compression format, outermost first.

    >>> stored_formats(nest_items("DRAM keeps W 8x8 as B(K:4,N)-CP(K), Z 8"))
    {'W in DRAM': ['B(K:4,N)', 'CP(K)']}
    """
    found = {}
    for item in items:
        if item.kind == KEEPS:
            level = item.text.split(" ")[0]
            for tensor, text in _STORED.findall(item.text):
                found[f"{tensor} in {level}"] = text.split("-")
    return found


def nest_figures(texts: Mapping[str, str]) -> dict[str, Figure]:
    """A figure for each of the first texts that is a loop nest, by file name."""
    nests = {title: items for title, text in texts.items() if (items := nest_items(text))}
    names = {f"nest_{index}": title for index, title in enumerate(list(nests)[:MAX_NESTS])}
    return {name: nest_figure(title, nests[title]) for name, title in names.items()}


def nest_figure(title: str, items: list[NestItem]) -> Figure:
    """Storage in blue, temporal loops in grey, spatial loops in orange; format trees below."""
    formats = stored_formats(items)
    rows = len(items) + (len(formats) + 1 if formats else 0)
    figure = Figure(figsize=(7.2, ROW_IN * (rows + 2.2)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    width = max(max(INDENT * item.depth + 0.11 * len(item.text) for item in items) + 0.6, 8.0)
    for row, item in enumerate(items):
        below = [other.depth for other in items[row + 1 :]]
        inside = next((n for n, depth in enumerate(below) if depth <= item.depth), len(below))
        _block(axes, item, row, rows=inside + 1, width=width)
    for row, (name, primitives) in enumerate(formats.items(), start=len(items) + 1):
        _format_tree(axes, name, primitives, row)
    axes.set_xlim(0, width)
    axes.set_ylim(rows + 0.2, -0.2)
    axes.axis("off")
    return figure


def _block(axes: Axes, item: NestItem, row: int, rows: int, width: float) -> None:
    """A bar for the item, and a frame around what stands inside a loop."""
    left, colour = INDENT * item.depth, COLOURS[item.kind]
    size = rows if item.kind != KEEPS else 1
    axes.barh(row + size / 2, width - left, size - 0.08, left=left, color=colour, alpha=0.10)
    axes.barh(row + size / 2, 0.09, size - 0.08, left=left, color=colour)
    weight = "bold" if item.kind == KEEPS else "normal"
    axes.text(left + 0.2, row + 0.5, item.text, va="center", fontsize=7.5, fontweight=weight)


def _format_tree(axes: Axes, name: str, primitives: list[str], row: int) -> None:
    """The levels of a format from the root to the non-zeros, as linked boxes."""
    axes.text(0.0, row + 0.5, name, va="center", fontsize=7.5)
    left = 1.6
    for label in [*primitives, "non-zeros"]:
        colour = PALETTE[2] if label != "non-zeros" else "white"
        box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "alpha": 0.25}
        axes.text(left, row + 0.5, label, va="center", fontsize=7.5, bbox=box)
        right = left + 0.125 * len(label) + 0.25
        if label != "non-zeros":
            axes.annotate(
                "", (right + 0.4, row + 0.5), (right, row + 0.5), arrowprops={"arrowstyle": "->"}
            )
        left = right + 0.6
