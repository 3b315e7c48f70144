"""Legality of a placement: no two residents share an active row set x column set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.cim.placement import Placement

Ints = NDArray[np.int64]


def check_legal(placement: Placement) -> None:
    """Every firing must read only its own cells.

    In one time slot an array drives the union of the rows and reads the union of the columns of
    the blocks that fire; no other resident, and no second block of the slot outside its own
    rectangle, may have a programmed cell there.

    Raises:
        ValueError: Names the array, the slot and the two residents.
    """
    order = np.lexsort((placement.table["slot"], placement.table["array"]))
    arrays = placement.table["array"][order]
    for part in np.split(order, np.flatnonzero(np.diff(arrays)) + 1):
        _check_array(placement, part)


def _check_array(placement: Placement, entries: Ints) -> None:
    owner = _owners(placement, entries)
    table = placement.table
    keys = np.stack([table[name][entries] for name in ("site", "layer", "factor", "slot")])
    _, firing = np.unique(keys, axis=1, return_inverse=True)
    for slot in range(int(firing.max()) + 1):
        active = entries[firing == slot]
        rows = np.unique(np.concatenate([placement.rows_of(int(entry)) for entry in active]))
        columns = np.concatenate([placement.columns_of(int(entry)) for entry in active])
        wanted = int((table["row_count"][active] * table["column_count"][active]).sum())
        touched = owner[np.ix_(rows, np.unique(columns))]
        foreign = np.setdiff1d(touched[touched >= 0], active)
        if (
            len(foreign)
            or int((touched >= 0).sum()) != wanted
            or len(np.unique(columns)) < len(columns)
        ):
            other = int(foreign[0]) if len(foreign) else int(active[-1])
            raise ValueError(
                f"array {table['array'][active[0]]}: slot {table['slot'][active[0]]} of diagonal "
                f"{table['diagonal'][active[0]]} must not touch diagonal "
                f"{table['diagonal'][other]}: their rows and columns overlap"
            )


def _owners(placement: Placement, entries: Ints) -> Ints:
    """Entry that owns each cell of one array, -1 = free, shape (m, m)."""
    size = placement.array_size
    owner = np.full((size, size), -1, dtype=np.int64)
    for entry in entries:
        cells = np.ix_(placement.rows_of(int(entry)), placement.columns_of(int(entry)))
        taken = owner[cells]
        if (taken >= 0).any():
            other = int(taken[taken >= 0][0])
            raise ValueError(
                f"array {placement.table['array'][entry]}: a cell must hold one weight, diagonals "
                f"{placement.table['diagonal'][other]} and {placement.table['diagonal'][entry]} "
                "overlap"
            )
        owner[cells] = entry
    return owner


def occupancy(placement: Placement, array: int) -> Ints:
    """Resident diagonal in each cell of one array, -1 = free, shape (m, m)."""
    entries = np.flatnonzero(placement.table["array"] == array)
    owner = _owners(placement, entries)
    return np.where(owner >= 0, placement.table["diagonal"][owner], -1)
