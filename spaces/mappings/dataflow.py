"""Mapping constraints: what a dataflow fixes of every mapping.

A `Dataflow` is plain data, written once per style and independent of operator and hardware.
`mapping_rules` resolves it for one operator on one hardware into arrays that any search can honour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spaces.hardware import Hardware
from spaces.mappings.residency import placement_rules
from spaces.validation import check_choice, check_key, nearest
from spaces.workloads.workload import Operator, Tensor, TensorClass

RANK_NAMES = ("B", "G", "M", "N", "K", "C", "P", "Q", "R", "S")
"""Rank names a dataflow may speak of although the operator at hand lacks them."""

RANK_ROLES = ("reduction", "output", "streamed")
"""Words for ranks: those the result lacks; those the weight shares with the result; those of the
result that the weight lacks. Of a matrix product `Z[M,N] = A[M,K] * W[K,N]`: K, N and M."""

LEVEL_ALIASES = {"outermost": 0, "innermost": -1}
"""Names for levels that every hardware has."""

NO_LIMIT = np.iinfo(np.int64).max
"""`MappingRules.maximum_trip` of an unconstrained loop."""


@dataclass(frozen=True)
class Dataflow:
    """Constraints on mappings; every field may be absent.

    Levels are named as in the hardware, or `outermost` and `innermost`; tensors by name or by role
    (weight, activation, kv, output); ranks by name or by role (`RANK_ROLES`). Ranks that an
    operator lacks are ignored.

    Attributes:
        name: For tables.
        spatial: Axis (`X`, or `GLB.X`) -> ranks that may be unrolled over it; others: any rank.
        order: Level -> ranks in the order their loops must stand in that level's block, outermost
            first; ranks left out stand anywhere.
        stationary: Level -> the tensor that stays there: in the block above the level, loops
            irrelevant to it are innermost; it is kept, at the head of the level's own block.
        keep: Level -> tensors that must be kept there.
        bypass: Level -> tensors that may not be kept there.
        minimum_utilisation: Fraction of the fan-out lanes in use, 0..1; where an operator cannot
            reach it, the best it can reach.
        maximum_trip: Level -> rank -> largest trip count of its loop in that level's block.
        minimum_tile: Level -> rank -> least extent of the level's tile along the rank (or the
            rank's size, where that is smaller).
    """

    name: str = "free"
    spatial: Mapping[str, Sequence[str]] = field(default_factory=dict)
    order: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stationary: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bypass: Mapping[str, Sequence[str]] = field(default_factory=dict)
    minimum_utilisation: float = 0.0
    maximum_trip: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    minimum_tile: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.minimum_utilisation <= 1.0:
            raise ValueError(
                f"dataflow.minimum_utilisation: must be in 0..1, got {self.minimum_utilisation}"
            )
        for label in ("maximum_trip", "minimum_tile"):
            for level, limits in getattr(self, label).items():
                for rank, limit in limits.items():
                    if limit < 1:
                        raise ValueError(
                            f"dataflow.{label}.{level}.{rank}: must be >= 1, got {limit}"
                        )


FREE = Dataflow()
"""No constraint beyond the hardware's own."""


@dataclass(frozen=True)
class MappingRules:
    """A dataflow resolved for one operator (R ranks, T tensors) on one hardware (L levels, A axes).

    Attributes:
        spatial_allowed: True where a rank may be unrolled over an axis, shape (A, R).
        stands_outside: True at [l, a, b] where rank a's loop must stand outside rank b's in level
            l's block, shape (L, R, R).
        may_keep, must_keep: Placement, hardware and dataflow together, shape (T, L); the outermost
            level keeps everything.
        at_head: True where a tensor must be placed at the head of the level's block, shape (T, L).
        minimum_utilisation: Fraction of the lanes, 0..1 (see `Dataflow`).
        maximum_trip: Of a rank's temporal loop in a level's block, shape (L, R).
        minimum_tile: Extent of a level's tile along a rank, shape (L, R).
    """

    spatial_allowed: NDArray[np.bool_]
    stands_outside: NDArray[np.bool_]
    may_keep: NDArray[np.bool_]
    must_keep: NDArray[np.bool_]
    at_head: NDArray[np.bool_]
    minimum_utilisation: float
    maximum_trip: NDArray[np.int64]
    minimum_tile: NDArray[np.int64]


def mapping_rules(dataflow: Dataflow, operator: Operator, hardware: Hardware) -> MappingRules:
    """Resolve a dataflow for one operator on one hardware.

    Raises:
        ValueError: If a level, axis, tensor or rank does not exist, or rules contradict each other.
    """
    may_keep, must_keep = _placement(dataflow, operator, hardware)
    at_head = np.zeros_like(may_keep)
    stands_outside = _orders(dataflow, operator, hardware)
    for level_name, wanted in dataflow.stationary.items():
        level = _level_index(f"dataflow.stationary.{level_name}", level_name, hardware)
        for t in _tensors(f"dataflow.stationary.{level_name}", wanted, operator):
            _make_stationary(stands_outside, operator, t, level)
            at_head[t, level] = True
            _require(must_keep, may_keep, (t, level), f"dataflow.stationary.{level_name}")
    minimum_tile = _limits("minimum_tile", dataflow.minimum_tile, (operator, hardware), 1)
    for t, tensor in enumerate(operator.tensors):
        relevant = np.array([rank in tensor.ranks for rank in operator.ranks])
        at_head[t] |= ((minimum_tile > 1) & relevant).any(axis=1)
    return MappingRules(
        spatial_allowed=_spatial(dataflow, operator, hardware),
        stands_outside=stands_outside,
        may_keep=may_keep,
        must_keep=must_keep,
        at_head=at_head,
        minimum_utilisation=dataflow.minimum_utilisation,
        maximum_trip=_limits("maximum_trip", dataflow.maximum_trip, (operator, hardware), NO_LIMIT),
        minimum_tile=minimum_tile,
    )


def _spatial(dataflow: Dataflow, operator: Operator, hardware: Hardware) -> NDArray[np.bool_]:
    allowed = np.ones((len(hardware.axes), len(operator.ranks)), dtype=bool)
    qualified = [f"{hardware.levels[level].name}.{axis}" for level, axis, _ in hardware.axes]
    plain = [axis for _, axis, _ in hardware.axes]
    for wanted, ranks in dataflow.spatial.items():
        check_key("dataflow.spatial", wanted, [*dict.fromkeys(plain), *qualified])
        meant = _ranks(f"dataflow.spatial.{wanted}", ranks, operator)
        for a in range(len(plain)):
            if wanted in (plain[a], qualified[a]):
                allowed[a] = [r in meant for r in range(len(operator.ranks))]
    return allowed


def _orders(dataflow: Dataflow, operator: Operator, hardware: Hardware) -> NDArray[np.bool_]:
    count = len(operator.ranks)
    outside = np.zeros((len(hardware.levels), count, count), dtype=bool)
    for level_name, ranks in dataflow.order.items():
        field_name = f"dataflow.order.{level_name}"
        level = _level_index(field_name, level_name, hardware)
        groups = [_ranks(field_name, [rank], operator) for rank in ranks]
        for position, outer in enumerate(groups):
            for inner in groups[position + 1 :]:
                outside[level][np.ix_(outer, inner)] = True
    return outside


def _make_stationary(
    stands_outside: NDArray[np.bool_], operator: Operator, tensor: int, level: int
) -> None:
    """Loops relevant to the tensor stand outside the others in the block above the level."""
    relevant = np.array([rank in operator.tensors[tensor].ranks for rank in operator.ranks])
    if level > 0:
        stands_outside[level - 1] |= relevant[:, None] & ~relevant[None, :]


def _placement(
    dataflow: Dataflow, operator: Operator, hardware: Hardware
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    may_keep, must_keep = placement_rules(operator, hardware)
    for level_name, wanted in dataflow.bypass.items():
        field_name = f"dataflow.bypass.{level_name}"
        level = _level_index(field_name, level_name, hardware)
        for name in wanted:
            for t in _tensors(field_name, name, operator):
                may_keep[t, level] = False
    for level_name, wanted in dataflow.keep.items():
        field_name = f"dataflow.keep.{level_name}"
        level = _level_index(field_name, level_name, hardware)
        for name in wanted:
            for t in _tensors(field_name, name, operator):
                _require(must_keep, may_keep, (t, level), field_name)
    if np.any(must_keep & ~may_keep):
        t, level = np.argwhere(must_keep & ~may_keep)[0]
        raise ValueError(
            f"dataflow.bypass.{hardware.levels[level].name}: the level must keep "
            f"{operator.tensors[t].name}"
        )
    return may_keep, must_keep


def _require(
    must_keep: NDArray[np.bool_],
    may_keep: NDArray[np.bool_],
    at: tuple[int, int],
    field_name: str,
) -> None:
    if not may_keep[at]:
        raise ValueError(f"{field_name}: the tensor may not be kept at this level")
    must_keep[at] = True


def _limits(
    label: str,
    limits: Mapping[str, Mapping[str, int]],
    target: tuple[Operator, Hardware],
    default: int,
) -> NDArray[np.int64]:
    operator, hardware = target
    array = np.full((len(hardware.levels), len(operator.ranks)), default, dtype=np.int64)
    for level_name, by_rank in limits.items():
        field_name = f"dataflow.{label}.{level_name}"
        level = _level_index(field_name, level_name, hardware)
        for rank, limit in by_rank.items():
            array[level, _ranks(field_name, [rank], operator)] = limit
    return array


def _level_index(field_name: str, name: str, hardware: Hardware) -> int:
    if name in LEVEL_ALIASES:
        return LEVEL_ALIASES[name] % len(hardware.levels)
    check_choice(field_name, name, [*hardware.level_names, *LEVEL_ALIASES])
    return hardware.level_names.index(name)


def _ranks(field_name: str, names: Sequence[str], operator: Operator) -> list[int]:
    """Indices of the ranks meant by names and roles; those the operator lacks are left out."""
    found: dict[int, None] = {}
    weight = operator.tensors[_weight_like(operator.tensors[:-1])].ranks
    result = operator.output.ranks
    roles = {
        "reduction": [rank for rank in operator.ranks if rank not in result],
        "output": [rank for rank in operator.ranks if rank in result and rank in weight],
        "streamed": [rank for rank in operator.ranks if rank in result and rank not in weight],
    }
    for name in names:
        if name not in operator.ranks and name not in RANK_NAMES and name not in roles:
            hint = nearest(name, [*operator.rank_names, *roles])
            raise ValueError(f"{field_name}: no rank {name!r} in operator {operator.name!r}{hint}")
        meant = roles.get(name, [name])
        found.update((operator.rank_names.index(r), None) for r in meant if r in operator.ranks)
    return list(found)


def _tensors(field_name: str, wanted: str, operator: Operator) -> list[int]:
    """Indices of the tensors meant by a name or a role; none when no tensor has the role."""
    names = [tensor.name for tensor in operator.tensors]
    if wanted in names:
        return [names.index(wanted)]
    check_choice(field_name, wanted, [*names, *(role.value for role in TensorClass)])
    if wanted == TensorClass.WEIGHT:
        return [_weight_like(operator.tensors[:-1])]
    return [i for i, t in enumerate(operator.tensors) if t.tensor_class == wanted]


def _weight_like(operands: Sequence[Tensor]) -> int:
    """The weight operand; of attention, the cached one; of two activations, the last."""
    for role in (TensorClass.WEIGHT, TensorClass.KV):
        for index, tensor in enumerate(operands):
            if tensor.tensor_class is role:
                return index
    return len(operands) - 1
