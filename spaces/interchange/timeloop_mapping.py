"""Timeloop's `mapping` (and constraints of the same words) <-> our loop nests.

A directive speaks of one target: `temporal` loops of a storage, `spatial` loops of a container, or
the `dataspace`s that a storage keeps. Timeloop keeps all tensors of a storage at one depth and its
spatial loops inside its temporal ones; permutations are written innermost first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.hardware import Hardware
from spaces.interchange.timeloop_architecture import axis_container
from spaces.interchange.timeloop_yaml import Notes, demand, fail, known_keys
from spaces.mappings.dataflow import Dataflow
from spaces.mappings.loop_nest import BYPASS, TEMPORAL, MappingBatch
from spaces.mappings.nest_text import read_nest_items
from spaces.validation import nearest
from spaces.workloads.workload import Operator

DIRECTIVE_KEYS = ("target", "type", "factors", "permutation", "split", "keep", "bypass", "min",
                  "max_utilization", "default_keep", "keep_only")  # fmt: skip
"""Keys of a directive."""

TYPES = {
    "temporal": "temporal", "spatial": "spatial", "dataspace": "dataspace", "bypass": "dataspace",
    "datatype": "dataspace", "utilization": "utilization", "max_overbooked_proportion": "ignored",
}  # fmt: skip
"""Types of a directive, the older words among them."""

_FACTOR = re.compile(r"([A-Za-z_]\w*?)\s*(<=|=)?\s*(\d+)")

Loops = list[tuple[str, int]]
"""(rank, trips), outermost first."""


@dataclass
class NestBlocks:
    """A nest as Timeloop sees it.

    Attributes:
        temporal: Level name -> its temporal loops.
        spatial: Container name -> its spatial loops.
        kept: Level name -> tensors it keeps.
    """

    temporal: dict[str, Loops] = field(default_factory=dict)
    spatial: dict[str, Loops] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)

    def of_level(self, hardware: Hardware, name: str) -> Loops:
        """All loops of a level's block, outermost first."""
        index = hardware.level_names.index(name)
        loops = list(self.temporal.get(name, ()))
        for axis, (owner, _, _) in enumerate(hardware.axes):
            if owner == index:
                loops += self.spatial.get(axis_container(hardware, axis), ())
        return loops


def nest_blocks(operator: Operator, hardware: Hardware, mapping: MappingBatch) -> NestBlocks:
    """The blocks of a batch of one.

    Raises:
        ValueError: If a level keeps tensors at different depths, which Timeloop cannot say.
    """
    batch = mapping
    above = np.concatenate([[0], (batch.loop_trip[0] > 1).cumsum()])
    positions = _positions(operator, hardware, above, batch.keep_at[0])
    blocks = NestBlocks()
    for index, level in enumerate(hardware.levels):
        kept = [t.name for i, t in enumerate(operator.tensors) if batch.keep_at[0, i, index] >= 0]
        blocks.kept[level.name] = kept
        blocks.temporal[level.name] = []
    for position in range(batch.loop_rank.shape[1]):
        trips, kind = int(batch.loop_trip[0, position]), int(batch.loop_kind[0, position])
        loop = (operator.rank_names[int(batch.loop_rank[0, position])], trips)
        if trips == 1:
            continue
        if kind == TEMPORAL:
            owner = max(level for level, start in positions.items() if start <= above[position])
            blocks.temporal[hardware.levels[owner].name].append(loop)
        else:
            blocks.spatial.setdefault(axis_container(hardware, kind - 1), []).append(loop)
    return blocks


def _positions(
    operator: Operator, hardware: Hardware, above: NDArray[np.int64], keep_at: NDArray[np.int8]
) -> dict[int, int]:
    """Level -> the loops above what it keeps, of the levels that keep any."""
    positions = {}
    for index, level in enumerate(hardware.levels):
        at = [BYPASS if p == BYPASS else int(above[p]) for p in keep_at[:, index].tolist()]
        depths = sorted({depth for depth in at if depth != BYPASS})
        if len(depths) > 1:
            places = ", ".join(
                f"{t.name} below {d} loops"
                for t, d in zip(operator.tensors, at, strict=True)
                if d >= 0
            )
            raise ValueError(
                f"nest: {level.name} keeps {places}: Timeloop keeps all tensors of a level at one "
                "depth, even out the mapping to export it"
            )
        if depths:
            positions[index] = depths[0]
    return positions


def mapping_to_data(operator: Operator, hardware: Hardware, blocks: NestBlocks) -> list[Any]:
    """The `mapping` section of version 0.4."""
    directives = []
    names = [tensor.name for tensor in operator.tensors]
    for index, level in enumerate(hardware.levels):
        kept = blocks.kept[level.name]
        directives.append(
            {
                "target": level.name,
                "type": "dataspace",
                "keep": kept,
                "bypass": [name for name in names if name not in kept],
            }
        )
        loops = blocks.temporal[level.name]
        directives.append(_loops_to_data(level.name, "temporal", loops, operator))
        for axis, (owner, _, _) in enumerate(hardware.axes):
            if owner == index:
                name = axis_container(hardware, axis)
                spatial = blocks.spatial.get(name, [])
                data = _loops_to_data(name, "spatial", spatial, operator)
                directives.append(data | {"split": len(operator.ranks)})
    return directives


def _loops_to_data(target: str, kind: str, loops: Loops, operator: Operator) -> dict[str, Any]:
    trips = {rank: prod(n for r, n in loops if r == rank) for rank in operator.ranks}
    order = list(dict.fromkeys(rank for rank, _ in reversed(loops)))
    order += [rank for rank in operator.ranks if rank not in order]
    return {
        "target": target,
        "type": kind,
        "factors": [f"{rank}={count}" for rank, count in trips.items()],
        "permutation": order,
    }


def read_mapping(
    section: Sequence[Any], operator: Operator, hardware: Hardware, notes: Notes
) -> NestBlocks:
    """The blocks of a `mapping` section.

    Raises:
        TimeloopError: Names the file, the line, the key and the rule.
    """
    blocks = NestBlocks()
    for directive in section:
        kind = _kind(directive)
        target = _target(directive, hardware)
        if kind == "dataspace":
            blocks.kept[target] = _kept(directive, operator)
        elif kind == "temporal":
            loops = _loops(directive, operator)
            blocks.temporal.setdefault(target, []).extend(loops)
        elif kind == "spatial":
            for name, loops in _axes_of(directive, target, operator, hardware):
                blocks.spatial.setdefault(name, []).extend(loops)
        else:
            notes.add(f"{directive.place('type')}: {directive['type']} is not used")
    for level in hardware.levels:
        blocks.kept.setdefault(level.name, [tensor.name for tensor in operator.tensors])
        blocks.temporal.setdefault(level.name, [])
    _fill_residuals(blocks, operator)
    return blocks


def _kind(directive: Mapping[str, Any]) -> str:
    known_keys(directive, DIRECTIVE_KEYS)
    word = str(demand(directive, "type"))
    if word not in TYPES:
        raise fail(directive, "type", f"unknown {word!r}{nearest(word, TYPES)}")
    return TYPES[word]


def _target(directive: Mapping[str, Any], hardware: Hardware) -> str:
    name = str(demand(directive, "target"))
    containers = [axis_container(hardware, axis) for axis in range(len(hardware.axes))]
    stems = {text.rsplit("_", 1)[0] for text in containers if text.endswith(("_X", "_Y"))}
    valid = [*hardware.level_names, *containers, *stems]
    if name not in valid and not (TYPES[directive["type"]] == "spatial"):
        raise fail(directive, "target", f"no storage {name!r}{nearest(name, valid)}")
    return name


def _kept(directive: Mapping[str, Any], operator: Operator) -> list[str]:
    names = [tensor.name for tensor in operator.tensors]
    keep, bypass = directive.get("keep"), directive.get("bypass") or []
    for key in ("keep", "bypass"):
        for name in directive.get(key) or ():
            if name not in names:
                raise fail(directive, key, f"no data space {name!r}{nearest(name, names)}")
    if keep is not None and "bypass" not in directive:
        return [name for name in names if name in keep]
    return [name for name in names if name not in bypass]


def factors_of(directive: Mapping[str, Any], operator: Operator) -> dict[str, int]:
    """Rank -> trips of a directive, in the order written; 0 stands for what is left.

    Raises:
        TimeloopError: If a factor does not read or names no dimension.
    """
    written = directive.get("factors") or []
    if isinstance(written, Mapping):
        pairs = [(str(rank), "=", str(count)) for rank, count in written.items()]
    else:
        text = " ".join(map(str, written)) if isinstance(written, list) else str(written)
        if re.sub(r"[\s,]+", "", _FACTOR.sub("", text)):
            raise fail(directive, "factors", f"must read like M=4 K=16, got {text!r}")
        pairs = _FACTOR.findall(text)
    for rank, _, _ in pairs:
        if rank not in operator.ranks:
            hint = nearest(rank, operator.rank_names)
            raise fail(directive, "factors", f"no dimension {rank!r}{hint}")
    return {rank: int(count) for rank, _, count in pairs}


def _loops(directive: Mapping[str, Any], operator: Operator) -> Loops:
    """Loops outermost first, those of one trip left out; 0 trips wait for `_fill_residuals`."""
    factors = factors_of(directive, operator)
    return [
        (rank, factors[rank]) for rank in _order(directive, operator) if factors.get(rank, 1) != 1
    ]


def _order(directive: Mapping[str, Any], operator: Operator) -> list[str]:
    """All ranks, outermost first."""
    written = directive.get("permutation") or []
    if isinstance(written, str):
        written = re.split(r"[\s,]+", written) if re.search(r"[\s,]", written) else list(written)
    for rank in written:
        if rank not in operator.ranks:
            hint = nearest(rank, operator.rank_names)
            raise fail(directive, "permutation", f"no dimension {rank!r}{hint}")
    inner_first = [*written, *(rank for rank in operator.ranks if rank not in written)]
    return inner_first[::-1]


def _axes_of(
    directive: Mapping[str, Any], target: str, operator: Operator, hardware: Hardware
) -> list[tuple[str, Loops]]:
    """Container -> its loops. The first `split` ranks of a permutation lie along X, others along Y.

    The target is a container of version 0.4, or the storage above it in older files.
    """
    containers = [axis_container(hardware, axis) for axis in range(len(hardware.axes))]
    loops = _loops(directive, operator)
    if target in containers:
        return [(target, loops)]
    under = [
        name
        for name, (owner, _, _) in zip(containers, hardware.axes, strict=True)
        if name in (f"{target}_X", f"{target}_Y") or hardware.levels[owner].name == target
    ]
    if not under:
        if loops:
            valid = [*containers, *hardware.level_names]
            raise fail(directive, "target", f"no fan-out at {target!r}{nearest(target, valid)}")
        return []
    if len(under) == 1:
        return [(under[0], loops)]
    inner_first = _order(directive, operator)[::-1]
    split = int(directive.get("split", len(inner_first)))
    along_x = set(inner_first[:split])
    return [
        (under[0], [loop for loop in loops if loop[0] in along_x]),
        (under[1], [loop for loop in loops if loop[0] not in along_x]),
    ]


def _fill_residuals(blocks: NestBlocks, operator: Operator) -> None:
    """Give a factor of 0 what the other factors of its rank leave, rounded up."""
    lists = [*blocks.temporal.values(), *blocks.spatial.values()]
    for rank, size in operator.ranks.items():
        given = prod(n for loops in lists for r, n in loops if r == rank and n)
        for loops in lists:
            loops[:] = [(r, -(-size // given) if r == rank and n == 0 else n) for r, n in loops]
    for loops in lists:
        loops[:] = [(rank, count) for rank, count in loops if count > 1]


def blocks_to_items(blocks: NestBlocks, hardware: Hardware) -> list[str]:
    """The items of our nest."""
    items = []
    for index, level in enumerate(hardware.levels):
        if blocks.kept[level.name]:
            items.append(f"{level.name} keeps {', '.join(blocks.kept[level.name])}")
        items += [f"for {rank} in {count}" for rank, count in blocks.temporal[level.name]]
        for axis, (owner, name, _) in enumerate(hardware.axes):
            if owner == index:
                loops = blocks.spatial.get(axis_container(hardware, axis), [])
                items += [f"spatial {level.name}.{name}: {r} in {n}" for r, n in loops]
    return items


def blocks_to_mapping(blocks: NestBlocks, operator: Operator, hardware: Hardware) -> MappingBatch:
    """The mapping of these blocks, checked like any nest."""
    return read_nest_items(blocks_to_items(blocks, hardware), operator, hardware, "mapping")


def read_constraints(
    section: Mapping[str, Any] | Sequence[Any], operator: Operator, hardware: Hardware, notes: Notes
) -> Dataflow:
    """A `constraints` section as our dataflow: what may be kept, unrolled, and in which order.

    Raises:
        TimeloopError: Names the file, the line, the key and the rule.
    """
    targets = section.get("targets", []) if isinstance(section, Mapping) else section
    keep: dict[str, list[str]] = {}
    bypass: dict[str, list[str]] = {}
    spatial: dict[str, list[str]] = {}
    order: dict[str, list[str]] = {}
    limits: dict[str, dict[str, int]] = {}
    for directive in targets:
        kind, target = _kind(directive), _target(directive, hardware)
        if kind == "dataspace":
            _kept(directive, operator)
            keep[target] = list(directive.get("keep") or [])
            bypass[target] = list(directive.get("bypass") or [])
        elif kind == "spatial":
            factors = factors_of(directive, operator)
            free = [rank for rank in operator.ranks if factors.get(rank, 0) != 1]
            for axis, (owner, name, _) in enumerate(hardware.axes):
                label = axis_container(hardware, axis)
                if target in (label, hardware.levels[owner].name) or label.startswith(f"{target}_"):
                    spatial[f"{hardware.levels[owner].name}.{name}"] = free
        elif kind == "temporal":
            if directive.get("permutation"):
                order[target] = _order(directive, operator)
            factors = factors_of(directive, operator)
            limits[target] = {rank: count for rank, count in factors.items() if count}
        else:
            notes.add(f"{directive.place('type')}: {directive['type']} is not used")
    return Dataflow(
        name="timeloop",
        spatial=spatial,
        order=order,
        keep={level: names for level, names in keep.items() if names},
        bypass={level: names for level, names in bypass.items() if names},
        maximum_trip={level: trips for level, trips in limits.items() if trips},
    )
