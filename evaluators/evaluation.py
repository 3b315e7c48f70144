"""The evaluator protocol and its result record.

An evaluator turns a batch of n designs into arrays of length n: objectives and constraint
violations. It is pure and deterministic: no clock, no random numbers, no files. An infeasible
design is not an error, it is a positive violation; a malformed one is a `ValueError` that names
the field, the rule and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MODEL_VERSION = "0.1.0"
"""Version of the cost models; written beside every result so that numbers can be traced."""


@dataclass(frozen=True)
class Evaluation:
    """Costs of a batch of n designs.

    Attributes:
        metrics: Metric name, its unit in the name (`energy_pj`, `latency_cycles`) -> shape (n,).
        violations: Constraint name -> shape (n,); feasible when <= 0, and the size of the
            violation relative to the limit when > 0 (0.25 = a quarter over the limit).
        failures: Design index -> reason, for designs whose evaluation failed; their metrics are nan.
    """

    metrics: Mapping[str, FloatArray]
    violations: Mapping[str, FloatArray] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.metrics.values()))) if self.metrics else 0

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Shape (n,): True where every violation is <= 0 and no evaluation failed."""
        good = np.ones(len(self), dtype=bool)
        for violation in self.violations.values():
            good &= violation <= 0
        for index in self.failures:
            good[index] = False
        return good

    def take(self, indices: NDArray[np.intp]) -> Evaluation:
        """The evaluation of a subset, in the order of `indices`."""
        return Evaluation(
            metrics={name: values[indices] for name, values in self.metrics.items()},
            violations={name: values[indices] for name, values in self.violations.items()},
            failures={
                new: self.failures[int(old)]
                for new, old in enumerate(indices)
                if int(old) in self.failures
            },
        )


@runtime_checkable
class Evaluator(Protocol):
    """What a design costs."""

    def evaluate(self, designs: Any) -> Evaluation:
        """Price a batch of n designs; never raises for an infeasible one."""
        ...

    def explain(self, design: Any) -> Mapping[str, Any]:
        """Full breakdown of a batch of one design: nested, JSON-serialisable, units in names."""
        ...


@runtime_checkable
class BoundedEvaluator(Evaluator, Protocol):
    """Optional capability: optimistic costs of designs that are only partly decided."""

    def lower_bound(self, partial: Any) -> Evaluation:
        """Metrics that no completion of the partial designs can beat."""
        ...


TileBits = Callable[[int, int, NDArray[np.int64]], FloatArray]
"""(tensor index, level index, tile extents of shape (n, dims)) -> bits moved or held, shape (n,)."""


@dataclass(frozen=True)
class CostTerms:
    """The structure of an accelerator's cost, so that exact searches need not import a model.

    With T tensors and L storage levels, outermost first; the compute units stand below level L-1.

    Attributes:
        rank_names: Rank names, length R.
        rank_sizes: Their sizes, shape (R,).
        relevant: True where a rank indexes a tensor, shape (T, R).
        output: Index of the output tensor.
        read_pj_per_bit, write_pj_per_bit: Energy of moving one bit at a level, shape (T, L): a
            tensor's own density and gating are applied to traffic, not here.
        read_bits_per_cycle, write_bits_per_cycle: Bandwidth per instance, shape (L,); inf = free.
        shared_port: True where reads and writes share the read bandwidth, shape (L,).
        capacity_bits: Per instance, shape (L,); inf = unbounded.
        fan_out: Per level, the sizes of the axes between it and the next level inwards.
        may_keep, must_keep: Placement rules, shape (T, L).
        word_bits: Dense bits per element, shape (T, L).
        density: Fraction of non-zero elements, shape (T,).
        tile_bits: Encoded bits of one tile of a tensor as stored for the boundary below a level,
            one entry per (tensor, format) alternative; see `SparseAccelerator.cost_terms`.
        mac_pj: Energy of one effectual compute.
        compute_fraction: Fraction of computes that are really issued (energy), of computes that
            cost a cycle (latency).
        stationarity: "implicit" or "explicit".
    """

    rank_names: tuple[str, ...]
    rank_sizes: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    output: int
    read_pj_per_bit: FloatArray
    write_pj_per_bit: FloatArray
    read_bits_per_cycle: FloatArray
    write_bits_per_cycle: FloatArray
    shared_port: NDArray[np.bool_]
    capacity_bits: FloatArray
    fan_out: tuple[Mapping[str, int], ...]
    may_keep: NDArray[np.bool_]
    must_keep: NDArray[np.bool_]
    word_bits: FloatArray
    density: FloatArray
    tile_bits: TileBits
    mac_pj: float
    compute_fraction: tuple[float, float]
    stationarity: str
