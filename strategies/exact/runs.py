"""Innermost tiles that stay over a run of outer loops, under implicit stationarity.

See "Implicit stationarity" in docs/exact_search.md.
"""

from __future__ import annotations

import numpy as np

from strategies.exact.grid import Grid, IntArray
from strategies.exact.leaves import Leaves, take_leaves


def longest_runs(leaves: Leaves, grid: Grid, rows: IntArray, full: IntArray) -> Leaves:
    """The placements that keep a tensor, with the longest run over which their first tile stays.

    A run is one of outer loops of ranks irrelevant to that tensor. The tile may have grown in its
    own ranks to let the run stand outside other tensors' outer nodes.
    """
    kept = take_leaves(leaves, np.flatnonzero(leaves.mask > 0))
    tensor = rows[kept.row, 0]
    each = np.arange(len(full))
    left = np.where(grid.relevant[tensor], 0, grid.div[each, full, kept.top])
    trips = grid.size[each, left].prod(axis=1)
    words = kept.words.copy()
    words[np.arange(len(tensor)), tensor] /= trips
    run = np.stack([tensor, left @ grid.stride], axis=1)
    return take_leaves(kept._replace(run=run, words=words), np.flatnonzero(trips > 1.0))


def all_runs(longest: Leaves, grid: Grid, chosen: IntArray) -> Leaves:
    """The chosen placements once for every run, longest first."""
    index: list[int] = []
    runs: list[int] = []
    shorter: list[float] = []
    end: list[int] = []
    for j in chosen:
        trips, share = _parts(grid, int(longest.run[j, 1]))
        index += [int(j)] * len(trips)
        runs += trips
        shorter += share
        end += [len(index)] * len(trips)
    taken = take_leaves(longest, np.array(index, dtype=np.int64))
    run, words = taken.run.copy(), taken.words.copy()
    run[:, 1] = runs
    words[np.arange(len(index)), run[:, 0]] *= np.array(shorter)
    return taken._replace(run=run, words=words, end=np.array(end, dtype=np.int64))


def _parts(grid: Grid, run: int) -> tuple[list[int], list[float]]:
    """Runs that divide a run (full-grid indices), longest first, and the trips that they lack."""
    parts = [(0, 1.0)]
    for r in range(len(grid.number)):
        left = (run // int(grid.stride[r])) % int(grid.number[r])
        size = grid.size[r]
        some = [q for q in range(left + 1) if grid.div[r, left, q] >= 0]
        parts = [
            (index + q * int(grid.stride[r]), lack * float(size[left] / size[q]))
            for index, lack in parts
            for q in some
        ]
    parts.sort(key=lambda part: part[1])
    kept = [part for part in parts if part[0] > 0]
    return [index for index, _ in kept], [lack for _, lack in kept]
