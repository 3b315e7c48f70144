"""Loop nests as text: readable items that can be read back, and an indented listing with tiles.

The items of a nest, outermost first::

    DRAM keeps A, W, Z        a level keeps tensors from here on
    for K in 16               a temporal loop of 16 trips
    spatial X: N in 4         a loop unrolled over fan-out axis X (GLB.X where X is not unique)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from spaces.hardware import Hardware
from spaces.mappings.loop_nest import BYPASS, TEMPORAL, MappingBatch
from spaces.mappings.residency import HOME, at_home, from_home, resident_tensors
from spaces.validation import nearest
from spaces.workloads.workload import Operator

_KEEPS = re.compile(r"(\S+) keeps (\S.*)")
_LOOP = re.compile(r"for (\S+) in (\d+)")
_SPATIAL = re.compile(r"spatial (\S+): (\S+) in (\d+)")

MAXIMUM_SLOTS = 127
"""Loops of a nest at most: positions are 8-bit integers."""


def nest_items(
    operator: Operator, hardware: Hardware, mapping: MappingBatch, index: int = 0
) -> list[str]:
    """The items of one mapping; loops of trip count 1 are left out."""
    items = []
    slots = mapping.loop_rank.shape[1]
    for position in range(slots + 1):
        for level, tensors in _kept_at(operator, mapping, index, position):
            names = ", ".join(operator.tensors[t].name for t in tensors)
            items.append(f"{hardware.levels[level].name} keeps {names}")
        if position < slots and mapping.loop_trip[index, position] > 1:
            items.append(_loop_item(operator, hardware, mapping, (index, position)))
    return items


def loop_nest_text(
    operator: Operator,
    hardware: Hardware,
    mapping: MappingBatch,
    index: int = 0,
    formats: Mapping[str, Sequence[object]] | None = None,
) -> str:
    """An indented listing of one mapping, with the tile each level keeps.

    Args:
        operator: Names of ranks and tensors.
        hardware: Names of levels and axes.
        mapping: The batch.
        index: Which mapping of it.
        formats: Tensor -> its formats (or their texts) by number; number 0 is not shown.
    """
    lines: list[str] = []
    depth = 0
    slots = mapping.loop_rank.shape[1]
    format_id = at_home(operator, mapping.format_id[index], 0)
    for position in range(slots + 1):
        for level, tensors in _kept_at(operator, mapping, index, position):
            tiles = []
            for t in tensors:
                name, number = operator.tensors[t].name, int(format_id[t, level])
                form = f" as {formats[name][number]}" if formats and number else ""
                extents = _tile_extents(operator, mapping, (index, position), t)
                tiles.append(f"{name} {'x'.join(map(str, extents))}{form}")
            lines.append("  " * depth + f"{hardware.levels[level].name} keeps {', '.join(tiles)}")
        if position < slots and mapping.loop_trip[index, position] > 1:
            item = _loop_item(operator, hardware, mapping, (index, position))
            lines.append("  " * depth + item)
            depth += 1
    return "\n".join(lines)


def describe_mapping(
    operator: Operator, hardware: Hardware, mapping: MappingBatch, index: int = 0
) -> dict[str, Any]:
    """One mapping as text and data: nest, padding per rank, lanes in use per axis."""
    padded = {
        rank: prod(mapping.loop_trip[index, mapping.loop_rank[index] == r].tolist())
        for r, rank in enumerate(operator.rank_names)
    }
    lanes = {
        f"{hardware.levels[level].name}.{name}": {
            "used": prod(mapping.loop_trip[index, mapping.loop_kind[index] == 1 + a].tolist()),
            "size": size,
        }
        for a, (level, name, size) in enumerate(hardware.axes)
    }
    return {
        "text": loop_nest_text(operator, hardware, mapping, index),
        "nest": nest_items(operator, hardware, mapping, index),
        "padding": {
            rank: {"size": size, "padded": padded[rank], "loss": padded[rank] / size - 1}
            for rank, size in operator.ranks.items()
            if padded[rank] != size
        },
        "lanes": lanes,
    }


def read_nest_items(
    items: Sequence[object], operator: Operator, hardware: Hardware, field: str = "nest"
) -> MappingBatch:
    """The mapping that these items describe, a batch of one, uncompressed.

    Raises:
        ValueError: If an item does not read, names what does not exist, or breaks a rule of nests;
            one line with the item's number, the rule and the value.
    """
    loops: list[tuple[int, int, int]] = []
    keep_at = np.full((len(operator.tensors), len(hardware.levels)), BYPASS, dtype=np.int8)
    for number, item in enumerate(items):
        where = f"{field}[{number}]"
        text = _item_text(item)
        if match := _KEEPS.fullmatch(text):
            _read_keeps(where, match, (operator, hardware), keep_at, len(loops))
        elif match := _LOOP.fullmatch(text):
            loops.append(_loop(where, operator, match[1], match[2], TEMPORAL))
        elif match := _SPATIAL.fullmatch(text):
            kind = 1 + _axis(where, match[1], hardware)
            loops.append(_loop(where, operator, match[2], match[3], kind))
        else:
            raise ValueError(
                f"{where}: must read 'LEVEL keeps TENSORS', 'for RANK in TRIPS' or "
                f"'spatial AXIS: RANK in TRIPS', got {item!r}"
            )
    keep_at = _with_residents(field, keep_at, operator, hardware)
    _check_nest(field, loops, keep_at, operator, hardware)
    columns = np.array(loops, dtype=np.int64).reshape(-1, 3)
    return MappingBatch(
        columns[None, :, 0].astype(np.int8),
        columns[None, :, 1],
        columns[None, :, 2].astype(np.int8),
        keep_at[None],
        np.zeros((1, *keep_at.shape), dtype=np.int16),
    )


def _item_text(item: object) -> str:
    """An item with single spaces; unquoted YAML reads `spatial X: N in 4` as a mapping."""
    if isinstance(item, Mapping) and len(item) == 1:
        (key, value), *_ = item.items()
        return " ".join(f"{key}: {value}".split())
    return " ".join(str(item).split())


def _kept_at(
    operator: Operator, mapping: MappingBatch, index: int, position: int
) -> list[tuple[int, list[int]]]:
    """(level, tensors) kept at a position, outermost level first."""
    here = at_home(operator, mapping.keep_at[index], BYPASS) == position
    return [
        (level, np.flatnonzero(here[:, level]).tolist())
        for level in np.flatnonzero(here.any(axis=0)).tolist()
    ]


def _loop_item(
    operator: Operator, hardware: Hardware, mapping: MappingBatch, at: tuple[int, int]
) -> str:
    rank = operator.rank_names[mapping.loop_rank[at]]
    kind, trip = int(mapping.loop_kind[at]), int(mapping.loop_trip[at])
    if kind == TEMPORAL:
        return f"for {rank} in {trip}"
    return f"spatial {axis_label(hardware, kind - 1)}: {rank} in {trip}"


def axis_label(hardware: Hardware, axis: int) -> str:
    """An axis's name, with its level's where another axis has the same name."""
    level, name, _ = hardware.axes[axis]
    unique = [other for _, other, _ in hardware.axes].count(name) == 1
    return name if unique else f"{hardware.levels[level].name}.{name}"


def _tile_extents(
    operator: Operator, mapping: MappingBatch, at: tuple[int, int], tensor: int
) -> list[int]:
    """Extents of a tensor's tile at a position, clipped to the tensor."""
    index, position = at
    ranks, trips = mapping.loop_rank[index, position:], mapping.loop_trip[index, position:]
    below = {
        rank: np.array([min(prod(trips[ranks == r].tolist()), size)])
        for r, (rank, size) in enumerate(operator.ranks.items())
    }
    return [int(extent) for extent in operator.tensors[tensor].extents(below)[0]]


def _read_keeps(
    where: str,
    match: re.Match[str],
    target: tuple[Operator, Hardware],
    keep_at: np.ndarray[Any, Any],
    position: int,
) -> None:
    operator, hardware = target
    names = [tensor.name for tensor in operator.tensors]
    level_name = match[1]
    if level_name not in hardware.level_names:
        hint = nearest(level_name, hardware.level_names)
        raise ValueError(f"{where}: no level {level_name!r}{hint}")
    level = hardware.level_names.index(level_name)
    for name in re.split(r"[,\s]+", match[2]):
        if name not in names:
            raise ValueError(f"{where}: no tensor {name!r}{nearest(name, names)}")
        if keep_at[names.index(name), level] != BYPASS:
            raise ValueError(f"{where}: {level_name} keeps {name} twice")
        inner = keep_at[names.index(name), level + 1 :]
        if (inner != BYPASS).any():
            inside = hardware.levels[level + 1 + int(np.argmax(inner != BYPASS))].name
            raise ValueError(f"{where}: {level_name} must keep {name} before {inside} does")
        keep_at[names.index(name), level] = position


def _loop(where: str, operator: Operator, rank: str, trips: str, kind: int) -> tuple[int, int, int]:
    if rank not in operator.ranks:
        raise ValueError(f"{where}: no rank {rank!r}{nearest(rank, operator.rank_names)}")
    if int(trips) < 1:
        raise ValueError(f"{where}: the trip count must be >= 1, got {trips}")
    return operator.rank_names.index(rank), int(trips), kind


def _axis(where: str, name: str, hardware: Hardware) -> int:
    labels = [axis_label(hardware, axis) for axis in range(len(hardware.axes))]
    qualified = [f"{hardware.levels[level].name}.{axis}" for level, axis, _ in hardware.axes]
    for names in (labels, qualified):
        if name in names:
            return names.index(name)
    raise ValueError(f"{where}: no fan-out axis {name!r}{nearest(name, labels)}")


def _with_residents(
    field: str, keep_at: np.ndarray[Any, Any], operator: Operator, hardware: Hardware
) -> np.ndarray[Any, Any]:
    """The positions with those of tensors that stay on chip as arrays have them."""
    resident = resident_tensors(operator, hardware)
    for t in np.flatnonzero(resident):
        if keep_at[t, HOME] != 0 or keep_at[t, 0] != BYPASS:
            raise ValueError(
                f"{field}: {operator.tensors[t].name} stays on chip: "
                f"{hardware.levels[HOME].name} must keep it above every loop, "
                f"{hardware.levels[0].name} not at all"
            )
    return from_home(operator, keep_at, BYPASS)


def _check_nest(
    field: str,
    loops: Sequence[tuple[int, int, int]],
    keep_at: np.ndarray[Any, Any],
    operator: Operator,
    hardware: Hardware,
) -> None:
    if len(loops) > MAXIMUM_SLOTS:
        raise ValueError(f"{field}: must have at most {MAXIMUM_SLOTS} loops, got {len(loops)}")
    for t, tensor in enumerate(operator.tensors):
        if keep_at[t, 0] != 0:
            raise ValueError(
                f"{field}: {hardware.levels[0].name}, the outermost level, must keep "
                f"{tensor.name} above every loop"
            )
    _check_products(field, loops, operator)
    for position, (_, _, kind) in enumerate(loops):
        if kind != TEMPORAL:
            _check_fan_out(field, (position, kind - 1), keep_at, operator, hardware)


def _check_products(field: str, loops: Sequence[tuple[int, int, int]], operator: Operator) -> None:
    for r, (rank, size) in enumerate(operator.ranks.items()):
        factors = [trip for loop_rank, trip, _ in loops if loop_rank == r]
        if not size <= prod(factors) < 2 * size:
            product = " x ".join(map(str, factors)) or "no loop"
            raise ValueError(
                f"{field}: the factors of rank {rank} must multiply to {size} (padded: to less "
                f"than {2 * size}), got {product} = {prod(factors)}"
            )


def _check_fan_out(
    field: str,
    loop: tuple[int, int],
    keep_at: np.ndarray[Any, Any],
    operator: Operator,
    hardware: Hardware,
) -> None:
    """A spatial loop stands below what the levels above its fan-out keep, above the others."""
    position, axis = loop
    above = hardware.axes[axis][0]
    for t, level in np.argwhere(keep_at != BYPASS):
        below_loop = keep_at[t, level] > position
        if below_loop == (level <= above):
            side = "above" if below_loop else "below"
            raise ValueError(
                f"{field}: {hardware.levels[level].name} must keep {operator.tensors[t].name} "
                f"{side} the spatial loops over {axis_label(hardware, axis)}"
            )
