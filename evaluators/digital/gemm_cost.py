"""What one weight product costs on a digital compute-in-memory machine: tiles, cycles, traffic.

A product [T x K] x [K x Nout] is cut into tiles of K_cov x C weights; tiles run in waves over the
parallel macros. The accounting is derived, see `docs/nm_sparsity.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

import numpy as np

from evaluators.digital.adders import FloatArray
from evaluators.digital.bill_of_material import MacroOptions
from evaluators.digital.coverage import Coverage
from evaluators.digital.macro_cost import MacroCost
from evaluators.digital.technology import (
    BUFFER_READ_PJ_PER_BIT,
    BUFFER_WRITE_PJ_PER_BIT,
    CELL_WRITE_PJ_PER_BIT,
    DRAM_READ_PJ_PER_BIT,
)
from spaces.cim.digital_cim import ARCHITECTURES, Architecture, MacroBatch


class Residency(StrEnum):
    """Where weights wait.

    `macro`: all in the cells, nothing is ever loaded, the macros must be enough; `buffer`: in
    on-chip SRAM, loaded tile by tile while the macro stands still; `double_buffer`: loaded behind
    the computation; `dram`: as `double_buffer`, streamed from off-chip memory.
    """

    MACRO = "macro"
    BUFFER = "buffer"
    DOUBLE_BUFFER = "double_buffer"
    DRAM = "dram"


@dataclass(frozen=True)
class CimOptions:
    """What all designs of a study share beside the macro.

    Attributes:
        macro: Gate-level options.
        residency: See `Residency`.
        dram_bits_per_cycle: Off-chip bandwidth, for `Residency.DRAM`.
        static_mw_per_mm2: Leakage; 0 = not counted (no source gives it for these macros).
    """

    macro: MacroOptions = field(default_factory=MacroOptions)
    residency: Residency = Residency.BUFFER
    dram_bits_per_cycle: float = inf
    static_mw_per_mm2: float = 0.0

    def __post_init__(self) -> None:
        if self.residency not in list(Residency):
            raise ValueError(
                f"residency must be one of {', '.join(Residency)}, got {self.residency!r}"
            )
        if self.dram_bits_per_cycle <= 0 or self.static_mw_per_mm2 < 0:
            raise ValueError(
                "dram_bits_per_cycle must be > 0 and static_mw_per_mm2 >= 0, got "
                f"{self.dram_bits_per_cycle} and {self.static_mw_per_mm2}"
            )


@dataclass(frozen=True)
class ProductShapes:
    """Different (T, K, Nout), arrays of shape (s,), and their uses per N:M layer, shape (L+1, s).

    The last row of `uses` counts the products that are always dense.
    """

    tokens: FloatArray
    reduction: FloatArray
    outputs: FloatArray
    uses: FloatArray


ENERGY_PARTS = ("macro_pj", "activation_pj", "psum_pj", "weight_load_pj", "select_pj", "dram_pj")
"""Energy parts of the table, without leakage."""


def gemm_costs(
    machines: MacroBatch,
    macro: MacroCost,
    reach: Coverage,
    shapes: ProductShapes,
    options: CimOptions,
) -> dict[str, FloatArray]:
    """Every cost of one product, per design, pattern and shape: arrays of shape (n, q, s)."""
    columns = macro.columns[:, None, None]
    macros = machines.macros[:, None, None].astype(np.float64)
    k_tiles = np.ceil(shapes.reduction / reach.reach[:, :, None])
    out_tiles = np.ceil(shapes.outputs / columns) * np.ones_like(k_tiles)
    tiles = k_tiles * out_tiles
    stored = shapes.reduction * shapes.outputs * reach.density[:, :, None]
    bits = stored * macro.cell_bits[:, None, None] + tiles * _select_bits(machines)[:, None, None]
    macs = stored * shapes.tokens
    cost = {
        "tiles": tiles,
        "stored_macs": macs,
        "storage_bits": bits,
        "macro_pj": macs * (macro.energy_fj_per_mac * 1e-3)[:, None, None],
    }
    busy = shapes.tokens * macro.cycles_per_vector[:, None, None] * reach.passes[:, :, None]
    waves = np.ceil(tiles / macros)
    cost["latency_cycles"] = _latency(busy, waves, columns, bits, options) + (
        macro.pipeline_cycles[:, None, None] - 1.0
    )
    cost |= _traffic(machines, macro, shapes, options, (k_tiles, out_tiles, stored))
    selects = tiles * _select_bits(machines)[:, None, None] * reach.passes[:, :, None]
    scale = options.macro.technology.memory_energy_scale
    cost["select_pj"] = selects * BUFFER_READ_PJ_PER_BIT * scale
    streamed = bits if options.residency == Residency.DRAM else np.zeros_like(bits)
    cost["dram_pj"] = streamed * DRAM_READ_PJ_PER_BIT
    return cost


def _latency(
    busy: FloatArray,
    waves: FloatArray,
    columns: FloatArray,
    bits: FloatArray,
    options: CimOptions,
) -> FloatArray:
    """Cycles without the pipeline's depth; a tile is loaded column by column, one per cycle."""
    if options.residency == Residency.MACRO:
        return np.asarray(waves * busy)
    if options.residency == Residency.BUFFER:
        return np.asarray(waves * (busy + columns))
    hidden = waves * np.maximum(busy, columns) + columns
    if options.residency == Residency.DRAM:
        return np.asarray(np.maximum(hidden, bits / options.dram_bits_per_cycle))
    return np.asarray(hidden)


def _traffic(
    machines: MacroBatch,
    macro: MacroCost,
    shapes: ProductShapes,
    options: CimOptions,
    tiling: tuple[FloatArray, FloatArray, FloatArray],
) -> dict[str, FloatArray]:
    """Buffer energy of activations, partial sums and weights [pJ], shape (n, q, s).

    Macros that run side by side take different output tiles of the same reduction tile, so that
    one buffer read serves all of them.
    """
    k_tiles, out_tiles, stored = tiling
    bits_in, scale = options.macro.input_bits, options.macro.technology.memory_energy_scale
    reads = shapes.tokens * shapes.reduction * np.ceil(out_tiles / machines.macros[:, None, None])
    rows = (machines.rows * machines.sub_macros).astype(np.float64)
    width = (bits_in + options.macro.weight_bits + np.log2(rows))[:, None, None]
    results = shapes.tokens * shapes.outputs
    psum = (k_tiles - 1.0) * width * (BUFFER_READ_PJ_PER_BIT + BUFFER_WRITE_PJ_PER_BIT)
    load = stored * macro.cell_bits[:, None, None]
    load = load * (CELL_WRITE_PJ_PER_BIT + BUFFER_READ_PJ_PER_BIT)
    loaded = options.residency != Residency.MACRO
    return {
        "activation_pj": reads * bits_in * BUFFER_READ_PJ_PER_BIT * scale,
        "psum_pj": results * (psum + bits_in * BUFFER_WRITE_PJ_PER_BIT) * scale,
        "weight_load_pj": load * scale if loaded else np.zeros_like(load),
    }


def _select_bits(machines: MacroBatch) -> FloatArray:
    """Pair-select bits per tile: two layers x P x log2 P bits for every row.

    Only machines with a distribution unit have them: 16 bits per row at P = 4.
    """
    units = [
        ARCHITECTURES.index(a)
        for a in (
            Architecture.FLEXCIM_IDEAL,
            Architecture.FLEXCIM_SHARED,
            Architecture.FLEXCIM_SERIAL,
        )
    ]
    p = machines.sub_macros.astype(np.float64)
    bits = machines.rows * 2.0 * p * np.log2(p)
    return np.where(np.isin(machines.architecture, units), bits, 0.0)
