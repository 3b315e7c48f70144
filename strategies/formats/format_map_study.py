"""The format map as a study: structure, density and word width are the decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.formats.format_space import FormatSpace
from strategies.formats.format_engine import FormatEvaluator, open_runs
from strategies.formats.format_map import Cell, MapCase, map_cell
from strategies.nested_search import decision_rows

Key = tuple[str, float, float]
"""(structure, density, word bits)."""

METRICS = (
    "bits_per_element",
    "bound_bits_per_element",
    "flat_bits_per_element",
    "saving",
    "saving_unpenalised",
)


@dataclass
class FormatMapStudy:
    """Evaluator of columns `structure`, `density` and `word_bits`: the best format there.

    Metrics: bits per element of the winner, of the entropy bound and of the best tuned single-level
    format, and the saving of energy over the latter, with and without the complexity penalty.

    Attributes:
        sizes: Dimension name -> size of the matrix.
        matrix: (structure, density, word_bits, sizes) -> prices formats.
        bound: Entropy bound of such a matrix [bits per element].
        max_levels: Of the formats that compete.
        penalty: A level more must save this share, see `strategies.formats.format_engine`.
    """

    sizes: Mapping[str, int]
    matrix: Callable[[str, float, float, Mapping[str, int]], FormatEvaluator]
    bound: Callable[[Any], float]
    max_levels: int = 3
    penalty: float = 0.05
    _cells: dict[Key, Cell] = field(default_factory=dict, init=False)

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Search the winner of n cells."""
        cells = [self._cell(row) for row in decision_rows(designs)]
        return Evaluation(
            {name: np.array([cell[name] for cell in cells], dtype=float) for name in METRICS}
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """One cell of the map."""
        (row,) = decision_rows(design)
        return {"cell": dict(self._cell(row))}

    def survey(self, designs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every cell as a row, wins per structure, and the map as a picture."""
        cells = [self._cell(row) for row in decision_rows(designs)]
        cells.sort(key=lambda cell: (cell["word_bits"], cell["structure"], cell["density"]))
        picture = {"x": "density", "y": "structure", "panel": "word_bits", "number": "saving"}
        return {
            "tables": {"Which format wins where": cells},
            "heat_maps": {"format_map": {"rows": cells, "colour": "pattern", **picture}},
        }

    def _cell(self, row: Mapping[str, Any]) -> Cell:
        key = str(row["structure"]), float(row["density"]), float(row["word_bits"])
        if key not in self._cells:
            matrix = self.matrix(*key, self.sizes)
            space = FormatSpace(self.sizes, self.max_levels)
            flat = open_runs(FormatSpace(self.sizes, 1))
            case = MapCase(*key, matrix)
            found = map_cell(case, space, flat, self.penalty)
            free = map_cell(case, space, flat) if self.penalty else found
            self._cells[key] = {
                **{name: value for name, value in found.items() if name != "entropy_gap"},
                "bound_bits_per_element": self.bound(matrix),
                "saving_unpenalised": free["saving"],
            }
        return self._cells[key]
