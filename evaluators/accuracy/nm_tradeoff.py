"""Fidelity against hardware cost of one N:M assignment of a real model.

The accuracy side is either measured on held-out text (`NMFidelity`, about a second per design) or
the retained saliency (`RetainedSaliency`, microseconds); the hardware side is a digital
compute-in-memory machine. Both see the same assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer
from evaluators.digital.gemm_cost import CimOptions
from evaluators.evaluation import Evaluation, Evaluator, FloatArray
from spaces.cim.digital_cim import CimBatch, MacroBatch, machine_batch
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern, NMSpace, candidate_patterns
from spaces.sparsity.nm_statistics import Granularity, NMStatistics, unit_names

BASELINES = ("4:8", "2:4", "2:8", "1:4", "1:8", "1:1")
"""Uniform assignments that every study should see first."""


def model_space(
    fidelity: NMFidelity,
    group_sizes: Sequence[int] = (2, 4, 8),
    kept: Sequence[int] | None = (1, 2, 4),
    dense_ends: int = 0,
) -> NMSpace:
    """One pattern per unit of a real model.

    Args:
        fidelity: The model and its granularity.
        group_sizes: M offered.
        kept: N offered; None = any.
        dense_ends: First and last units that stay dense.
    """
    layers = fidelity.statistics(fidelity.calibration.seed).layers
    forced = {*layers[:dense_ends], *layers[len(layers) - dense_ends :]}
    return NMSpace(layers, candidate_patterns(group_sizes, kept), frozenset(forced))


def lost_fractions(statistics: NMStatistics, designs: NMBatch) -> dict[str, FloatArray]:
    """`lost_saliency`, `lost_energy` and `density` of n assignments, parameter-weighted means.

    Raises:
        ValueError: If a pattern was not tabulated.
    """
    offered = statistics.offering(designs.patterns)
    share = offered.parameters / offered.parameters.sum()
    rows = np.arange(len(offered.layers))[None, :]
    lost = {}
    for measure in ("saliency", "energy"):
        kept = offered.retained_fraction(measure)[rows, designs.choice]
        lost[f"lost_{measure}"] = 1.0 - kept @ share
    return {**lost, "density": designs.density @ share}


def uniform_baselines(
    parameters: Iterable[str], layers: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The same pattern in every layer that is a parameter, for each of `BASELINES`."""
    names = {name.removeprefix("nm.") for name in parameters}
    return {
        f"uniform {text}": {name: text if name in names else "1:1" for name in layers}
        for text in BASELINES
    }


def machine_rows(machine: Mapping[str, Any], n: int) -> MacroBatch:
    """The same machine for n designs."""
    return machine_batch([machine]).take(np.zeros(n, dtype=np.intp))


@dataclass(frozen=True)
class RetainedSaliency:
    """The proxy: saliency and energy lost, parameter-weighted means over the units.

    Attributes:
        fidelity: The model; only its statistics are used.
    """

    fidelity: NMFidelity

    def evaluate(self, designs: NMBatch) -> Evaluation:
        """`lost_saliency`, `lost_energy` and `density` of n assignments.

        Raises:
            ValueError: If a pattern was not tabulated.
        """
        statistics = self.fidelity.statistics(self.fidelity.calibration.seed)
        return Evaluation(lost_fractions(statistics, designs))

    def explain(self, design: NMBatch) -> Mapping[str, Any]:
        """The proxy's figures."""
        metrics = self.evaluate(design).metrics
        return {"metrics": {name: float(values[0]) for name, values in metrics.items()}}


@dataclass(frozen=True)
class NMTradeoff:
    """Accuracy and hardware metrics of N:M assignments, on one machine.

    Attributes:
        accuracy: Prices an `NMBatch`: `NMFidelity` or `RetainedSaliency`.
        fidelity: The model, for its layer sizes and for measuring the design that is explained.
        machine: Parameters of the machine, see `spaces.cim.digital_cim.MACHINE_PARAMETERS`.
        tokens: Tokens per run.
        options: Of the hardware model.
    """

    accuracy: Evaluator
    fidelity: NMFidelity
    machine: Mapping[str, Any]
    tokens: int = 64
    options: CimOptions = field(default_factory=CimOptions)

    def evaluate(self, designs: NMBatch) -> Evaluation:
        """All metrics of n assignments."""
        accuracy = self.accuracy.evaluate(designs)
        hardware = self.hardware.evaluate(
            CimBatch(machine_rows(self.machine, len(designs)), designs)
        )
        return Evaluation(
            {**accuracy.metrics, **hardware.metrics},
            {**accuracy.violations, **hardware.violations},
        )

    def explain(self, design: NMBatch) -> Mapping[str, Any]:
        """Hardware breakdown and the pattern of every linear layer."""
        own = self.hardware.explain(CimBatch(machine_rows(self.machine, 1), design))
        patterns = self.fidelity.layer_patterns(
            design.assignment(0), self.fidelity.calibration.seed
        )
        return {
            **own,
            "patterns": {name: str(pattern) for name, pattern in patterns.items()},
            "energy_breakdown_pj": {"model": own["energy_pj"]},
        }

    def statistics(self) -> NMStatistics:
        """Statistics of the model's units, for selection strategies."""
        return self.fidelity.statistics(self.fidelity.calibration.seed)

    def unit_costs(self, patterns: Sequence[NMPattern]) -> Mapping[str, FloatArray]:
        """`latency_cycles` and `energy_pj` of every unit under every pattern, shape (L, q).

        Their sums over the units are the metrics, leakage aside.
        """
        table = self.hardware.layer_table(machine_rows(self.machine, 1), patterns).metrics
        return {name: values.reshape(-1, len(patterns)) for name, values in table.items()}

    def comparison(self, design: NMBatch) -> Mapping[str, list[dict[str, Any]]]:
        """The design and uniform assignments, all measured on held-out text."""
        layers = self.statistics().layers
        rows = [{"assignment": "this design", **self._measured(design)}]
        for text in BASELINES[:-1]:
            pattern = NMPattern.parse(text)
            if pattern in self.statistics().patterns:
                choice = np.zeros((1, len(layers)), dtype=np.int64)
                row = self._measured(NMBatch(layers, (pattern,), choice))
                rows.append({"assignment": f"uniform {text}", **row})
        return {"Measured on held-out text, beside uniform N:M": rows}

    def _measured(self, design: NMBatch) -> dict[str, float]:
        """Measured fidelity, latency and energy of one assignment."""
        hardware = self.hardware.evaluate(CimBatch(machine_rows(self.machine, 1), design)).metrics
        found = self.fidelity.measure(design.assignment(0), self.fidelity.calibration.seed)
        share = self.statistics().parameters / self.statistics().parameters.sum()
        return {
            **found,
            "density": float(design.density[0] @ share),
            "latency_cycles": float(hardware["latency_cycles"][0]),
            "energy_pj": float(hardware["energy_pj"][0]),
        }

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """The same pattern in every layer, for each of `BASELINES`."""
        return uniform_baselines(parameters, self.statistics().layers)

    @cached_property
    def hardware(self) -> DigitalCimEvaluator:
        """The machine's evaluator over the model's own linear layers."""
        model = self.fidelity.streamed
        statistics = self.fidelity.measured(self.fidelity.calibration.seed).statistics
        granularity = Granularity(self.fidelity.granularity)
        units = unit_names(statistics.layers, statistics.blocks, granularity)
        layers = []
        for name, unit in zip(statistics.layers, units, strict=True):
            outputs, reduction = model.shape(name)
            layers.append(GemmLayer(name, self.tokens, reduction, outputs, unit))
        return DigitalCimEvaluator(tuple(layers), self.options)
