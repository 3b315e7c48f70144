"""Joins the placements of the even mapspace, most promising pair first."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from strategies.exact.archive import ENERGY, LATENCY, Archive
from strategies.exact.case import Case
from strategies.exact.even import outer_floors, pair_bounds, scan_even
from strategies.exact.grid import FloatArray
from strategies.exact.leaves import Leaves
from strategies.exact.scan import Setting
from strategies.exact.tables import OuterTable, Surroundings, leaf_coefficients

PAIRS_AT_ONCE = 256
"""Pairs of a spatial choice and an innermost tile searched between two looks at the clock."""


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
    parts = _parts(case, leaves, setting, tables[2])
    fan, floors = case.fans[-2], np.empty(case.points.own.shape[1])
    below = setting.below.copy()
    below[:, 3] = 0.0
    outer_floors(case.grid, tables[1], case.machine, case.implicit, below, setting.full, floors)
    bounds = np.empty((len(fan.used), len(leaves.mask), 2))
    pair_bounds(case.grid, case.machine, leaves, parts, fan, setting, case.implicit, floors, bounds)
    values = _bound_values(setting.mode, bounds).ravel()
    pairs = np.flatnonzero(np.isfinite(values))
    pairs = pairs[np.argsort(values[pairs], kind="stable")]
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        if perf_counter() > deadline:
            left = bounds.reshape(-1, 2)[pairs[first:]]
            energy, cycles = left.T
            return np.array([energy.min(), cycles.min(), (energy * cycles).min()])
        scan_even(
            case.grid,
            tables[0],
            case.machine,
            leaves,
            parts,
            fan,
            setting,
            case.implicit,
            pairs[first : first + PAIRS_AT_ONCE],
            bounds,
            archive,
        )
    return np.full(3, np.inf)


def _parts(case: Case, leaves: Leaves, setting: Setting, around: Surroundings) -> FloatArray:
    """Coefficients without and with the words written into the innermost level."""
    whole = leaf_coefficients(case.costs, case.machine, leaves, around)
    idle = leaves._replace(words=np.zeros_like(leaves.words))
    bare = leaf_coefficients(case.costs, case.machine, idle, around)
    pair = np.stack([bare[:, :, 1], whole[:, :, 1]], axis=2)
    made, active = setting.computes[-1, -1, 2:]
    parts = pair[:, :, :, 0] + (made - active) * pair[:, :, :, 1] + active * pair[:, :, :, 2]
    return np.ascontiguousarray(parts)


def _bound_values(mode: int, bounds: FloatArray) -> FloatArray:
    energy, cycles = bounds[..., 0], bounds[..., 1]
    if mode == ENERGY:
        return np.asarray(energy)
    return np.where(np.isfinite(energy), cycles, np.inf) if mode == LATENCY else energy * cycles
