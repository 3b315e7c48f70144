"""Loop orders of one temporal block: permutations of its ranks, some of which are the same nest.

Loops with trip count 1 are no loops, so orders that differ only in where those stand are one
design. The tables here map any order to the canonical order of the loops that exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from spaces.choice_forest import IntArray

MAXIMUM_RANKS = 7
"""Ranks of a block at most: 7! = 5040 orders; a convolution has 7."""


@dataclass(frozen=True)
class BlockOrders:
    """The allowed orders of one block of R ranks, and their meaning under every mask.

    A mask has bit r set when rank r's loop exists (trip count > 1). Orders are numbered in
    lexicographic order, which is the order of their Lehmer digits.

    Attributes:
        orders: Allowed permutations, outermost first, shape (P, R).
        canonical: Smallest order that is the same nest, shape (2^R, P).
        settled: Existing loops in order, then the others ascending, shape (2^R, P, R).
        distinct: Per mask, the canonical orders, padded with 0, shape (2^R, P).
        count: Distinct orders per mask, shape (2^R,).
        number_of: Order number of a settled permutation, by mask and its lexicographic number
            among all permutations; -1 when not allowed; shape (2^R, R!).
    """

    orders: IntArray
    canonical: IntArray
    settled: NDArray[np.int8]
    distinct: IntArray
    count: IntArray
    number_of: IntArray


def block_orders(stands_outside: NDArray[np.bool_]) -> BlockOrders:
    """The orders that respect a precedence, as tables.

    Args:
        stands_outside: True at [a, b] where rank a must stand outside rank b, shape (R, R).

    Raises:
        ValueError: If there are too many ranks, or no order respects the precedence.

    >>> free = block_orders(np.zeros((2, 2), dtype=bool))
    >>> free.orders.tolist(), free.count.tolist()  # masks: none, rank 0, rank 1, both
    ([[0, 1], [1, 0]], [1, 1, 1, 2])
    """
    ranks = len(stands_outside)
    if ranks > MAXIMUM_RANKS:
        raise ValueError(f"space: an operator must have at most {MAXIMUM_RANKS} ranks, got {ranks}")
    every = np.array(list(permutations(range(ranks))), dtype=np.int64).reshape(-1, ranks)
    place = np.argsort(every, axis=1)
    inverted = stands_outside[None] & (place[:, :, None] > place[:, None, :])
    orders = every[~inverted.any(axis=(1, 2))]
    if not len(orders):
        raise ValueError("dataflow.order: the orders asked for contradict each other")
    settled = np.stack([_settle(orders, mask) for mask in range(2**ranks)])
    numbers = lexicographic_number(settled.reshape(-1, ranks)).reshape(settled.shape[:2])
    canonical = np.empty_like(numbers)
    distinct = np.zeros_like(numbers)
    count = np.zeros(len(numbers), dtype=np.int64)
    number_of = np.full((len(numbers), factorial(ranks)), -1, dtype=np.int64)
    for mask, row in enumerate(numbers):
        _, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        canonical[mask] = first[inverse]
        count[mask] = len(first)
        distinct[mask, : len(first)] = np.sort(first)
        number_of[mask, row[first]] = first
    return BlockOrders(orders, canonical, settled.astype(np.int8), distinct, count, number_of)


def lexicographic_number(orders: IntArray) -> IntArray:
    """Number of each permutation among all of its length, in lexicographic order.

    Args:
        orders: Permutations, shape (n, R).

    >>> lexicographic_number(np.array([[0, 1, 2], [2, 1, 0]])).tolist()
    [0, 5]
    """
    ranks = orders.shape[1]
    number = np.zeros(len(orders), dtype=np.int64)
    for position in range(ranks):
        smaller_later = orders[:, position + 1 :] < orders[:, [position]]
        number += smaller_later.sum(axis=1) * factorial(ranks - 1 - position)
    return number


def _settle(orders: IntArray, mask: int) -> IntArray:
    """The loops of a mask first, in their order; then the absent ones, ascending."""
    absent = (mask >> orders) & 1 == 0
    key = np.where(absent, orders.shape[1] + orders, np.arange(orders.shape[1]))
    return np.take_along_axis(orders, np.argsort(key, axis=1), axis=1)
