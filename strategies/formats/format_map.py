"""Which format wins where: a table over structures, densities and word widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spaces.formats.format_space import FormatSpace
from strategies.formats.format_engine import FormatEvaluator, rank_formats, search_formats


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
        penalty: See `strategies.formats.format_engine`.

    Returns: per case its labels, `format`, `pattern` (without sizes), `bits_per_element`,
        `entropy_gap`, `flat_format`, `flat_bits_per_element` and `saving` (of energy, over flat).
    """
    return [map_cell(case, space, flat, penalty) for case in cases]


def map_cell(case: MapCase, space: FormatSpace, flat: FormatSpace, penalty: float = 0.0) -> Cell:
    """One case of `format_map`."""
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
