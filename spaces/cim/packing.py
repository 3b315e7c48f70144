"""Packing chunks (block diagonals) into arrays, across sites and factors.

Chunks of one group run in the same stage of the same token, so two of them in one array wait for
one another. A packing wants few arrays, and few chunks of any group in one array. Consecutive
numbering, taken modulo the fewest arrays, reaches both minima at once: a group of g chunks meets
an array at most ceil(g / arrays) times, and no packing into as few arrays can do better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spaces.cim.placement import Placement, with_table

Ints = NDArray[np.int64]

Packing = list[Ints]
"""Per group, the array of each of its chunks."""

Packer = Callable[[Sequence[int], int], Packing]
"""(chunks of each group, chunks that an array holds) -> packing."""


def per_group(sizes: Sequence[int], capacity: int) -> Packing:
    """Every group in arrays of its own."""
    packing, first = [], 0
    for size in sizes:
        own = -(-size // capacity)
        packing.append(first + np.arange(size) % own)
        first += own
    return packing


def first_fit(sizes: Sequence[int], capacity: int) -> Packing:
    """One array after another is filled."""
    return _split(np.arange(sum(sizes)) // capacity, sizes)


def round_robin(sizes: Sequence[int], capacity: int) -> Packing:
    """Consecutive chunks in consecutive arrays: fewest arrays and least waiting."""
    arrays = fewest_arrays(sizes, capacity)
    return _split(np.arange(sum(sizes)) % arrays, sizes)


def _split(flat: Ints, sizes: Sequence[int]) -> Packing:
    return np.split(flat, np.cumsum(sizes)[:-1])


def fewest_arrays(sizes: Sequence[int], capacity: int) -> int:
    """Arrays that all chunks need at least.

    Raises:
        ValueError: If an array holds nothing or a group is empty.
    """
    if capacity < 1 or min(sizes, default=1) < 1:
        raise ValueError(
            f"packing needs capacity >= 1 and groups of >= 1 chunk, got {capacity}, {list(sizes)}"
        )
    return -(-sum(sizes) // capacity)


def waiting(packing: Packing) -> int:
    """Time in chunks until every group has run once: sum over groups of the busiest array."""
    return int(sum(np.bincount(arrays).max() for arrays in packing))


def arrays_used(packing: Packing) -> int:
    """Arrays that hold something."""
    return len(np.unique(np.concatenate(packing)))


def exact_packing(sizes: Sequence[int], capacity: int) -> Packing:
    """Least waiting in the fewest arrays by integer programming; for small sizes.

    Raises:
        ValueError: Above 200 (group, array) pairs.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    arrays, groups = fewest_arrays(sizes, capacity), len(sizes)
    cells = groups * arrays
    if cells > 200:
        raise ValueError(f"exact packing is for up to 200 (group, array) pairs, got {cells}")
    total, load = np.zeros((groups, cells + groups)), np.zeros((arrays, cells + groups))
    busiest = np.zeros((cells, cells + groups))
    for group in range(groups):
        mine = slice(group * arrays, (group + 1) * arrays)
        total[group, mine] = 1
        load[np.arange(arrays), np.arange(arrays) + group * arrays] = 1
        busiest[mine, mine] = np.eye(arrays)
        busiest[mine, cells + group] = -1
    found = milp(
        np.concatenate([np.zeros(cells), np.ones(groups)]),
        constraints=[
            LinearConstraint(total, sizes, sizes),
            LinearConstraint(load, 0, capacity),
            LinearConstraint(busiest, -np.inf, 0),
        ],
        integrality=np.ones(cells + groups, dtype=np.int64),
        bounds=Bounds(0, capacity),
    )
    assert found.x is not None, found.message
    counts = np.rint(found.x[:cells]).astype(np.int64).reshape(groups, arrays)
    return [np.repeat(np.arange(arrays), row) for row in counts]


def pool(placement: Placement, positions: Sequence[int], packer: Packer = round_robin) -> Placement:
    """Repack the diagonals of sites mapped by reading A, blocks of equal size together.

    Pooling rounds up once per block size instead of once per factor and site.

    Args:
        placement: Any placement.
        positions: Sites mapped `dense_a`.
        packer: How chunks become arrays.

    Raises:
        ValueError: If a site is linear.
    """
    table = {name: column.copy() for name, column in placement.table.items()}
    pools: dict[tuple[int, int], list[NDArray[np.intp]]] = {}
    for site in positions:
        shape = placement.shapes[site]
        if shape is None:
            raise ValueError(
                f"site {placement.model.sites[site].name!r}: linear sites have no chunks"
            )
        for factor, block in enumerate(shape.factors):
            mine = (table["site"] == site) & (table["factor"] == factor)
            for layer in range(placement.model.sites[site].layers):
                entries = np.flatnonzero(mine & (table["layer"] == layer))
                pools.setdefault((block.rows, block.columns), []).append(entries)
    first = int(placement.arrays)
    for (rows, columns), groups in pools.items():
        first += _repack(placement, table, (rows, columns), groups, packer, first)
    _, table["array"] = np.unique(table["array"], return_inverse=True)
    return with_table(placement, table)


def _repack(
    placement: Placement,
    table: dict[str, Ints],
    block: tuple[int, int],
    groups: list[NDArray[np.intp]],
    packer: Packer,
    first: int,
) -> int:
    """Give new arrays, diagonals, slots, rows and columns to the chunks of one block size."""
    grid = placement.array_size // block[0], placement.array_size // block[1]
    fit = min(grid)
    chunks = [_chunk_numbers(placement, table, entries, fit) for entries in groups]
    packing = packer([int(numbers.max()) + 1 for numbers in chunks], max(grid))
    residents = np.zeros(max(int(arrays.max()) for arrays in packing) + 1, dtype=np.int64)
    for entries, numbers, arrays in zip(groups, chunks, packing, strict=True):
        diagonal, order = np.zeros_like(arrays), np.zeros_like(arrays)
        busy = np.zeros_like(residents)
        for chunk, array in enumerate(arrays.tolist()):
            diagonal[chunk], order[chunk] = residents[array], busy[array]
            residents[array] += 1
            busy[array] += 1
        _move(
            table,
            entries,
            (first + arrays[numbers], diagonal[numbers], order[numbers]),
            block,
            grid,
        )
    return len(residents)


def _chunk_numbers(
    placement: Placement, table: dict[str, Ints], entries: NDArray[np.intp], fit: int
) -> Ints:
    """Number of each entry's chunk within its group, parallel matrices counted on."""
    index = _block_index(placement, table, entries)
    chunk = index // fit
    return table["matrix"][entries] * (int(chunk.max()) + 1) + chunk


def _block_index(placement: Placement, table: dict[str, Ints], entries: NDArray[np.intp]) -> Ints:
    """Number of each entry's block in its matrix, tiles counted on."""
    shape = placement.shapes[int(table["site"][entries[0]])]
    assert shape is not None
    blocks = shape.factors[int(table["factor"][entries[0]])].blocks
    tile = table["tile_row"][entries] * shape.in_tiles + table["tile_column"][entries]
    return np.asarray(tile * blocks + table["block"][entries])


def _move(
    table: dict[str, Ints],
    entries: NDArray[np.intp],
    where: tuple[Ints, Ints, Ints],
    block: tuple[int, int],
    grid: tuple[int, int],
) -> None:
    """Rewrite the entries of one group for their new (array, diagonal, order)."""
    array, diagonal, order = where
    rows, columns = block
    fit = min(grid)
    step_rows = int(table["row_count"][entries].max())
    per_chunk = fit * -(-rows // step_rows)
    within = table["slot"][entries] % per_chunk
    turn = within // (per_chunk // fit)
    tall = grid[0] > grid[1]
    row_block = (turn + diagonal) % grid[0] if tall else turn
    column_block = turn if tall else (turn + diagonal) % grid[1]
    table["array"][entries] = array
    table["diagonal"][entries] = diagonal
    table["slot"][entries] = order * per_chunk + within
    table["row_start"][entries] = row_block * rows + table["row_offset"][entries]
    table["column_start"][entries] = column_block * columns
