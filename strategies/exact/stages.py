"""What an exact search says of itself: its stages, and why nothing fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluators.evaluation import CostTerms
from strategies.exact.case import Case
from strategies.exact.grid import IntArray


@dataclass(frozen=True)
class Stage:
    """What one stage of a search did.

    Attributes:
        name: The stage.
        entered: Candidates that came in.
        cut: Of these, how many were dropped without being completed.
        bound: What cut them.
    """

    name: str
    entered: int
    cut: int
    bound: str


def stages_of(case: Case, terms: CostTerms, tally: IntArray) -> tuple[Stage, ...]:
    """The stages of a finished search; `tally` as in `Archive`."""
    orders = int(np.diff(case.starts) @ case.machine.masks[1:].sum(axis=0))
    listed = len(case.orders) * (case.levels - 1)
    offered = sum(len(ids) for row in terms.format_choices for ids in row)
    tiles = sum(len(ids) > 0 for row in terms.format_choices for ids in row)
    return (
        Stage("loop orders", listed, listed - orders, "placement rules"),
        Stage("tilings", case.counts["fit"], case.counts["beaten"], "capacity and dominance"),
        Stage("formats", offered, offered - tiles, "best format of each tile"),
        Stage("joint", int(tally[1]), int(tally[2]), "compulsory traffic"),
        Stage(
            "refinement",
            case.counts["walked"],
            case.counts["stopped"],
            "front of the outer placements",
        ),
    )


def add_stages(one: tuple[Stage, ...], other: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Stages of two sweeps as those of one search."""
    if not one:
        return other
    return tuple(
        Stage(a.name, a.entered + b.entered, a.cut + b.cut, a.bound)
        for a, b in zip(one, other, strict=True)
    )
