"""What the placements inside the joined fan-out cost, in terms of the fan-out.

Inner and outer placements are joined at one fan-out: that below level 1 (of two levels, below level
0). A placement inside costs, for each tensor, `alpha + beta / share + gamma * share`, where share
is the number of the joined fan-out's trips that use one word together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from strategies.exact.grid import FloatArray, IntArray
from strategies.exact.leaves import Leaves
from strategies.exact.machine import Machine
from strategies.exact.prices import Costs


class Surroundings(NamedTuple):
    """What stands around the placements inside, the joined fan-out aside.

    Attributes:
        total: Computes of the operator, padding included.
        used: Instances of level 1 in use, of two levels 1.
        share0: Sharing between levels 0 and 1 by tensor, of two levels ones; shape (T,).
        share2: Sharing between the joined fan-out and the compute units, shape (T,).
        used_middle: Instances of level 3 in use under one level 2, of fewer levels 1.
        share_middle: Sharing between levels 2 and 3, of fewer levels ones; shape (T,).
    """

    total: float
    used: float
    share0: FloatArray
    share2: FloatArray
    used_middle: float
    share_middle: FloatArray


class Link(NamedTuple):
    """A level inside the joined fan-out, the next level outwards that keeps a tensor, and what
    stands between them; instances and sharing leave the joined fan-out aside.

    Attributes:
        level, parent: The two levels.
        instances, parent_instances: Of each in use.
        above: Sharing above the parent.
        between: Sharing between the two.
        crosses: Whether the joined fan-out stands between them.
    """

    level: int
    parent: int
    instances: float
    parent_instances: float
    above: float
    between: float
    crosses: bool


class Node(NamedTuple):
    """Tiles of one tensor at one level.

    Attributes:
        tensor: Which.
        own: Sub-grid index, shape (n,).
        inside: Sub-grid index of the next tile inwards, shape (n,); None = the compute units.
        words: Words written into the level over the whole operator, shape (n,).
    """

    tensor: int
    own: IntArray
    inside: IntArray | None
    words: FloatArray


def link_to(levels: int, level: int, parent: int, tensor: int, around: Surroundings) -> Link:
    """The link of a tensor between a level inside and a level outside it."""
    deep = levels == 4 and level == 3
    inner = float(around.share_middle[tensor]) if deep else 1.0
    instances = around.used * (around.used_middle if deep else 1.0)
    above = float(around.share0[tensor])
    if parent == 0:
        return Link(level, 0, instances, 1.0, 1.0, above * inner, True)
    return Link(level, parent, instances, around.used, above, inner, parent == 1)


def leaf_coefficients(
    costs: Costs,
    machine: Machine,
    leaves: Leaves,
    around: Surroundings,
    parents: tuple[int, ...],
) -> FloatArray:
    """Coefficients (alpha, beta, gamma) of energy and port cycles of the innermost placements.

    Args:
        costs, machine, leaves, around: The problem.
        parents: Levels outside that are asked for. A tensor that the innermost level bypasses is
            not charged below level 2: its tile there is.

    Returns:
        Shape (n, T, parents, 3, 1 + V, 3): by tensor and level outside; what is always paid,
        what is paid per accumulation made and gated, what per active one; (energy, ports). Cycles
        of ports inside the joined fan-out are still to be divided by its instances.
    """
    each = (
        tensor_coefficients(costs, machine, leaves, around, (t, parents), ports=True)
        for t in range(leaves.own.shape[1])
    )
    return np.stack(list(each), axis=1)


def tensor_coefficients(
    costs: Costs,
    machine: Machine,
    leaves: Leaves,
    around: Surroundings,
    where: tuple[int, tuple[int, ...]],
    ports: bool,
) -> FloatArray:
    """The same of one tensor, where = (tensor, levels outside), of energy alone if not of `ports`;
    shape (n, parents, 3, 1 + V or 1, 3).
    """
    t, parents = where
    levels = len(machine.capacity)
    out = np.zeros((len(leaves.own), len(parents), 3, 1 + machine.ports if ports else 1, 3))
    kept, bare = np.flatnonzero(leaves.own[:, t] >= 0), np.flatnonzero(leaves.own[:, t] < 0)
    node = Node(t, leaves.own[kept, t], None, leaves.words[kept, t])
    for k, parent in enumerate(parents):
        if len(kept):
            link = link_to(levels, levels - 1, parent, t, around)
            out[kept, k] = node_coefficients(costs, machine, node, link, around, ports)
        priced_outside = parent == 1 and costs.grows[t] and t != machine.output
        if len(bare) and parent < 2 and not priced_outside:
            out[bare, k] = _bare_coefficients(costs, machine, (t, parent), around, ports)
    return out


def node_coefficients(
    costs: Costs,
    machine: Machine,
    node: Node,
    link: Link,
    around: Surroundings,
    ports: bool,
) -> FloatArray:
    """What tiles of one tensor at one level cost, with their transfers from the level outside.

    Returns:
        Shape (n, 3, 1 + V or 1, 3), see `leaf_coefficients`.
    """
    t, level = node.tensor, link.level
    out = np.zeros((len(node.own), 3, 1 + machine.ports if ports else 1, 3))
    paid, words = out[:, 0], node.words
    first = costs.words[t, node.own] if t == machine.output else np.zeros(len(words))
    fresh = first * link.above * link.between
    if node.inside is None:
        bits, price = costs.own_bits[t, level, node.own], costs.own_write[t, level, node.own]
        _use(costs, machine, node, link, (fresh, around), out)
    else:
        bits, price = costs.bits[t, level, node.inside], costs.write[t, level, node.inside]
    own_port = _port(machine, level, bits / link.instances)
    _stream(paid, (words, 0.0, -fresh), price, own_port.write)
    port_of = int(machine.home[t]) if link.parent == 0 else link.parent
    outer = _port(machine, port_of, costs.bits[t, link.parent, node.own] / link.parent_instances)
    pulled = _shared(link, words, first * link.above)
    _stream(paid, pulled, costs.read[t, link.parent, node.own], outer.read)
    if t != machine.output:
        return out
    spilled = machine.drain_read * words
    _stream(paid, (spilled, 0.0, 0.0), costs.read[t, level, node.own], own_port.read)
    finished = first if link.parent == 0 else np.zeros(len(words))
    drained = _shared(link, words, finished)
    _stream(paid, drained, costs.write[t, link.parent, node.own], outer.write)
    final = _port(machine, port_of, costs.final_bits[node.own]).write
    _stream(paid, (finished, 0.0, 0.0), costs.final[node.own], final)
    return out


def _shared(link: Link, words: FloatArray, less: FloatArray) -> Words:
    """Words that the level outside reads or takes for these, but for some of its own."""
    if link.crosses:
        return -less, words / link.between, 0.0
    return words / link.between, 0.0, -less


def _use(
    costs: Costs,
    machine: Machine,
    node: Node,
    link: Link,
    counts: tuple[FloatArray, Surroundings],
    out: FloatArray,
) -> None:
    """Add what the compute units do at a tensor's innermost copy; counts = (fresh, around)."""
    t, level = node.tensor, link.level
    fresh, around = counts
    inner = 1.0 if level == len(machine.capacity) - 1 else around.share_middle[t]
    accesses = around.total / (around.share2[t] / around.share_middle[t] * inner)
    if t == machine.output:
        reads = (accesses, 0.0, -fresh)
        _accumulate(costs, machine, (level, link.instances), reads, (accesses, 0.0, 0.0), out)
        return
    where = t, level, min(link.parent, 1)
    port = _port(machine, level, costs.leaf_bits[where][node.own] / link.instances).read
    _stream(out[:, 0], (accesses, 0.0, 0.0), costs.leaf[where][node.own], port)


def _bare_coefficients(
    costs: Costs, machine: Machine, where: tuple[int, int], around: Surroundings, ports: bool
) -> FloatArray:
    """The compute units use a tensor that no level inside keeps straight from (tensor, level);
    shape (1, 3, 1 + V or 1, 3).
    """
    t, parent = where
    out = np.zeros((1, 3, 1 + machine.ports if ports else 1, 3))
    port_of = int(machine.home[t]) if parent == 0 else parent
    instances, above, between = 1.0, 1.0, float(around.share0[t])
    if parent == 1:
        instances, above, between = around.used, between, 1.0
    whole = costs.whole[t]
    accesses = around.total / around.share2[t] / between
    if t == machine.output:
        fresh = float(costs.words[t, whole]) * above
        reads, writes = (-fresh, accesses, 0.0), (0.0, accesses, 0.0)
        _accumulate(costs, machine, (parent, instances), reads, writes, out)
        return out
    port = _port(machine, port_of, costs.leaf_bits[t, parent, 0, whole] / instances).read
    _stream(out[:, 0], (0.0, accesses, 0.0), costs.leaf[t, parent, 0, whole], port)
    return out


Words = tuple[FloatArray | float, FloatArray | float, FloatArray | float]


class _Port(NamedTuple):
    """Port numbers of a level and cycles per word of a stream of reads and of writes."""

    read: tuple[int, FloatArray | float]
    write: tuple[int, FloatArray | float]


def _port(machine: Machine, level: int, bits: FloatArray | float) -> _Port:
    return _Port(
        (int(machine.read_port[level]), bits * machine.read_cycles[level]),
        (int(machine.write_port[level]), bits * machine.write_cycles[level]),
    )


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
    port = _port(machine, at, float(bits) / instances)
    for row, price in ((1, (gated_pj, gated_pj)), (2, (read_pj, write_pj))):
        _stream(out[:, row], reads, price[0], port.read)
        _stream(out[:, row], writes, price[1], port.write)


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
        if 0 <= port[0] < out.shape[1] - 1:
            out[:, 1 + port[0], k] += port[1] * count
