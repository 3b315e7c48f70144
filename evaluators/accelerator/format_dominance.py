"""Formats that no best mapping needs: another one is at least as good for every tile there can be.

Copies of a tensor are sequences of tiles, and the price of moving or holding a copy grows with the
metadata and payload bits of one tile. If format i takes no more energy and no more bits than format
j for every tile, a mapping in format j stays valid and gets no dearer when i takes j's place, so j
may be left out of a search and its optimum stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import CostTerms
from spaces.compiled import compiled

BoolArray = NDArray[np.bool_]

SAME = 1e-12
"""Relative difference below which two prices are one."""


def dominance(part: SparseAccelerator) -> tuple[BoolArray, ...]:
    """Per tensor, shape (formats, formats): True where format i is as good as j for every tile.

    Tiles are all whose extents divide the ranks, as exact searches use. Uncompressed storage
    (format 0) neither dominates nor is dominated: zeros are skipped in compressed copies only.
    """
    terms = part.cost_terms()
    reads_all = part.optimization.compute == "none" and not part.optimization.rules
    return tuple(
        _dominance(terms, t, len(part.formats_of(tensor.name)), reads_all and t != terms.output)
        for t, tensor in enumerate(part.operator.tensors)
    )


def undominated(offered: Sequence[int], dominates: BoolArray) -> tuple[int, ...]:
    """The offered formats without those that another one dominates; of equals the first.

    >>> table = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], dtype=np.bool_)
    >>> undominated((0, 1, 2), table)
    (0, 1)
    """
    return tuple(
        j
        for j in offered
        if not any(dominates[i, j] and (i < j or not dominates[j, i]) for i in offered if i != j)
    )


def _dominance(terms: CostTerms, tensor: int, formats: int, reads_all: bool) -> BoolArray:
    table = np.zeros((formats, formats), dtype=np.bool_)
    if formats <= 2:
        return table
    ids = np.arange(1, formats)
    bits = terms.tile_bits(tensor, 0, ids, _tiles(terms, tensor))
    prices = bits @ _bit_prices(terms, reads_all).T
    cheap = terms.decode_pj[tensor, ids]
    _compare(prices.reshape(len(ids), -1), cheap, table[1:, 1:])
    return table


@compiled
def _compare(prices, cheap, out):  # type: ignore[no-untyped-def]
    """Write where format i has no price above that of j, from prices (f, k) and decoding (f,)."""
    for i in range(prices.shape[0]):
        for j in range(prices.shape[0]):
            out[i, j] = cheap[i] <= cheap[j]
            for k in range(prices.shape[1]):
                if prices[i, k] > prices[j, k] * (1.0 + SAME):
                    out[i, j] = False
                    break


def _bit_prices(terms: CostTerms, reads_all: bool) -> NDArray[np.float64]:
    """What a bit of metadata and of payload adds, one row per cost that it enters, shape (k, 2).

    Where payload reads may be gated or skipped, or a finished output is narrower than a partial
    sum, metadata and payload must each be no more.
    """
    reads = np.column_stack([terms.metadata_read_pj_per_bit, terms.read_pj_per_bit])
    writes = np.column_stack([terms.metadata_write_pj_per_bit, terms.write_pj_per_bit])
    apart = np.empty((0, 2)) if reads_all else np.eye(2)
    return np.concatenate([np.ones((1, 2)), reads, writes, apart])


def _tiles(terms: CostTerms, tensor: int) -> NDArray[np.int64]:
    """Rank extents of every tile of a tensor, irrelevant ranks at 1, shape (n, ranks)."""
    choices = []
    for size, relevant in zip(terms.rank_sizes, terms.relevant[tensor], strict=True):
        numbers = np.arange(1, size + 1)
        choices.append(numbers[size % numbers == 0] if relevant else numbers[:1])
    return np.array(list(product(*choices)), dtype=np.int64)
