"""Every mapping of a small operator, literally: the oracle of the exact search.

Each prime factor of a rank is a loop. All orders of the loops, all choices of temporal or one of
the fan-out axes for each, and all positions (or bypass) of every tensor at every level are listed;
what is malformed is left out, everything else is priced by the evaluator.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import Evaluation
from spaces.mappings.loop_nest import BYPASS, MappingBatch


def prime_loops(sizes: list[int]) -> list[tuple[int, int]]:
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


def every_mapping(accelerator: SparseAccelerator) -> Iterator[MappingBatch]:
    """All mappings without formats, a batch per loop order and kinds."""
    sizes = [accelerator.operator.ranks[name] for name in accelerator.operator.rank_names]
    loops = prime_loops(sizes)
    axes = accelerator.hardware.axes
    keep = placements(accelerator, len(loops))
    levels = keep.shape[2]
    for order in sorted(set(permutations(loops))):
        for kinds in product(range(1 + len(axes)), repeat=len(loops)):
            if any(
                np.prod([p for (_, p), k in zip(order, kinds, strict=True) if k == a + 1]) > size
                for a, (_, _, size) in enumerate(axes)
            ):
                continue
            legal = np.ones(len(keep), dtype=bool)
            for slot, kind in enumerate(kinds):
                if kind == 0:
                    continue
                above = axes[kind - 1][0]
                for level in range(levels):
                    position = keep[:, :, level]
                    wrong = (position >= 0) & ((position <= slot) != (level <= above))
                    legal &= ~wrong.any(axis=1)
            kept = keep[legal]
            if len(kept):
                yield _batch(order, kinds, kept)


def _batch(
    order: tuple[tuple[int, int], ...], kinds: tuple[int, ...], keep: NDArray[np.int8]
) -> MappingBatch:
    shape = (len(keep), max(1, len(order)))
    rank, trip = np.zeros(shape, np.int8), np.ones(shape, np.int64)
    kind = np.zeros(shape, np.int8)
    for slot, (r, p) in enumerate(order):
        rank[:, slot], trip[:, slot], kind[:, slot] = r, p, kinds[slot]
    return MappingBatch(rank, trip, kind, keep, np.zeros(keep.shape, np.int16))


def with_formats(accelerator: SparseAccelerator, batch: MappingBatch) -> Iterator[MappingBatch]:
    """The batch under every choice of a format per (tensor, level)."""
    choices = accelerator.cost_terms().format_choices
    spots = [(t, level) for t, row in enumerate(choices) for level in range(len(row))]
    for ids in product(*(choices[t][level] for t, level in spots)):
        formats = np.zeros(batch.keep_at.shape, np.int16)
        for (t, level), code in zip(spots, ids, strict=True):
            formats[:, t, level] = code
        yield MappingBatch(
            batch.loop_rank, batch.loop_trip, batch.loop_kind, batch.keep_at, formats
        )


def all_costs(accelerator: SparseAccelerator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy and latency of every valid mapping, shape (n,) each."""
    energy, cycles = [], []
    for bare in every_mapping(accelerator):
        for batch in with_formats(accelerator, bare):
            found: Evaluation = accelerator.evaluate(batch)
            good = np.ones(len(batch), dtype=bool)
            for violation in found.violations.values():
                good &= violation <= 1e-9
            energy.append(found.metrics["energy_pj"][good])
            cycles.append(found.metrics["latency_cycles"][good])
    if not energy:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(energy), np.concatenate(cycles)
