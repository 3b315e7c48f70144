"""Which format wins where: a table over structures, densities and word widths; its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spaces.format_space import FormatSpace
from strategies.format_engine import FormatEvaluator, rank_formats, search_formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch


@dataclass(frozen=True)
class MapCase:
    """One cell of the map.

    Attributes:
        structure: Kind of zeros, for example "random" or "2:4".
        density: Fraction of non-zeros.
        word_bits: Payload bits per element.
        evaluator: Prices formats there.
    """

    structure: str
    density: float
    word_bits: float
    evaluator: FormatEvaluator


Cell = Mapping[str, str | float]
"""One row of the map, see `format_map`."""


def format_map(
    cases: Sequence[MapCase], space: FormatSpace, flat: FormatSpace, penalty: float = 0.0
) -> list[Cell]:
    """The winner of every case, beside the best tuned single-level format.

    Args:
        cases: Cells of the map.
        space: The formats that compete.
        flat: The single-level formats that the saving is measured against.
        penalty: See `strategies.format_engine`.

    Returns: per case its labels, `format`, `pattern` (without sizes), `bits_per_element`,
        `entropy_gap`, `flat_format`, `flat_bits_per_element` and `saving` (of energy, over flat).
    """
    return [_cell(case, space, flat, penalty) for case in cases]


def _cell(case: MapCase, space: FormatSpace, flat: FormatSpace, penalty: float) -> Cell:
    best = search_formats(space, case.evaluator, 1, penalty).rows()[0]
    plain = rank_formats(flat, case.evaluator, 1).rows()[0]
    return {
        "structure": case.structure,
        "density": case.density,
        "word_bits": case.word_bits,
        "format": best["format"],
        "pattern": pattern_of(str(best["format"])),
        "bits_per_element": best["bits_per_element"],
        "entropy_gap": best["entropy_gap"],
        "flat_format": plain["format"],
        "flat_bits_per_element": plain["bits_per_element"],
        "saving": 1.0 - float(best["energy_pj"]) / float(plain["energy_pj"]),
    }


def pattern_of(text: str) -> str:
    """The primitives of a format text, without dimensions and sizes.

    >>> pattern_of("B(K:256,N)-RLE(K:16,r=3)")
    'B-RLE'
    """
    return "-".join(part.split("(")[0] for part in text.split("-"))


def draw_format_map(cells: Sequence[Cell], path: Path) -> None:
    """Draw the map: one panel per word width, structures down, densities across.

    The colour of a cell is the winning pattern, the number in it the saving over the best tuned
    single-level format in percent.
    """
    from matplotlib.figure import Figure

    widths = sorted({float(cell["word_bits"]) for cell in cells})
    structures = list(dict.fromkeys(str(cell["structure"]) for cell in cells))
    densities = sorted({float(cell["density"]) for cell in cells})
    patterns = sorted({str(cell["pattern"]) for cell in cells})
    size = (1.5 + 0.62 * len(densities) * len(widths), 1.6 + 0.5 * len(structures))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(widths), squeeze=False, sharey=True)[0]
    for axis, width in zip(axes, widths, strict=True):
        axis.set(title=f"{width:g}-bit words", xlabel="density")
        axis.set_xticks(range(len(densities)), [f"{value:g}" for value in densities])
        axis.set_yticks(range(len(structures)), structures)
        axis.set(xlim=(-0.5, len(densities) - 0.5), ylim=(len(structures) - 0.5, -0.5))
        for cell in cells:
            if float(cell["word_bits"]) == width:
                place = densities.index(float(cell["density"]))
                _draw_cell(axis, cell, (place, structures.index(str(cell["structure"]))), patterns)
    figure.legend(
        handles=[_swatch(pattern, patterns) for pattern in patterns],
        loc="outside right upper",
        fontsize=8,
    )
    figure.savefig(path, dpi=150)


def _colour(pattern: str, patterns: Sequence[str]) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    red, green, blue, alpha = colormaps["tab20"](patterns.index(pattern) % 20)
    return (float(red), float(green), float(blue), float(alpha))


def _swatch(pattern: str, patterns: Sequence[str]) -> Patch:
    from matplotlib.patches import Patch

    return Patch(color=_colour(pattern, patterns), label=pattern)


def _draw_cell(axis: Axes, cell: Cell, place: tuple[int, int], patterns: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    corner = (place[0] - 0.5, place[1] - 0.5)
    colour = _colour(str(cell["pattern"]), patterns)
    axis.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white"))
    axis.text(*place, f"{100 * float(cell['saving']):.0f}", ha="center", va="center", fontsize=8)
