"""Every mapping of a small operator, literally: the oracle of the exact search.

Each prime factor of a (padded) rank is a loop. All orders of the loops, all choices of temporal or
one of the fan-out axes for each, all positions (or bypass) of every tensor at every level and all
formats of the copies are listed; what is malformed is left out, everything else is priced by the
evaluator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.mappings.loop_nest import BYPASS, MappingBatch

Loops = list[tuple[int, int]]


def prime_loops(sizes: Sequence[int]) -> Loops:
    """(rank, prime) of every loop."""
    loops = []
    for rank, size in enumerate(sizes):
        prime = 2
        while size > 1:
            if size % prime == 0:
                loops.append((rank, prime))
                size //= prime
            else:
                prime += 1
    return loops


def own_sizes(accelerator: SparseAccelerator) -> list[list[int]]:
    """By rank its size alone: no padding."""
    return [[accelerator.operator.ranks[name]] for name in accelerator.operator.rank_names]


def placements(accelerator: SparseAccelerator, slots: int) -> NDArray[np.int8]:
    """Every combination of positions, (n, T, L): no tensor's tiles grow inwards, and no tile of a
    level stands below one of the next level.
    """
    terms = accelerator.cost_terms()
    tensors, levels = terms.may_keep.shape
    options = []
    for t, level in product(range(tensors), range(1, levels)):
        kept = list(range(slots + 1)) if terms.may_keep[t, level] else []
        options.append(kept + ([] if terms.must_keep[t, level] else [BYPASS]))
    grid = np.array(np.meshgrid(*options, indexing="ij")).reshape(len(options), -1).T
    keep = np.zeros((len(grid), tensors, levels), dtype=np.int8)
    keep[:, :, 1:] = grid.reshape(-1, tensors, levels - 1)
    legal = np.ones(len(keep), dtype=bool)
    for outer in range(1, levels):
        deepest = keep[:, :, outer].max(axis=1)
        for inner in range(outer + 1, levels):
            below = np.where(keep[:, :, inner] == BYPASS, slots + 1, keep[:, :, inner]).min(axis=1)
            legal &= deepest <= below
    return keep[legal]


def size_of_enumeration(accelerator: SparseAccelerator, sizes: Sequence[Sequence[int]]) -> float:
    """About how many mappings `all_costs` would price."""
    terms = accelerator.cost_terms()
    slots = max(len(prime_loops(each)) for each in product(*sizes))
    spots = int(terms.may_keep[:, 1:].sum())
    formats = prod(len(ids) for row in terms.format_choices for ids in row)
    kinds = float(1 + len(accelerator.hardware.axes)) ** slots
    padded = prod(len(each) for each in sizes)
    return padded * factorial(slots) * kinds * formats * float(slots + 2) ** spots / 8.0


def every_mapping(
    accelerator: SparseAccelerator, sizes: Sequence[Sequence[int]]
) -> Iterator[MappingBatch]:
    """All mappings without formats, a batch per padding, loop order and kinds."""
    for padded in product(*sizes):
        loops = prime_loops(padded)
        keep = placements(accelerator, len(loops))
        for order in sorted(set(permutations(loops))):
            for kinds in product(range(1 + len(accelerator.hardware.axes)), repeat=len(loops)):
                kept = _legal(accelerator, order, kinds, keep)
                if len(kept):
                    yield _batch(order, kinds, kept)


def _legal(
    accelerator: SparseAccelerator,
    order: Sequence[tuple[int, int]],
    kinds: Sequence[int],
    keep: NDArray[np.int8],
) -> NDArray[np.int8]:
    """The placements that spatial loops leave: none when an axis is too short."""
    axes = accelerator.hardware.axes
    for number, (_, _, size) in enumerate(axes):
        if prod(p for (_, p), kind in zip(order, kinds, strict=True) if kind == number + 1) > size:
            return keep[:0]
    legal = np.ones(len(keep), dtype=bool)
    for slot, kind in enumerate(kinds):
        for level in range(keep.shape[2] if kind else 0):
            position = keep[:, :, level]
            wrong = (position >= 0) & ((position <= slot) != (level <= axes[kind - 1][0]))
            legal &= ~wrong.any(axis=1)
    return keep[legal]


def _batch(
    order: Sequence[tuple[int, int]], kinds: Sequence[int], keep: NDArray[np.int8]
) -> MappingBatch:
    shape = (len(keep), max(1, len(order)))
    rank, trip = np.zeros(shape, np.int8), np.ones(shape, np.int64)
    kind = np.zeros(shape, np.int8)
    for slot, (r, p) in enumerate(order):
        rank[:, slot], trip[:, slot], kind[:, slot] = r, p, kinds[slot]
    return MappingBatch(rank, trip, kind, keep, np.zeros(keep.shape, np.int16))


def with_formats(accelerator: SparseAccelerator, batch: MappingBatch) -> Iterator[MappingBatch]:
    """The batch under every choice of a format per (tensor, level) that is kept."""
    choices = accelerator.cost_terms().format_choices
    spots = [(t, level) for t, row in enumerate(choices) for level in range(len(row))]
    for ids in product(*(choices[t][level] for t, level in spots)):
        formats = np.zeros(batch.keep_at.shape[1:], np.int16)
        for (t, level), code in zip(spots, ids, strict=True):
            formats[t, level] = code
        kept = ((batch.keep_at != BYPASS) | (formats == 0)).all(axis=(1, 2))
        rows = batch.take(np.flatnonzero(kept))
        rows.format_id[:] = formats
        if len(rows):
            yield rows


def all_costs(
    accelerator: SparseAccelerator,
    sizes: Sequence[Sequence[int]] | None = None,
    even: bool = False,
    metric: str = "energy_pj",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy and latency of every valid mapping, shape (n,) each.

    Args:
        accelerator: The problem.
        sizes: By rank the sizes it may be padded to; None = its own.
        even: Only mappings in which every level keeps all tensors at one place.
        metric: What stands for the energy.
    """
    energy, cycles = [np.zeros(0)], [np.zeros(0)]
    for bare in every_mapping(accelerator, own_sizes(accelerator) if sizes is None else sizes):
        if even:
            together = (bare.keep_at == bare.keep_at[:, :1]) & (bare.keep_at != BYPASS)
            bare = bare.take(np.flatnonzero(together.all(axis=(1, 2))))
        for batch in with_formats(accelerator, bare):
            found = accelerator.evaluate(batch)
            good = np.ones(len(batch), dtype=bool)
            for violation in found.violations.values():
                good &= violation <= 1e-9
            energy.append(found.metrics[metric][good])
            cycles.append(found.metrics["latency_cycles"][good])
    return np.concatenate(energy), np.concatenate(cycles)
