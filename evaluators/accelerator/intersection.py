"""Gating and skipping: which reads a leader tensor's zeros make superfluous.

A rule stands at a level and names a follower (target) and its leaders. A transfer of the follower
out of that level is ineffectual when the part of a leader that it would meet is empty::

    leader tile  = what the follower's tile meets while it stays: the extents spanned by the loops
                   below the child's position, by the irrelevant loops directly above it (implicit
                   stationarity) and by the spatial loops that multicast the follower to the child
    nonempty(S)  = 1 - P0(leader tile of S)
    transfers made (skipping) or not gated (gating) = product of nonempty(S) over the leaders S

Reads by the compute units meet one element of a leader, or as many as share the read. Along a
tensor's levels the finest test of each leader counts: a tile that an outer test dropped is a subset
of what the inner test drops, so the fractions compose by the minimum, not by the product. A skipped
operand takes its computes with it; gating saves their energy but not their cycles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.sparsity.density_core import box_empty
from spaces.compiled import compiled
from spaces.hardware import Hardware
from spaces.validation import check_keys
from spaces.workloads.workload import Operator

GATE, SKIP = 0, 1
KINDS = ("gating", "skipping")
"""Names of the two kinds of rule, in the order of their codes."""

COMPUTE_RULES = ("none", "gating", "skipping")
"""What the compute units do by themselves with a zero operand."""


@dataclass(frozen=True)
class IntersectionRule:
    """`kind` the reads of `target` out of `level` where one of `leaders` is empty.

    Attributes:
        level: Level name; the rule rests where the level does not keep the target.
        target: Tensor name of the follower; the output may be a target at its innermost keeper.
        leaders: Tensor names of operands.
        kind: "gating" (energy saved, cycles spent) or "skipping" (both saved).
    """

    level: str
    target: str
    leaders: tuple[str, ...]
    kind: str = "skipping"


@dataclass(frozen=True)
class SparseOptimization:
    """What an accelerator does about zeros.

    Attributes:
        rules: Intersections between storage levels and at the compute units.
        compute: "none", "gating" (a compute with a zero operand is gated) or "skipping" (one whose
            operand is absent from a compressed innermost copy is skipped).
        packing: (tensor, axis) pairs, position skipping: the operand's non-zeros of a line are
            squeezed together before they are spread over the axis, so that the work left is a
            whole number of passes over the axis (`packed_share`).
    """

    rules: tuple[IntersectionRule, ...] = ()
    compute: str = "none"
    packing: tuple[tuple[str, str], ...] = ()


NO_OPTIMIZATION = SparseOptimization()
"""Zeros are computed like everything else."""


def build_optimization(
    rules: Sequence[Mapping[str, object]] = (),
    compute: str = "none",
    packing: Sequence[tuple[str, str]] = (),
) -> SparseOptimization:
    """A `SparseOptimization` from plain values, as config files state them.

    >>> build_optimization([{"level": "RF", "target": "A", "leaders": ["W"]}]).rules[0].kind
    'skipping'
    """
    built = []
    for rule in rules:
        check_keys("skipping.rules", rule, ("level", "target", "leaders", "kind"))
        leaders = rule.get("leaders", ())
        if isinstance(leaders, str) or not isinstance(leaders, Sequence):
            raise ValueError(f"skipping.rules.leaders must be a list of tensors, got {leaders!r}")
        built.append(
            IntersectionRule(
                str(rule.get("level")),
                str(rule.get("target")),
                tuple(str(leader) for leader in leaders),
                str(rule.get("kind", "skipping")),
            )
        )
    pairs = tuple((str(tensor), str(axis)) for tensor, axis in packing)
    return SparseOptimization(tuple(built), compute, pairs)


def check_optimization(
    operator: Operator, hardware: Hardware, optimization: SparseOptimization
) -> None:
    """Raise `ValueError` for a rule that names what does not exist."""
    tensors = [tensor.name for tensor in operator.tensors]
    for rule in optimization.rules:
        where = f"skipping rule on {rule.target} at {rule.level}"
        if rule.level not in hardware.level_names:
            known = ", ".join(hardware.level_names)
            raise ValueError(f"{where}: no level {rule.level!r}, the levels are {known}")
        for name in (rule.target, *rule.leaders):
            if name not in tensors:
                raise ValueError(f"{where}: no tensor {name!r}, the tensors are {tensors}")
        if not rule.leaders or rule.target in rule.leaders or tensors[-1] in rule.leaders:
            raise ValueError(
                f"{where}: leaders must be operands other than the target, got {list(rule.leaders)}"
            )
        if rule.kind not in KINDS:
            raise ValueError(f"{where}: kind must be gating or skipping, got {rule.kind!r}")
    axes = [axis for _, axis, _ in hardware.axes]
    for tensor, axis in optimization.packing:
        if tensor not in tensors[:-1] or axis not in axes:
            raise ValueError(
                f"skipping.packing needs an operand of {tensors[:-1]} and an axis of {axes}, "
                f"got {tensor!r} on {axis!r}"
            )
    if optimization.compute not in COMPUTE_RULES:
        known = ", ".join(COMPUTE_RULES)
        raise ValueError(f"skipping.compute must be one of {known}, got {optimization.compute!r}")


def rule_table(
    operator: Operator, hardware: Hardware, optimization: SparseOptimization
) -> NDArray[np.int64]:
    """Rules as (level, target, leader, kind) rows, one per leader; shape (rules, 4)."""
    tensors = [tensor.name for tensor in operator.tensors]
    rows = [
        (
            hardware.level_names.index(rule.level),
            tensors.index(rule.target),
            tensors.index(leader),
            KINDS.index(rule.kind),
        )
        for rule in optimization.rules
        for leader in rule.leaders
    ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 4)


def leader_table(
    operator: Operator, hardware: Hardware, rules: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """True where a tensor leads the compute units' reads at a level; shape (T, L).

    To find where two operands meet, all of a leader's metadata is read, skipped or not.
    """
    leads = np.zeros((len(operator.tensors), len(hardware.levels)), dtype=np.bool_)
    for level, _, leader, _ in rules:
        leads[leader, level] = True
    return leads


def packing_table(
    operator: Operator, hardware: Hardware, optimization: SparseOptimization
) -> NDArray[np.int64]:
    """Packings as (tensor, loop kind of the axis) rows; shape (packings, 2)."""
    tensors = [tensor.name for tensor in operator.tensors]
    axes = [axis for _, axis, _ in hardware.axes]
    rows = [(tensors.index(tensor), 1 + axes.index(axis)) for tensor, axis in optimization.packing]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2)


_EXACT_POSITIONS = 512
"""Lines up to this length get the exact binomial sum; longer ones its limit."""


@compiled
def packed_share(positions, width, density):  # type: ignore[no-untyped-def]
    """Passes over an axis after squeezing a line's zeros out, relative to the dense passes.

    E[ceil(X / width)] / (positions / width), X = non-zeros of a line, binomial; for long lines the
    mean of the ceiling is half a pass above X / width.

    >>> round(packed_share(2, 2, 0.5), 3)  # a pass unless both positions are zero
    0.75
    """
    dense = positions / width
    if density >= 1.0 or width <= 1:
        return min(density, 1.0)
    if positions > _EXACT_POSITIONS:
        return min(1.0, (positions * density / width + 0.5) / dense)
    weight = (1.0 - density) ** positions
    passes = 0.0
    for count in range(1, positions + 1):
        weight *= (positions - count + 1) / count * density / (1.0 - density)
        passes += weight * ((count + width - 1) // width)
    return passes / dense


@compiled
def leader_spans(nest, sizes, relevant, implicit, reach, spans):  # type: ignore[no-untyped-def]
    """Write the rank extents that one transfer of a follower meets.

    Args:
        nest: loop_rank, loop_trip, loop_kind of one design, each (slots,).
        sizes: Rank sizes.
        relevant: Ranks of the follower, shape (R,).
        implicit: Whether unchanged tiles stay.
        reach: Position of the parent and of the child (or of the compute units: slots).
        spans: Written, shape (R,).
    """
    rank, trip, kind = nest
    parent, child = reach
    slots = rank.shape[0]
    spans[:] = 1
    for p in range(slots - 1, child - 1, -1):
        spans[rank[p]] = min(spans[rank[p]] * trip[p], sizes[rank[p]])
    staying = implicit and child < slots
    for p in range(child - 1, -1, -1):
        if trip[p] == 1:
            continue
        if kind[p] != 0:
            if p >= parent and not relevant[rank[p]]:
                spans[rank[p]] = min(spans[rank[p]] * trip[p], sizes[rank[p]])
        elif not staying or relevant[rank[p]]:
            staying = False
            if p < parent:
                break
        else:
            spans[rank[p]] = min(spans[rank[p]] * trip[p], sizes[rank[p]])


@compiled
def spans_nonempty(spans, s, operator, density, box):  # type: ignore[no-untyped-def]
    """Probability that the box of tensor s over rank extents `spans` holds a non-zero."""
    dimensions, term_rank, term_coefficient = operator
    for d in range(4):
        box[d] = 1
    for d in range(dimensions[s]):
        extent = 1
        for k in range(term_rank.shape[2]):
            rank = term_rank[s, d, k]
            if rank >= 0:
                extent += term_coefficient[s, d, k] * (spans[rank] - 1)
        box[d] = extent
    shape = (box[0], box[1], box[2], box[3])
    return 1.0 - box_empty(density, shape, shape)
