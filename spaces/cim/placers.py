"""How each mapping lays the blocks of one factor into arrays: one function per mapping.

Each returns a table with a row per cell block (`COLUMNS`) and the arrays it used, numbered from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.cim.model import ProjectionSite
from spaces.cim.monarch_shape import BlockDiagonal, MonarchShape

Ints = NDArray[np.int64]

COLUMNS = (
    "site",  # position of the site in the model
    "layer",
    "matrix",  # 0..parallel-1
    "factor",  # 0 = stage 1 (R) or the dense matrix, 1 = stage 2 (L)
    "tile_row",
    "tile_column",
    "block",  # of the tile's factor
    "row_offset",  # first input of the block that is stored here
    "row_count",
    "column_offset",  # first output of the block that is stored here
    "column_count",
    "array",
    "diagonal",  # residents of an array are numbered; 0 for linear and sparse
    "slot",  # time step within the site's stage
    "row_start",  # wordlines row_start + i*row_stride
    "row_stride",
    "column_start",  # bitlines column_start + i*column_stride
    "column_stride",
)
"""Columns of a placement table, all integers."""


@dataclass(frozen=True)
class PlacementJob:
    """One factor of one site and how it is to be placed.

    Attributes:
        position: Of the site in the model.
        site: What is placed.
        shape: Monarch shape; None = the dense matrix.
        factor: 0 = stage 1, 1 = stage 2.
        array_size: Rows and columns of an array.
        sub_steps: Row groups of reading A.
        spread: Chunks of all layers share arrays.
    """

    position: int
    site: ProjectionSite
    shape: MonarchShape | None
    factor: int
    array_size: int
    sub_steps: int
    spread: bool

    @property
    def blocks(self) -> BlockDiagonal:
        """Blocks of one tile; a dense matrix is one block."""
        if self.shape is None:
            return BlockDiagonal(1, self.site.in_features, self.site.out_features)
        return self.shape.factors[self.factor]

    @property
    def tiles(self) -> int:
        """Tiles of one matrix."""
        return 1 if self.shape is None else self.shape.tiles

    @property
    def label(self) -> str:
        """For messages."""
        return f"site {self.site.name!r}, factor {self.factor + 1}"


def _grid(*sizes: int) -> tuple[Ints, ...]:
    """Flat index grids, the last one fastest."""
    return tuple(axis.reshape(-1) for axis in np.indices(sizes))


def _fit(job: PlacementJob) -> tuple[int, int]:
    """Block rows and block columns that an array offers."""
    block, size = job.blocks, job.array_size
    if max(block.rows, block.columns) > size:
        raise ValueError(
            f"{job.label}: a block of {block.rows} x {block.columns} must fit the array of "
            f"{size} x {size}: use a larger array or smaller blocks"
        )
    return size // block.rows, size // block.columns


def _packed(
    job: PlacementJob, group: Ints, chunk: Ints, capacity: int
) -> tuple[Ints, Ints, Ints, int]:
    """Array, resident number and order within a token of chunks, and the arrays used.

    Args:
        job: What is placed.
        group: Index of the set that runs together, all layers counted on; shape (entries,).
        chunk: Index within the set.
        capacity: Chunks that an array holds.
    """
    chunks, groups = int(chunk.max()) + 1, int(group.max()) + 1
    if job.spread:
        arrays = -(-groups * chunks // capacity)
        place_ = group * chunks + chunk
        per_layer = groups * chunks // job.site.layers
        return place_ % arrays, place_ // arrays, place_ % per_layer // arrays, arrays
    own = -(-chunks // capacity)
    return group * own + chunk % own, chunk // own, chunk // own, groups * own


def _table(job: PlacementJob, entries: int, **columns: Ints | int) -> dict[str, Ints]:
    """A table from columns and constants."""
    block = job.blocks
    defaults: dict[str, Ints | int] = {
        "site": job.position,
        "factor": job.factor,
        "tile_row": 0,
        "tile_column": 0,
        "block": 0,
        "row_offset": 0,
        "row_count": block.rows,
        "column_offset": 0,
        "column_count": block.columns,
        "row_stride": 1,
        "column_stride": 1,
    }
    merged = {**defaults, **columns}
    return {name: np.broadcast_to(merged[name], (entries,)).astype(np.int64) for name in COLUMNS}


def _linear(job: PlacementJob) -> tuple[dict[str, Ints], int]:
    size, block = job.array_size, job.blocks
    row_tiles, column_tiles = -(-block.rows // size), -(-block.columns // size)
    layer, matrix, row, column = _grid(job.site.layers, job.site.parallel, row_tiles, column_tiles)
    array = np.arange(len(layer))
    table = _table(
        job,
        len(array),
        layer=layer,
        matrix=matrix,
        row_offset=row * size,
        row_count=np.minimum(size, block.rows - row * size),
        column_offset=column * size,
        column_count=np.minimum(size, block.columns - column * size),
        array=array,
        diagonal=0,
        slot=0,
        row_start=0,
        column_start=0,
    )
    return table, len(array)


def _tile_columns(job: PlacementJob, index: Ints) -> dict[str, Ints]:
    """Tile and block of the index-th block of a matrix, tiles row by row."""
    assert job.shape is not None
    tile, block = np.divmod(index, job.blocks.blocks)
    tile_row, tile_column = np.divmod(tile, job.shape.in_tiles)
    return {"tile_row": tile_row, "tile_column": tile_column, "block": block}


def _sparse(job: PlacementJob) -> tuple[dict[str, Ints], int]:
    grid_rows, grid_columns = _fit(job)
    fit, blocks = min(grid_rows, grid_columns), job.tiles * job.blocks.blocks
    layer, matrix, index = _grid(job.site.layers, job.site.parallel, blocks)
    own = -(-blocks // fit)
    table = _table(
        job,
        len(index),
        layer=layer,
        matrix=matrix,
        **_tile_columns(job, index),
        array=(layer * job.site.parallel + matrix) * own + index // fit,
        diagonal=0,
        slot=0,
        row_start=index % fit * job.blocks.rows,
        column_start=index % fit * job.blocks.columns,
    )
    return table, job.site.matrices * own


def _sub_rows(job: PlacementJob) -> tuple[int, int]:
    """Rows driven in one step, and such steps per block."""
    rows = -(-job.blocks.rows // job.sub_steps)
    return rows, -(-job.blocks.rows // rows)


def _dense_a(job: PlacementJob) -> tuple[dict[str, Ints], int]:
    grid_rows, grid_columns = _fit(job)
    fit = min(grid_rows, grid_columns)
    _, subs = _sub_rows(job)
    layer, matrix, index, sub = _grid(
        job.site.layers, job.site.parallel, job.tiles * job.blocks.blocks, subs
    )
    chunk, turn = np.divmod(index, fit)
    group = layer * job.site.parallel + matrix
    array, diagonal, order, used = _packed(job, group, chunk, max(grid_rows, grid_columns))
    tall = grid_rows > grid_columns
    row_block = (turn + diagonal) % grid_rows if tall else turn
    column_block = turn if tall else (turn + diagonal) % grid_columns
    return _steps_of_a(
        job, (layer, matrix, index, sub), (array, diagonal, order), (row_block, column_block)
    ), used


def _shared_a(job: PlacementJob) -> tuple[dict[str, Ints], int]:
    grid_rows, grid_columns = _fit(job)
    fit, parallel = min(grid_rows, grid_columns), job.site.parallel
    if parallel > grid_columns:
        raise ValueError(
            f"{job.label}: same-input packing needs {parallel} blocks of {job.blocks.columns} "
            f"columns side by side, the array has {job.array_size} columns"
        )
    _, subs = _sub_rows(job)
    layer, matrix, index, sub = _grid(
        job.site.layers, parallel, job.tiles * job.blocks.blocks, subs
    )
    chunk, turn = np.divmod(index, fit)
    beside = grid_columns // parallel
    array, bundle, order, used = _packed(job, layer, chunk, beside * (grid_rows // fit))
    band, lane = np.divmod(bundle, beside)
    shift = lane * parallel + matrix
    diagonal = band * grid_columns + shift
    return _steps_of_a(
        job,
        (layer, matrix, index, sub),
        (array, diagonal, order),
        (band * fit + turn, (turn + shift) % grid_columns),
    ), used


def _steps_of_a(
    job: PlacementJob,
    which: tuple[Ints, Ints, Ints, Ints],
    where: tuple[Ints, Ints, Ints],
    cell: tuple[Ints, Ints],
) -> dict[str, Ints]:
    """Entries of reading A from block identities, residences and grid cells."""
    layer, matrix, index, sub = which
    array, diagonal, order = where
    block = job.blocks
    fit = min(_fit(job))
    rows, subs = _sub_rows(job)
    return _table(
        job,
        len(index),
        layer=layer,
        matrix=matrix,
        **_tile_columns(job, index),
        row_offset=sub * rows,
        row_count=np.minimum(rows, block.rows - sub * rows),
        array=array,
        diagonal=diagonal,
        slot=(order * fit + index % fit) * subs + sub,
        row_start=cell[0] * block.rows + sub * rows,
        column_start=cell[1] * block.columns,
    )


def _dense_b(job: PlacementJob) -> tuple[dict[str, Ints], int]:
    block, blocks = job.blocks, job.blocks.blocks
    if blocks > job.array_size:
        raise ValueError(
            f"{job.label}: reading B strides by {blocks} blocks, which must be at most the "
            f"array size {job.array_size}: use fewer blocks or a larger array"
        )
    fit = job.array_size // blocks
    height, width = min(fit, block.rows), min(fit, block.columns)
    parts = (-(-block.rows // height), -(-block.columns // width))
    layer, matrix, tile, row, column, turn = _grid(
        job.site.layers, job.site.parallel, job.tiles, *parts, blocks
    )
    chunk = (tile * parts[0] + row) * parts[1] + column
    group = layer * job.site.parallel + matrix
    array, diagonal, order, used = _packed(job, group, chunk, blocks)
    table = _table(
        job,
        len(turn),
        layer=layer,
        matrix=matrix,
        **_tile_columns(job, tile * blocks + turn),
        row_offset=row * height,
        row_count=np.minimum(height, block.rows - row * height),
        column_offset=column * width,
        column_count=np.minimum(width, block.columns - column * width),
        array=array,
        diagonal=diagonal,
        slot=order * blocks + turn,
        row_start=turn,
        row_stride=blocks,
        column_start=(turn + diagonal) % blocks,
        column_stride=blocks,
    )
    return table, used


PLACERS = {
    "linear": _linear,
    "sparse": _sparse,
    "dense_a": _dense_a,
    "shared_a": _shared_a,
    "dense_b": _dense_b,
}
"""Mapping name -> function that places one factor."""
