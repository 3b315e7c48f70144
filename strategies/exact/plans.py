"""From an archive entry to a plan: tiles, trips and formats of the mapping that it stands for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from strategies.exact.case import Case
from strategies.exact.grid import IntArray, divisors
from strategies.exact.mapping_builder import Block, Plan

Nodes = tuple[tuple[int, IntArray], ...]


class Doubt(NamedTuple):
    """A copy that was priced by a mixture of the formats offered: its cost is only a bound.

    Attributes:
        tensor: Whose copy.
        levels: Where; several for a tensor with one format on all levels.
        format_id: The format that looks best.
    """

    tensor: int
    levels: tuple[int, ...]
    format_id: int


def plan_of(case: Case, info: IntArray, even: bool) -> tuple[Plan, Doubt | None]:
    """The plan of an archive entry, and where its price is a bound; None = nowhere.

    Args:
        case: The tables that were searched.
        info: The entry, see `Archive`.
        even: Whether all tensors of a level share one tile.
    """
    i0, i2, i1, leaf_row, outer_row, run = (int(x) for x in info[:6])
    innermost: tuple[tuple[int, ...], ...] = ()
    if even:
        innermost = ((outer_row,), (run,))
        leaf_row = outer_row = len(case.orders) - 1
    elif run >= 0:
        stays = int(case.orders[leaf_row, 0])
        ranks = tuple(int(r) for r in np.flatnonzero(~case.grid.relevant[stays]))
        innermost = (ranks,) * case.levels
    whole = tuple((t, case.sizes) for t in range(case.tensors))
    nodes = [whole, _nodes(case, leaf_row, info[6 : 6 + case.tensors])]
    if case.levels > 2:
        nodes.insert(1, _nodes(case, outer_row, info[6 + case.tensors : 6 + 2 * case.tensors]))
    picks = (i0, i1, i2)[3 - case.levels :]
    if case.levels == 4:
        between, row, *tiles = (int(x) for x in info[6 + 2 * case.tensors :])
        nodes.insert(2, _nodes(case, row, np.array(tiles)))
        picks = (i0, i1, between, i2)
    formats, doubt = _formats(case, nodes)
    trips = _axis_trips(case, picks)
    blocks = tuple(Block(n, t) for n, t in zip(nodes, trips, strict=True))
    return Plan(blocks, case.sizes, case.tensors, formats, innermost), doubt


def _axis_trips(case: Case, picks: tuple[int, ...]) -> list[Nodes]:
    """(axis number, trips per rank) by fan-out."""
    trips: list[Nodes] = []
    axis = 0
    for fan, pick in zip(case.fans, picks, strict=True):
        rows = fan.axis_trips[pick]
        trips.append(tuple((axis + k, row) for k, row in enumerate(rows)))
        axis += len(rows)
    return trips


def _formats(case: Case, nodes: list[Nodes]) -> tuple[IntArray, Doubt | None]:
    """Format ids (T, L) of the tiles that these nodes store, and the first copy in doubt."""
    formats = np.zeros((case.tensors, case.levels), dtype=np.int64)
    doubt: Doubt | None = None
    inner: dict[int, IntArray] = {}
    for level in range(case.levels - 1, -1, -1):
        for t, extent in nodes[level]:
            innermost = t not in inner and t != case.machine.output
            where = int(innermost), t, level, _sub_index(case, t, inner.get(t, extent))
            code = int(case.formats.chosen[where])
            formats[t, level] = code
            guessed = innermost and code == 0 and case.assumed_packed[t, level]
            if guessed or not case.formats.tight[where]:
                doubt = Doubt(t, _levels(case, t, level), code)
            inner[t] = extent
    for t in np.flatnonzero(case.one_format).tolist():
        kept = [level for level in range(case.levels) if any(u == t for u, _ in nodes[level])]
        if len({int(code) for code in formats[t, kept]}) > 1:
            doubt = Doubt(t, _levels(case, t, 0), int(formats[t, 0]))
    return formats, doubt


def _levels(case: Case, tensor: int, level: int) -> tuple[int, ...]:
    return tuple(range(case.levels)) if case.one_format[tensor] else (level,)


def _sub_index(case: Case, tensor: int, extent: IntArray) -> int:
    sizes, strides = case.sizes.tolist(), case.grid.sub[tensor].tolist()
    places = [divisors(n).index(part) for n, part in zip(sizes, extent.tolist(), strict=True)]
    return sum(stride * place for stride, place in zip(strides, places, strict=True))


def _nodes(case: Case, row: int, tiles: IntArray) -> Nodes:
    """(tensor, rank extents) of one level, outermost first."""
    each = np.arange(len(case.sizes))
    out = []
    for t in case.orders[row]:
        if t < 0:
            break
        index = (tiles[t] // case.grid.stride) % case.grid.number
        out.append((int(t), np.asarray(case.grid.size[each, index], dtype=np.int64)))
    return tuple(out)
