"""What does not depend on tiles: ports, capacities, placement rules, the compute units."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from strategies.exact.grid import FloatArray, IntArray


class Machine(NamedTuple):
    """What does not depend on extents.

    Attributes:
        capacity: Bits per level, inf = unbounded, shape (L,).
        read_port, write_port: Port number of a level's reads and writes, -1 = free; shape (L,).
        read_cycles, write_cycles: Cycles per bit, shape (L,).
        ports: Number of ports.
        output: The output tensor.
        home: Level whose ports and prices level 0 of a tensor has, shape (T,).
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
    home: IntArray
    drain_read: float
    static_pj: float
    masks: IntArray


def build_computes(terms: CostTerms, masks: IntArray) -> tuple[FloatArray, FloatArray]:
    """What the compute units do under every placement (and under formats that say most).

    Args:
        terms: The cost structure.
        masks: Allowed keep masks by level, see `Machine`.

    Returns:
        By keep mask inside (of the innermost level; of four levels with that of level 2 in its
        higher bits) and of level 1: compute energy and cycles, accumulations made and active, shape
        (2**T or 4**T, 2**T or 1, 4), inf where not allowed. By operand, its innermost level and
        whether a level between it and level 0 keeps it too: accesses made, active and looked up,
        shape (T, L, 2, 3).
    """
    tensors, levels = terms.may_keep.shape
    size = 1 << tensors
    computes = np.full((size ** max(1, levels - 2), size if levels > 2 else 1, 4), np.inf)
    accesses = np.ones((tensors, levels, 2, 3))
    rows, out = np.arange(tensors), terms.output
    packed = packed_copies(terms)
    for inwards in product(*(np.flatnonzero(row) for row in masks[1:])):
        keep = np.stack([np.ones(tensors, dtype=np.bool_), *(m >> rows & 1 > 0 for m in inwards)])
        innermost = levels - 1 - np.argmax(keep[::-1], axis=0)
        found = terms.leaf(np.ascontiguousarray(keep.T), packed[rows, innermost])
        inside = inwards[-1] + (inwards[1] << tensors if levels == 4 else 0)
        made = found.made[out], found.active[out]
        computes[inside, inwards[0] if levels > 2 else 0] = (
            *(found.compute_pj, found.compute_cycles),
            *made,
        )
        for t in rows:
            between = int(keep[1 : innermost[t], t].any())
            accesses[t, innermost[t], between] = found.made[t], found.active[t], found.looked_up[t]
    return computes, accesses


def packed_copies(terms: CostTerms) -> NDArray[np.bool_]:
    """True where a compressed format is offered for a copy, shape (T, L)."""
    return np.array([[any(ids) for ids in row] for row in terms.format_choices])


def assumed_packed(terms: CostTerms) -> NDArray[np.bool_]:
    """Copies that `build_computes` takes for compressed although they may stay uncompressed.

    There what it says is a bound, where the compute units' work depends on it; shape (T, L).
    """
    may_be_plain = np.array([[0 in ids for ids in row] for row in terms.format_choices])
    doubtful: NDArray[np.bool_] = packed_copies(terms) & may_be_plain
    for t in np.flatnonzero(doubtful.any(axis=1)).tolist():
        if not _tells_apart(terms, t):
            doubtful[t] = False
    return doubtful


def _tells_apart(terms: CostTerms, tensor: int) -> bool:
    """Whether the compute units know a compressed innermost copy of a tensor from a plain one.

    Asked with every tensor in the outermost level alone, where no rule of another level rests.
    """
    keep = np.zeros(terms.may_keep.shape, dtype=np.bool_)
    keep[:, 0] = True
    one = terms.leaf(keep, np.zeros(len(keep), dtype=np.bool_))
    other = terms.leaf(keep, np.arange(len(keep)) == tensor)
    if one.compute_pj != other.compute_pj or one.compute_cycles != other.compute_cycles:
        return True
    pairs = (one.made, other.made), (one.active, other.active), (one.looked_up, other.looked_up)
    return any(bool((a != b).any()) for a, b in pairs)


def build_machine(terms: CostTerms) -> Machine:
    """The ports, capacities and placement rules."""
    tensors = len(terms.may_keep)
    read_port, write_port, ports = _ports(terms)
    kept = np.arange(1 << tensors)[:, None] >> np.arange(tensors) & 1 > 0
    may, must = terms.may_keep.T[:, None], terms.must_keep.T[:, None]
    allowed = np.where(kept, may, ~must).all(axis=2) & (terms.capacity_bits >= 0)[:, None]
    write_rate = np.where(terms.shared_port, terms.read_bits_per_cycle, terms.write_bits_per_cycle)
    return Machine(
        capacity=terms.capacity_bits.astype(np.float64),
        read_port=read_port,
        write_port=write_port,
        read_cycles=1.0 / terms.read_bits_per_cycle,
        write_cycles=1.0 / write_rate,
        ports=ports,
        output=terms.output,
        home=terms.home,
        drain_read=float(terms.child_drain_read),
        static_pj=terms.static_pj_per_cycle,
        masks=allowed.astype(np.int64),
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
