"""FlexCiM beside its baselines on whole models: same cells, same macros, same N:M assignment.

The parameters are `model`, `nm` (a named profile) and `architecture`. `explain` lists every
architecture on every model and profile, so that the ideal, shared and in-cell-mux answers to the
pair-select question always stand side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.digital.digital_cim import DigitalCimEvaluator, gemm_layers
from evaluators.digital.gemm_cost import CimOptions
from evaluators.evaluation import Evaluation
from spaces.cim.digital_cim import ARCHITECTURES, Architecture, CimBatch, machine_batch
from spaces.space import Columns
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMBatch, NMPattern
from spaces.workloads.workload import TensorClass, Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIMS = (
    "Published (FLOW and FlexCiM, abstract): up to 1.75x lower latency and 1.5x lower energy than\n"
    "existing sparse accelerators, which are not named there. Not comparable in absolute terms:\n"
    "node, clock, macro count, buffers and baselines of the paper are unknown; the N:M profiles\n"
    "here are stated in the configuration, not the paper's. Comparable: ratios of machines with\n"
    "equal cells that run equal masks, and which masks each machine can run at all.\n"
    "flexcim_shared needs masks whose pairs are shared by the columns of a macro (its accuracy is\n"
    "measured with mask_rule=shared_pairs); flexcim_ideal is an upper bound that no row-shared\n"
    "multiplexer reaches with unconstrained masks."
)
"""What of the published claims can be compared."""


PAIR_SELECTS = (
    Architecture.FLEXCIM_IDEAL,
    Architecture.FLEXCIM_SHARED,
    Architecture.FLEXCIM_IN_CELL_MUX,
    Architecture.FLEXCIM_SERIAL,
)
"""The answers to the shared pair select, first in every table."""


@dataclass(frozen=True)
class NMProfile:
    """A stated, synthetic assignment: patterns in turn over the blocks.

    Attributes:
        cycle: Patterns, repeated over depth.
        dense_ends: Keep the first and the last block dense, as the released FLOW does.
    """

    cycle: tuple[str, ...] | list[str]
    dense_ends: bool = True

    def __post_init__(self) -> None:
        if not self.cycle:
            raise ValueError("cycle must name at least one N:M pattern, such as [2:4]")
        for text in self.cycle:
            NMPattern.parse(text)

    def patterns(self, blocks: int) -> list[NMPattern]:
        """One pattern per block."""
        chosen = [NMPattern.parse(self.cycle[i % len(self.cycle)]) for i in range(blocks)]
        if self.dense_ends:
            chosen[0] = chosen[-1] = DENSE_PATTERN
        return chosen


def block_count(workload: Workload) -> int:
    """Blocks of a model: how often most of its weight products run."""
    counts = Counter(
        operator.count
        for operator in workload.operators
        if any(tensor.tensor_class is TensorClass.WEIGHT for tensor in operator.tensors)
    )
    return counts.most_common(1)[0][0]


@dataclass(frozen=True)
class FlexCimComparison:
    """Prices columns `model`, `nm` and `architecture`.

    Metrics: those of `DigitalCimEvaluator`, `sparsity`, and ratios over two baselines with the
    same cells (above 1 is better): `speedup`, `energy_gain` over the dense macro and
    `speedup_over_2_4`, `energy_gain_over_2_4` over the fixed 2:4 macro, in nanoseconds and pJ.
    `realisable` is 0 for the upper bound `flexcim_ideal`, `free_masks` 0 where the columns of a
    macro must share their pairs.

    Attributes:
        workloads: Name -> model and phase.
        profiles: Name -> N:M profile.
        machine: Machine parameters without the architecture.
        options: Shared options.
    """

    workloads: Mapping[str, Workload]
    profiles: Mapping[str, NMProfile]
    machine: Mapping[str, Any]
    options: CimOptions = field(default_factory=CimOptions)

    def evaluate(self, designs: Columns) -> Evaluation:
        """Costs of n rows.

        Raises:
            ValueError: If a model or a profile is not configured.
        """
        n = len(designs["architecture"])
        metrics: dict[str, NDArray[np.float64]] = {}
        pairs = list(zip(designs["model"], designs["nm"], strict=True))
        for pair in dict.fromkeys(pairs):
            rows = np.array([index for index, other in enumerate(pairs) if other == pair])
            part = self._metrics(*pair, [str(designs["architecture"][i]) for i in rows])
            for name, values in part.items():
                metrics.setdefault(name, np.full(n, np.nan))[rows] = values
        return Evaluation(metrics)

    def explain(self, design: Columns) -> Mapping[str, Any]:
        """Every architecture on every model and profile, and the design's own breakdown."""
        model, profile = str(design["model"][0]), str(design["nm"][0])
        name = str(design["architecture"][0])
        own = self._evaluator(model).explain(self._batch(model, profile, [name]))
        return {
            **own,
            "tables": {
                "Latency / energy gain over the fixed 2:4 macro (above 1: better)": self._gains(),
                f"{model}, {profile}": self._rows(model, profile),
            },
            "texts": {"Beside the published claims": CLAIMS},
            "energy_breakdown_pj": {name: own["energy_pj"]},
        }

    def pictures(self, design: Columns) -> Mapping[str, Callable[[], Figure]]:
        """Gains over the fixed 2:4 macro as bars."""
        from evaluators.digital.figures import gains_figure

        pairs = [(model, profile) for profile in self.profiles for model in self.workloads]
        return {"gains_over_2_4": lambda: gains_figure({p: self._rows(*p) for p in pairs})}

    def _gains(self) -> list[dict[str, Any]]:
        """One row per architecture, one column per profile and model: latency / energy gain."""
        pairs = [(model, profile) for profile in self.profiles for model in self.workloads]
        found = {pair: self._rows(*pair) for pair in pairs}
        first = next(iter(found.values()))
        dense = next(r for r in first if r["architecture"] == Architecture.DENSE)["area_mm2"]
        rows = []
        for index, row in enumerate(first):
            gains = {
                f"{profile} {model}": f"{found[model, profile][index]['speedup_over_2_4']:.2f} / "
                f"{found[model, profile][index]['energy_gain_over_2_4']:.2f}"
                for model, profile in pairs
            }
            area = f"{row['area_mm2'] / dense - 1:+.1%}"
            rows.append({"architecture": row["architecture"], "area over dense": area, **gains})
        return rows

    def _rows(self, model: str, profile: str) -> list[dict[str, Any]]:
        """One row per architecture: the answers to the pair select first, then the baselines."""
        baselines = [a for a in ARCHITECTURES if a not in PAIR_SELECTS and self._runs(a)]
        names = [str(a) for a in (*PAIR_SELECTS, *baselines)]
        found = self._metrics(model, profile, names)
        return [
            {
                "architecture": name,
                "latency_ms": found["latency_ns"][i] * 1e-6,
                "energy_mj": found["energy_pj"][i] * 1e-9,
                "area_mm2": found["area_mm2"][i],
                "clock_ns": found["clock_ns"][i],
                "speedup": found["speedup"][i],
                "energy_gain": found["energy_gain"][i],
                "speedup_over_2_4": found["speedup_over_2_4"][i],
                "energy_gain_over_2_4": found["energy_gain_over_2_4"][i],
                "masks": _masks_text(name),
            }
            for i, name in enumerate(names)
        ]

    def _runs(self, architecture: Architecture) -> bool:
        """Booth coding needs half the input width free."""
        bits = int(self.machine["bits_per_cycle"])
        return (
            architecture is not Architecture.SDP_LIKE or 2 * bits <= self.options.macro.input_bits
        )

    def _metrics(
        self, model: str, profile: str, names: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        """Metrics of some architectures, each with its ratios."""
        baselines = [str(Architecture.DENSE), str(Architecture.TWO_OF_FOUR)]
        batch = self._batch(model, profile, [*names, *baselines])
        found = dict(self._evaluator(model).evaluate(batch).metrics)
        share = self._parameter_share(model)
        found["sparsity"] = 1.0 - batch.nm.density @ share - (1.0 - share.sum())
        for column, suffix in ((-2, ""), (-1, "_over_2_4")):
            found[f"speedup{suffix}"] = found["latency_ns"][column] / found["latency_ns"]
            found[f"energy_gain{suffix}"] = found["energy_pj"][column] / found["energy_pj"]
        all_names = [*names, *baselines]
        ideal, shared = Architecture.FLEXCIM_IDEAL, Architecture.FLEXCIM_SHARED
        found["realisable"] = np.array([float(name != ideal) for name in all_names])
        found["free_masks"] = np.array([float(name != shared) for name in all_names])
        return {name: values[: len(names)] for name, values in found.items()}

    def _batch(self, model: str, profile: str, names: Sequence[str]) -> CimBatch:
        if profile not in self.profiles:
            raise ValueError(f"nm must be one of {', '.join(self.profiles)}, got {profile!r}")
        layers = self._evaluator(model).nm_layers
        chosen = self.profiles[profile].patterns(len(layers))
        patterns = tuple(dict.fromkeys(chosen))
        choice = np.tile([patterns.index(pattern) for pattern in chosen], (len(names), 1))
        machines = machine_batch([{**self.machine, "architecture": name} for name in names])
        return CimBatch(machines, NMBatch(layers, patterns, choice))

    def _evaluator(self, model: str) -> DigitalCimEvaluator:
        if model not in self._evaluators:
            raise ValueError(f"model must be one of {', '.join(self.workloads)}, got {model!r}")
        return self._evaluators[model]

    @cached_property
    def _evaluators(self) -> dict[str, DigitalCimEvaluator]:
        return {
            name: DigitalCimEvaluator(gemm_layers(workload, block_count(workload)), self.options)
            for name, workload in self.workloads.items()
        }

    def _parameter_share(self, model: str) -> NDArray[np.float64]:
        """Part of all weights that each N:M layer holds, shape (L,); the rest is always dense."""
        evaluator = self._evaluator(model)
        sizes = dict.fromkeys(evaluator.nm_layers, 0.0)
        total = 0.0
        for layer in evaluator.layers:
            size = float(layer.reduction * layer.outputs * layer.count)
            total += size
            if layer.nm_layer is not None:
                sizes[layer.nm_layer] += size
        return np.array(list(sizes.values())) / total


def _masks_text(architecture: str) -> str:
    """What an architecture asks of the masks, in words."""
    if architecture == Architecture.FLEXCIM_IDEAL:
        return "free at no cost: an upper bound"
    return "columns share pairs" if architecture == Architecture.FLEXCIM_SHARED else "free"
