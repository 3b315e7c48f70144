"""Latency, energy, area and storage of a model's weight products on digital compute-in-memory.

Every product [T x K] x [K x Nout] is cut into tiles of K_cov x C weights; tiles run in waves over
the parallel macros. Attention's own products (activation by activation) are not run in memory.
The accounting is derived, see `docs/nm_sparsity.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

import numpy as np

from evaluators.digital.adders import FloatArray
from evaluators.digital.bill_of_material import MacroOptions
from evaluators.digital.coverage import Coverage, coverage
from evaluators.digital.macro_cost import MacroCost, macro_cost
from evaluators.digital.technology import (
    BUFFER_READ_PJ_PER_BIT,
    BUFFER_WRITE_PJ_PER_BIT,
    CELL_WRITE_PJ_PER_BIT,
    DRAM_READ_PJ_PER_BIT,
)
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import ARCHITECTURES, Architecture, CimBatch, MacroBatch
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMBatch, NMPattern
from spaces.workloads.workload import TensorClass, Workload


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
class GemmLayer:
    """One weight product, or several equal ones that share an N:M choice.

    Attributes:
        name: Readable.
        tokens, reduction, outputs: T, K and Nout.
        nm_layer: Layer of the N:M assignment that rules it; None = always dense.
        count: Repeats.
    """

    name: str
    tokens: int
    reduction: int
    outputs: int
    nm_layer: str | None = None
    count: int = 1


def gemm_layers(workload: Workload, blocks: int) -> tuple[GemmLayer, ...]:
    """The weight products of a workload, with one N:M choice `block.<i>` per block.

    An operator that runs a multiple of `blocks` times is spread over the blocks; any other (the LM
    head) stays dense.

    Raises:
        ValueError: If no operator multiplies activations [M,K] by weights [K,N].
    """
    found: list[GemmLayer] = []
    for operator in workload.operators:
        classes = {tensor.tensor_class for tensor in operator.tensors}
        if TensorClass.WEIGHT not in classes or not {"M", "K", "N"} <= set(operator.ranks):
            continue
        ranks = operator.ranks
        shape = (ranks["M"] * ranks.get("B", 1), ranks["K"], ranks["N"])
        if operator.count % blocks:
            found.append(GemmLayer(operator.name, *shape, count=operator.count))
            continue
        repeats = operator.count // blocks
        found += [
            GemmLayer(f"block.{index}.{operator.name}", *shape, f"block.{index}", repeats)
            for index in range(blocks)
        ]
    if not found:
        raise ValueError(f"workload {workload.name!r}: no operator has a weight matrix")
    return tuple(found)


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
class _Shapes:
    """Different (T, K, Nout), arrays of shape (s,), and their uses per N:M layer, shape (L+1, s).

    The last row of `uses` counts the products that are always dense.
    """

    tokens: FloatArray
    reduction: FloatArray
    outputs: FloatArray
    uses: FloatArray


@dataclass(frozen=True)
class DigitalCimEvaluator:
    """Prices batches of (machine, N:M assignment).

    Metrics: `latency_cycles`, `latency_ns`, `energy_pj`, `area_mm2` (all macros, no buffers),
    `storage_bits` (weights and indices), `clock_ns`, `stored_macs`. Violation `cim_capacity`
    (`Residency.MACRO` only): tiles beyond the macros.

    Attributes:
        layers: The model's weight products.
        options: Shared options.
    """

    layers: tuple[GemmLayer, ...]
    options: CimOptions = field(default_factory=CimOptions)

    def evaluate(self, designs: CimBatch) -> Evaluation:
        """Costs of n designs.

        Raises:
            ValueError: If a layer's `nm_layer` is missing in the assignment.
        """
        macro, cost = self._table(designs)
        total = {name: self._summed(designs, values) for name, values in cost.items()}
        area = macro.area_mm2 * designs.machines.macros
        cycles = total["latency_cycles"]
        nanoseconds = cycles * macro.clock_ns
        energy = sum(total[name] for name in ENERGY_PARTS)
        energy = energy + self.options.static_mw_per_mm2 * area * nanoseconds
        metrics = {
            "latency_cycles": cycles,
            "latency_ns": nanoseconds,
            "energy_pj": np.asarray(energy),
            "area_mm2": area,
            "storage_bits": total["storage_bits"],
            "clock_ns": macro.clock_ns,
            "stored_macs": total["stored_macs"],
        }
        violations: dict[str, FloatArray] = {}
        if self.options.residency == Residency.MACRO:
            violations["cim_capacity"] = total["tiles"] / designs.machines.macros - 1.0
        return Evaluation(metrics, violations)

    def explain(self, design: CimBatch) -> Mapping[str, Any]:
        """Breakdown of a batch of one design: area by part, energy by part, cycles by layer."""
        macro, cost = self._table(design)
        parts = {name: float(self._summed(design, cost[name])[0]) for name in ENERGY_PARTS}
        names = [layer.name for layer in self.layers]
        cycles = self._per_layer(design, cost["latency_cycles"])
        evaluation = self.evaluate(design)
        code = int(design.machines.architecture[0])
        return {
            "architecture": str(ARCHITECTURES[code]),
            "metrics": {name: float(values[0]) for name, values in evaluation.metrics.items()},
            "area_um2_per_macro": {k: float(v[0]) for k, v in macro.area_um2.items()},
            "energy_fj_per_stored_mac": {
                k: float(v[0] / macro.macs_per_cycle[0])
                for k, v in macro.energy_fj_per_cycle.items()
            },
            "energy_pj": parts,
            "latency_cycles": dict(zip(names, cycles, strict=True)),
        }

    def layer_table(self, machines: MacroBatch, patterns: Sequence[NMPattern]) -> Evaluation:
        """Costs of one run of every N:M layer under every pattern, for per-layer selection.

        Args:
            machines: A batch of one machine.
            patterns: q candidates.

        Returns:
            Metrics `latency_cycles` and `energy_pj`, each flattened from shape (L, q), the layers
            in the order of `nm_layers`. Products that are always dense are left out.
        """
        layers = self.nm_layers
        choice = np.zeros((1, len(layers)), dtype=np.int64)
        _, cost = self._table(CimBatch(machines, NMBatch(layers, tuple(patterns), choice)))
        uses = self._shapes(layers).uses[:-1]
        energy = np.sum([cost[name][0, :-1] for name in ENERGY_PARTS], axis=0)
        return Evaluation(
            {
                "latency_cycles": (uses @ cost["latency_cycles"][0, :-1].T).ravel(),
                "energy_pj": (uses @ energy.T).ravel(),
            }
        )

    @property
    def nm_layers(self) -> tuple[str, ...]:
        """Names of the N:M layers, in order of first use."""
        return tuple(dict.fromkeys(x.nm_layer for x in self.layers if x.nm_layer is not None))

    def _table(self, designs: CimBatch) -> tuple[MacroCost, dict[str, FloatArray]]:
        """Macro costs, and every quantity per design, pattern (dense last) and shape."""
        machines = designs.machines
        macro = macro_cost(machines, self.options.macro)
        patterns = (*designs.nm.patterns, DENSE_PATTERN)
        reach = coverage(machines, patterns)
        shapes = self._shapes(designs.nm.layers)
        return macro, _gemm_costs(machines, macro, reach, shapes, self.options)

    def _shapes(self, nm_layers: Sequence[str]) -> _Shapes:
        """The different shapes and how often each N:M layer uses them."""
        sizes = [(x.tokens, x.reduction, x.outputs) for x in self.layers]
        unique = list(dict.fromkeys(sizes))
        uses = np.zeros((len(nm_layers) + 1, len(unique)))
        rows = {name: index for index, name in enumerate(nm_layers)}
        for layer, size in zip(self.layers, sizes, strict=True):
            if layer.nm_layer is not None and layer.nm_layer not in rows:
                raise ValueError(
                    f"layer {layer.name!r} follows the N:M choice {layer.nm_layer!r}, which the "
                    f"assignment of {len(rows)} layers does not have"
                )
            row = rows[layer.nm_layer] if layer.nm_layer is not None else len(nm_layers)
            uses[row, unique.index(size)] += layer.count
        table = np.array(unique, dtype=np.float64)
        return _Shapes(table[:, 0], table[:, 1], table[:, 2], uses)

    def _summed(self, designs: CimBatch, values: FloatArray) -> FloatArray:
        """Total over the model of a quantity of shape (n, q, s), shape (n,)."""
        uses = self._shapes(designs.nm.layers).uses
        chosen = np.take_along_axis(values, designs.nm.choice[:, :, None], axis=1)
        free = np.einsum("nls,ls->n", chosen, uses[:-1])
        return np.asarray(free + values[:, -1, :] @ uses[-1])

    def _per_layer(self, design: CimBatch, values: FloatArray) -> list[float]:
        """A quantity of shape (1, q, s) for each product of `layers`, all repeats."""
        sizes = [(x.tokens, x.reduction, x.outputs) for x in self.layers]
        unique = list(dict.fromkeys(sizes))
        rows = {name: index for index, name in enumerate(design.nm.layers)}
        result = []
        for layer, size in zip(self.layers, sizes, strict=True):
            chosen = -1 if layer.nm_layer is None else design.nm.choice[0, rows[layer.nm_layer]]
            result.append(float(values[0, chosen, unique.index(size)] * layer.count))
        return result


ENERGY_PARTS = ("macro_pj", "activation_pj", "psum_pj", "weight_load_pj", "select_pj", "dram_pj")
"""Energy parts of the table, without leakage."""


def _gemm_costs(
    machines: MacroBatch,
    macro: MacroCost,
    reach: Coverage,
    shapes: _Shapes,
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
    shapes: _Shapes,
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
