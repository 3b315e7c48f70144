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

MODEL_VERSION = "0.2.0"
"""Version of the cost models, written beside every result so that numbers can be traced. Raise it
with every change that prices some design differently, and say in CHANGELOG.md which and why."""


@dataclass(frozen=True)
class Evaluation:
    """Costs of a batch of n designs.

    Attributes:
        metrics: Metric name, its unit in the name (`energy_pj`, `latency_cycles`) -> shape (n,).
        violations: Constraint name -> shape (n,); feasible when <= 0, and the size of the
            violation relative to the limit when > 0 (0.25 = a quarter over the limit).
        failures: Design index -> reason of a failed evaluation; its metrics are nan.
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


TileBits = Callable[[int, int, NDArray[np.int64], NDArray[np.int64]], FloatArray]
"""(tensor, level, format ids of shape (f,), rank extents of shape (n, R)) -> bits, shape (f, n, 2).

Metadata and payload bits of one tile with these extents (clipped to the tensor), encoded as `level`
stores it. Under the tile-major layout this is the child tile: level p's copy is a sequence of them.
"""

TransferFraction = Callable[[int, int, NDArray[np.int64]], FloatArray]
"""(tensor, parent level, rank extents of shape (n, R)) -> fraction of transfers made, shape (n,).

The extents are those the loops below the tile's (hoisted) position span: the part of every leader
that is used while the tile stays.
"""


@dataclass(frozen=True)
class LeafTerms:
    """What the compute units do, given where every tensor is kept.

    Attributes:
        compute_pj: Mean energy of one of the P computes (skipped and gated ones included).
        compute_cycles: Mean cycles of one of the P computes on one unit.
        made: Fraction of the dense accesses to each tensor's innermost copy that are made (not
            skipped), gated ones included; shape (T,).
        active: Fraction that is made and not gated, shape (T,).
        looked_up: Fraction whose metadata is read and decoded: `made`, or all of them where the
            tensor leads others (beyond `made` it takes energy but no slot of the port); shape (T,).

    For the output the two are fractions of accumulations of single products; where `g` products are
    reduced spatially before they reach the keeper, they become `1 - (1 - fraction)**g`.
    """

    compute_pj: float
    compute_cycles: float
    made: FloatArray
    active: FloatArray
    looked_up: FloatArray


LeafRule = Callable[[NDArray[np.bool_], NDArray[np.bool_]], LeafTerms]
"""(kept at each level (T, L), innermost copy is compressed (T,)) -> `LeafTerms`."""


@dataclass(frozen=True)
class CostTerms:
    """The structure of an accelerator's cost, so that exact searches need not import a model.

    T tensors, L storage levels (outermost first, the compute units below level L-1), R ranks. With
    P = product of all trip counts, u(T, c) = product of the trips of T's irrelevant ranks below
    its position at level c (under implicit stationarity the position first moves up over the
    irrelevant loops directly above it), p = the next level outwards that keeps T, and
    m(a, b) = product of the spatial trips of T's irrelevant ranks between levels a and b::

        operand:  words written at c = P / u(T, c)         words read at p = P / u(T, c) / m(p, c)
                  words read by the compute units at the innermost keeper k = P / m(k, compute)
        output:   words drained into p = P / u / m(p, c)   read back at c for it = P / u
                  fresh(l) = elements * m(outside, l)
                  words re-fetched: p reads P/u/m(p, c) - fresh(p), c writes P/u - fresh(c)
                  innermost keeper k: P / m(k, compute) accumulate-writes, that - fresh(k) reads

    Bits are words x bits per element of the copy that is read or written: `tile_bits` over the
    child's extents divided by the tile's elements. Nothing is rounded up. Latency is the maximum
    of the compute cycles and of every port's bits per used instance / bandwidth.

    Attributes:
        rank_names, rank_sizes: Length R.
        tensor_names, level_names: Length T and L, for messages.
        relevant: True where a rank indexes a tensor, shape (T, R).
        output: Index of the output tensor.
        home: Level whose energies and ports level 0 of a tensor has: 0, or 1 where the tensor is
            resident there; its room is taken off `capacity_bits`; shape (T,).
        elements, nonzeros: Elements of each tensor and how many of them are non-zero on average,
            shape (T,).
        word_bits: Dense bits per element, shape (T,); of the output: a partial sum's width, which
            every access to it carries but the last drain into level 0: that carries `final_bits`
            per payload word and is the only one that a format of the output applies to.
        tile_bits, format_choices: The formats offered per (tensor, level), ids; 0 = uncompressed.
        one_format: True where a tensor has one format id on every level that keeps it, shape (T,).
        read_pj_per_bit, write_pj_per_bit: Payload, shape (L,).
        metadata_read_pj_per_bit, metadata_write_pj_per_bit: Shape (L,).
        gated_pj_per_bit: Of a gated access by the compute units; it loads the port; shape (L,).
        decode_pj: Energy of decoding one element of a format, shape (T, formats).
        leaf: What gating and skipping at the compute units leave. One dense access of the compute
            units to an operand reads `active` x payload bits and `looked_up` x metadata bits of
            the innermost tile / its elements, and loads the port with `made` x both.
        transfer_fraction: Skipping between levels; None = every transfer is made.
        child_drain_read: True when draining a partial sum reads the child.
        read_bits_per_cycle, write_bits_per_cycle: Per instance, shape (L,); inf = free.
        shared_port: Reads and writes share the read bandwidth, shape (L,).
        capacity_bits: Per instance, shape (L,); inf = unbounded.
        fan_out: Per level, the sizes of the axes between it and the next level inwards; several
            ranks may share an axis.
        may_keep, must_keep: Placement rules, shape (T, L).
        static_pj_per_cycle: Leakage of the whole accelerator.
        stationarity: "implicit" or "explicit".
    """

    rank_names: tuple[str, ...]
    rank_sizes: NDArray[np.int64]
    tensor_names: tuple[str, ...]
    level_names: tuple[str, ...]
    relevant: NDArray[np.bool_]
    output: int
    home: NDArray[np.int64]
    elements: FloatArray
    nonzeros: FloatArray
    word_bits: FloatArray
    final_bits: float
    tile_bits: TileBits
    format_choices: tuple[tuple[tuple[int, ...], ...], ...]
    one_format: NDArray[np.bool_]
    read_pj_per_bit: FloatArray
    write_pj_per_bit: FloatArray
    metadata_read_pj_per_bit: FloatArray
    metadata_write_pj_per_bit: FloatArray
    gated_pj_per_bit: FloatArray
    decode_pj: FloatArray
    leaf: LeafRule
    transfer_fraction: TransferFraction | None
    child_drain_read: bool
    read_bits_per_cycle: FloatArray
    write_bits_per_cycle: FloatArray
    shared_port: NDArray[np.bool_]
    capacity_bits: FloatArray
    fan_out: tuple[tuple[int, ...], ...]
    may_keep: NDArray[np.bool_]
    must_keep: NDArray[np.bool_]
    static_pj_per_cycle: float
    stationarity: str


@runtime_checkable
class StructuredEvaluator(Evaluator, Protocol):
    """Optional capability: the terms of the cost, for searches that exploit its structure."""

    def cost_terms(self) -> CostTerms:
        """The structure of the cost; whatever is found with it is re-priced by `evaluate`."""
        ...
