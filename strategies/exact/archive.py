"""The best designs found so far: one, or the energy-latency front by increasing cycles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled

SLACK = 1e-12
"""Relative difference below which two costs are the same number."""

NEAR = 1e-9
"""Relative difference that a limit leaves open, far above `SLACK` and rounding."""

ENERGY, LATENCY, EDP, PARETO = range(4)
"""Objective codes. The single ones break ties by the other metric."""

KNOWN = -1
"""First field of an entry that was in the archive before the search."""


class Archive(NamedTuple):
    """The best designs so far: one, or the front by increasing cycles.

    Attributes:
        energy, cycles: Shape (cap,).
        info: tag0, tag1, spatial row, leaf order row, outer order row, run (full-grid index of its
            trips, -1 = none), leaf tiles (T), outer tiles (T), and of four levels the columns of
            `Leaves.middle`; shape (cap, 6 + 2T or 8 + 3T).
        tally: Entries used, joins looked at, joins pruned by bound, entries that found no place;
            shape (4,).
    """

    energy: NDArray[np.float64]
    cycles: NDArray[np.float64]
    info: NDArray[np.int64]
    tally: NDArray[np.int64]


def info_columns(tensors: int, levels: int) -> int:
    """Width of `Archive.info`."""
    return 6 + 2 * tensors + (2 + tensors if levels == 4 else 0)


def new_archive(
    columns: int, energy: NDArray[np.float64], cycles: NDArray[np.float64], capacity: int = 4096
) -> Archive:
    """An archive of designs known before the search, by increasing cycles; entry i says
    (KNOWN, i).

    Args:
        columns: Of `Archive.info`, see `info_columns`.
        energy, cycles: Of the designs.
        capacity: Entries beside them.
    """
    n = len(energy)
    archive = Archive(
        np.empty(capacity + n),
        np.empty(capacity + n),
        np.full((capacity + n, columns), KNOWN, dtype=np.int64),
        np.array([n, 0, 0, 0], dtype=np.int64),
    )
    archive.energy[:n], archive.cycles[:n] = energy, cycles
    archive.info[:n, 1] = np.arange(n)
    return archive


@compiled
def no_better(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """True when nothing with at least this energy and these cycles can improve the archive."""
    n = archive.tally[0]
    if n == 0:
        return False
    if mode == PARETO:
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if archive.cycles[middle] <= cycles * (1.0 + SLACK):
                low = middle + 1
            else:
                high = middle
        return low > 0 and archive.energy[low - 1] <= energy * (1.0 + SLACK)
    first, second = energy, cycles
    best, other = archive.energy[0], archive.cycles[0]
    if mode == LATENCY:
        first, second, best, other = cycles, energy, other, best
    if mode == EDP:
        first, best = energy * cycles, best * other
        return first >= best * (1.0 - SLACK)
    if first >= best * (1.0 + SLACK):
        return True
    return first >= best * (1.0 - SLACK) and second >= other * (1.0 - SLACK)


@compiled
def energy_limit(mode, archive, cycles):  # type: ignore[no-untyped-def]
    """Energy [pJ] at which, with at least these cycles, nothing improves the archive any more."""
    n = archive.tally[0]
    if n == 0 or mode == LATENCY:
        return np.inf
    limit = archive.energy[0]
    if mode == EDP:
        limit *= archive.cycles[0] / cycles
    if mode == PARETO:
        limit = np.inf
        for i in range(n):
            if archive.cycles[i] > cycles:
                break
            limit = archive.energy[i]
    return limit * (1.0 + NEAR)


@compiled
def store(mode, archive, energy, cycles):  # type: ignore[no-untyped-def]
    """Place a design that improves the archive; returns its index, -1 when the archive is full."""
    if mode != PARETO or archive.tally[0] == 0:
        archive.tally[0] = 1
        archive.energy[0] = energy
        archive.cycles[0] = cycles
        return 0
    n = archive.tally[0]
    place = 0
    while place < n and archive.cycles[place] < cycles * (1.0 - SLACK):
        place += 1
    end = place
    while end < n and archive.energy[end] >= energy * (1.0 - SLACK):
        end += 1
    shift = place + 1 - end
    if n + shift > archive.energy.shape[0]:
        archive.tally[3] += 1
        return -1
    if shift > 0:
        for i in range(n - 1, end - 1, -1):
            archive.energy[i + 1] = archive.energy[i]
            archive.cycles[i + 1] = archive.cycles[i]
            archive.info[i + 1] = archive.info[i]
    elif shift < 0:
        for i in range(end, n):
            archive.energy[i + shift] = archive.energy[i]
            archive.cycles[i + shift] = archive.cycles[i]
            archive.info[i + shift] = archive.info[i]
    archive.tally[0] = n + shift
    archive.energy[place] = energy
    archive.cycles[place] = cycles
    return place
