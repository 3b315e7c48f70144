"""Joins the placements of the even mapspace under bounds from the least outer tile."""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter

import numpy as np

from strategies.exact.archive import Archive
from strategies.exact.case import Case
from strategies.exact.even import scan_even, spread_floors
from strategies.exact.grid import FloatArray, IntArray
from strategies.exact.leaves import Leaves
from strategies.exact.scan import Setting, gathered
from strategies.exact.tables import OuterTable, Surroundings, leaf_coefficients


def join_even(
    case: Case,
    tables: tuple[OuterTable, OuterTable, Surroundings],
    setting: Setting,
    leaves: Leaves,
    out: tuple[Archive, float],
) -> FloatArray:
    """Search every pair of a spatial choice and an innermost tile.

    Args:
        case: The tables.
        tables: Level 1 with true and ideal prices, and what stands around.
        setting: The choice of fan-outs.
        leaves: Innermost tiles.
        out: Takes what is found, and the `perf_counter` at which to stop.

    Returns:
        The least (energy, cycles, product) not looked at, inf = none.
    """
    archive, deadline = out
    if not len(leaves.mask):
        return np.full(3, np.inf)
    fan, parts = case.fans[-2], _parts(case, leaves, setting, tables[2])
    floors = _outer_floors(case, tables[1], setting.full)
    problem = (case.grid, case.machine, case.implicit)
    rows = len(fan.used)
    step = 1 if np.isfinite(deadline) else rows
    for first in range(0, rows, step):
        late = perf_counter() > deadline
        span = (first, rows if late else min(first + step, rows), late)
        left = scan_even(problem, tables[0], leaves, parts, fan, setting, floors, span, archive)
        if late:
            return np.asarray(left)
    return np.full(3, np.inf)


def _parts(case: Case, leaves: Leaves, setting: Setting, around: Surroundings) -> FloatArray:
    """Coefficients without and with the words written into the innermost level."""
    n = len(leaves.mask)
    twice = leaves._replace(
        own=np.concatenate([leaves.own, leaves.own]),
        words=np.concatenate([np.zeros_like(leaves.words), leaves.words]),
    )
    found = leaf_coefficients(case.costs, case.machine, twice, around, parents=(1,))[:, :, 1]
    group = float(setting.share2[case.machine.output])
    made, active = (gathered(fraction, group) for fraction in setting.computes[-1, -1, 2:])
    parts = found[:, :, 0] + (made - active) * found[:, :, 1] + active * found[:, :, 2]
    return np.ascontiguousarray(np.stack([parts[:n], parts[n:]], axis=2))


def _outer_floors(case: Case, table: OuterTable, full: IntArray) -> FloatArray:
    """Least energy of every tile of level 1, and around every base tile [pJ], inf where none fits;
    shape (2, G).

    One tensor may stay as long as it can, as if its tile had all that is left of its irrelevant
    ranks.
    """
    grid = case.grid
    index, grown = _points(tuple(grid.number.tolist()), tuple(map(tuple, grid.relevant.tolist())))
    price = table.side + table.fill * table.write[:, :1] + table.spill * table.read[:, :1]
    floors = price.sum(axis=0)
    if case.implicit:
        most = grown + (~grid.relevant).astype(np.int64) @ (grid.stride * full)[:, None]
        inside = np.minimum(most, price.shape[1] - 1)
        saved = price - np.take_along_axis(price, inside, axis=1)
        floors = floors - np.maximum(saved.max(axis=0), 0.0)
    held = (table.elements * table.bits[:, :1]).sum(axis=0)
    whole = (grid.div[np.arange(len(full)), full, index] >= 0).all(axis=1)
    floors = np.where((held <= case.machine.capacity[1]) & whole, floors, np.inf)
    both = np.stack([floors, floors])
    spread_floors(grid, both[1])
    return both


@lru_cache(maxsize=64)
def _points(
    number: tuple[int, ...], relevant: tuple[tuple[bool, ...], ...]
) -> tuple[IntArray, IntArray]:
    """Divisor indices of every point of the grid, (G, R); its index with each tensor's irrelevant
    ranks at one, (T, G).
    """
    index = np.stack([a.ravel() for a in np.indices(number)], axis=1)
    stride = np.concatenate([np.cumprod(number[::-1])[::-1][1:], [1]]).astype(np.int64)
    return index, np.array(relevant, dtype=np.int64) @ (index * stride).T
