"""Joins the placements of the even mapspace under bounds from the least outer tile."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from strategies.exact.archive import Archive
from strategies.exact.case import Case
from strategies.exact.even import scan_even, spread_floors
from strategies.exact.grid import FloatArray, lie_between
from strategies.exact.leaves import Leaves
from strategies.exact.scan import Setting, gathered
from strategies.exact.streams import Surroundings, leaf_coefficients
from strategies.exact.tables import OuterTable


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
    fan, parts = case.joined, _parts(case, leaves, setting, tables[2])
    floors = _floors(case, tables[1], setting)
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
    found = leaf_coefficients(case.costs, case.machine, twice, around, parents=(1,))[:, :, 0]
    group = float(setting.share2[case.machine.output])
    made, active = (gathered(fraction, group) for fraction in setting.computes[-1, -1, 2:])
    parts = found[:, :, 0] + (made - active) * found[:, :, 1] + active * found[:, :, 2]
    return np.ascontiguousarray(np.stack([parts[:n], parts[n:]], axis=2))


def _floors(
    case: Case, table: OuterTable, setting: Setting
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What bounds a pair: least energy of every tile of level 1, and around every base tile [pJ],
    inf where none fits, shape (G,) each; share of each tensor's fetches that its base tile saves by
    staying as long as it can, shape (G, T).

    One tensor may stay as long as it can, as if its tile had all that is left of its irrelevant
    ranks.
    """
    grid, points, full = case.grid, case.points, setting.full
    price = table.side + table.fill * table.write[:, :1] + table.spill * table.read[:, :1]
    tiles = price.sum(axis=0)
    saved = np.zeros((price.shape[1], len(price)))
    if case.implicit:
        most = points.shrunk + (~grid.relevant).astype(np.int64) @ (grid.stride * full)[:, None]
        inside = np.minimum(most, price.shape[1] - 1)
        less = price - np.take_along_axis(price, inside, axis=1)
        tiles = tiles - np.maximum(less.max(axis=0), 0.0)
        saved = 1.0 - setting.share0 / points.refetch.T
    held = (table.elements * table.bits[:, :1]).sum(axis=0)
    whole = lie_between(grid, points.place, np.zeros_like(full), full)
    tiles = np.where((held <= case.machine.capacity[1]) & whole, tiles, np.inf)
    around = tiles.copy()
    spread_floors(grid, around)
    return tiles, around, np.ascontiguousarray(saved)
