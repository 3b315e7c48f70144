"""Why no mapping is valid: the rule that excludes all of them, and by how much."""

from __future__ import annotations

import numpy as np

from evaluators.evaluation import CostTerms
from spaces.mappings.dataflow import MappingRules
from strategies.exact.case import Case
from strategies.exact.grid import IntArray


def describe_exclusion(
    case: Case, terms: CostTerms, minimum_tile: IntArray | None, rules: MappingRules | None
) -> str:
    """Which rule excludes every mapping, and by how much.

    Tiles of one element fit every fan-out and every outer tile, so without a dataflow only
    placement or the capacity of one level can exclude all mappings. Bandwidths exclude none.

    Args:
        case: The tables that were searched.
        terms: The cost structure.
        minimum_tile: Least rank extents of the innermost level's tiles, shape (R,).
        rules: A dataflow's constraints.
    """
    ones = np.zeros(len(case.sizes), dtype=np.int64)
    for level in range(1, case.levels):
        name, room = terms.level_names[level], float(case.machine.capacity[level])
        masks = np.flatnonzero(case.machine.masks[level])
        if room < 0:
            return f"capacity of {name}: what stays there takes {-room:.0f} bits too many"
        if not len(masks):
            broken = np.flatnonzero(terms.must_keep[:, level] & ~terms.may_keep[:, level])
            tensors = ", ".join(terms.tensor_names[t] for t in broken)
            return f"{name} must keep {tensors} but may not"
        over = _overflow(case, level, ones)
        if over:
            return f"capacity of {name}: the smallest tiles it must keep {over}"
    last = case.levels - 1
    if minimum_tile is not None:
        extents = np.minimum(minimum_tile, terms.rank_sizes)
        index = np.array(
            [
                int(np.searchsorted(case.grid.size[r, : case.grid.number[r]], extent))
                for r, extent in enumerate(extents)
            ]
        )
        over = _overflow(case, last, index)
        if over:
            return f"minimum_tile: the least tiles that {terms.level_names[last]} must keep {over}"
    if rules is not None and rules.minimum_utilisation > 0.0:
        for level in range(1, case.levels):
            needs = [_overflow(case, level, place) for place in case.fans[level].place]
            if all(needs):
                return (
                    f"minimum_utilisation {rules.minimum_utilisation:g}: the tiles of "
                    f"{terms.level_names[level]} that fill the lanes {needs[-1]}"
                )
    return "the constraints exclude each other: no joint tiling satisfies all of them"


def _overflow(case: Case, level: int, index: IntArray) -> str:
    """What the least set of tensors takes that a level must keep at these divisor indices, and by
    how much that is too much; empty where it fits.
    """
    own = case.grid.sub @ index
    rows = np.arange(case.tensors)
    unit = case.costs.elements[rows, own] * case.costs.own_bits[rows, level, own]
    masks = np.flatnonzero(case.machine.masks[level])
    need = float(min((mask >> rows & 1) @ unit for mask in masks))
    room = float(case.machine.capacity[level])
    if need <= room * (1.0 + 1e-9):
        return ""
    return f"take {need:.0f} bits, it has {room:.0f} ({need / room - 1:.0%} over)"
