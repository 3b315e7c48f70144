"""The energy-latency front of a whole model: every trade between its two sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.exact.model_search import Combination, Front, merge_fronts
from strategies.pareto import thinned
from strategies.part_search import PartFront

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Energy-latency front of the model"
ROWS = 12
"""Points in the table, evenly spread over the front; the file has all of them."""

MOST_POINTS = 2_000
"""Points of a merged front beyond which neighbours in latency are merged, at a stated gap."""


@dataclass(frozen=True)
class ModelFront:
    """The merged front, and what every point uses.

    Attributes:
        names: Of the parts.
        combined: Totals by increasing latency, and the row of every part's own front.
        complete: The fronts of all parts are proven complete.
        clock_hz: Cycles per second.
    """

    names: tuple[str, ...]
    combined: Combination
    complete: bool
    clock_hz: float

    def __len__(self) -> int:
        return len(self.combined.energy_pj)

    @property
    def extent(self) -> str:
        """How many points there are, and what may be missing."""
        points = "1 point" if len(self) == 1 else f"{len(self)} points"
        if not self.complete:
            return f"{points}, searches of operators were cut"
        if self.combined.gap:
            return f"{points}, latencies within {self.combined.gap:.2%}"
        return f"{points}, complete"

    def rows(self) -> list[dict[str, Any]]:
        """One row per point, the fastest first; by part the point of its own front it uses."""
        energy, cycles = self.combined.energy_pj, self.combined.latency_cycles
        seconds = cycles / self.clock_hz
        return [
            {
                "energy_pj": float(energy[row]),
                "latency_s": float(seconds[row]),
                "edp_j_s": float(energy[row] * 1e-12 * seconds[row]),
                **dict(zip(self.names, map(int, choices), strict=True)),
            }
            for row, choices in enumerate(self.combined.choices)
        ]

    def table(self) -> list[dict[str, Any]]:
        """Totals of some points, relative to the least energy, latency and product."""
        if len(self) < 2:
            return []
        totals = [list(row.values())[:3] for row in self.rows()]
        least = np.min(totals, axis=0)
        names = ("energy_pj", "latency_s", "edp_j_s")
        return [
            {
                **dict(zip(names, totals[row], strict=True)),
                "energy / least": totals[row][0] / least[0],
                "latency / least": totals[row][1] / least[1],
                "EDP / least": totals[row][2] / least[2],
            }
            for row in thinned(np.arange(len(totals)), ROWS)
        ]

    def csv(self) -> str:
        """All rows as CSV text."""
        rows = self.rows()
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        return "\n".join(lines) + "\n"

    def figure(self, energy_pj: float, latency_s: float) -> Figure:
        """The front as steps, its point of least product, and the design in use."""
        from strategies.reporting.figures import PALETTE, new_axes

        seconds = self.combined.latency_cycles / self.clock_hz
        energy = self.combined.energy_pj
        figure, axes = new_axes(TITLE, "latency_s", "energy_pj")
        axes.step(seconds, energy, where="post", color=PALETTE[0], lw=1)
        axes.scatter(seconds, energy, s=14, color=PALETTE[0], label=f"front: {self.extent}")
        best = int((energy * seconds).argmin())
        marks = (
            ("least EDP", seconds[best], energy[best], "D", PALETTE[2]),
            ("this study's choice", latency_s, energy_pj, "*", PALETTE[5]),
        )
        for label, x, y, marker, colour in marks:
            size = 150 if marker == "*" else 60
            axes.scatter([x], [y], s=size, marker=marker, color=colour, label=label, zorder=3)
        axes.legend(frameon=False, fontsize=8)
        return figure


def model_front(
    names: Sequence[str], fronts: Sequence[PartFront], counts: Sequence[int], clock_hz: float
) -> ModelFront:
    """Merge the fronts of all parts; every part must have a valid design.

    Args:
        names: Of the parts.
        fronts: Of the parts; costs are energy [pJ] and latency [cycles] of one run.
        counts: Runs of every part in one run of the model.
        clock_hz: Cycles per second.
    """
    parts = [
        Front(front.costs[:, 0], front.costs[:, 1], count)
        for front, count in zip(fronts, counts, strict=True)
    ]
    merged = merge_fronts(parts, MOST_POINTS)
    return ModelFront(tuple(names), merged, all(f.certified for f in fronts), clock_hz)
