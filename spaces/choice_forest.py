"""Dependent choices as trees: every in-range number is a valid choice, whatever came before.

Decisions that restrict one another (the unrolling of one axis limits the next; the trip counts of a
rank multiply to its size) are listed once, as the rows of a table. A row is a path from a root, one
branch per column. A parameter in 0..width-1 picks a branch of the node reached so far; a node with
fewer branches than the widest one folds the range evenly, so decode is total and never repairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ChoiceForest:
    """Trees over the rows of a table sorted by (root, columns).

    Attributes:
        widths: Branches of the widest node per depth, length D.
        first_row: First row of each root, shape (roots + 1,): root i owns rows
            first_row[i] .. first_row[i + 1] - 1.
        first_child: Per depth, the first child of each node; children are the nodes of the next
            depth, and the rows at the last.
        children: Per depth, the number of children of each node.
        ordinals: The canonical (smallest) parameter values of each row, shape (rows, D).
    """

    widths: tuple[int, ...]
    first_row: IntArray
    first_child: tuple[IntArray, ...]
    children: tuple[IntArray, ...]
    ordinals: IntArray

    def walk(self, root: IntArray, parameters: IntArray) -> IntArray:
        """Rows reached from these roots, shape (n,), by parameters of shape (n, D)."""
        node = root
        for depth, width in enumerate(self.widths):
            branches = self.children[depth][node]
            node = self.first_child[depth][node] + parameters[:, depth] * branches // width
        return node

    def counts(self) -> IntArray:
        """Rows of each root, shape (roots,)."""
        return np.diff(self.first_row)


def choice_forest(roots: IntArray, columns: IntArray, n_roots: int) -> ChoiceForest:
    """Build the forest of a table whose rows are sorted by (root, columns) and distinct.

    Args:
        roots: Root of each row, shape (rows,), in 0..n_roots-1; every root has a row.
        columns: Branch labels, shape (rows, D).
        n_roots: Number of roots.

    >>> rows = np.array([[0, 0], [0, 1], [0, 2], [1, 5]])  # the second node has one branch
    >>> forest = choice_forest(np.zeros(4, dtype=np.int64), rows, 1)
    >>> forest.widths
    (2, 3)
    >>> forest.walk(np.zeros(3, dtype=np.int64), np.array([[0, 2], [1, 0], [1, 2]])).tolist()
    [2, 3, 3]
    """
    rows, depth = columns.shape
    node = roots.astype(np.int64)
    count = n_roots
    first_child, children, branch_of_row = [], [], []
    for column in range(depth):
        last = column == depth - 1
        child, n_children = _number_children(node, columns[:, column], last)
        parent_of_child = np.zeros(n_children, dtype=np.int64)
        parent_of_child[child] = node
        branches = np.bincount(parent_of_child, minlength=count)
        start = np.concatenate([[0], np.cumsum(branches)[:-1]]).astype(np.int64)
        first_child.append(start)
        children.append(branches.astype(np.int64))
        branch_of_row.append((child - start[node], branches[node]))
        node, count = child, n_children
    widths = tuple(int(branches.max(initial=1)) for branches in children)
    ordinals = np.zeros((rows, depth), dtype=np.int64)
    for column, (branch, branches) in enumerate(branch_of_row):
        ordinals[:, column] = -(-branch * widths[column] // branches)
    first_row = np.searchsorted(roots, np.arange(n_roots + 1)).astype(np.int64)
    return ChoiceForest(widths, first_row, tuple(first_child), tuple(children), ordinals)


def _number_children(node: IntArray, labels: IntArray, last: bool) -> tuple[IntArray, int]:
    """Child number of each row in sorted order, and how many there are; rows differ at the last."""
    if last:
        return np.arange(len(node), dtype=np.int64), len(node)
    fresh = np.ones(len(node), dtype=bool)
    fresh[1:] = (node[1:] != node[:-1]) | (labels[1:] != labels[:-1])
    child = np.cumsum(fresh).astype(np.int64) - 1
    return child, int(child.max(initial=-1)) + 1


@dataclass(frozen=True)
class RowIndex:
    """Finds rows of a table by their values.

    Attributes:
        steps: Per column, the sorted values of (number of the prefix, column value) seen.
        row_of: Row of each full prefix number.
    """

    values: tuple[IntArray, ...]
    steps: tuple[IntArray, ...]
    row_of: IntArray

    def find(self, queries: IntArray) -> IntArray:
        """Row of each query of shape (n, columns); -1 where there is none."""
        prefix = np.zeros(len(queries), dtype=np.int64)
        known = np.ones(len(queries), dtype=bool)
        for column, (values, step) in enumerate(zip(self.values, self.steps, strict=True)):
            rank = _position(values, queries[:, column], known)
            prefix = _position(step, prefix * len(values) + rank, known)
        return np.where(known, self.row_of[prefix], -1)


def row_index(table: IntArray) -> RowIndex:
    """Index the rows of a table of shape (rows, columns); of equal rows the last counts.

    >>> row_index(np.array([[4, 1], [4, 2]])).find(np.array([[4, 2], [5, 1]])).tolist()
    [1, -1]
    """
    prefix = np.zeros(len(table), dtype=np.int64)
    values, steps = [], []
    for column in table.T:
        distinct, rank = np.unique(column, return_inverse=True)
        step, prefix = np.unique(prefix * len(distinct) + rank, return_inverse=True)
        values.append(distinct)
        steps.append(step)
    row_of = np.zeros(int(prefix.max(initial=0)) + 1, dtype=np.int64)
    row_of[prefix] = np.arange(len(table))
    return RowIndex(tuple(values), tuple(steps), row_of)


def distinct_rows(table: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct rows of a table, sorted, and the number of each row among them.

    The same as `np.unique(table, axis=0, return_inverse=True)`, column by column and faster.

    >>> distinct_rows(np.array([[2, 1], [1, 9], [2, 1]]))[1].tolist()
    [1, 0, 1]
    """
    number = np.zeros(len(table), dtype=np.int64)
    for column in table.T:
        values, rank = np.unique(column, return_inverse=True)
        _, number = np.unique(number * len(values) + rank, return_inverse=True)
    first = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    first[number] = np.arange(len(table))
    return table[first], number


def _position(ordered: IntArray, wanted: IntArray, known: NDArray[np.bool_]) -> IntArray:
    """Index of each wanted value; clears `known` where it is absent (and answers 0)."""
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    known &= ordered[at] == wanted
    return np.where(known, at, 0).astype(np.int64)
