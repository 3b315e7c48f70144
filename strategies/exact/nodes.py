"""Compiled steps through the tiles of the nodes of one level, from inside outwards.

A *node* is a tensor's tile at a level. Under the hoist and sink arguments (docs/exact_search.md)
a level is an order of the tensors it keeps; below a node the ranks irrelevant to its tensor grow,
and its own ranks where the bits per word depend on the extents (see `growth`).
"""

from __future__ import annotations

import numpy as np

from spaces.compiled import compiled, inlined


@compiled
def first_extent(open_ranks, at_once, inner, full, out):  # type: ignore[no-untyped-def]
    """The smallest tile of a node around `inner`; ranks taken `at_once` are full."""
    for r in range(inner.shape[0]):
        out[r] = full[r] if at_once[r] and not open_ranks[r] else inner[r]


@compiled
def next_extent(div, open_ranks, inner, full, out):  # type: ignore[no-untyped-def]
    """Advance `out` to the node's next tile around `inner`; False after the last."""
    for r in range(inner.shape[0]):
        if not open_ranks[r]:
            continue
        for larger in range(out[r] + 1, full[r] + 1):
            if div[r, larger, inner[r]] >= 0 and div[r, full[r], larger] >= 0:
                out[r] = larger
                return True
        out[r] = inner[r]
    return False


@compiled
def choose_ranks(relevant, outermost, open_ranks, at_once):  # type: ignore[no-untyped-def]
    """Open the ranks irrelevant to a node's tensor; below the level's outermost node they grow at
    no cost, and are taken whole because nothing else is charged.
    """
    for r in range(relevant.shape[0]):
        at_once[r] = outermost and not relevant[r]
        open_ranks[r] = not outermost and not relevant[r]


@compiled
def count_nodes(order):  # type: ignore[no-untyped-def]
    """Number of tensors that a row of the node orders names."""
    nodes = 0
    while nodes < order.shape[0] and order[nodes] >= 0:
        nodes += 1
    return nodes


@compiled
def new_walk(tensors, ranks):  # type: ignore[no-untyped-def]
    """State of a walk by depth: tile (T, R), ranks open and taken whole (T, R), full-grid index of
    the tile (T,), its place in the list of larger ones (T,), -1 = none is tried, and whether more
    trips of irrelevant ranks may fit (T,).
    """
    return (
        np.zeros((tensors, ranks), dtype=np.int64),
        np.zeros((tensors, ranks), dtype=np.bool_),
        np.zeros((tensors, ranks), dtype=np.bool_),
        np.zeros(tensors, dtype=np.int64),
        np.zeros(tensors, dtype=np.int64),
        np.zeros(tensors, dtype=np.bool_),
    )


@inlined
def inside(extent, depth, under, bounds):  # type: ignore[no-untyped-def]
    """Extents that the node at this depth stands around; the first above a run around its trips."""
    if depth == under:
        return bounds[1]
    return bounds[0] if depth == 0 else extent[depth - 1]


@inlined
def begin_node(walk, order, depth, nodes, under, bounds, relevant):  # type: ignore[no-untyped-def]
    """Open the ranks of the node at this depth and write its smallest tile.

    bounds = (base, wide, full): nodes at depths below `under` lie between base and wide.
    """
    extent, open_ranks, at_once, _, grown, _ = walk
    t = order[nodes - 1 - depth]
    outermost = depth == nodes - 1 and depth >= under
    choose_ranks(relevant[t], outermost, open_ranks[depth], at_once[depth])
    grown[depth] = 0
    inner = inside(extent, depth, under, bounds)
    first_extent(open_ranks[depth], at_once[depth], inner, bounds[2], extent[depth])


@inlined
def next_node(walk, depth, under, bounds, grid, t):  # type: ignore[no-untyped-def]
    """Advance the irrelevant ranks of the node at this depth, the tensor's own ones anew; False
    after the last.
    """
    extent, open_ranks, _, _, grown, _ = walk
    inner = inside(extent, depth, under, bounds)
    outer = bounds[1] if depth < under else bounds[2]
    grown[depth] = 0
    for r in range(inner.shape[0]):
        if grid.relevant[t, r]:
            extent[depth, r] = inner[r]
    return next_extent(grid.div, open_ranks[depth], inner, outer, extent[depth])


@inlined
def next_growth(walk, depth, under, bounds, grid, larger, t):  # type: ignore[no-untyped-def]
    """Grow the node at this depth in its tensor's own ranks; False after the last.

    larger = (tiles, starts), see `growth.Growth`.
    """
    extent, grown = walk[0], walk[4]
    tiles, starts = larger
    inner = inside(extent, depth, under, bounds)
    outer = bounds[1] if depth < under else bounds[2]
    index = 0
    for r in range(inner.shape[0]):
        index += grid.sub[t, r] * inner[r]
    first = starts[t, index]
    for place in range(first + grown[depth] + 1, starts[t, index + 1]):
        good = True
        for r in range(inner.shape[0]):
            if grid.relevant[t, r]:
                extent[depth, r] = (tiles[place] // grid.sub[t, r]) % grid.number[r]
                good = good and grid.div[r, outer[r], extent[depth, r]] >= 0
        if good:
            grown[depth] = place - first
            return True
    return False
