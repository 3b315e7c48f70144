"""Price tables of the exact search: every node of the outer level, every placement of the inner one.

Both are linear in what they do not know yet. A node of level 1 costs what it moves at level 0, a
number of its tile alone, plus words x price of the stored form below it. A placement of the
innermost level costs, for each tensor, `alpha + beta / share + gamma * share` where share is the
number of spatial trips above it that use one word together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.exact_leaves import Leaves
from strategies.exact_problem import Costs, IntArray, Machine, Points

FloatArray = NDArray[np.float64]


class OuterTable(NamedTuple):
    """Prices of a tensor's tile at level 1, by full-grid index. G = size of the full grid.

    Attributes:
        own: Sub-grid index, shape (T, G).
        elements: Elements of the tile, shape (T, G).
        side: Energy at level 0 [pJ], shape (T, G).
        side_load: Cycles of level 0's ports, shape (T, G, V).
        fill, spill: Words written to and read from level 1 by this link, shape (T, G).
        fresh: First visits at level 1, shape (T, G).
        read, write, bits: Per word of level 1's stored form by sub-grid index below, (T, S).
        leaf_read, leaf_write, leaf_read_bits, leaf_write_bits: Per dense access of the compute
            units to level 1, by sub-grid index of its own tile, (T, S).
    """

    own: IntArray
    elements: FloatArray
    side: FloatArray
    side_load: FloatArray
    fill: FloatArray
    spill: FloatArray
    fresh: FloatArray
    read: FloatArray
    write: FloatArray
    bits: FloatArray
    leaf_read: FloatArray
    leaf_write: FloatArray
    leaf_read_bits: FloatArray
    leaf_write_bits: FloatArray


def outer_table(points: Points, costs: Costs, machine: Machine, share: FloatArray) -> OuterTable:
    """Price every tile of every tensor at level 1.

    Args:
        points: Every point of the full grid.
        costs, machine: The problem.
        share: Spatial trips between levels 0 and 1 that use one word together, shape (T,).
    """
    own, refetch = points
    tensors, size = own.shape
    rows = np.arange(tensors)[:, None]
    first = costs.words[rows, own]
    words = first * refetch
    up = words / share[:, None]
    fresh = first * share[:, None]
    out = machine.output
    side = up * costs.read[rows, 0, own]
    pull = up.copy()
    fill, spill = words.copy(), np.zeros_like(words)
    pull[out] -= first[out]
    fill[out] -= fresh[out]
    spill[out] = machine.drain_read * words[out]
    drain = up[out] - machine.saved * first[out]
    side[out] = pull[out] * costs.read[out, 0, own[out]] + drain * costs.write[out, 0, own[out]]
    load = np.zeros((tensors, size, machine.ports))
    _add(load, machine.read_port[0], pull * costs.bits[rows, 0, own] * machine.read_cycles[0])
    drained = np.zeros_like(pull)
    drained[out] = drain * costs.bits[out, 0, own[out]] * machine.write_cycles[0]
    _add(load, machine.write_port[0], drained)
    return OuterTable(
        own,
        costs.elements[rows, own],
        side,
        load,
        fill,
        spill,
        fresh,
        *(np.ascontiguousarray(table[:, 1]) for table in costs[2:9]),
    )


def least_outer(table: OuterTable) -> FloatArray:
    """Least energy of moving each tensor into level 1 over the run [pJ], shape (T,)."""
    child = table.fill.min(axis=1) * table.write.min(axis=1)
    child += table.spill.min(axis=1) * table.read.min(axis=1)
    return np.asarray(table.side.min(axis=1) + child, dtype=np.float64)


def _add(load: FloatArray, port: int, cycles: FloatArray) -> None:
    if port >= 0:
        load[..., port] += cycles


class Surroundings(NamedTuple):
    """What stands around the fan-out at which inner and outer placements are joined.

    Attributes:
        total: Computes of the operator, padding included.
        used: Instances of level 1 in use (three levels), else 1.
        share0: Sharing between levels 0 and 1 by tensor, ones for two levels; shape (T,).
        share2: Sharing between the innermost level and the compute units, shape (T,).
    """

    total: float
    used: float
    share0: FloatArray
    share2: FloatArray


def leaf_coefficients(
    costs: Costs, machine: Machine, leaves: Leaves, around: Surroundings
) -> FloatArray:
    """Coefficients (alpha, beta, gamma) of energy and port cycles of every innermost placement.

    Returns:
        Shape (n, T, L - 1, 1 + V, 3): by tensor, level outside, (energy, ports). Cycles of the
        innermost level's own ports are still to be divided by its instances under one level 1.
    """
    levels = len(machine.capacity)
    n, tensors = leaves.own.shape
    out = np.zeros((n, tensors, levels - 1, 1 + machine.ports, 3))
    for t in range(tensors):
        kept = leaves.own[:, t] >= 0
        for parent in range(levels - 1):
            part = np.zeros((n, 1 + machine.ports, 3))
            _kept_streams(costs, machine, leaves, (t, parent), around, part)
            bare = np.zeros_like(part)
            if not (parent == 1 and costs.grows[t]):
                _bare_streams(costs, machine, (t, parent), around, bare)
            out[:, t, parent] = np.where(kept[:, None, None], part, bare)
    return out


def _outside(machine: Machine, parent: int, t: int, around: Surroundings) -> tuple[float, ...]:
    """(instances of the parent, sharing above it, sharing between it and the fan-out joined)."""
    if parent == 1:
        return around.used, float(around.share0[t]), 1.0
    return 1.0, 1.0, float(around.share0[t])


def _kept_streams(
    costs: Costs,
    machine: Machine,
    leaves: Leaves,
    where: tuple[int, int],
    around: Surroundings,
    out: FloatArray,
) -> None:
    t, parent = where
    last = len(machine.capacity) - 1
    inst, above, between = _outside(machine, parent, t, around)
    own, words = np.maximum(leaves.own[:, t], 0), leaves.words[:, t]
    accesses, up = around.total / around.share2[t], words / between
    first = costs.words[t, own] if t == machine.output else np.zeros(len(own))
    fresh = first * above * between
    store = costs.bits[t, last, own] / around.used
    bits = costs.bits[t, parent, own] / inst
    leaf_bits = costs.leaf_read_bits[t, last, own] / around.used
    fill, load = machine.write_port, machine.read_port
    into, from_ = machine.write_cycles, machine.read_cycles
    _stream(out, (words, 0, -fresh), costs.write[t, last, own], (fill[last], store * into[last]))
    _stream(
        out, (accesses, 0, -fresh), costs.leaf_read[t, last, own],
        (load[last], leaf_bits * from_[last]),
    )  # fmt: skip
    _stream(
        out, (-first * above, up, 0), costs.read[t, parent, own],
        (load[parent], bits * from_[parent]),
    )  # fmt: skip
    if t != machine.output:
        return
    spill = machine.drain_read * words
    leaf_bits = costs.leaf_write_bits[t, last, own] / around.used
    saved = machine.saved * first if parent == 0 else 0.0 * first
    _stream(out, (spill, 0, 0), costs.read[t, last, own], (load[last], store * from_[last]))
    _stream(
        out, (accesses, 0, 0), costs.leaf_write[t, last, own],
        (fill[last], leaf_bits * into[last]),
    )  # fmt: skip
    _stream(
        out, (-saved, up, 0), costs.write[t, parent, own], (fill[parent], bits * into[parent])
    )


def _bare_streams(
    costs: Costs,
    machine: Machine,
    where: tuple[int, int],
    around: Surroundings,
    out: FloatArray,
) -> None:
    """The compute units read a tensor that the innermost level bypasses straight from `parent`."""
    t, parent = where
    inst, above, between = _outside(machine, parent, t, around)
    whole = costs.whole[t]
    accesses = around.total / around.share2[t] / between
    fresh = float(costs.words[t, whole]) * above if t == machine.output else 0.0
    cycles = costs.leaf_read_bits[t, parent, whole] / inst * machine.read_cycles[parent]
    _stream(
        out, (-fresh, accesses, 0), costs.leaf_read[t, parent, whole],
        (machine.read_port[parent], cycles),
    )  # fmt: skip
    if t == machine.output:
        cycles = costs.leaf_write_bits[t, parent, whole] / inst * machine.write_cycles[parent]
        _stream(
            out, (0, accesses, 0), costs.leaf_write[t, parent, whole],
            (machine.write_port[parent], cycles),
        )  # fmt: skip


def _stream(
    out: FloatArray,
    words: tuple[FloatArray | float, FloatArray | float, FloatArray | float],
    price: FloatArray | float,
    port: tuple[int, FloatArray | float],
) -> None:
    """Add one stream of words to the energy row and to the row of its port."""
    for k, count in enumerate(words):
        out[:, 0, k] += price * count
        if port[0] >= 0:
            out[:, 1 + port[0], k] += port[1] * count
