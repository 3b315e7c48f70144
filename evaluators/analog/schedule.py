"""Mapping-aware scheduling: a placement becomes timed commands with addresses.

Rules: arrays work in parallel, steps within an array one after another; the columns of a step share
the array's ADCs in rounds; loading the next inputs and storing results overlap with the analog
steps; partial sums from several arrays meet in a pipelined adder tree. Stage 1 of all matrices of
a stage, then the middle permutation (an address map, or explicit), then stage 2, then digital work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.analog.commands import FIELDS, CommandStream, Opcode
from spaces.cim.model import CimModel, ProjectionSite
from spaces.cim.placement import Placement

Ints = NDArray[np.int64]
Rows = dict[str, NDArray[np.float64] | Ints]


@dataclass(frozen=True)
class Timing:
    """Durations that the scheduler needs, in ns.

    Attributes:
        step_ns: (site, factor) -> duration of one analog step, all slices and rounds.
        rounds, bits: (site, factor) -> conversion rounds of a step, ADC resolution.
        settle_ns: Analog settling, once per input slice.
        move_ns: Transport after every stage.
        sum_ns: One level of the adder tree.
        permute_ns: An explicit middle permutation.
        digital_ns: Kind of digital work -> duration of one operation.
        attention_macs_per_ns: Rate of the attention unit.
        slices: Input slices, weight planes.
        explicit_permutation: Permute in a command instead of by addresses.
    """

    step_ns: Mapping[tuple[int, int], float]
    rounds: Mapping[tuple[int, int], int]
    bits: Mapping[tuple[int, int], int]
    settle_ns: float
    move_ns: float = 0.0
    sum_ns: float = 0.0
    permute_ns: float = 0.0
    digital_ns: Mapping[str, float] = field(default_factory=dict)
    attention_macs_per_ns: float = np.inf
    slices: tuple[int, int] = (1, 1)
    explicit_permutation: bool = False

    def digital(self, kind: str, size: int) -> float:
        """Duration of one digital operation."""
        if kind == "attention":
            return size / self.attention_macs_per_ns
        return self.digital_ns.get(kind, 0.0)


def execution_order(model: CimModel) -> list[tuple[int, int]]:
    """(layer, stage) of every stage in the order of execution: stack by stack, layer by layer."""
    stacks: dict[str, list[ProjectionSite]] = {}
    for site in model.sites:
        stack = site.name.split(".")[0] if "." in site.name else ""
        stacks.setdefault(stack, []).append(site)
    order: list[tuple[int, int]] = []
    for sites in stacks.values():
        stages = sorted({(site.stage, site.layers) for site in sites})
        deepest = max(layers for _, layers in stages)
        order += [
            (layer, stage) for layer in range(deepest) for stage, layers in stages if layer < layers
        ]
    return order


def schedule(placement: Placement, timing: Timing) -> CommandStream:
    """Commands of one token through the whole model, sorted by time."""
    firing, groups = _firing_groups(placement)
    parts: list[Rows] = []
    clock = 0.0
    for layer, stage in execution_order(placement.model):
        ends = [clock]
        for position, site in enumerate(placement.model.sites):
            if site.stage == stage:
                end, emitted = _site_commands(placement, timing, groups, (position, layer), clock)
                ends.append(end)
                parts += emitted
        clock = max(ends)
        parts.append(_single(Opcode.BARRIER, clock, 0.0, site=0, layer=layer, step=stage))
        digital = _digital_commands(placement.model, timing, (stage, layer), clock)
        parts += digital
        clock += sum(float(part["duration_ns"][0]) for part in digital)
    return _stream(placement, timing, firing, parts)


@dataclass(frozen=True)
class _Groups:
    """Cell blocks that fire together, per (site, layer, factor)."""

    firing: Ints
    first: Ints
    size: Ints
    by_stage: Mapping[tuple[int, int, int], slice]


def _firing_groups(placement: Placement) -> tuple[Ints, _Groups]:
    """Sort cell blocks by (site, layer, factor, slot, array); equal keys fire together."""
    table = placement.table
    names = ("array", "slot", "factor", "layer", "site")
    firing = np.lexsort([table["matrix"], *(table[name] for name in names)])
    keys = np.stack([table[name][firing] for name in names])
    new = np.concatenate([[True], (np.diff(keys, axis=1) != 0).any(axis=0)])
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, len(firing)))
    stage_keys = keys[2:, first]
    changes = np.flatnonzero((np.diff(stage_keys, axis=1) != 0).any(axis=0)) + 1
    edges = [0, *changes.tolist(), len(first)]
    by_stage = {
        (int(stage_keys[2, a]), int(stage_keys[1, a]), int(stage_keys[0, a])): slice(a, b)
        for a, b in pairwise(edges)
    }
    return firing, _Groups(firing, first, size, by_stage)


def _site_commands(
    placement: Placement, timing: Timing, groups: _Groups, where: tuple[int, int], start: float
) -> tuple[float, list[Rows]]:
    """Both stages of one site in one layer: end time and commands."""
    site, layer = where
    parts: list[Rows] = []
    for factor in (0, 1):
        chosen = groups.by_stage.get((site, layer, factor))
        if chosen is None:
            continue
        emitted, end = _stage_commands(placement, timing, groups, chosen, start)
        parts += emitted
        start = end
        if timing.explicit_permutation and factor == 0 and placement.shapes[site] is not None:
            parts.append(_permutes(placement, timing, where, start))
            start += timing.permute_ns
    return start, parts


def _stage_commands(
    placement: Placement, timing: Timing, groups: _Groups, chosen: slice, start: float
) -> tuple[list[Rows], float]:
    """One stage of one site: all steps of all its arrays."""
    first, size = groups.first[chosen], groups.size[chosen]
    entries = groups.firing[first[0] : first[-1] + size[-1]]
    table = {name: column[entries] for name, column in placement.table.items()}
    site, factor = int(table["site"][0]), int(table["factor"][0])
    step_ns = timing.step_ns[site, factor]
    analog = timing.settle_ns * timing.slices[0]
    begin = np.asarray(start + table["slot"] * step_ns, dtype=np.float64)
    head = first - first[0]
    totals = np.add.reduceat(table["column_count"], head)
    common = _common(table, int(first[0]))
    lead = {name: values[head] for name, values in common.items()} | {"entries": size}
    lines = [
        _loads(placement, table, common, begin),
        _rows(Opcode.MVM, lead, begin[head], analog, count=_rows_driven(table, head)),
        _rows(
            Opcode.ADC,
            lead,
            begin[head] + analog,
            step_ns - analog,
            count=totals,
            rounds=timing.rounds[site, factor],
            bits=timing.bits[site, factor],
        ),
    ]
    done = np.asarray(start + (table["slot"] + 1) * step_ns, dtype=np.float64)
    extra = timing.slices[0] * timing.slices[1] - 1
    if extra:
        lines.append(_rows(Opcode.SHIFT_ADD, lead, done[head], 0.0, count=totals * extra))
    finish = start + float(table["slot"].max() + 1) * step_ns
    stores, depth = _stores(placement, table, common, done, timing)
    finish += depth * timing.sum_ns
    moved = _moved(table)
    lines += [stores, _single(Opcode.COMM, finish, timing.move_ns, count=moved, **_place(table))]
    return lines, finish + timing.move_ns


def _place(table: Mapping[str, Ints]) -> dict[str, int]:
    return {name: int(table[name][0]) for name in ("site", "layer", "factor")}


def _common(table: Mapping[str, Ints], first: int) -> dict[str, Ints]:
    """What every command of a cell block carries; `first` is the block's place in firing order."""
    columns = {name: table[name] for name in ("array", "site", "layer", "matrix", "factor")}
    entry = first + np.arange(len(table["slot"]))
    return {**columns, "step": table["slot"], "entry": entry, "entries": np.ones_like(entry)}


def _rows_driven(table: Mapping[str, Ints], head: Ints) -> Ints:
    """Rows that each firing drives; blocks on the same rows drive them once."""
    return np.add.reduceat(np.where(_fresh_rows(table), table["row_count"], 0), head)


def _fresh_rows(table: Mapping[str, Ints]) -> NDArray[np.bool_]:
    """False for a block whose rows the block before it in the same firing already drives."""
    names = ("array", "slot", "row_start", "row_stride", "block", "tile_row", "tile_column")
    same = np.ones(len(table["slot"]) - 1, dtype=bool)
    for name in names:
        same &= np.diff(table[name]) == 0
    return np.concatenate([[True], ~same])


def _loads(
    placement: Placement,
    table: Mapping[str, Ints],
    common: Mapping[str, Ints],
    begin: NDArray[np.float64],
) -> Rows:
    """One LOAD_IN per distinct row set, with its input addresses."""
    fresh = _fresh_rows(table)
    shape = placement.shapes[int(table["site"][0])]
    base, outer = np.zeros_like(table["block"]), np.ones_like(table["block"])
    if shape is not None and table["factor"][0] == 0:
        base = table["tile_column"] * shape.tile_in + table["block"]
        outer = outer * shape.in_blocks
    elif shape is not None:
        tile = table["tile_row"] * shape.in_tiles + table["tile_column"]
        base = tile * shape.middle + table["block"] * shape.in_blocks * shape.rank
    columns = {name: values[fresh] for name, values in common.items()}
    return _rows(
        Opcode.LOAD_IN,
        columns,
        begin[fresh],
        0.0,
        count=table["row_count"][fresh],
        base=base[fresh],
        offset=table["row_offset"][fresh],
        inner=1,
        outer=outer[fresh],
    )


def _stores(
    placement: Placement,
    table: Mapping[str, Ints],
    common: Mapping[str, Ints],
    done: NDArray[np.float64],
    timing: Timing,
) -> tuple[Rows, int]:
    """STORE of the first result of every output, ACC of later ones; levels of the adder tree."""
    shape = placement.shapes[int(table["site"][0])]
    base, inner, outer = np.zeros_like(table["block"]), 1, 1
    if shape is not None and table["factor"][0] == 0:
        tile = table["tile_row"] * shape.in_tiles + table["tile_column"]
        inner, outer = shape.rank, shape.in_blocks * shape.rank
        base = tile * shape.middle + table["block"] * shape.rank
        if timing.explicit_permutation:
            width = shape.out_blocks * shape.rank
            base, inner, outer = tile * shape.middle + table["block"] * width, 1, 1
    elif shape is not None:
        base = table["tile_row"] * shape.tile_out + table["block"]
        outer = shape.out_blocks
    later, parts = _partial_sums(table)
    opcode = np.where(later, Opcode.ACC, Opcode.STORE)
    rows = _rows(
        Opcode.STORE,
        common,
        done,
        0.0,
        count=table["column_count"],
        base=base,
        offset=table["column_offset"],
        inner=inner,
        outer=outer,
    )
    rows["opcode"] = opcode.astype(np.int64)
    return rows, int(np.ceil(np.log2(parts)))


def _partial_sums(table: Mapping[str, Ints]) -> tuple[NDArray[np.bool_], int]:
    """Whether an earlier block wrote the same outputs, and parts across arrays."""
    names = ["matrix", "tile_row", "block", "column_offset"]
    if table["factor"][0] == 0:
        names.append("tile_column")
    destination = _key(table, names)
    order = np.lexsort((table["array"], table["slot"], destination))
    later = np.zeros(len(destination), dtype=bool)
    later[order[1:]] = np.diff(destination[order]) == 0
    return later, _parts_across(table, destination)


def _parts_across(table: Mapping[str, Ints], destination: Ints) -> int:
    """Row parts and tiles that one output collects, sub-steps of one cell block not counted."""
    home = _key(table, ("array", "diagonal", "tile_row", "tile_column", "block"))
    pairs = np.unique(destination * (int(home.max()) + 1) + home)
    _, parts = np.unique(pairs // (int(home.max()) + 1), return_counts=True)
    return int(parts.max())


def _key(table: Mapping[str, Ints], names: Sequence[str]) -> Ints:
    """One integer per row, equal where all named columns are."""
    key = np.zeros(len(table["slot"]), dtype=np.int64)
    for name in names:
        column = table[name] - int(table[name].min())
        key = key * (int(column.max()) + 1) + column
    return key


def _moved(table: Mapping[str, Ints]) -> int:
    """Values that leave arrays: one per output and stored block, sub-steps summed inside."""
    names = ("matrix", "array", "diagonal", "tile_row", "tile_column", "block", "column_offset")
    _, first = np.unique(_key(table, names), return_index=True)
    return int(table["column_count"][first].sum())


def _permutes(placement: Placement, timing: Timing, where: tuple[int, int], start: float) -> Rows:
    """One PERMUTE per parallel matrix."""
    site, layer = where
    shape = placement.shapes[site]
    assert shape is not None
    matrices = np.arange(placement.model.sites[site].parallel)
    common = {"site": np.full_like(matrices, site), "layer": np.full_like(matrices, layer)}
    return _rows(
        Opcode.PERMUTE,
        {**common, "matrix": matrices},
        np.full(len(matrices), start),
        timing.permute_ns,
        array=-1,
        count=shape.middle * shape.tiles,
    )


def _digital_commands(
    model: CimModel, timing: Timing, where: tuple[int, int], clock: float
) -> list[Rows]:
    """Digital work after a stage, one operation after another."""
    stage, layer = where
    rows: list[Rows] = []
    for position, site in enumerate(model.sites):
        for kind, size in site.after if site.stage == stage else ():
            opcode = Opcode.MHA if kind == "attention" else Opcode.DPU
            duration = timing.digital(kind, size)
            rows.append(_single(opcode, clock, duration, site=position, layer=layer, count=size))
            clock += duration
    return rows


def _rows(
    opcode: Opcode,
    common: Mapping[str, Ints],
    start: NDArray[np.float64],
    duration: float,
    **columns: Ints | int,
) -> Rows:
    merged = {"opcode": int(opcode), **common, **columns}
    rows: Rows = {
        name: np.broadcast_to(np.asarray(merged.get(name, 0)), start.shape) for name in FIELDS
    }
    rows["start_ns"] = start
    rows["duration_ns"] = np.full(start.shape, duration)
    return rows


def _single(opcode: Opcode, start: float, duration: float, **columns: int) -> Rows:
    common = {name: np.array([value]) for name, value in columns.items()}
    return _rows(opcode, common, np.array([start]), duration, array=-1)


def _stream(placement: Placement, timing: Timing, firing: Ints, parts: list[Rows]) -> CommandStream:
    columns: dict[str, NDArray[Any]] = {
        name: np.concatenate([np.asarray(part[name], dtype=kind) for part in parts])
        for name, kind in FIELDS.items()
    }
    order = np.lexsort((columns["array"], columns["opcode"], columns["start_ns"]))
    names = tuple(site.name for site in placement.model.sites)
    ordered = {name: column[order] for name, column in columns.items()}
    return CommandStream(ordered, firing, names, timing.slices)
