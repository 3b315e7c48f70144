"""Placement: which level keeps which tensor, how high in its block, and in which format.

Level l's *block* is the run of its temporal loops, one per rank. A tensor kept at level l stands
above the block's loops (even placement: all tensors at the head) or below some of them (uneven).
At least one tensor of an active level stands at the head: a loop above all of them belongs to the
block above. A level that keeps nothing has no block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import IntArray
from spaces.formats.compression_format import Format
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware
from spaces.mappings.dataflow import MappingRules
from spaces.validation import check_key
from spaces.workloads.workload import Operator

INHERIT = "inherit"
"""Format of a level that stores the tensor as the next level outwards that keeps it does."""

UNEVEN, EVEN = "uneven", "even"
"""The two placements: every tensor at a position of its own, or all of a level's at its head."""


@dataclass(frozen=True)
class FormatOffer:
    """The compression formats a mapping may choose from.

    Attributes:
        tables: Tensor -> format texts by number; 0 is uncompressed.
        offered: Tensor -> level -> numbers in its table. A tensor left out is uncompressed; a
            level left out inherits the format of the next level outwards that keeps the tensor.
    """

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offered: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)

    def parsed(self, operator: Operator) -> dict[str, tuple[Format, ...]]:
        """The tables as formats, by tensor: what an evaluator indexes with `format_id`."""
        return {
            name: tuple(
                parse_format(
                    text, [dimension.name for dimension in operator.tensor(name).dimensions]
                )
                for text in texts
            )
            for name, texts in self.tables.items()
        }


UNCOMPRESSED_ONLY = FormatOffer()
"""No compression anywhere."""


def format_offer(
    formats: Mapping[str, Mapping[str, Sequence[str]]], operator: Operator, hardware: Hardware
) -> FormatOffer:
    """Read an offer written as text: tensor -> level -> format texts, or `inherit`.

    Raises:
        ValueError: If a tensor or level does not exist or a format does not parse.
    """
    offered: dict[str, dict[str, tuple[int, ...]]] = {}
    tables: dict[str, tuple[str, ...]] = {}
    for name, by_level in formats.items():
        check_key("formats", name, [tensor.name for tensor in operator.tensors])
        dimensions = [dimension.name for dimension in operator.tensor(name).dimensions]
        offered[name], numbers = {}, {"None": 0}
        for level, texts in by_level.items():
            check_key(f"formats.{name}", level, hardware.level_names)
            if texts in (INHERIT, [INHERIT]):
                continue
            canonical = [str(parse_format(text, dimensions)) for text in texts]
            ids = [numbers.setdefault(text, len(numbers)) for text in dict.fromkeys(canonical)]
            offered[name][level] = tuple(ids)
        tables[name] = tuple(numbers)
    return FormatOffer(tables, offered)


@dataclass(frozen=True)
class PlacementTable:
    """Placement choices of T tensors at L levels, resolved.

    Attributes:
        may_keep, must_keep: Shape (T, L).
        movable: True where the position in the block is free, shape (T, L).
        formats: Offered format numbers of (tensor, level); absent where inherited.
        inherits: True where the format is the outer keeper's, shape (T, L).
    """

    may_keep: NDArray[np.bool_]
    must_keep: NDArray[np.bool_]
    movable: NDArray[np.bool_]
    formats: Mapping[tuple[int, int], IntArray]
    inherits: NDArray[np.bool_]

    @property
    def optional(self) -> list[tuple[int, int]]:
        """(tensor, level) pairs whose bypass is free."""
        return [(int(t), int(level)) for t, level in np.argwhere(self.may_keep & ~self.must_keep)]

    def patterns(self) -> NDArray[np.bool_]:
        """Every combination of kept tensors, shape (patterns, T, L)."""
        bits = np.array(list(product([False, True], repeat=len(self.optional))), dtype=bool)
        keep = np.repeat(self.must_keep[None], len(bits), axis=0)
        for column, (t, level) in enumerate(self.optional):
            keep[:, t, level] = bits[:, column]
        return keep

    def active_sets(self) -> list[tuple[int, ...]]:
        """Every set of levels that may keep something together, ascending."""
        levels = range(self.may_keep.shape[1])
        options = [
            (True,)
            if self.must_keep[:, level].any()
            else (False, True)
            if self.may_keep[:, level].any()
            else (False,)
            for level in levels
        ]
        return [tuple(np.flatnonzero(active).tolist()) for active in product(*options)]

    @property
    def offered(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Format numbers that each tensor may have at each level, inherited ones included."""
        rows = []
        for t in range(len(self.inherits)):
            row: list[tuple[int, ...]] = []
            for level, inherited in enumerate(self.inherits[t]):
                outer = row[-1] if row else (0,)
                row.append(outer if inherited else tuple(map(int, self.formats[t, level])))
            rows.append(tuple(row))
        return tuple(rows)

    @property
    def one_format(self) -> NDArray[np.bool_]:
        """True where every inner level inherits, so that a tensor has one format; shape (T,)."""
        return np.asarray(self.inherits[:, 1:].all(axis=1))

    def settled_offsets(
        self, offset: IntArray, keep: NDArray[np.bool_], loops: IntArray
    ) -> IntArray:
        """Offsets within the existing loops of each block, the highest tensor at the head.

        Args:
            offset: Loops of the block above the tensor, shape (n, T, L); any values >= 0.
            keep: Shape (n, T, L).
            loops: Existing loops of each block, shape (n, L).
        """
        placed = np.where(keep & self.movable, np.minimum(offset, loops[:, None, :]), 0)
        highest = np.where(keep, placed, np.iinfo(np.int64).max).min(axis=1)
        return np.asarray(np.where(keep, placed - highest[:, None, :], 0))

    def settled_formats(self, format_id: IntArray, keep: NDArray[np.bool_]) -> IntArray:
        """Formats with inherited ones filled in and bypassed ones 0, shape (n, T, L)."""
        settled = np.where(keep, format_id, 0)
        current = np.zeros(keep.shape[:2], dtype=np.int64)
        for level in range(keep.shape[2]):
            own = np.where(self.inherits[:, level], current, settled[:, :, level])
            settled[:, :, level] = np.where(keep[:, :, level], own, 0)
            current = np.where(keep[:, :, level], own, current)
        return settled


def placement_table(
    rules: MappingRules,
    operator: Operator,
    hardware: Hardware,
    offer: FormatOffer,
    freedom: tuple[str, bool],
) -> PlacementTable:
    """Resolve the placement choices.

    Args:
        rules: The constraints.
        operator: Its tensors, in order.
        hardware: Its levels, in order.
        offer: Formats offered.
        freedom: (even or uneven, whether bypass is free). With no free bypass every tensor is kept
            wherever it may be.
    """
    placement, bypass = freedom
    if placement not in (EVEN, UNEVEN):
        raise ValueError(f"placement: must be {EVEN} or {UNEVEN}, got {placement!r}")
    must_keep = rules.must_keep if bypass else rules.may_keep
    movable = rules.may_keep & ~rules.at_head & (placement == UNEVEN)
    movable[:, 0] = False
    formats, inherits = _resolved_formats(offer, operator, hardware)
    return PlacementTable(rules.may_keep, must_keep, movable, formats, inherits)


def _resolved_formats(
    offer: FormatOffer, operator: Operator, hardware: Hardware
) -> tuple[dict[tuple[int, int], IntArray], NDArray[np.bool_]]:
    formats = {}
    inherits = np.ones((len(operator.tensors), len(hardware.levels)), dtype=bool)
    for name, by_level in offer.offered.items():
        check_key("formats", name, [tensor.name for tensor in operator.tensors])
        t = [tensor.name for tensor in operator.tensors].index(name)
        for level_name, ids in by_level.items():
            check_key(f"formats.{name}", level_name, hardware.level_names)
            level = hardware.level_names.index(level_name)
            formats[t, level] = np.array(sorted(set(ids)), dtype=np.int64)
            inherits[t, level] = False
            _check_ids(f"formats.{name}.{level_name}", ids, len(offer.tables.get(name, ())))
    return formats, inherits


def _check_ids(field_name: str, ids: Sequence[int], count: int) -> None:
    if not ids:
        raise ValueError(f"{field_name}: must offer at least one format")
    for number in ids:
        if not 0 <= number < count:
            raise ValueError(f"{field_name}: must be in 0..{count - 1}, got {number}")
