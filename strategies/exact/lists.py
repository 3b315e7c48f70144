"""A store of Pareto lists over energy and the load of every port, found by key."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.compiled import compiled
from strategies.exact.archive import SLACK


class Lists(NamedTuple):
    """Pareto lists of the outer level's placements by key, in one growing store.

    Attributes:
        keys: Open-addressing table of keys, shape (H, 4 + T): keep mask, tensor and
            trips of a run, base tile, and what of each tensor inside the list depends on.
        key: The key last asked for, shape (4 + T,).
        begin, length: Where a key's list stands, length -1 = free slot; shape (H,).
        limit: Energy from which on a key's list may lack entries [pJ], shape (H,).
        energy: pJ, shape (E,).
        load: Cycles by port, shape (E, V).
        tile: Full-grid index of each tensor's tile, -1 = bypassed; shape (E, T).
        order: Row of the node orders, shape (E,).
        used: Number of entries, of keys, of placements visited and of those pruned; shape (4,).
    """

    keys: NDArray[np.int64]
    key: NDArray[np.int64]
    begin: NDArray[np.int64]
    length: NDArray[np.int64]
    limit: NDArray[np.float64]
    energy: NDArray[np.float64]
    load: NDArray[np.float64]
    tile: NDArray[np.int64]
    order: NDArray[np.int64]
    used: NDArray[np.int64]


@compiled
def dominated(energy, load, first, last, new_energy, new_load):  # type: ignore[no-untyped-def]
    """True when one of entries first..last is no worse than the new one everywhere."""
    for i in range(first, last):
        if energy[i] <= new_energy * (1.0 + SLACK):
            good = True
            for v in range(new_load.shape[0]):
                if load[i, v] > new_load[v] * (1.0 + SLACK):
                    good = False
                    break
            if good:
                return True
    return False


@compiled
def insert_entry(lists, first, new_energy, new_load, tile, order):  # type: ignore[no-untyped-def]
    """Add an undominated entry to the list from `first` to the store's end, keeping it Pareto."""
    last = lists.used[0]
    keep = first
    for i in range(first, last):
        worse = new_energy <= lists.energy[i]
        for v in range(new_load.shape[0]):
            if new_load[v] > lists.load[i, v]:
                worse = False
                break
        if not worse:
            if keep != i:
                lists.energy[keep] = lists.energy[i]
                lists.load[keep] = lists.load[i]
                lists.tile[keep] = lists.tile[i]
                lists.order[keep] = lists.order[i]
            keep += 1
    lists.energy[keep] = new_energy
    lists.load[keep] = new_load
    lists.tile[keep] = tile
    lists.order[keep] = order
    lists.used[0] = keep + 1


@compiled
def sort_entries(lists, first, last):  # type: ignore[no-untyped-def]
    """Order a list by energy (lists are short: insertion sort by exchange)."""
    for i in range(first + 1, last):
        j = i
        while j > first and lists.energy[j - 1] > lists.energy[j]:
            lists.energy[j - 1], lists.energy[j] = lists.energy[j], lists.energy[j - 1]
            lists.order[j - 1], lists.order[j] = lists.order[j], lists.order[j - 1]
            for v in range(lists.load.shape[1]):
                lists.load[j - 1, v], lists.load[j, v] = lists.load[j, v], lists.load[j - 1, v]
            for t in range(lists.tile.shape[1]):
                lists.tile[j - 1, t], lists.tile[j, t] = lists.tile[j, t], lists.tile[j - 1, t]
            j -= 1


@compiled
def same_key(one, other):  # type: ignore[no-untyped-def]
    """True when two keys are equal."""
    return (one == other).all()


@compiled
def find_slot(lists):  # type: ignore[no-untyped-def]
    """Slot of the key last asked for in the table, or of the free place where it belongs."""
    keys, key = lists.keys, lists.key
    size = keys.shape[0]
    mixed = key[0]
    for part in key[1:]:
        mixed = (mixed ^ (mixed >> 29)) * 0x9E3779B97F4A7C1 + part
    slot = (mixed ^ (mixed >> 20)) & (size - 1)
    while lists.length[slot] >= 0 and not same_key(keys[slot], key):
        slot = (slot + 1) & (size - 1)
    return slot


def new_lists(ports: int, tensors: int, log2_keys: int = 16) -> Lists:
    """An empty store with room for 2**log2_keys keys and four entries for each."""
    slots = 1 << log2_keys
    return Lists(
        keys=np.empty((slots, 4 + tensors), dtype=np.int64),
        key=np.zeros(4 + tensors, dtype=np.int64),
        begin=np.empty(slots, dtype=np.int64),
        length=np.full(slots, -1, dtype=np.int64),
        limit=np.empty(slots),
        energy=np.empty(4 * slots),
        load=np.empty((4 * slots, ports)),
        tile=np.empty((4 * slots, tensors), dtype=np.int64),
        order=np.empty(4 * slots, dtype=np.int64),
        used=np.zeros(4, dtype=np.int64),
    )


def clear_lists(lists: Lists) -> None:
    """Forget every list."""
    lists.length[:] = -1
    lists.used[:2] = 0
