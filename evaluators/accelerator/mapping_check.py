"""Refuse malformed mappings with one line that names the design, the field, the rule and the value.

An infeasible mapping (a tile too large, a fan-out too wide) is not malformed; evaluators report it
as a violation.
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import Operator

(
    _GOOD,
    _BAD_RANK,
    _BAD_TRIP,
    _BAD_KIND,
    _BAD_PRODUCT,
    _BAD_OUTERMOST,
    _BAD_POSITION,
    _BAD_ORDER,
    _BAD_SPATIAL,
    _BAD_FORMAT,
) = range(10)


@compiled
def _check_loops(loop_rank, loop_trip, loop_kind, sizes, axes, product):  # type: ignore[no-untyped-def]
    product[:] = 1.0
    for p in range(loop_rank.shape[0]):
        if loop_rank[p] < 0 or loop_rank[p] >= sizes.shape[0]:
            return _BAD_RANK, p, 0
        if loop_trip[p] < 1:
            return _BAD_TRIP, p, 0
        if loop_kind[p] < 0 or loop_kind[p] > axes:
            return _BAD_KIND, p, 0
        product[loop_rank[p]] *= loop_trip[p]
    for rank in range(sizes.shape[0]):
        if product[rank] < sizes[rank]:
            return _BAD_PRODUCT, rank, int(product[rank])
    return _GOOD, 0, 0


@compiled
def _check_placement(loop_trip, loop_kind, keep_at, format_id, axis_level, formats):  # type: ignore[no-untyped-def]
    slots = loop_trip.shape[0]
    tensors, levels = keep_at.shape
    for t in range(tensors):
        if keep_at[t, 0] != 0:
            return _BAD_OUTERMOST, t, 0
        last = 0
        for level in range(levels):
            if format_id[t, level] < 0 or format_id[t, level] >= formats:
                return _BAD_FORMAT, t, level
            position = keep_at[t, level]
            if position < -1 or position > slots:
                return _BAD_POSITION, t, level
            if position >= 0:
                if position < last:
                    return _BAD_ORDER, t, level
                last = position
        for p in range(slots):
            if loop_kind[p] == 0 or loop_trip[p] == 1:
                continue
            above = axis_level[loop_kind[p] - 1]
            for level in range(levels):
                position = keep_at[t, level]
                if position >= 0 and (position <= p) != (level <= above):
                    return _BAD_SPATIAL, t, p
    return _GOOD, 0, 0


@compiled
def _first_malformed(ranks, trips, kinds, keep_at, format_id, sizes, axis_level, formats):  # type: ignore[no-untyped-def]
    product = np.ones(sizes.shape[0])
    for i in range(ranks.shape[0]):
        code, a, b = _check_loops(ranks[i], trips[i], kinds[i], sizes, axis_level.shape[0], product)
        if code == _GOOD:
            code, a, b = _check_placement(
                trips[i], kinds[i], keep_at[i], format_id[i], axis_level, formats
            )
        if code != _GOOD:
            return i, code, a, b
    return -1, _GOOD, 0, 0


def check_mappings(
    operator: Operator, hardware: Hardware, mappings: MappingBatch, formats: int = 1 << 15
) -> None:
    """Raise `ValueError` for the first malformed mapping of a batch.

    Args:
        operator: Gives the ranks and tensors.
        hardware: Gives the levels and fan-out axes.
        mappings: n mappings.
        formats: Number of entries of the format table that `format_id` indexes.
    """
    _check_shapes(operator, hardware, mappings)
    axis_level = np.array([level for level, _, _ in hardware.axes], dtype=np.int64)
    sizes = np.array(list(operator.ranks.values()), dtype=np.int64)
    index, code, a, b = _first_malformed(
        mappings.loop_rank,
        mappings.loop_trip,
        mappings.loop_kind,
        mappings.keep_at,
        mappings.format_id,
        sizes,
        axis_level,
        formats,
    )
    if index >= 0:
        message = _message(operator, hardware, mappings, (index, code, a, b), formats)
        raise ValueError(f"mapping {index} of {operator.name!r}: {message}")


def _check_shapes(operator: Operator, hardware: Hardware, mappings: MappingBatch) -> None:
    shape = mappings.loop_rank.shape
    if len(shape) != 2:
        raise ValueError(f"loop_rank must have shape (n, slots), got {shape}")
    for name in ("loop_trip", "loop_kind"):
        got = getattr(mappings, name).shape
        if got != shape:
            raise ValueError(f"{name} must have the shape of loop_rank {shape}, got {got}")
    expected = (shape[0], len(operator.tensors), len(hardware.levels))
    for name in ("keep_at", "format_id"):
        got = getattr(mappings, name).shape
        if got != expected:
            raise ValueError(
                f"{name} must have shape (designs, tensors, levels) = {expected}, got {got}"
            )


def _message(
    operator: Operator,
    hardware: Hardware,
    mappings: MappingBatch,
    found: tuple[int, int, int, int],
    formats: int,
) -> str:
    index, code, a, b = found
    if code in (_BAD_RANK, _BAD_TRIP, _BAD_KIND, _BAD_PRODUCT):
        return _loop_message(operator, hardware, mappings, found)
    tensor = operator.tensors[a].name
    if code == _BAD_OUTERMOST:
        return (
            f"keep_at of {tensor} at {hardware.levels[0].name} must be 0 "
            f"(the outermost level keeps everything), got {mappings.keep_at[index, a, 0]}"
        )
    if code == _BAD_SPATIAL:
        loop = f"{operator.rank_names[mappings.loop_rank[index, b]]} at position {b}"
        level, axis, _ = hardware.axes[mappings.loop_kind[index, b] - 1]
        return (
            f"spatial loop {loop} on axis {axis} must stand below every tile of {tensor} kept at "
            f"{hardware.levels[level].name} or further out and above those further in, "
            f"got keep_at {mappings.keep_at[index, a].tolist()}"
        )
    level_name = hardware.levels[b].name
    if code == _BAD_FORMAT:
        value = mappings.format_id[index, a, b]
        return f"format_id of {tensor} at {level_name} must be 0..{formats - 1}, got {value}"
    if code == _BAD_POSITION:
        slots = mappings.loop_rank.shape[1]
        value = mappings.keep_at[index, a, b]
        return f"keep_at of {tensor} at {level_name} must be -1..{slots}, got {value}"
    return (
        f"keep_at of {tensor} must not decrease inwards, "
        f"got {mappings.keep_at[index, a].tolist()} at {level_name}"
    )


def _loop_message(
    operator: Operator,
    hardware: Hardware,
    mappings: MappingBatch,
    found: tuple[int, int, int, int],
) -> str:
    index, code, a, b = found
    if code == _BAD_RANK:
        value = mappings.loop_rank[index, a]
        names = ", ".join(operator.rank_names)
        return f"loop_rank[{a}] must index one of the ranks {names}, got {value}"
    if code == _BAD_TRIP:
        return f"loop_trip[{a}] must be >= 1, got {mappings.loop_trip[index, a]}"
    if code == _BAD_KIND:
        value = mappings.loop_kind[index, a]
        return f"loop_kind[{a}] must be 0 (temporal) or 1..{len(hardware.axes)}, got {value}"
    rank = operator.rank_names[a]
    return (
        f"factors of rank {rank} must multiply to at least its size {operator.ranks[rank]}, got {b}"
    )
