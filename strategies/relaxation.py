"""A differentiable relaxation of the tiling, in the style of DiMO-Sparse: a baseline.

Each rank's size is shared out over slots (the temporal block of every level, the fan-outs) by a
softmax, so that trips are positive reals that multiply to the size. The logarithm of energy,
latency or EDP over the even placement is smooth in them, with overfull levels and fan-outs as a
penalty that grows. Gradients are exact (complex-step forward differentiation of our own arrays),
steps are Adam's, from several starts. The best points are rounded to whole factors, given every
loop order, and repaired: prime factors move between slots while the true value improves.

DiMO-Sparse beyond its abstract was not available: relaxation, schedule and repair are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from strategies.exact.grid import divisors

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

Price = Callable[[MappingBatch], FloatArray]
"""Objective of n mappings, inf where invalid, shape (n,)."""

STEP = 1e-30
"""Of the complex differentiation; exact because nothing is subtracted."""

SHARPNESS = 20.0
"""Of the smooth maximum over compute and ports."""


@dataclass(frozen=True)
class Schedule:
    """How long to descend.

    Attributes:
        starts: Random starting points.
        steps: Gradient steps from each.
        rate: Of Adam, in units of the softmax's logits.
    """

    starts: int = 8
    steps: int = 150
    rate: float = 0.1


@dataclass(frozen=True)
class RelaxedResult:
    """The best mapping after rounding and repair.

    Attributes:
        mapping: Batch of one; None when nothing valid was found.
        value: Its objective.
        gradient_steps, evaluations: Work done.
        seconds: Wall time.
    """

    mapping: MappingBatch | None
    value: float
    gradient_steps: int
    evaluations: int
    seconds: float


def relaxed_cost(
    terms: CostTerms, logits: ComplexArray, objective: str, pressure: float
) -> ComplexArray:
    """Logarithm of the relaxed objective plus penalties, shape (n,).

    Args:
        terms: The cost structure; formats are taken as uncompressed.
        logits: Shape (n, R, slots); slots = levels temporal ones, then the fan-outs.
        objective: energy, latency or edp.
        pressure: Weight of overfull levels and fan-outs.
    """
    levels = len(terms.capacity_bits)
    weight = np.exp(logits - logits.real.max(axis=2, keepdims=True))
    share = weight / weight.sum(axis=2, keepdims=True)
    log_trip = share * np.log(terms.rank_sizes.astype(np.float64))[None, :, None]
    spatial = log_trip[:, :, levels:]
    inward = log_trip[:, :, :levels] + spatial
    tile = inward[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    total = float(np.log(terms.rank_sizes.astype(np.float64)).sum())
    energy, ports, penalty = _traffic(terms, tile, spatial, total)
    width = np.array([np.log(max(1.0, float(np.prod(axes)))) for axes in terms.fan_out])
    penalty = penalty + _overfull(spatial.sum(axis=1) - width).sum(axis=1)
    loads = np.stack([total - spatial.sum(axis=(1, 2)), *ports], axis=1)
    top = loads.real.max(axis=1, keepdims=True)
    latency = np.log(np.exp(SHARPNESS * (loads - top)).sum(axis=1)) / SHARPNESS + top[:, 0]
    value = {"energy": np.log(energy), "latency": latency}.get(objective, np.log(energy) + latency)
    return np.asarray(value + pressure * penalty)


def _overfull(excess: ComplexArray) -> ComplexArray:
    """Square of what is above zero (comparison on the real part)."""
    return np.asarray(np.where(excess.real > 0, excess, 0.0) ** 2)


def _traffic(
    terms: CostTerms, tile: ComplexArray, spatial: ComplexArray, total: float
) -> tuple[ComplexArray, list[ComplexArray], ComplexArray]:
    """Energy, logarithm of every port's cycles, and capacity penalty."""
    n, levels = tile.shape[0], tile.shape[2]
    energy = np.full(n, terms.leaf(_everything(terms), _nothing(terms)).compute_pj, complex)
    energy = energy * np.exp(total)
    bits = np.zeros((n, levels), complex)
    held = np.zeros((n, levels), complex)
    for t, relevant in enumerate(terms.relevant):
        word = float(terms.word_bits[t])
        for level in range(1, levels):
            reuse = tile[:, ~relevant, level].sum(axis=1)
            shared = spatial[:, ~relevant, level - 1].sum(axis=1)
            filled = word * np.exp(total - reuse)
            pulled = filled * np.exp(-shared)
            twice = 2.0 if t == terms.output else 1.0
            energy = energy + twice * filled * terms.write_pj_per_bit[level]
            energy = energy + twice * pulled * terms.read_pj_per_bit[level - 1]
            bits[:, level] += twice * filled
            bits[:, level - 1] += twice * pulled
            held[:, level] += word * np.exp(tile[:, relevant, level].sum(axis=1))
        accesses = word * np.exp(total - spatial[:, ~relevant, -1].sum(axis=1))
        energy = energy + accesses * terms.read_pj_per_bit[-1]
        bits[:, -1] += accesses
    limited = [level for level in range(levels) if np.isfinite(terms.read_bits_per_cycle[level])]
    used = np.concatenate([np.zeros((n, 1)), spatial.sum(axis=1).cumsum(axis=1)], axis=1)
    ports = [
        np.log(bits[:, level] / terms.read_bits_per_cycle[level]) - used[:, level]
        for level in limited
    ]
    finite = np.isfinite(terms.capacity_bits)
    penalty = _overfull(np.log(held[:, finite] / terms.capacity_bits[finite])).sum(axis=1)
    return energy, ports, penalty


def _everything(terms: CostTerms) -> NDArray[np.bool_]:
    return np.ones(terms.may_keep.shape, dtype=np.bool_)


def _nothing(terms: CostTerms) -> NDArray[np.bool_]:
    return np.zeros(len(terms.relevant), dtype=np.bool_)


def gradient(terms: CostTerms, logits: FloatArray, objective: str, pressure: float) -> FloatArray:
    """Exact derivative of the relaxed cost of one point, shape of `logits` (R, slots)."""
    n = logits.size
    bumped = np.repeat(logits[None].astype(complex), n, axis=0).reshape(n, n)
    bumped[np.arange(n), np.arange(n)] += STEP * 1j
    cost = relaxed_cost(terms, bumped.reshape(n, *logits.shape), objective, pressure)
    return np.asarray(cost.imag / STEP).reshape(logits.shape)


def descend(terms: CostTerms, start: FloatArray, objective: str, schedule: Schedule) -> FloatArray:
    """Adam from one start; the penalty's weight rises from 0.1 to 10."""
    x, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in range(1, schedule.steps + 1):
        pressure = 0.1 * 100.0 ** (step / schedule.steps)
        slope = gradient(terms, x, objective, pressure)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        mean, spread = first / (1 - 0.9**step), second / (1 - 0.999**step)
        x = x - schedule.rate * mean / (np.sqrt(spread) + 1e-8)
    return x


def rounded(sizes: IntArray, logits: FloatArray) -> IntArray:
    """Whole trips, shape (R, slots): primes, largest first, go where most is still missing."""
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    want = weight / weight.sum(axis=1, keepdims=True) * np.log(sizes)[:, None]
    trips = np.ones(logits.shape, dtype=np.int64)
    for rank, size in enumerate(sizes):
        for prime in prime_factors(int(size))[::-1]:
            slot = int((want[rank] - np.log(trips[rank])).argmax())
            trips[rank, slot] *= prime
    return trips


def prime_factors(size: int) -> list[int]:
    """In increasing order, with repeats.

    >>> prime_factors(12)
    [2, 2, 3]
    """
    out = []
    while size > 1:
        prime = divisors(size)[1]
        out.append(prime)
        size //= prime
    return out


def even_mappings(terms: CostTerms, trips: IntArray, order: tuple[int, ...]) -> MappingBatch:
    """Mappings of n trip tables (n, R, slots) with one loop order in every block."""
    n, ranks, _ = trips.shape
    levels = len(terms.capacity_bits)
    axes = [len(sizes) for sizes in terms.fan_out]
    rank: list[int] = []
    kind: list[int] = []
    columns: list[IntArray] = []
    keep = np.full((n, len(terms.relevant), levels), BYPASS, dtype=np.int8)
    for level in range(levels):
        may = terms.may_keep[:, level]
        keep[:, may, level] = len(rank)
        rank += order
        kind += [0] * ranks
        columns += [trips[:, r, level] for r in order]
        if axes[level]:
            for axis, part in enumerate(_spread(trips[:, :, levels + level], terms.fan_out[level])):
                rank += range(ranks)
                kind += [1 + sum(axes[:level]) + axis] * ranks
                columns += [part[:, r] for r in range(ranks)]
    return MappingBatch(
        np.tile(np.array(rank, np.int8), (n, 1)),
        np.stack(columns, axis=1),
        np.tile(np.array(kind, np.int8), (n, 1)),
        keep,
        np.zeros(keep.shape, np.int16),
    )


def _spread(trips: IntArray, axes: tuple[int, ...]) -> list[IntArray]:
    """Lay spatial trips (n, R) on the axes: primes, largest first, on the emptiest axis."""
    parts = [np.ones_like(trips) for _ in axes]
    for row, rank in np.ndindex(trips.shape):
        for prime in prime_factors(int(trips[row, rank]))[::-1]:
            room = [size / part[row].prod() for size, part in zip(axes, parts, strict=True)]
            parts[int(np.argmax(room))][row, rank] *= prime
    return parts


def neighbours(trips: IntArray) -> IntArray:
    """Every move of one prime factor of a rank from one slot to another, (n, R, slots)."""
    out = []
    ranks, slots = trips.shape
    for rank in range(ranks):
        for source in range(slots):
            for prime in set(prime_factors(int(trips[rank, source]))):
                for target in range(slots):
                    if target != source:
                        new = trips.copy()
                        new[rank, source] //= prime
                        new[rank, target] *= prime
                        out.append(new)
    return np.array(out, dtype=np.int64).reshape(-1, ranks, slots)


def relaxation_search(
    terms: CostTerms,
    price: Price,
    objective: str = "edp",
    seed: int = 0,
    schedule: Schedule | None = None,
) -> RelaxedResult:
    """Descend, round, repair; the best of all starts.

    Args:
        terms: Structure of the cost.
        price: The true objective of mappings, from the evaluator.
        objective: energy, latency or edp.
        seed: Of the starting points.
        schedule: How long to descend.
    """
    begin = perf_counter()
    schedule = schedule or Schedule()
    rng = np.random.default_rng(seed)
    levels, ranks = len(terms.capacity_bits), len(terms.rank_sizes)
    open_slots = np.array([True] * levels + [bool(axes) for axes in terms.fan_out])
    best, value, evaluations = None, np.inf, 0
    for _ in range(schedule.starts):
        start = rng.normal(size=(ranks, 2 * levels))
        start[:, ~open_slots] = -50.0
        trips = rounded(terms.rank_sizes, descend(terms, start, objective, schedule))
        found, cost, used = _repair(terms, price, trips, open_slots)
        evaluations += used
        if cost < value:
            best, value = found, cost
    steps = schedule.starts * schedule.steps
    return RelaxedResult(best, value, steps, evaluations, perf_counter() - begin)


def _repair(
    terms: CostTerms, price: Price, trips: IntArray, open_slots: NDArray[np.bool_]
) -> tuple[MappingBatch | None, float, int]:
    best, value, used = None, np.inf, 0
    while True:
        moves = neighbours(trips)
        moves = moves[(moves[:, :, ~open_slots] == 1).all(axis=(1, 2))]
        around = np.concatenate([trips[None], moves])
        improved = False
        for order in permutations(range(len(terms.rank_sizes))):
            batch = even_mappings(terms, around, order)
            costs = price(batch)
            used += len(costs)
            place = int(costs.argmin())
            if costs[place] < value * (1 - 1e-12):
                best, value = batch.take(np.array([place])), float(costs[place])
                trips, improved = around[place], True
        if not improved:
            return best, value, used
