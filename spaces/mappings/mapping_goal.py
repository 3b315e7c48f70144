"""What the mappings of a model minimise together, in the words that users write.

`energy`, `memory_energy`, `latency` and `edp` are of the whole model: the energies of its operators
add, their latencies add, and `edp` is the product of the two sums. A budget stands behind the word
`within`: `energy within 160ms`, `memory_energy within 160ms`, `latency within 0.25J`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isfinite

from spaces.quantities import energy_pj, time_s
from spaces.validation import nearest

ENERGY, MEMORY_ENERGY, LATENCY, EDP = "energy", "memory_energy", "latency", "edp"
MINIMISED = (ENERGY, MEMORY_ENERGY, LATENCY, EDP)
"""Sums over the operators of a model, and the product of the two sums."""


@dataclass(frozen=True)
class MappingGoal:
    """What the mappings of a model minimise, and what they may spend.

    Attributes:
        minimise: One of `MINIMISED`.
        limit: Budget of the other sum: latency [s] of a goal about energy, energy [pJ] of the goal
            latency; None = no limit.
    """

    minimise: str
    limit: float | None = None


@cache
def parse_goal(text: str) -> MappingGoal:
    """Read a goal.

    Raises:
        ValueError: For another word, a budget of `edp`, or a budget that is no positive amount.

    >>> parse_goal("energy within 160ms")
    MappingGoal(minimise='energy', limit=0.16)
    >>> parse_goal("latency within 0.25J").limit
    250000000000.0
    """
    words = text.split(maxsplit=2)
    minimise = words[0] if words else ""
    if minimise not in MINIMISED:
        hint = nearest(minimise, MINIMISED)
        raise ValueError(f"mapping goal must begin with what it minimises, got {text!r}{hint}")
    if len(words) == 1:
        return MappingGoal(minimise)
    if len(words) != 3 or words[1] != "within" or minimise == EDP:
        raise ValueError(
            f"mapping goal must be one word or 'energy within 160ms', 'latency within 0.25J', "
            f"got {text!r}"
        )
    read = energy_pj if minimise == LATENCY else time_s
    limit = read(words[2], f"budget of the mapping goal {text!r}")
    if not limit > 0 or not isfinite(limit):
        raise ValueError(f"budget of the mapping goal {text!r} must be positive")
    return MappingGoal(minimise, limit)
