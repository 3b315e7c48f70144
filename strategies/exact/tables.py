"""Price tables of the exact search: nodes of level 1.

They are linear in what they do not know yet: a node of level 1 costs what it moves at level 0, a
number of its tile alone, plus words x price of the stored form below it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spaces.compiled import compiled
from strategies.exact.grid import FloatArray, IntArray, Points
from strategies.exact.growth import Growth
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
        larger, larger_start: What a tile may grow to in its own ranks, see `growth.Growth`.
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


def outer_table(
    points: Points, costs: Costs, machine: Machine, growth: Growth, share: FloatArray
) -> OuterTable:
    """Price every tile of every tensor at level 1.

    Args:
        points: Every point of the full grid.
        costs, machine: The problem.
        growth: What the tiles may grow to.
        share: Spatial trips between levels 0 and 1 that use one word together, shape (T,).
    """
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
        larger=growth[0],
        larger_start=growth[1],
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
