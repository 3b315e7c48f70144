"""How a study ended, in words."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

FAILURES = 3
"""Reasons of failed trials that are told, the commonest ones."""

ENDINGS = {
    "trials": "the budget of trials is spent",
    "seconds": "the budget of seconds is spent",
    "gap": "the gap asked for is proven",
    "finished": "the strategy has nothing more to propose",
    "interrupted": "interrupted",
}
"""What ended a study, in words."""


def ending(summary: Mapping[str, Any]) -> str:
    """How many trials a study has, of how many designs, why some failed, and what ended it.

    Says so when the strategy had no say.

    >>> print(ending({"trials": 6, "feasible": 5, "failed": 1, "failures": {"no banks": 1},
    ...               "given": 6, "space_size": 1536, "ended_by": "interrupted",
    ...               "search_seconds": 1.23}))
    6 trials (5 feasible, 1 failed) in 1.2 s, in a space of 1,536 designs; interrupted
    1 failed: no banks
    note: all 6 were given (baselines, warm start), the strategy proposed none: raise the budget
    """
    states = [s for s in ("feasible", "infeasible", "failed") if summary.get(s)]
    counts = ", ".join(f"{summary[state]} {state}" for state in states) or "none"
    line = f"{summary['trials']} trials ({counts}) in {summary['search_seconds']:.1f} s, "
    line += f"in a {size_text(summary['space_size'])}; "
    line += ENDINGS.get(summary["ended_by"], str(summary["ended_by"]))
    if summary.get("feasible"):  # else failures are what the study shows
        for reason, count in islice(summary["failures"].items(), FAILURES):
            line += f"\n{count} failed: {reason}"
    if 0 < summary["trials"] == summary["given"]:
        line += (
            f"\nnote: all {summary['given']} were given (baselines, warm start), "
            "the strategy proposed none: raise the budget"
        )
    return line


def size_text(size: int | None) -> str:
    """A space by its number of distinct designs.

    >>> size_text(None), size_text(12960), size_text(3 * 10**400)
    ('continuous space', 'space of 12,960 designs', 'space of 3.0e+400 designs')
    """
    if size is None:
        return "continuous space"
    if size < 10**9:
        return f"space of {size:,} designs"
    exponent = len(str(size)) - 1
    return f"space of {size // 10 ** (exponent - 1) / 10:.1f}e+{exponent} designs"
