"""Best so far of several strategies, the median of their seeds with the range around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from evaluators.evaluation import FloatArray
from strategies.reporting.figures import PALETTE, new_axes

POINTS = 200
"""Places of the horizontal axis that curves are drawn at."""

LINEAR_PERCENT = 0.1
"""Excess over the best of all [%] below which differences are drawn as they are."""


class Progress(Protocol):
    """One search, evaluation by evaluation."""

    @property
    def best(self) -> FloatArray:
        """Best so far, inf before anything feasible."""
        ...

    @property
    def seconds(self) -> FloatArray:
        """When each evaluation was recorded."""
        ...


def progress_figure(groups: Mapping[str, Sequence[Progress]], metric: str, against: str) -> Figure:
    """How far the best so far is above the best of all, against `evaluations` or `seconds`.

    Both axes are logarithmic; below `LINEAR_PERCENT` the vertical one is linear down to 0.
    """
    figure, axes = new_axes(f"Best {metric} so far", against, "above the best of all, %")
    least = min(float(search.best[-1]) for searches in groups.values() for search in searches)
    for index, (name, searches) in enumerate(groups.items()):
        places = [_places(search, against) for search in searches]
        grid = np.geomspace(min(p[0] for p in places), max(p[-1] for p in places), POINTS)
        curves = np.stack([_at(grid, p, s.best) for p, s in zip(places, searches, strict=True)])
        # A median is drawn where most seeds have found something feasible.
        middle = _percent_above(least, np.median(curves, axis=0))
        colour = PALETTE[index % len(PALETTE)]
        axes.plot(grid, np.where(np.isfinite(middle), middle, np.nan), color=colour, label=name)
        low = _percent_above(least, curves.min(axis=0))
        high = _percent_above(least, curves.max(axis=0))
        shown = np.isfinite(high)
        axes.fill_between(grid[shown], low[shown], high[shown], color=colour, alpha=0.15, lw=0)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LINEAR_PERCENT)
    axes.set_ylim(bottom=-LINEAR_PERCENT / 10)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.legend(fontsize=8, title=f"median and range of {len(next(iter(groups.values())))} seeds")
    return figure


def _percent_above(least: float, values: FloatArray) -> FloatArray:
    """Excess over the best of all [%]; inf stays."""
    return np.asarray(100.0 * (values / least - 1.0))


def _places(search: Progress, against: str) -> FloatArray:
    """Where each evaluation stands on the horizontal axis."""
    if against == "seconds":
        return np.maximum(search.seconds, 1e-4)
    return np.arange(1.0, len(search.best) + 1)


def _at(grid: FloatArray, places: FloatArray, best: FloatArray) -> FloatArray:
    """The best so far at each place of the grid; inf before the first evaluation."""
    index = np.searchsorted(places, grid, side="right") - 1
    return np.where(index >= 0, best[np.maximum(index, 0)], np.inf)
