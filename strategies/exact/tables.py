"""Price tables of the exact search: nodes of the outer level, placements of the inner one.

Both are linear in what they do not know yet. A node of level 1 costs what it moves at level 0, a
number of its tile alone, plus words x price of the stored form below it. A placement of the
innermost level costs, for each tensor, `alpha + beta / share + gamma * share` where share is the
number of spatial trips above it that use one word together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spaces.compiled import compiled
from strategies.exact.grid import FloatArray, Grid, IntArray, Points
from strategies.exact.growth import growth_of
from strategies.exact.leaves import Leaves
from strategies.exact.machine import Machine
from strategies.exact.prices import Costs


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
        own_write, own_bits: The same where level 1 is the innermost, by its own index, (T, S).
        least: Least energy of moving a tensor into level 1 over the run [pJ], shape (T,).
        leaf, leaf_bits: Energy and bits per dense access of the compute units to level 1, (T, S).
        larger, larger_start: What a tile may grow to in its own ranks, see `growth.growth_of`.
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
    own_write: FloatArray
    own_bits: FloatArray
    least: FloatArray
    leaf: FloatArray
    leaf_bits: FloatArray
    larger: IntArray
    larger_start: IntArray


def outer_table(problem: tuple[Grid, Points, Costs, Machine], share: FloatArray) -> OuterTable:
    """Price every tile of every tensor at level 1.

    Args:
        problem: The tables.
        share: Spatial trips between levels 0 and 1 that use one word together, shape (T,).
    """
    grid, points, costs, machine = problem
    larger, larger_start = growth_of(grid, costs, 1)
    shape = points.own.shape
    elements, side, fill, spill, fresh = (np.empty(shape) for _ in range(5))
    load = np.zeros((*shape, machine.ports))
    _price_tiles(points, costs, machine, share, (elements, side, fill, spill, fresh, load))
    write, read = costs.write[:, 1], costs.read[:, 1]
    cheapest = np.minimum(write.min(axis=1), costs.own_write[:, 1].min(axis=1))
    child = fill.min(axis=1) * cheapest + spill.min(axis=1) * read.min(axis=1)
    return OuterTable(
        least=side.min(axis=1) + child,
        own=points.own,
        elements=elements,
        side=side,
        side_load=load,
        fill=fill,
        spill=spill,
        fresh=fresh,
        read=np.ascontiguousarray(read),
        write=np.ascontiguousarray(write),
        bits=np.ascontiguousarray(costs.bits[:, 1]),
        own_write=np.ascontiguousarray(costs.own_write[:, 1]),
        own_bits=np.ascontiguousarray(costs.own_bits[:, 1]),
        leaf=np.ascontiguousarray(costs.leaf[:, 1, 0]),
        leaf_bits=np.ascontiguousarray(costs.leaf_bits[:, 1, 0]),
        larger=larger,
        larger_start=larger_start,
    )


@compiled
def _price_tiles(points, costs, machine, share, out):  # type: ignore[no-untyped-def]
    """Write the columns of `OuterTable` that have one number per tile."""
    elements, side, fill, spill, fresh, load = out
    into, from_ = machine.write_port[0], machine.read_port[0]
    for t in range(points.own.shape[0]):
        for k in range(points.own.shape[1]):
            own = points.own[t, k]
            first = costs.words[t, own]
            words = first * points.refetch[t, k]
            pull = words / share[t]
            elements[t, k] = costs.elements[t, own]
            fill[t, k], spill[t, k], fresh[t, k] = words, 0.0, first * share[t]
            drained = 0.0
            if t == machine.output:
                pull -= first
                fill[t, k] -= fresh[t, k]
                spill[t, k] = machine.drain_read * words
                side[t, k] = pull * (costs.read[t, 0, own] + costs.write[t, 0, own])
                side[t, k] += costs.final[own] * first
                drained = pull * costs.bits[t, 0, own] + first * costs.final_bits[own]
            else:
                side[t, k] = pull * costs.read[t, 0, own]
            if from_ >= 0:
                load[t, k, from_] += pull * costs.bits[t, 0, own] * machine.read_cycles[0]
            if into >= 0:
                load[t, k, into] += drained * machine.write_cycles[0]


def compulsory_costs(costs: Costs, machine: Machine, computes: FloatArray) -> tuple[float, float]:
    """Energy [pJ] of level 0 at least, and cycles that its ports are busy at least.

    Tensors with their home elsewhere aside, every operand's element is read there once or more, by
    the compute units where no other level keeps it. Every element of the output is written there:
    finished, or by the accumulations that `computes` (see `machine.build_computes`) leaves.
    """
    load = np.zeros(machine.ports + 1)
    energy = 0.0
    for t in range(len(costs.whole)):
        if machine.home[t] != 0:
            continue
        elements = float(costs.elements[t].max())
        if t == machine.output:
            made = float(computes[:, :, 2].min()) * costs.partial[0, 3]
            bits = elements * min(float(costs.final_bits.min()), made)
            load[machine.write_port[0]] += bits * machine.write_cycles[0]
            continue
        bits = min(float(costs.bits[t, 0].min()), float(costs.leaf_bits[t, 0].min()))
        load[machine.read_port[0]] += elements * bits * machine.read_cycles[0]
        energy += elements * min(float(costs.read[t, 0].min()), float(costs.leaf[t, 0].min()))
    return energy, float(load[: machine.ports].max(initial=0.0))


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
    costs: Costs,
    machine: Machine,
    leaves: Leaves,
    around: Surroundings,
    parents: tuple[int, ...] = (0, 1),
) -> FloatArray:
    """Coefficients (alpha, beta, gamma) of energy and port cycles of every innermost placement.

    Args:
        costs, machine, leaves, around: The problem.
        parents: Levels outside that are asked for, of two levels the first alone.

    Returns:
        Shape (n, T, L - 1, 3, 1 + V, 3): by tensor and level outside; what is always paid, what is
        paid per accumulation made and gated, what per active one; (energy, ports). Cycles of the
        innermost level's own ports are still to be divided by its instances under one level 1.
    """
    levels = len(machine.capacity)
    n, tensors = leaves.own.shape
    out = np.zeros((n, tensors, levels - 1, 3, 1 + machine.ports, 3))
    for t in range(tensors):
        kept = leaves.own[:, t] >= 0
        for parent in parents[: levels - 1]:
            part = out[:, t, parent]
            if kept.any():
                _kept_streams(costs, machine, leaves, (t, parent), around, part)
            if kept.all():
                continue
            bare = np.zeros_like(part)
            if parent == 0 or t == machine.output or not costs.grows[t]:
                _bare_streams(costs, machine, (t, parent), around, bare)
            part[:] = np.where(kept[:, None, None, None], part, bare)
    return out


def _outside(parent: int, t: int, around: Surroundings) -> tuple[float, float, float]:
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
    port_of = int(machine.home[t]) if parent == 0 else parent
    last = len(machine.capacity) - 1
    inst, above, between = _outside(parent, t, around)
    own, words = np.maximum(leaves.own[:, t], 0), leaves.words[:, t]
    up = words / between
    is_output = t == machine.output
    first = costs.words[t, own] if is_output else np.zeros(len(own))
    fresh = first * above * between
    store = costs.own_bits[t, last, own] / around.used
    bits = costs.bits[t, parent, own] / inst
    into, from_ = machine.write_port, machine.read_port
    fill_rate, read_rate = machine.write_cycles, machine.read_cycles
    paid = out[:, 0]
    fill = (into[last], store * fill_rate[last])
    _stream(paid, (words, 0.0, -fresh), costs.own_write[t, last, own], fill)
    pull = (from_[port_of], bits * read_rate[port_of])
    _stream(paid, (-first * above, up, 0.0), costs.read[t, parent, own], pull)
    accesses = around.total / around.share2[t]
    if not is_output:
        port = (from_[last], costs.leaf_bits[t, last, parent, own] / around.used * read_rate[last])
        _stream(paid, (accesses, 0.0, 0.0), costs.leaf[t, last, parent, own], port)
        return
    reads = (accesses, 0.0, -fresh)
    _accumulate(costs, machine, (last, around.used), reads, (accesses, 0.0, 0.0), out)
    spill = (from_[last], store * read_rate[last])
    _stream(paid, (machine.drain_read * words, 0.0, 0.0), costs.read[t, last, own], spill)
    finished = first if parent == 0 else 0.0 * first
    drain = (into[port_of], bits * fill_rate[port_of])
    _stream(paid, (-finished, up, 0.0), costs.write[t, parent, own], drain)
    finish = (into[port_of], costs.final_bits[own] * fill_rate[port_of])
    _stream(paid, (finished, 0.0, 0.0), costs.final[own], finish)


def _bare_streams(
    costs: Costs,
    machine: Machine,
    where: tuple[int, int],
    around: Surroundings,
    out: FloatArray,
) -> None:
    """The compute units use a tensor that the innermost level bypasses straight from `parent`."""
    t, parent = where
    port_of = int(machine.home[t]) if parent == 0 else parent
    inst, above, between = _outside(parent, t, around)
    whole = costs.whole[t]
    accesses = around.total / around.share2[t] / between
    if t == machine.output:
        fresh = float(costs.words[t, whole]) * above
        reads = (-fresh, accesses, 0.0)
        _accumulate(costs, machine, (parent, inst), reads, (0.0, accesses, 0.0), out)
        return
    cycles = costs.leaf_bits[t, parent, 0, whole] / inst * machine.read_cycles[port_of]
    port = (int(machine.read_port[port_of]), cycles)
    _stream(out[:, 0], (0.0, accesses, 0.0), costs.leaf[t, parent, 0, whole], port)


Words = tuple[FloatArray | float, FloatArray | float, FloatArray | float]


def _accumulate(
    costs: Costs,
    machine: Machine,
    where: tuple[int, float],
    reads: Words,
    writes: Words,
    out: FloatArray,
) -> None:
    """Accumulations of the compute units at (level, instances): gated ones in out[:, 1], active
    ones in out[:, 2].
    """
    level, instances = where
    at = int(machine.home[machine.output]) if level == 0 else level
    read_pj, write_pj, gated_pj, bits = costs.partial[level]
    pull = (int(machine.read_port[at]), bits / instances * machine.read_cycles[at])
    push = (int(machine.write_port[at]), bits / instances * machine.write_cycles[at])
    for row, price in ((1, (gated_pj, gated_pj)), (2, (read_pj, write_pj))):
        _stream(out[:, row], reads, price[0], pull)
        _stream(out[:, row], writes, price[1], push)


def _stream(
    out: FloatArray,
    words: Words,
    price: FloatArray | float,
    port: tuple[int, FloatArray | float],
) -> None:
    """Add one stream of words to the energy row and to the row of its port."""
    for k, count in enumerate(words):
        if isinstance(count, float) and count == 0.0:
            continue
        out[:, 0, k] += price * count
        if port[0] >= 0:
            out[:, 1 + port[0], k] += port[1] * count
