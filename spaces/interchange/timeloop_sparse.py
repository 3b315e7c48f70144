"""Timeloop's `sparse_optimizations`: formats per rank, gating and skipping <-> ours.

A rank there covers one loop of the nest (or the loops it flattens); a level of ours covers
dimensions of a child tile. The two meet where a level's sizes are products of whole loops, taken
from the innermost outwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.formats.compression_format import (
    UNCOMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    resolve_sizes,
)
from spaces.hardware import Hardware
from spaces.interchange.timeloop_mapping import Loops, NestBlocks
from spaces.interchange.timeloop_yaml import Notes, demand, fail, known_keys
from spaces.validation import nearest
from spaces.workloads.workload import Operator, Tensor

RANK_FORMATS = ("UOP", "CP", "B", "RLE", "UB")
"""Formats of one rank; UB is an uncompressed rank."""

RANK_KEYS = ("format", "name", "metadata_word_bits", "payload_word_bits", "flattened_rankIDs")
"""Keys of one rank."""

TARGET_KEYS = ("target", "name", "representation_format", "action_optimization",
               "compute_optimization")  # fmt: skip
"""Keys of one target."""


@dataclass(frozen=True)
class Nest:
    """What formats are resolved against: the operator, the hardware, and the loops of each."""

    operator: Operator
    hardware: Hardware
    blocks: NestBlocks

    def groups(self, tensor: Tensor, level: str, compressed: set[str]) -> list[Loops]:
        """Loops of a tensor from a level inwards, outermost first, cut below every level that
        compresses it.
        """
        names = self.hardware.level_names
        inside = names[names.index(level) :]
        groups: list[Loops] = []
        for index, name in enumerate(inside):
            if index == 0 or inside[index - 1] in compressed:
                groups.append([])
            groups[-1] += self._relevant(tensor, name)
        return groups

    def own(self, tensor: Tensor, level: str) -> Loops:
        """Loops of a tensor in a level's own block; none for the innermost level."""
        innermost = level == self.hardware.level_names[-1]
        return [] if innermost else self._relevant(tensor, level)

    def child_loops(self, tensor: Tensor, level: str) -> Loops:
        """Loops inside one child tile of a level, outermost first."""
        names = self.hardware.level_names
        below = names[names.index(level) + 1 :] or names[-1:]
        return [loop for name in below for loop in self._relevant(tensor, name)]

    def _relevant(self, tensor: Tensor, level: str) -> Loops:
        loops = self.blocks.of_level(self.hardware, level)
        return [(rank, count) for rank, count in loops if rank in tensor.ranks and count > 1]


# --- writing ------------------------------------------------------------------------------------


def formats_to_data(
    nest: Nest, formats: Mapping[str, Mapping[str, Format]]
) -> dict[str, dict[str, Any]]:
    """Level -> `representation_format`, from tensor -> level -> format."""
    by_level: dict[str, dict[str, Any]] = {}
    for level in nest.hardware.level_names:
        spaces = [
            {"name": tensor, "ranks": _ranks_to_data(nest, nest.operator.tensor(tensor), level, f)}
            for tensor, levels in formats.items()
            for name, f in levels.items()
            if name == level and f.levels
        ]
        if spaces:
            by_level[level] = {"data_spaces": spaces}
    return by_level


def _ranks_to_data(nest: Nest, tensor: Tensor, level: str, fmt: Format) -> list[dict[str, Any]]:
    loops = nest.child_loops(tensor, level)
    if all(lvl.primitive is Primitive.NONE for lvl in fmt.levels):
        return [{"format": "UB", "flattened_rankIDs": [list(tensor.ranks)]}]
    extents = {
        d.name: prod(n for rank, n in loops if rank in d.name.split("+")) for d in tensor.dimensions
    }
    ranks = []
    for lvl, sizes in zip(reversed(fmt.levels), reversed(resolve_sizes(fmt, extents)), strict=True):
        covered = 0
        size = prod(sizes.values())
        while loops and prod(n for _, n in loops[len(loops) - covered :]) < size:
            covered += 1
            if covered == len(loops):
                break
        taken = loops[len(loops) - covered :]
        loops = loops[: len(loops) - covered]
        if taken:
            ranks.append(_rank_to_data(lvl, [rank for rank, _ in taken], size))
    own = nest.own(tensor, level)
    if own:
        positions = prod(count for _, count in own)
        offsets = FormatLevel(Primitive.UOP, tuple(dict(own)), (None,) * len(dict(own)))
        ranks.append(_rank_to_data(offsets, [rank for rank, _ in own], positions))
    return ranks[::-1]


def _rank_to_data(lvl: FormatLevel, names: Sequence[str], size: int) -> dict[str, Any]:
    word = "UB" if lvl.primitive is Primitive.NONE else str(lvl.primitive)
    data: dict[str, Any] = {"format": word if word in RANK_FORMATS else "B"}
    derived = max(1, ceil(log2(max(size, 2))))
    width = derived if lvl.width_bits is None else lvl.width_bits
    if lvl.primitive is Primitive.UOP:
        data["payload_word_bits"] = width
    elif lvl.primitive is Primitive.B:
        data["metadata_word_bits"] = 1
    elif lvl.primitive is not Primitive.NONE:
        data["metadata_word_bits"] = width
    if len(names) > 1:
        data["flattened_rankIDs"] = [list(dict.fromkeys(names))]
    return data


def rules_to_data(rules: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Level -> `action_optimization`, from the rules of a design's skipping settings."""
    by_level: dict[str, list[dict[str, Any]]] = {}
    for rule in rules:
        option = {"target": rule["target"], "condition_on": list(rule["leaders"])}
        kind = rule.get("kind", "skipping")
        by_level.setdefault(str(rule["level"]), []).append({"type": kind, "options": [option]})
    return by_level


def sparse_to_data(
    formats: Mapping[str, Any], rules: Mapping[str, Any], compute: str
) -> dict[str, Any]:
    """The `sparse_optimizations` section of version 0.4."""
    targets: list[dict[str, Any]] = []
    for level in dict.fromkeys([*rules, *formats]):
        target: dict[str, Any] = {"target": level}
        if level in formats:
            target["representation_format"] = formats[level]
        if level in rules:
            target["action_optimization"] = rules[level]
        targets.append(target)
    if compute != "none":
        targets.append({"target": "MAC", "compute_optimization": [{"type": compute}]})
    return {"version": "0.4", "targets": targets}


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReadSparse:
    """What a `sparse_optimizations` section says.

    Attributes:
        formats: Tensor -> level -> format over the child tiles of the level.
        skipping: Rules and compute rule, as design files keep them.
    """

    formats: Mapping[str, Mapping[str, Format]]
    skipping: Mapping[str, Any]


def read_sparse(
    section: Mapping[str, Any],
    nest: Nest,
    target_names: tuple[str, tuple[int, ...]],
    notes: Notes,
) -> ReadSparse:
    """Formats, gating and skipping.

    Args:
        section: The `sparse_optimizations` section.
        nest: Operator, hardware and loops.
        target_names: Name of the compute component; default metadata width of each level.
        notes: What is left out is noted here.

    Raises:
        TimeloopError: Names the file, the line, the key and the rule.
    """
    compute_name, default_bits = target_names
    written: dict[str, dict[str, list[Any]]] = {}
    rules: list[dict[str, Any]] = []
    compute = "none"
    names = [*nest.hardware.level_names, compute_name]
    for entry in demand(section, "targets"):
        known_keys(entry, TARGET_KEYS)
        target = str(entry.get("target", entry.get("name")))
        if target not in names:
            raise fail(entry, "target", f"no component {target!r}{nearest(target, names)}")
        for space in (entry.get("representation_format") or {}).get("data_spaces") or ():
            name = _tensor(space, "name", nest.operator)
            written.setdefault(name, {})[target] = demand(space, "ranks")
        rules += _rules(entry, target, nest.operator, notes)
        compute = _compute_rule(entry, compute)
    formats = {
        tensor: {
            level: _format(ranks, nest, (tensor, level, set(levels)), default_bits)
            for level, ranks in levels.items()
        }
        for tensor, levels in written.items()
    }
    skipping: dict[str, Any] = {"rules": rules} if rules else {}
    return ReadSparse(formats, skipping | ({"compute": compute} if compute != "none" else {}))


def _tensor(entry: Mapping[str, Any], key: str, operator: Operator) -> str:
    name, names = str(demand(entry, key)), [tensor.name for tensor in operator.tensors]
    if name not in names:
        raise fail(entry, key, f"no data space {name!r}{nearest(name, names)}")
    return name


def _rules(
    entry: Mapping[str, Any], level: str, operator: Operator, notes: Notes
) -> list[dict[str, Any]]:
    rules = []
    for action in entry.get("action_optimization") or ():
        kind = str(demand(action, "type")).replace("-", "_")
        if kind == "spatial_skipping":
            notes.add(f"{action.place('type')}: spatial_skipping is not modelled, left out")
            continue
        if kind not in ("gating", "skipping"):
            raise fail(action, "type", f"unknown {kind!r}{nearest(kind, ('gating', 'skipping'))}")
        for option in demand(action, "options"):
            target = _tensor(option, "target", operator)
            leaders = [str(name) for name in demand(option, "condition_on")]
            rules.append({"level": level, "target": target, "leaders": leaders, "kind": kind})
    return rules


def _compute_rule(entry: Mapping[str, Any], before: str) -> str:
    stated = entry.get("compute_optimization") or []
    for rule in [stated] if isinstance(stated, Mapping) else stated:
        kind = str(demand(rule, "type"))
        if kind not in ("gating", "skipping"):
            raise fail(rule, "type", f"unknown {kind!r}{nearest(kind, ('gating', 'skipping'))}")
        return kind
    return before


def _format(
    ranks: Sequence[Any],
    nest: Nest,
    place: tuple[str, str, set[str]],
    default_bits: tuple[int, ...],
) -> Format:
    """The format of one child tile that these ranks describe; no rank there = uncompressed."""
    name, level, compressed = place
    tensor = nest.operator.tensor(name)
    width = default_bits[nest.hardware.level_names.index(level)]
    loops = nest.child_loops(tensor, level)
    built: list[FormatLevel] = []
    for rank, shape in reversed(_resolved(ranks, nest.groups(tensor, level, compressed))):
        sizes: dict[str, int] = {}
        covered = 1
        while loops and covered < shape:
            loop, count = loops.pop()
            sizes[loop] = sizes.get(loop, 1) * count
            covered *= count
        if sizes:
            order = {n: sizes[n] for d in tensor.dimensions for n in [d.name] if n in sizes}
            built.append(_level(rank, order, width))
    return _covering(Format(tuple(built[::-1])), tensor)


def _resolved(ranks: Sequence[Any], groups: list[Loops]) -> list[tuple[Mapping[str, Any], int]]:
    """Every rank with the positions of its fiber: one loop, or those that it flattens."""
    for rank in ranks:
        known_keys(rank, RANK_KEYS)
        word = str(demand(rank, "format")).upper()
        if word not in RANK_FORMATS:
            raise fail(rank, "format", f"unknown {word!r}{nearest(word, RANK_FORMATS)}")
    pending = [list(group) for group in groups]
    if all(str(rank["format"]).upper() == "UB" for rank in ranks):
        pending, ranks = [[loop for group in groups for loop in group]], ranks[:1]
    resolved = []
    for rank in reversed(ranks):
        while pending and not pending[-1]:
            pending.pop()
        shape = 1
        if pending:
            flattened = {str(name) for ids in rank.get("flattened_rankIDs") or () for name in ids}
            shape = pending[-1].pop()[1]
            while pending[-1] and pending[-1][-1][0] in flattened:
                shape *= pending[-1].pop()[1]
        resolved.append((rank, shape))
    return resolved[::-1]


def _level(rank: Mapping[str, Any], sizes: Mapping[str, int], default: int) -> FormatLevel:
    word = str(rank["format"]).upper()
    primitive = Primitive.NONE if word == "UB" else Primitive(word)
    if primitive in (Primitive.NONE, Primitive.B):
        width = None
    else:
        key = "payload_word_bits" if primitive is Primitive.UOP else "metadata_word_bits"
        width = int(default if rank.get(key) is None else rank[key])
    return FormatLevel(primitive, tuple(sizes), tuple(sizes.values()), width)


def _covering(fmt: Format, tensor: Tensor) -> Format:
    """An outermost None for dimensions that no rank of the child tile covers."""
    if not fmt.levels:
        return UNCOMPRESSED
    missing = [d.name for d in tensor.dimensions if d.name not in fmt.dimensions]
    if not missing:
        return fmt
    outer = FormatLevel(Primitive.NONE, tuple(missing), (None,) * len(missing))
    return Format((outer, *fmt.levels))


def format_ids(
    operator: Operator, hardware: Hardware, formats: Mapping[str, Mapping[str, Format]]
) -> tuple[dict[str, tuple[Format, ...]], NDArray[np.int16]]:
    """Format tables by tensor and the ids of shape (1, tensors, levels)."""
    ids = np.zeros((1, len(operator.tensors), len(hardware.levels)), dtype=np.int16)
    tables: dict[str, tuple[Format, ...]] = {}
    for t, tensor in enumerate(operator.tensors):
        by_level = formats.get(tensor.name, {})
        if not by_level:
            continue
        table = tuple(dict.fromkeys([UNCOMPRESSED, *by_level.values()]))
        tables[tensor.name] = table
        for level, chosen in by_level.items():
            ids[0, t, hardware.level_names.index(level)] = table.index(chosen)
    return tables, ids
