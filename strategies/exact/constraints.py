"""A dataflow's constraints, as the exact search honours them.

Placement (kept, bypassed), the ranks that may be unrolled over an axis, the least utilisation of
the lanes, the least tile of the innermost level, and stationarity there: the tensor stands at the
head of the level, so that no other tensor's node encloses it. Loop orders and largest trips are
refused by name: in the search's normal form loop order has vanished.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import NO_LIMIT, MappingRules
from strategies.exact.fanouts import Fanout
from strategies.exact.grid import IntArray
from strategies.exact.leaves import Leaves, take_leaves

BoolArray = NDArray[np.bool_]


def check_covered(rules: MappingRules) -> None:
    """Raise ValueError for a constraint that the exact search cannot honour."""
    if (rules.minimum_tile[:-1] > 1).any():
        raise ValueError("dataflow.minimum_tile: the exact search takes the innermost level only")
    head: BoolArray = np.asarray(rules.at_head.any(axis=0))
    if head[:-1].any():
        raise ValueError("dataflow.stationary: the exact search takes the innermost level only")
    around = head | np.append(head[1:], [False])
    if (rules.stands_outside.any(axis=(1, 2)) & ~around).any():
        raise ValueError("dataflow.order: the exact search has no loop orders; use space=mapping")
    if (rules.maximum_trip < NO_LIMIT).any():
        raise ValueError("dataflow.maximum_trip: the exact search cannot; use space=mapping")


def constrained_terms(terms: CostTerms, rules: MappingRules) -> CostTerms:
    """The cost terms with the dataflow's placement rules."""
    return replace(terms, may_keep=rules.may_keep, must_keep=rules.must_keep)


def allowed_ranks(
    axes: tuple[tuple[int, ...], ...], rules: MappingRules
) -> tuple[tuple[tuple[bool, ...], ...], ...]:
    """Per level and axis, which ranks may be unrolled there, hashable."""
    rows, first = [], 0
    for sizes in axes:
        allowed = rules.spatial_allowed[first : first + len(sizes)]
        rows.append(tuple(tuple(bool(x) for x in row) for row in allowed))
        first += len(sizes)
    return tuple(rows)


def busy_fan(fan: Fanout, sizes: tuple[int, ...], utilisation: float) -> Fanout:
    """The unrollings that use this share of the lanes, or the most that any of them uses."""
    lanes = float(np.prod(sizes)) if sizes else 1.0
    least = min(utilisation * lanes, float(fan.used.max()))
    rows = np.flatnonzero(fan.used >= least - 1e-9)
    return Fanout(fan.place[rows], fan.used[rows], fan.shared[rows], fan.axis_trips[rows])


def stationary_leaves(leaves: Leaves, orders: IntArray, rules: MappingRules) -> Leaves:
    """The innermost placements with every stationary tensor at the head of its level."""
    tensors = np.flatnonzero(rules.at_head[:, -1])
    if not len(tensors) or not len(leaves.mask):
        return leaves
    heads = orders[leaves.row, 0]
    rows = np.flatnonzero((leaves.mask > 0) & np.isin(heads, tensors))
    return take_leaves(leaves, rows)
