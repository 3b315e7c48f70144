"""Formats, gating and skipping of a Sparseloop golden case, in both accountings' terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.intersection import IntersectionRule, SparseOptimization
from evaluators.reference.golden_cases import GoldenCase
from evaluators.reference.reference_occupancy import FiberRank
from spaces.formats.compression_format import UNCOMPRESSED, Format, FormatLevel, Primitive
from spaces.workloads.workload import Tensor


def reference_formats(case: GoldenCase) -> dict[tuple[str, str], list[FiberRank]]:
    """Formats of a Sparseloop case, resolved over its nest: (tensor, level) -> ranks."""
    formats = {}
    for tensor, levels in case.raw["formats"].items():
        relevant = set(case.operator.tensor(tensor).ranks)
        for level, ranks in levels.items():
            index = case.hardware.level_names.index(level)
            width = case.raw["levels"][index]["metadata_word_bits"]
            blocks = _loops_by_level(case, level, relevant, set(levels))
            formats[tensor, level] = _resolve_ranks(ranks, blocks, width)
    return formats


def _loops_by_level(
    case: GoldenCase, level: str, relevant: set[str], compressed: set[str]
) -> list[list[tuple[str, int]]]:
    """Relevant loops of this level and those further in, outermost first, in groups that end below
    every level that compresses the tensor.
    """
    names = case.hardware.level_names
    inside = names[names.index(level) :]
    groups: list[list[tuple[str, int]]] = []
    for index, name in enumerate(inside):
        if index == 0 or inside[index - 1] in compressed:
            groups.append([])
        for block in case.raw["nest"]:
            if block["level"] == name:
                loops = block["loops_outer_to_inner"]
                groups[-1] += [(r, n) for r, n in loops if r in relevant and n > 1]
    return groups


def _resolve_ranks(
    ranks: Sequence[Mapping[str, Any]], blocks: list[list[tuple[str, int]]], default_bits: int
) -> list[FiberRank]:
    """Give every rank its loops, innermost first: one each, or a level's where it flattens."""
    pending = [list(block) for block in blocks]
    if all(rank["format"] == "UB" for rank in ranks):
        pending, ranks = [[loop for block in blocks for loop in block]], ranks[:1]
    resolved: list[FiberRank] = []
    for rank in reversed(ranks):
        while pending and not pending[-1]:
            pending.pop()
        shape = 1
        if pending:
            shape = pending[-1].pop()[1]
            flattened = {name for group in rank.get("flattens") or [] for name in group}
            while pending[-1] and pending[-1][-1][0] in flattened:
                shape *= pending[-1].pop()[1]
        metadata_bits = rank.get("metadata_word_bits")
        payload_bits = rank.get("payload_word_bits")
        resolved.append(
            FiberRank(
                rank["format"],
                shape,
                default_bits if metadata_bits is None else metadata_bits,
                default_bits if payload_bits is None else payload_bits,
            )
        )
    return resolved[::-1]


def codec_formats(
    case: GoldenCase,
) -> tuple[dict[str, tuple[Format, ...]], NDArray[np.int16]]:
    """Formats of a Sparseloop case as the codec writes them, and the ids of shape (1, T, L).

    Level p's copy is a sequence of child tiles, so its format is what the file's ranks say of one
    child tile: the ranks over the loops below p. Sizes and widths are the file's.
    """
    tensors = case.operator.tensors
    format_id = np.zeros((1, len(tensors), len(case.hardware.levels)), dtype=np.int16)
    tables: dict[str, tuple[Format, ...]] = {}
    for t, tensor in enumerate(tensors):
        table = [UNCOMPRESSED]
        levels = case.raw["formats"].get(tensor.name, {})
        for index, level in enumerate(case.hardware.level_names):
            if level in levels:
                table.append(_codec_format(case, tensor, level))
                format_id[0, t, index] = len(table) - 1
        tables[tensor.name] = tuple(table)
    return tables, format_id


def _codec_format(case: GoldenCase, tensor: Tensor, level: str) -> Format:
    names = case.hardware.level_names
    index = names.index(level)
    below = names[index + 1 :] or names[index:]
    loops = [
        (rank, trip)
        for block in case.raw["nest"]
        if block["level"] in below
        for rank, trip in block["loops_outer_to_inner"]
        if rank in tensor.ranks and trip > 1
    ]
    built: list[FormatLevel] = []
    for rank in reversed(reference_formats(case)[tensor.name, level]):
        sizes: dict[str, int] = {}
        covered = 1
        while loops and covered < rank.shape:
            name, trip = loops.pop()
            sizes[name] = sizes.get(name, 1) * trip
            covered *= trip
        if sizes:
            built.append(_format_level(rank, {n: sizes[n] for n in tensor.ranks if n in sizes}))
    return _cover(Format(tuple(built[::-1])), tensor)


def _format_level(rank: FiberRank, sizes: Mapping[str, int]) -> FormatLevel:
    primitive = Primitive.NONE if rank.primitive == "UB" else Primitive(rank.primitive)
    width = {Primitive.UOP: rank.payload_bits, Primitive.B: None, Primitive.NONE: None}.get(
        primitive, rank.metadata_bits
    )
    return FormatLevel(primitive, tuple(sizes), tuple(sizes.values()), width)


def _cover(fmt: Format, tensor: Tensor) -> Format:
    """Add an outermost None for dimensions that no rank of the child tile covers."""
    missing = [d.name for d in tensor.dimensions if d.name not in fmt.dimensions]
    if not missing:
        return fmt
    outer = FormatLevel(Primitive.NONE, tuple(missing), (None,) * len(missing))
    return Format((outer, *fmt.levels))


def reference_optimization(case: GoldenCase) -> SparseOptimization:
    """Gating and skipping of a Sparseloop case."""
    rules = tuple(
        IntersectionRule(
            entry["level"], option["target"], tuple(option["condition_on"]), option["type"]
        )
        for entry in case.raw["saf"]
        for option in entry.get("options", ())
    )
    return SparseOptimization(rules, case.raw["compute_optimization"] or "none")
