"""The best designs found so far whose costs are true: one, or a front."""

from __future__ import annotations

import numpy as np

from strategies.exact.archive import EDP, LATENCY, PARETO, SLACK
from strategies.exact.grid import FloatArray
from strategies.exact.mapping_builder import Plan


class Incumbents:
    """One best design, or the energy-latency front by increasing latency.

    Args:
        mode: Objective code, see `archive`.
    """

    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._rows: list[tuple[float, float, Plan]] = []

    def take(self, energy: float, cycles: float, plan: Plan) -> None:
        """Add a design; those that it beats or that beat it go."""
        rows = [*self._rows, (energy, cycles, plan)]
        if self._mode != PARETO:
            self._rows = [min(rows, key=self._rank)]
            return
        rows.sort(key=lambda row: (row[1], row[0]))
        self._rows = []
        for row in rows:
            if not self._rows or row[0] < self._rows[-1][0] * (1.0 - SLACK):
                self._rows.append(row)

    def _rank(self, row: tuple[float, float, Plan]) -> tuple[float, float]:
        energy, cycles, _ = row
        if self._mode == EDP:
            return energy * cycles, energy
        return (cycles, energy) if self._mode == LATENCY else (energy, cycles)

    @property
    def value(self) -> float:
        """The objective of the best design; inf without one."""
        return min((self._rank(row)[0] for row in self._rows), default=float("inf"))

    @property
    def plans(self) -> list[Plan]:
        """What the designs are."""
        return [plan for _, _, plan in self._rows]

    def costs(self) -> tuple[FloatArray, FloatArray]:
        """Energy [pJ] and latency [cycles] of the designs, shape (n,) each."""
        energy = np.array([row[0] for row in self._rows], dtype=np.float64)
        return energy, np.array([row[1] for row in self._rows], dtype=np.float64)
