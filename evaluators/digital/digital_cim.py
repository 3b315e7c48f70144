"""Latency, energy, area and storage of a model's weight products on digital compute-in-memory.

The sum over the products of `gemm_cost`, each under the N:M of its layer. Attention's own products
(activation by activation) are not run in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluators.digital.adders import FloatArray
from evaluators.digital.coverage import coverage
from evaluators.digital.gemm_cost import (
    ENERGY_PARTS,
    CimOptions,
    ProductShapes,
    Residency,
    gemm_costs,
)
from evaluators.digital.macro_cost import MacroCost, macro_cost
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import ARCHITECTURES, CimBatch, MacroBatch
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMBatch, NMPattern
from spaces.workloads.workload import TensorClass, Workload


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
        return macro, gemm_costs(machines, macro, reach, shapes, self.options)

    def _shapes(self, nm_layers: Sequence[str]) -> ProductShapes:
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
        return ProductShapes(table[:, 0], table[:, 1], table[:, 2], uses)

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
