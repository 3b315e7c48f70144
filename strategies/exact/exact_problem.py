"""One operator on one hardware as flat tables that the compiled exact search reads.

The grid: every rank extent is one of the rank's divisors and is written as its index; a point of
the grid is one index per rank. A tensor's tables are indexed by its own sub-grid, the indices of
its relevant ranks only. Everything that depends on sizes and fan-outs alone is memoised.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms

SAME = 1e-12
"""Relative difference below which two prices are one."""

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Grid(NamedTuple):
    """Divisors of the ranks and their products. D = the largest number of divisors.

    Attributes:
        size: Extent of an index, shape (R, D).
        number: Divisors of each rank, shape (R,).
        mul: Index of the product of two divisors, -1 where it does not divide the rank; (R, D, D).
        div: Index of the quotient of two divisors, -1 where it is not whole; (R, D, D).
        stride: Of the full grid, shape (R,).
        sub: Strides of each tensor's sub-grid, 0 for irrelevant ranks; shape (T, R).
        relevant: Shape (T, R).
        total: Product of the rank sizes.
    """

    size: FloatArray
    number: IntArray
    mul: IntArray
    div: IntArray
    stride: IntArray
    sub: IntArray
    relevant: NDArray[np.bool_]
    total: float


class Fanout(NamedTuple):
    """The distinct spatial trips one fan-out can have.

    Attributes:
        place: Divisor indices, shape (n, R), by decreasing number of instances used.
        used: Instances used, shape (n,).
        shared: Product of the trips of each tensor's irrelevant ranks, shape (n, T).
        axis_trips: One way to lay them on the axes, shape (n, axes, R).
    """

    place: IntArray
    used: FloatArray
    shared: FloatArray
    axis_trips: IntArray


class Costs(NamedTuple):
    """Energy and bits per word of each tensor and level on the tensor's sub-grid of size S.

    A stored copy is priced for the extents of the tiles it is a sequence of. The innermost copy of
    a tensor (`own_*`, `leaf_*`) is one tile; its format need not be that of an outer copy.

    Attributes:
        elements: Elements of a tile, shape (T, S).
        words: Distinct elements times the padding of its tiling, shape (T, S).
        read, write: pJ per word moved, shape (T, L, S).
        bits: Bits per word, the same.
        own_write, own_bits: The same where the level is the tensor's innermost one.
        leaf, leaf_bits: pJ and bits per dense access of the compute units to an operand, gating and
            skipping included; by the level outside (0, 1) that keeps it too; shape (T, L, 2, S).
        final, final_bits: pJ and bits per finished output word drained into level 0, shape (S,).
        partial: pJ of a partial sum's read, write and gated access, its bits; shape (L, 4).
        grows: True where the bits per word depend on the extents (formats, halos), shape (T,).
        whole: Sub-grid index of the whole tensor, shape (T,).
    """

    elements: FloatArray
    words: FloatArray
    read: FloatArray
    write: FloatArray
    bits: FloatArray
    own_write: FloatArray
    own_bits: FloatArray
    leaf: FloatArray
    leaf_bits: FloatArray
    final: FloatArray
    final_bits: FloatArray
    partial: FloatArray
    grows: NDArray[np.bool_]
    whole: IntArray


class Points(NamedTuple):
    """Every point of the full grid.

    Attributes:
        own: Sub-grid index of each tensor, shape (T, G).
        refetch: Trips of each tensor's irrelevant ranks outside, shape (T, G).
    """

    own: IntArray
    refetch: FloatArray


class Machine(NamedTuple):
    """What does not depend on extents.

    Attributes:
        capacity: Bits per level, inf = unbounded, shape (L,).
        read_port, write_port: Port number of a level's reads and writes, -1 = free; shape (L,).
        read_cycles, write_cycles: Cycles per bit, shape (L,).
        ports: Number of ports.
        output: The output tensor.
        drain_read: 1 when draining reads the child, else 0.
        static_pj: Per cycle.
        masks: Kept-tensor bit masks allowed at each level, shape (L, 2**T), 1 = allowed.
    """

    capacity: FloatArray
    read_port: IntArray
    write_port: IntArray
    read_cycles: FloatArray
    write_cycles: FloatArray
    ports: int
    output: int
    drain_read: float
    static_pj: float
    masks: IntArray


@lru_cache(maxsize=4096)
def divisors(size: int) -> tuple[int, ...]:
    """Divisors in increasing order.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, int(size**0.5) + 1) if size % d == 0]
    return tuple(sorted({*small, *(size // d for d in small)}))


@lru_cache(maxsize=1024)
def _products(size: int) -> IntArray:
    numbers = divisors(size)
    place = {d: i for i, d in enumerate(numbers)}
    return np.array([[place.get(a * b, -1) for b in numbers] for a in numbers], dtype=np.int64)


@lru_cache(maxsize=1024)
def _quotients(size: int) -> IntArray:
    numbers = divisors(size)
    place = {d: i for i, d in enumerate(numbers)}
    rows = [[place[a // b] if a % b == 0 else -1 for b in numbers] for a in numbers]
    return np.array(rows, dtype=np.int64)


@lru_cache(maxsize=256)
def build_grid(sizes: tuple[int, ...], relevant: tuple[tuple[bool, ...], ...]) -> Grid:
    """The grid of an operator's ranks."""
    numbers = [divisors(size) for size in sizes]
    count = np.array([len(n) for n in numbers], dtype=np.int64)
    wide = int(count.max())
    extent = np.ones((len(sizes), wide))
    mul = np.full((len(sizes), wide, wide), -1, dtype=np.int64)
    div = mul.copy()
    for r, size in enumerate(sizes):
        extent[r, : count[r]] = numbers[r]
        mul[r, : count[r], : count[r]] = _products(size)
        div[r, : count[r], : count[r]] = _quotients(size)
    rows = np.array(relevant, dtype=np.bool_)
    total = float(np.prod(np.array(sizes, dtype=np.float64)))
    return Grid(extent, count, mul, div, _strides(count), _sub_strides(count, rows), rows, total)


@lru_cache(maxsize=128)
def build_points(sizes: tuple[int, ...], relevant: tuple[tuple[bool, ...], ...]) -> Points:
    """Every point of an operator's grid."""
    grid = build_grid(sizes, relevant)
    axes = [np.arange(n) for n in grid.number]
    index = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)
    trips = np.stack([size / grid.size[r, index[:, r]] for r, size in enumerate(sizes)], axis=-1)
    own = np.stack([index @ row for row in grid.sub])
    refetch = np.stack([np.where(row, 1.0, trips).prod(axis=-1) for row in grid.relevant])
    return Points(own, refetch)


def _strides(count: IntArray) -> IntArray:
    return np.concatenate([np.cumprod(count[::-1])[::-1][1:], [1]]).astype(np.int64)


def _sub_strides(count: IntArray, relevant: NDArray[np.bool_]) -> IntArray:
    out = np.zeros(relevant.shape, dtype=np.int64)
    for t, row in enumerate(relevant):
        ranks = np.flatnonzero(row)
        out[t, ranks] = _strides(count[ranks])
    return out


@lru_cache(maxsize=512)
def build_fanout(
    sizes: tuple[int, ...],
    axes: tuple[int, ...],
    relevant: tuple[tuple[bool, ...], ...],
    allowed: tuple[tuple[bool, ...], ...] | None = None,
) -> Fanout:
    """Every distinct product of spatial trips that the axes can hold, several ranks per axis.

    `allowed`: per axis the ranks that may be unrolled over it; None = all.
    """
    ranks = len(sizes)
    found = np.ones((1, 0, ranks), dtype=np.int64)
    for number, axis in enumerate(axes):
        options = np.array(_axis_trips(sizes, axis), dtype=np.int64)
        if allowed is not None:
            options = options[(np.array(allowed[number]) | (options == 1)).all(axis=1)]
        pairs = np.concatenate(
            [
                np.repeat(found, len(options), axis=0),
                np.tile(options, (len(found), 1))[:, None, :],
            ],
            axis=1,
        )
        found = _distinct(pairs, sizes)
    trips = found.prod(axis=1)
    used = trips.prod(axis=1).astype(np.float64)
    order = np.argsort(-used, kind="stable")
    index = np.stack(
        [np.searchsorted(divisors(size), trips[:, r]) for r, size in enumerate(sizes)], axis=1
    )
    irrelevant = ~np.array(relevant, dtype=np.bool_)
    shared = np.stack([np.where(row, trips, 1).prod(axis=1) for row in irrelevant], axis=1)
    return Fanout(
        np.ascontiguousarray(index[order]),
        used[order],
        np.ascontiguousarray(shared[order].astype(np.float64)),
        np.ascontiguousarray(found[order]),
    )


def _axis_trips(sizes: tuple[int, ...], axis: int) -> list[tuple[int, ...]]:
    trips: list[tuple[int, ...]] = [()]
    for size in sizes:
        fit = [d for d in divisors(size) if d <= axis]
        trips = [(*t, d) for t in trips for d in fit if int(np.prod(t, dtype=np.int64)) * d <= axis]
    return trips


def _distinct(pairs: IntArray, sizes: tuple[int, ...]) -> IntArray:
    total = pairs.prod(axis=1)
    whole = (np.array(sizes, dtype=np.int64) % total == 0).all(axis=1)
    pairs, total = pairs[whole], total[whole]
    _, first = np.unique(total, axis=0, return_index=True)
    return pairs[first]


def sub_grid(grid: Grid, tensor: int) -> IntArray:
    """Rank extents of every point of a tensor's sub-grid, irrelevant ranks at 1; shape (S, R)."""
    ranks = np.flatnonzero(grid.relevant[tensor])
    axes = [grid.size[r, : grid.number[r]].astype(np.int64) for r in ranks]
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=-1)
    out = np.ones((len(points), len(grid.number)), dtype=np.int64)
    out[:, ranks] = points
    return out


def ideal_costs(costs: Costs) -> Costs:
    """The same with every price the least of any tile: a bound under which no tile need grow."""
    flat = {
        name: np.broadcast_to(
            getattr(costs, name).min(axis=-1, keepdims=True), getattr(costs, name).shape
        )
        for name in ("read", "write", "bits", "own_write", "own_bits", "leaf", "leaf_bits", "final")
    }
    final_bits = np.broadcast_to(costs.final_bits.min(), costs.final_bits.shape)
    return costs._replace(**flat, final_bits=final_bits, grows=np.zeros_like(costs.grows))


class FormatTable(NamedTuple):
    """Which format each stored tile takes, by whether the copy is the tensor's innermost one.

    Attributes:
        chosen: Format id by (outer, innermost), tensor, level and sub-grid index, (2, T, L, S).
        tight: True where that format is the best in every respect (energies, bits), so that its
            prices are the ones in `Costs`; elsewhere `Costs` holds the least of each; the same.
    """

    chosen: IntArray
    tight: NDArray[np.bool_]


Choices = tuple[tuple[tuple[int, ...], ...], ...]


def build_costs(
    terms: CostTerms, grid: Grid, choices: Choices, accesses: FloatArray
) -> tuple[Costs, FormatTable]:
    """Price every tile of every tensor under the formats offered per (tensor, level).

    Where several formats are offered, each price is the least over them: a bound that is exact
    where one format is best in all respects.

    Args:
        terms: The cost structure.
        grid: Its grid (padded sizes allowed).
        choices: Format ids offered, by tensor and level.
        accesses: From `build_computes`.
    """
    tensors, levels = terms.may_keep.shape
    points = [sub_grid(grid, t) for t in range(tensors)]
    width = max(len(p) for p in points)
    costs = _empty_costs(tensors, levels, width)
    table = FormatTable(
        np.zeros((2, tensors, levels, width), dtype=np.int64),
        np.ones((2, tensors, levels, width), dtype=np.bool_),
    )
    for t, extents in enumerate(points):
        n = len(extents)
        elements = dense_elements(terms, t, extents)
        whole = grid.size[np.arange(len(grid.number)), grid.number - 1]
        tiles = np.prod(np.where(grid.relevant[t], whole, 1) / extents, axis=1)
        costs.elements[t, :n] = elements
        costs.words[t, :n] = elements * tiles
        costs.whole[t] = n - 1
        if t == terms.output:
            _price_output(terms, choices[t][0], (extents, elements), (costs, table))
        else:
            for level in range(levels):
                stored = _stored(terms, (t, level), choices[t][level], (extents, elements))
                _price_copy(terms, (t, level), choices[t][level], stored, (costs, table))
                _price_leaf(terms, (t, level), choices[t][level], stored, accesses, (costs, table))
        _pad(costs, t, n)
        costs.grows[t] = _varies(costs, t, t == terms.output)
    return costs, table


def _pad(costs: Costs, t: int, n: int) -> None:
    """Repeat the last point beyond a tensor's own sub-grid, so that minima stay true."""
    by_level = (costs.read, costs.write, costs.bits, costs.own_write, costs.own_bits)
    for table in (costs.elements, costs.words, *by_level, costs.leaf, costs.leaf_bits):
        table[t, ..., n:] = table[t, ..., n - 1 : n]


def _empty_costs(tensors: int, levels: int, width: int) -> Costs:
    return Costs(
        elements=np.ones((tensors, width)),
        words=np.ones((tensors, width)),
        read=np.zeros((tensors, levels, width)),
        write=np.zeros((tensors, levels, width)),
        bits=np.zeros((tensors, levels, width)),
        own_write=np.zeros((tensors, levels, width)),
        own_bits=np.zeros((tensors, levels, width)),
        leaf=np.zeros((tensors, levels, 2, width)),
        leaf_bits=np.zeros((tensors, levels, 2, width)),
        final=np.zeros(width),
        final_bits=np.zeros(width),
        partial=np.zeros((levels, 4)),
        grows=np.zeros(tensors, dtype=np.bool_),
        whole=np.zeros(tensors, dtype=np.int64),
    )


def dense_elements(terms: CostTerms, tensor: int, extents: IntArray) -> FloatArray:
    """Elements of tiles of these rank extents, from the uncompressed format; shape (n,)."""
    dense = terms.tile_bits(tensor, 0, np.zeros(1, dtype=np.int64), extents)[0]
    return np.asarray(dense.sum(axis=-1) / terms.word_bits[tensor], dtype=np.float64)


def _stored(
    terms: CostTerms,
    where: tuple[int, int],
    offered: tuple[int, ...],
    tiles: tuple[IntArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Metadata and payload bits per element of the formats offered, each of shape (f, n)."""
    extents, elements = tiles
    bits = terms.tile_bits(*where, np.array(offered, dtype=np.int64), extents)
    return bits[:, :, 0] / elements, bits[:, :, 1] / elements


def _choose(
    offered: tuple[int, ...], prices: list[FloatArray], out: tuple[IntArray, NDArray[np.bool_]]
) -> FloatArray:
    """Least of each price over formats; writes which format to take and whether it is best in all.

    prices: kinds of shape (f, n); returns (kinds, n). The format taken has the least sum of ratios.
    """
    stack = np.stack(prices)
    least = stack.min(axis=1)
    scale = np.where(least > 0.0, least, 1.0)[:, None]
    best = (stack / scale).sum(axis=0).argmin(axis=0)
    n = stack.shape[2]
    taken = stack[:, best, np.arange(n)]
    out[0][:n] = np.array(offered, dtype=np.int64)[best]
    out[1][:n] = (taken <= least * (1.0 + SAME)).all(axis=0)
    return np.asarray(least)


def _price_copy(
    terms: CostTerms,
    where: tuple[int, int],
    offered: tuple[int, ...],
    stored: tuple[FloatArray, FloatArray],
    out: tuple[Costs, FormatTable],
) -> None:
    t, level = where
    costs, table = out
    meta, load = stored
    n = meta.shape[1]
    lookup = meta * terms.metadata_read_pj_per_bit[level]
    lookup = lookup + terms.decode_pj[t, list(offered)][:, None]
    fill = load * terms.write_pj_per_bit[level] + meta * terms.metadata_write_pj_per_bit[level]
    kinds = [load * terms.read_pj_per_bit[level] + lookup, load + meta]
    if level > 0:
        kinds.append(fill)
    least = _choose(offered, kinds, (table.chosen[0, t, level], table.tight[0, t, level]))
    costs.read[t, level, :n], costs.bits[t, level, :n] = least[:2]
    costs.write[t, level, :n] = least[2] if level > 0 else fill.min(axis=0)


def _price_leaf(
    terms: CostTerms,
    where: tuple[int, int],
    offered: tuple[int, ...],
    stored: tuple[FloatArray, FloatArray],
    accesses: FloatArray,
    out: tuple[Costs, FormatTable],
) -> None:
    t, level = where
    costs, table = out
    meta, load = stored
    n, last = meta.shape[1], terms.may_keep.shape[1] - 1
    lookup = meta * terms.metadata_read_pj_per_bit[level]
    lookup = lookup + terms.decode_pj[t, list(offered)][:, None]
    fill = load * terms.write_pj_per_bit[level] + meta * terms.metadata_write_pj_per_bit[level]
    kinds = [] if level == 0 else [fill, load + meta]
    for parent in range(2):
        outside = min(parent, last - 1) if level == last else level
        made, active, looked = accesses[t, outside, int(level == last)]
        data = active * terms.read_pj_per_bit[level]
        data += (made - active) * terms.gated_pj_per_bit[level]
        kinds += [load * data + looked * lookup, made * (load + meta)]
    least = _choose(offered, kinds, (table.chosen[1, t, level], table.tight[1, t, level]))
    if level > 0:
        costs.own_write[t, level, :n], costs.own_bits[t, level, :n] = least[:2]
    costs.leaf[t, level, :, :n] = least[-4::2]
    costs.leaf_bits[t, level, :, :n] = least[-3::2]


def _price_output(
    terms: CostTerms,
    offered: tuple[int, ...],
    tiles: tuple[IntArray, FloatArray],
    out: tuple[Costs, FormatTable],
) -> None:
    t, n = terms.output, len(tiles[1])
    costs, table = out
    word = float(terms.word_bits[t])
    for level in range(terms.may_keep.shape[1]):
        read, write = terms.read_pj_per_bit[level] * word, terms.write_pj_per_bit[level] * word
        costs.partial[level] = read, write, terms.gated_pj_per_bit[level] * word, word
        costs.read[t, level], costs.write[t, level], costs.bits[t, level] = read, write, word
        costs.own_write[t, level], costs.own_bits[t, level] = write, word
    meta, load = _stored(terms, (t, 0), offered, tiles)
    load = load * (terms.final_bits / word)
    energy = load * terms.write_pj_per_bit[0] + meta * terms.metadata_write_pj_per_bit[0]
    energy = energy + terms.decode_pj[t, list(offered)][:, None]
    least = _choose(offered, [energy, load + meta], (table.chosen[0, t, 0], table.tight[0, t, 0]))
    costs.final[:n], costs.final_bits[:n] = least
    costs.final[n:], costs.final_bits[n:] = least[0, -1], least[1, -1]


def _varies(costs: Costs, t: int, is_output: bool) -> bool:
    tables = [costs.read[t], costs.bits[t], costs.own_write[t], costs.own_bits[t]]
    tables += [costs.leaf[t].reshape(-1, costs.leaf.shape[-1]), costs.words[t : t + 1]]
    if is_output:
        tables.append(costs.final[None])
    spread = [np.ptp(table, axis=-1) / np.maximum(table.max(axis=-1), 1e-300) for table in tables]
    return any(float(each.max()) > SAME for each in spread)


def build_computes(terms: CostTerms) -> tuple[FloatArray, FloatArray]:
    """What the compute units do under every placement (and under formats that say most).

    Returns:
        By keep mask of the innermost level and of level 1: compute energy and cycles, accumulations
        made and active, shape (2**T, 2**T, 4). By operand, level outside and whether the innermost
        level keeps it: accesses made, active and looked up, shape (T, L - 1, 2, 3).
    """
    tensors, levels = terms.may_keep.shape
    size = 1 << tensors
    outer = size if levels == 3 else 1
    computes = np.zeros((size, outer, 4))
    accesses = np.ones((tensors, levels - 1, 2, 3))
    rows = np.arange(tensors)
    packed = np.array([[any(ids) for ids in row] for row in terms.format_choices])
    for leaf_mask, mask in product(range(size), range(outer)):
        keep = np.zeros((tensors, levels), dtype=np.bool_)
        keep[:, 0] = True
        keep[:, -1] = leaf_mask >> rows & 1
        if levels == 3:
            keep[:, 1] = mask >> rows & 1
        innermost = levels - 1 - np.argmax(keep[:, ::-1], axis=1)
        found = terms.leaf(keep, packed[rows, innermost])
        out = terms.output
        made = found.made[out], found.active[out]
        computes[leaf_mask, mask] = found.compute_pj, found.compute_cycles, *made
        for t in rows:
            kinds = found.made[t], found.active[t], found.looked_up[t]
            accesses[t, mask >> t & 1, leaf_mask >> t & 1] = kinds
    return computes, accesses


def build_machine(terms: CostTerms) -> Machine:
    """The ports, capacities and placement rules."""
    tensors, levels = terms.may_keep.shape
    read_port, write_port, ports = _ports(terms)
    masks = np.zeros((levels, 1 << tensors), dtype=np.int64)
    for level, mask in product(range(levels), range(1 << tensors)):
        kept = np.array([bool(mask >> t & 1) for t in range(tensors)])
        allowed = terms.may_keep[:, level] | ~kept
        needed = kept | ~terms.must_keep[:, level]
        masks[level, mask] = int((allowed & needed).all())
    write_rate = np.where(terms.shared_port, terms.read_bits_per_cycle, terms.write_bits_per_cycle)
    return Machine(
        capacity=terms.capacity_bits.astype(np.float64),
        read_port=read_port,
        write_port=write_port,
        read_cycles=1.0 / terms.read_bits_per_cycle,
        write_cycles=1.0 / write_rate,
        ports=ports,
        output=terms.output,
        drain_read=float(terms.child_drain_read),
        static_pj=terms.static_pj_per_cycle,
        masks=masks,
    )


def _ports(terms: CostTerms) -> tuple[IntArray, IntArray, int]:
    levels = len(terms.capacity_bits)
    read_port = np.full(levels, -1, dtype=np.int64)
    write_port = np.full(levels, -1, dtype=np.int64)
    count = 0
    for level in range(levels):
        if np.isfinite(terms.read_bits_per_cycle[level]):
            read_port[level] = count
            count += 1
        if terms.shared_port[level]:
            write_port[level] = read_port[level]
        elif np.isfinite(terms.write_bits_per_cycle[level]):
            write_port[level] = count
            count += 1
    return read_port, write_port, count


@lru_cache(maxsize=16)
def node_orders(tensors: int) -> tuple[IntArray, IntArray]:
    """Ordered subsets of the tensors by mask: orders outermost first, padded with -1.

    Returns:
        orders, shape (n, T), and start of each mask's orders, shape (2**T + 1,).
    """
    rows: list[tuple[int, ...]] = []
    start = [0]
    for mask in range(1 << tensors):
        kept = [t for t in range(tensors) if mask >> t & 1]
        rows += [(*order, *[-1] * (tensors - len(kept))) for order in permutations(kept)]
        start.append(len(rows))
    return np.array(rows, dtype=np.int64).reshape(-1, tensors), np.array(start, dtype=np.int64)
