"""What one token makes the arrays do: closed-form counts of every mapping.

These are the only counts that are priced. The scheduler emits the same work as commands, and
the tests demand that both agree exactly. With a factor of B blocks, h rows and w columns each
(all tiles together), array size m and q = min(m//h, m//w) blocks on a diagonal:

==========  =======================  ==============  =========  ==========  =================
mapping     arrays per factor        MVM steps       drives     outputs     slots in a row
==========  =======================  ==============  =========  ==========  =================
linear      ceil(in/m) ceil(out/m)   as arrays       in*c       out*r       1
sparse      ceil(B/q)                as arrays       B*h        B*w         1
dense_a     ceil(B/q) / g            B*sub           B*h        B*w*sub     q*sub per diagonal
shared_a    as dense_a               B*sub           B*h once   B*w*sub     q*sub per bundle
dense_b     parts_h*parts_w / B      B*arrays        B*h*pw     B*w*ph      B per diagonal
==========  =======================  ==============  =========  ==========  =================

g = max(m//h, m//w) diagonals fit an array; in reading B an array holds B diagonals of m//B x m//B
sub-blocks. Source: `docs/block_diagonal_cim.md`, derived there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FactorBatch:
    """n (site, factor) pairs; every attribute has shape (n,).

    Attributes:
        blocks, rows, columns: Of one tile's factor; a dense matrix is one block.
        tiles: Tiles per matrix.
        sums: Tiles (along the inputs) whose results are added.
        parallel, layers: Of the site.
        array_size: m.
        sub_steps: Row groups of reading A.
        spread: True = chunks of all layers share arrays, False = every factor has its own.
    """

    blocks: Ints
    rows: Ints
    columns: Ints
    tiles: Ints
    sums: Ints
    parallel: Ints
    layers: Ints
    array_size: Ints
    sub_steps: Ints
    spread: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_]) -> FactorBatch:
        """The rows where `chosen` is True."""
        return FactorBatch(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class StageCounts:
    """Counts of n (site, factor) pairs; every attribute has shape (n,).

    Per layer and token, all parallel matrices together, before any bit slicing:

    Attributes:
        steps: MVM commands.
        drives: Row activations (values loaded and converted by DACs).
        outputs: Column results (ADC conversions of one input slice and one weight plane).
        stores: Results written; `outputs - stores` are added to an earlier result.
        cells_read: Programmed cells that took part.
        moved: Values that leave arrays.
        slots: Time steps that the busiest array spends on a token.
        busy_slots: Time steps that a token needs of the busiest array in all layers.
        step_columns: Columns converted in one step.
        rows_summed: Programmed rows that one conversion sums.
        sum_depth: Levels of the adder tree across arrays.
        arrays: Arrays of the whole model (all layers).
        cells: Programmed cells of the whole model.
        excess: How far the block exceeds the array, relative to it; <= 0 = fits.
    """

    steps: Ints
    drives: Ints
    outputs: Ints
    stores: Ints
    cells_read: Ints
    moved: Ints
    slots: Ints
    busy_slots: Ints
    step_columns: Ints
    rows_summed: Ints
    sum_depth: Ints
    arrays: Ints
    cells: Ints
    excess: NDArray[np.float64]

    @property
    def accumulates(self) -> Ints:
        """Results added to an earlier one."""
        return self.outputs - self.stores


def ceil_div(value: Ints, divisor: Ints) -> Ints:
    """Element-wise ceiling division."""
    return -(-value // divisor)


def ceil_log2(value: Ints) -> Ints:
    """Smallest k with 2^k >= value, for value >= 1.

    >>> ceil_log2(np.array([1, 2, 3, 256, 257])).tolist()
    [0, 1, 2, 8, 9]
    """
    mantissa, exponent = np.frexp(np.asarray(value, dtype=np.float64))
    return np.asarray(exponent - (mantissa == 0.5), dtype=np.int64)


def stage_counts(mapping: NDArray[np.int64], factors: FactorBatch) -> StageCounts:
    """Counts of a batch of factors under mappings given as positions in `MAPPINGS`."""
    counters = (_linear, _sparse, _dense_a, _shared_a, _dense_b)
    merged: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {}
    for code, counter in enumerate(counters):
        chosen = mapping == code
        if not chosen.any():
            continue
        part = counter(factors.take(chosen))
        for field in fields(StageCounts):
            values = getattr(part, field.name)
            column = merged.setdefault(field.name, np.zeros(len(mapping), dtype=values.dtype))
            column[chosen] = values
    return StageCounts(**merged)  # type: ignore[arg-type]


def _fit(factor: FactorBatch) -> tuple[Ints, Ints]:
    """Block rows and block columns of the grid that an array offers, at least 1."""
    grid_rows = factor.array_size // factor.rows
    grid_columns = factor.array_size // factor.columns
    return np.maximum(grid_rows, 1), np.maximum(grid_columns, 1)


def _excess(factor: FactorBatch) -> NDArray[np.float64]:
    return np.maximum(factor.rows, factor.columns) / factor.array_size - 1.0


def _linear(factor: FactorBatch) -> StageCounts:
    size = factor.array_size
    row_tiles, column_tiles = ceil_div(factor.rows, size), ceil_div(factor.columns, size)
    arrays = factor.parallel * row_tiles * column_tiles
    one = np.ones_like(arrays)
    return StageCounts(
        steps=arrays,
        drives=factor.parallel * factor.rows * column_tiles,
        outputs=factor.parallel * factor.columns * row_tiles,
        stores=factor.parallel * factor.columns,
        cells_read=factor.parallel * factor.rows * factor.columns,
        moved=factor.parallel * factor.columns * row_tiles,
        slots=one,
        busy_slots=one,
        step_columns=np.minimum(factor.columns, size),
        rows_summed=np.minimum(factor.rows, size),
        sum_depth=ceil_log2(row_tiles),
        arrays=arrays * factor.layers,
        cells=factor.parallel * factor.layers * factor.rows * factor.columns,
        excess=np.full(len(arrays), -1.0),
    )


def _sparse(factor: FactorBatch) -> StageCounts:
    grid_rows, grid_columns = _fit(factor)
    fit = np.minimum(grid_rows, grid_columns)
    blocks = factor.tiles * factor.blocks
    arrays = factor.parallel * ceil_div(blocks, fit)
    one = np.ones_like(arrays)
    return _monarch_counts(
        factor,
        _Firing(
            steps=arrays,
            drive_copies=one,
            results=one,
            slots=one,
            busy_slots=one,
            step_columns=np.minimum(fit, blocks) * factor.columns,
            rows_summed=factor.rows,
            arrays=arrays * factor.layers,
            kept_results=one,
            drivers=factor.parallel,
        ),
    )


def _sub_rows(factor: FactorBatch) -> tuple[Ints, Ints]:
    """Rows driven in one step of reading A, and such steps per block."""
    rows = ceil_div(factor.rows, factor.sub_steps)
    return rows, ceil_div(factor.rows, rows)


def _packed(
    factor: FactorBatch, groups: Ints, chunks: Ints, capacity: Ints
) -> tuple[Ints, Ints, Ints]:
    """Arrays of the model, chunks of one token-layer on the busiest array, and of all layers.

    `groups` independent sets of `chunks` chunks run together in every layer.
    """
    own = ceil_div(chunks, capacity)
    total = factor.layers * groups * chunks
    shared = ceil_div(total, capacity)
    arrays = np.where(factor.spread, shared, factor.layers * groups * own)
    serial = np.where(factor.spread, ceil_div(groups * chunks, shared), ceil_div(chunks, own))
    busy = np.where(factor.spread, ceil_div(total, shared), serial)
    return arrays, serial, busy


def _dense_a(factor: FactorBatch) -> StageCounts:
    grid_rows, grid_columns = _fit(factor)
    fit, capacity = np.minimum(grid_rows, grid_columns), np.maximum(grid_rows, grid_columns)
    rows, subs = _sub_rows(factor)
    blocks = factor.tiles * factor.blocks
    arrays, serial, busy = _packed(factor, factor.parallel, ceil_div(blocks, fit), capacity)
    return _monarch_counts(
        factor,
        _Firing(
            steps=factor.parallel * blocks * subs,
            drive_copies=np.ones_like(blocks),
            results=subs,
            slots=serial * fit * subs,
            busy_slots=busy * fit * subs,
            step_columns=factor.columns,
            rows_summed=rows,
            arrays=arrays,
            kept_results=subs,
            drivers=factor.parallel,
        ),
    )


def _shared_a(factor: FactorBatch) -> StageCounts:
    grid_rows, grid_columns = _fit(factor)
    fit = np.minimum(grid_rows, grid_columns)
    bundles = np.maximum(grid_columns // factor.parallel, 1) * (grid_rows // fit)
    rows, subs = _sub_rows(factor)
    blocks = factor.tiles * factor.blocks
    one = np.ones_like(blocks)
    arrays, serial, busy = _packed(factor, one, ceil_div(blocks, fit), bundles)
    width = factor.parallel * factor.columns
    counts = _monarch_counts(
        factor,
        _Firing(
            steps=blocks * subs,
            drive_copies=one,
            results=subs,
            slots=serial * fit * subs,
            busy_slots=busy * fit * subs,
            step_columns=width,
            rows_summed=rows,
            arrays=arrays,
            kept_results=subs,
            drivers=one,
        ),
    )
    excess = np.maximum(counts.excess, width / factor.array_size - 1.0)
    return _with_excess(counts, excess)


def _dense_b(factor: FactorBatch) -> StageCounts:
    fit = np.maximum(factor.array_size // factor.blocks, 1)
    row_part, column_part = np.minimum(fit, factor.rows), np.minimum(fit, factor.columns)
    row_parts = ceil_div(factor.rows, row_part)
    column_parts = ceil_div(factor.columns, column_part)
    chunks = factor.tiles * row_parts * column_parts
    arrays, serial, busy = _packed(factor, factor.parallel, chunks, factor.blocks)
    counts = _monarch_counts(
        factor,
        _Firing(
            steps=factor.parallel * chunks * factor.blocks,
            drive_copies=column_parts,
            results=row_parts,
            slots=serial * factor.blocks,
            busy_slots=busy * factor.blocks,
            step_columns=column_part,
            rows_summed=row_part,
            arrays=arrays,
            kept_results=np.ones_like(chunks),
            drivers=factor.parallel,
        ),
    )
    return _with_excess(counts, factor.blocks / factor.array_size - 1.0)


@dataclass(frozen=True)
class _Firing:
    """How a block mapping fires; every attribute has shape (n,).

    Attributes:
        steps: MVM commands of a token and layer.
        drivers: Matrices that drive rows of their own (1 when the inputs are shared).
        drive_copies: Arrays that each input of a block is driven in.
        results: Conversions of each output of a block.
        kept_results: Of these, partial sums that are added inside the array.
        slots, busy_slots, step_columns, rows_summed, arrays: As in `StageCounts`.
    """

    steps: Ints
    drivers: Ints
    drive_copies: Ints
    results: Ints
    kept_results: Ints
    slots: Ints
    busy_slots: Ints
    step_columns: Ints
    rows_summed: Ints
    arrays: Ints


def _monarch_counts(factor: FactorBatch, firing: _Firing) -> StageCounts:
    """Counts of a block mapping."""
    blocks = factor.tiles * factor.blocks
    outputs = factor.parallel * blocks * factor.columns
    weights = factor.parallel * blocks * factor.rows * factor.columns
    across = firing.results // firing.kept_results
    return StageCounts(
        steps=firing.steps,
        drives=firing.drivers * blocks * factor.rows * firing.drive_copies,
        outputs=outputs * firing.results,
        stores=outputs // factor.sums,
        cells_read=weights,
        moved=outputs * across,
        slots=firing.slots,
        busy_slots=firing.busy_slots,
        step_columns=firing.step_columns,
        rows_summed=firing.rows_summed,
        sum_depth=ceil_log2(across * factor.sums),
        arrays=firing.arrays,
        cells=weights * factor.layers,
        excess=_excess(factor),
    )


def _with_excess(counts: StageCounts, excess: NDArray[np.float64]) -> StageCounts:
    values = {field.name: getattr(counts, field.name) for field in fields(counts)}
    return StageCounts(**{**values, "excess": excess})
