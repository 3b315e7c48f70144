"""What a stored tile costs per word, by tensor, level and the extents of the tile below it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.compiled import compiled
from strategies.exact.grid import FloatArray, IntArray, sub_grid

UNCOMPRESSED = 0
"""Format id of a copy without a format."""

SAME = 1e-12
"""Relative difference below which two prices are one."""


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
            skipping included; by whether a level between this and level 0 keeps it too; shape
            (T, L, 2, S).
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


_BY_TILE = (
    *("words", "read", "write", "bits", "own_write", "own_bits"),
    *("leaf", "leaf_bits", "final", "final_bits"),
)
"""Columns of `Costs` that a bound takes at their least."""


def ideal_costs(costs: Costs) -> Costs:
    """The same with every price, and the halos, the least of any tile: a bound under which no tile
    need grow.
    """
    tables = {name: getattr(costs, name) for name in _BY_TILE}
    flat = {
        name: np.full_like(table, table.min(axis=-1, keepdims=True))
        for name, table in tables.items()
    }
    return costs._replace(**flat, grows=np.zeros_like(costs.grows))


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
    terms: CostTerms, sizes: tuple[int, ...], accesses: FloatArray
) -> tuple[Costs, FormatTable]:
    """Price every tile of every tensor under the formats offered per (tensor, level).

    Where several formats are offered, each price is the least over them: a bound that is exact
    where one format is best in all respects.

    Args:
        terms: The cost structure.
        sizes: Rank sizes, padding included.
        accesses: From `build_computes`.
    """
    tensors, levels = terms.may_keep.shape
    points = [sub_grid(sizes, tuple(row)) for row in terms.relevant.tolist()]
    width = max(len(extents) for extents, _ in points)
    choices = terms.format_choices
    costs = _empty_costs(tensors, levels, width)
    table = FormatTable(
        np.zeros((2, tensors, levels, width), dtype=np.int64),
        np.ones((2, tensors, levels, width), dtype=np.bool_),
    )
    for t, (extents, tiles) in enumerate(points):
        n = len(extents)
        elements = dense_elements(terms, t, extents)
        costs.elements[t, :n] = elements
        costs.words[t, :n] = elements * tiles
        costs.whole[t] = n - 1
        if t == terms.output:
            _price_output(terms, choices[t][0], (extents, elements), (costs, table))
        else:
            for level in range(levels):
                stored = _stored(terms, (t, level), choices[t][level], (extents, elements))
                copy = _copy_of(terms, (t, level), choices[t][level], stored)
                _price_copy(copy, (costs, table))
                _price_leaf(terms, copy, accesses, (costs, table))
        _pad(costs, t, n)
        costs.grows[t] = _varies(costs, t, t == terms.output)
    return costs, table


def _pad(costs: Costs, t: int, n: int) -> None:
    """Repeat the last point beyond a tensor's own sub-grid, so that minima stay true."""
    if n == costs.words.shape[1]:
        return
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
    if offered == (UNCOMPRESSED,):
        plain = np.full((1, len(elements)), float(terms.word_bits[where[0]]))
        return np.zeros_like(plain), plain
    bits = terms.tile_bits(*where, np.array(offered, dtype=np.int64), extents)
    return bits[:, :, 0] / elements, bits[:, :, 1] / elements


def _choose(
    offered: tuple[int, ...],
    prices: list[tuple[FloatArray, bool]],
    out: tuple[IntArray, NDArray[np.bool_]],
) -> FloatArray:
    """Least of each price over formats; writes which format to take and whether it is best in all.

    prices: (kind of shape (f, n), whether any cost depends on it); returns (kinds, n). The format
    taken has the least sum of ratios.
    """
    stack = np.array([kind for kind, _ in prices])
    if len(offered) == 1:
        out[0][:] = offered[0]
        return stack[:, 0]
    matters = np.array([use for _, use in prices])
    least: FloatArray = _cheapest(stack, matters, np.array(offered), *out)
    return least


@compiled
def _cheapest(prices, matters, offered, chosen, tight):  # type: ignore[no-untyped-def]
    """`_choose` among several formats; prices has the shape (kinds, f, n)."""
    kinds, formats, n = prices.shape
    least = np.empty((kinds, n))
    for i in range(n):
        for k in range(kinds):
            least[k, i] = prices[k, 0, i]
            for f in range(1, formats):
                least[k, i] = min(least[k, i], prices[k, f, i])
        best, lowest = 0, np.inf
        for f in range(formats):
            ratios = 0.0
            for k in range(kinds):
                if matters[k]:
                    ratios += prices[k, f, i] / (least[k, i] if least[k, i] > 0.0 else 1.0)
            if ratios < lowest:
                best, lowest = f, ratios
        chosen[i] = offered[best]
        for k in range(kinds):
            if matters[k] and prices[k, best, i] > least[k, i] * (1.0 + SAME):
                tight[i] = False
    return least


def _limited(terms: CostTerms, level: int) -> bool:
    """Whether bits at a level can cost anything but energy: a capacity or a bandwidth is finite."""
    rates = terms.capacity_bits, terms.read_bits_per_cycle, terms.write_bits_per_cycle
    return any(bool(np.isfinite(rate[level])) for rate in rates)


def home_level(terms: CostTerms, where: tuple[int, int]) -> int:
    """The level whose prices and ports a (tensor, level) has, see `CostTerms.home`."""
    t, level = where
    return int(terms.home[t]) if level == 0 else level


class _Copy(NamedTuple):
    """One operand at one level under the f formats offered, for n tiles.

    Attributes:
        where: Tensor, level, and the level whose prices it has.
        offered: Format ids.
        load, bits: Payload bits, and all bits, per element; shape (f, n).
        lookup: Reading and decoding an element's metadata [pJ], shape (f, n).
        fill: Writing an element [pJ], shape (f, n).
        read_pj: Reading a bit of payload [pJ].
        limited: Whether bits can cost anything but energy.
    """

    where: tuple[int, int, int]
    offered: tuple[int, ...]
    load: FloatArray
    bits: FloatArray
    lookup: FloatArray
    fill: FloatArray
    read_pj: float
    limited: bool


def _copy_of(
    terms: CostTerms,
    where: tuple[int, int],
    offered: tuple[int, ...],
    stored: tuple[FloatArray, FloatArray],
) -> _Copy:
    at = home_level(terms, where)
    meta, load = stored
    decode = terms.decode_pj[where[0], list(offered)][:, None]
    return _Copy(
        where=(*where, at),
        offered=offered,
        load=load,
        bits=load + meta,
        lookup=meta * terms.metadata_read_pj_per_bit[at] + decode,
        fill=load * terms.write_pj_per_bit[at] + meta * terms.metadata_write_pj_per_bit[at],
        read_pj=float(terms.read_pj_per_bit[at]),
        limited=_limited(terms, at),
    )


def _price_copy(copy: _Copy, out: tuple[Costs, FormatTable]) -> None:
    t, level, _ = copy.where
    costs, table = out
    n = copy.load.shape[1]
    kinds = [(copy.load * copy.read_pj + copy.lookup, True), (copy.bits, copy.limited)]
    if level > 0:
        kinds.append((copy.fill, True))
    least = _choose(copy.offered, kinds, (table.chosen[0, t, level], table.tight[0, t, level]))
    costs.read[t, level, :n], costs.bits[t, level, :n] = least[:2]
    costs.write[t, level, :n] = least[2] if level > 0 else copy.fill.min(axis=0)


def _price_leaf(
    terms: CostTerms, copy: _Copy, accesses: FloatArray, out: tuple[Costs, FormatTable]
) -> None:
    t, level, at = copy.where
    costs, table = out
    n = copy.load.shape[1]
    kinds = [] if level == 0 else [(copy.fill, True), (copy.bits, copy.limited)]
    for between in range(2):
        made, active, looked = accesses[t, level, min(between, max(level - 1, 0))].tolist()
        data = active * copy.read_pj + (made - active) * float(terms.gated_pj_per_bit[at])
        kinds += [(copy.load * data + looked * copy.lookup, True), (made * copy.bits, copy.limited)]
    least = _choose(copy.offered, kinds, (table.chosen[1, t, level], table.tight[1, t, level]))
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
        at = home_level(terms, (t, level))
        read, write = terms.read_pj_per_bit[at] * word, terms.write_pj_per_bit[at] * word
        costs.partial[level] = read, write, terms.gated_pj_per_bit[at] * word, word
        costs.read[t, level], costs.write[t, level], costs.bits[t, level] = read, write, word
        costs.own_write[t, level], costs.own_bits[t, level] = write, word
    meta, load = _stored(terms, (t, 0), offered, tiles)
    load = load * (terms.final_bits / word)
    home = home_level(terms, (t, 0))
    energy = load * terms.write_pj_per_bit[home] + meta * terms.metadata_write_pj_per_bit[home]
    energy = energy + terms.decode_pj[t, list(offered)][:, None]
    kinds = [(energy, True), (load + meta, _limited(terms, home))]
    least = _choose(offered, kinds, (table.chosen[0, t, 0], table.tight[0, t, 0]))
    costs.final[:n], costs.final_bits[:n] = least
    costs.final[n:], costs.final_bits[n:] = least[0, -1], least[1, -1]


def _varies(costs: Costs, t: int, is_output: bool) -> bool:
    width = costs.words.shape[1]
    tables = [costs.read[t], costs.write[t], costs.bits[t], costs.own_write[t], costs.own_bits[t]]
    tables += [costs.leaf[t].reshape(-1, width), costs.leaf_bits[t].reshape(-1, width)]
    tables += [costs.words[t : t + 1], costs.final[None]][: 2 if is_output else 1]
    stack = np.concatenate(tables)
    top = stack.max(axis=1)
    return bool((top - stack.min(axis=1) > SAME * top).any())
