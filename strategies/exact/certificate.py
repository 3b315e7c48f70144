"""The certificate of an exact search: a file that an independent checker can verify.

It states the space in words, its size, what it excludes, the bound, the value, and the mapping with
everything needed to price it again without the search. `benchmarks/check_certificate.py` shares no
code with the search.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import comb, factorial
from typing import Any

import numpy as np

from evaluators.evaluation import MODEL_VERSION, CostTerms
from spaces.mappings.loop_nest import MappingBatch
from strategies.exact.grid import divisors
from strategies.exact.search_result import SearchResult

COVERS = (
    "every tiling of each rank, at each of its listed sizes, into whole factors over the levels",
    "every unrolling of several ranks over each fan-out axis",
    "every loop order, by reuse: loops that change no count are not distinguished",
    "every format offered per tensor and level",
)

OTHER_PADDING = "padded sizes other than those listed"

EXCLUDES = (
    "a level's tile standing below a tile of the next level inwards",
    "fusion of operators and overlap of their execution",
)

RUNS_EXCLUDED = (
    "under implicit stationarity: tiles that stay over a run of loops outside other tensors' tiles "
    "of the next level outwards"
)

UNPADDED = "padded (imperfect) tile sizes"


def exclusions(stationarity: str, mapspace: str, padded: bool = False) -> list[str]:
    """What a search of this mapspace does not cover, in words."""
    words = [OTHER_PADDING if padded else UNPADDED, *EXCLUDES]
    if mapspace == "even":
        words.append("bypass, and different places for the tensors of a level")
    if stationarity == "implicit" and mapspace == "uneven":
        words.append(RUNS_EXCLUDED)
    return words


def mapspace_size(
    terms: CostTerms, mapspace: str, sizes: Sequence[Sequence[int]] | None = None
) -> int:
    """Mappings of the space before any argument: tilings x loop orders x placements x formats.

    A rank's prime factors go to the temporal block of a level or to an axis; each block has any
    order of the ranks; each tensor any of the R + 1 places in a block, or bypass.

    Args:
        terms: What is searched.
        mapspace: "uneven", "even" or "uneven_runs".
        sizes: By rank the sizes it may have, see `SearchResult.padding`; None = its own.
    """
    levels, ranks = len(terms.capacity_bits), len(terms.rank_sizes)
    places: int = 1
    formats: int = 1
    slots = levels + sum(len(axes) for axes in terms.fan_out)
    tilings = 1
    for own in sizes or [[int(size)] for size in terms.rank_sizes]:
        tilings *= sum(_splits(size, slots) for size in own)
    orders: int = factorial(ranks) ** levels
    for row in terms.format_choices:
        for ids in row:
            formats *= len(ids)
    if mapspace == "even":
        return int(tilings * orders * formats)
    for t, level in np.ndindex(len(terms.relevant), levels):
        if level > 0:
            kept = (ranks + 1) * int(terms.may_keep[t, level])
            places *= max(1, kept + int(not terms.must_keep[t, level]))
    return int(tilings * orders * places * formats)


def _splits(size: int, slots: int) -> int:
    """Ordered factorisations of a size into this many factors.

    >>> _splits(4, 2)
    3
    """
    total = 1
    for prime in (d for d in divisors(size) if d > 1 and len(divisors(d)) == 2):
        power = 0
        while size % prime ** (power + 1) == 0:
            power += 1
        total *= comb(power + slots - 1, slots - 1)
    return total


def certificate(
    terms: CostTerms, found: SearchResult, mapspace: str, problem: dict[str, Any]
) -> dict[str, Any]:
    """The statement of one search, JSON-serialisable.

    Args:
        terms: What was searched.
        found: The result.
        mapspace: "uneven", "even" or "uneven_runs".
        problem: Names the operator and the accelerator, so that a checker can build the evaluator.
    """
    best = found.mapping
    padded = any(len(own) > 1 for own in found.padding)
    place = int(found.values.argmin()) if best is not None else -1
    return {
        "model_version": MODEL_VERSION,
        "problem": problem,
        "objective": found.objective,
        "stationarity": terms.stationarity,
        "space": {
            "mapspace": mapspace,
            "covers": list(COVERS),
            "excludes": exclusions(terms.stationarity, mapspace, padded),
            "sizes": {
                name: list(own) for name, own in zip(terms.rank_names, found.padding, strict=True)
            },
            "mappings": str(mapspace_size(terms, mapspace, found.padding)),
        },
        "certified": found.certified,
        "lower_bound": found.lower_bound if best is not None else None,
        "value": float(found.values[place]) if best is not None else None,
        "gap": found.gap,
        "energy_pj": float(found.energy_pj[place]) if best is not None else None,
        "latency_cycles": float(found.latency_cycles[place]) if best is not None else None,
        "mapping": mapping_columns(best) if best is not None else None,
        "no_valid_mapping": found.reason,
        "visited": found.visited,
        "pruned": found.pruned,
        "seconds": found.seconds,
    }


def mapping_columns(mapping: MappingBatch) -> dict[str, Any]:
    """The arrays of a batch of one as lists."""
    return {
        "loop_rank": mapping.loop_rank[0].tolist(),
        "loop_trip": mapping.loop_trip[0].tolist(),
        "loop_kind": mapping.loop_kind[0].tolist(),
        "keep_at": mapping.keep_at[0].tolist(),
        "format_id": mapping.format_id[0].tolist(),
    }


def certificate_text(statement: dict[str, Any]) -> str:
    """What a certificate says, in a few lines."""
    space = statement["space"]
    proven = "is the optimum" if statement["certified"] else f"has a gap of {statement['gap']:.3g}"
    lines = [
        f"{statement['objective']} {statement['value']:.10g} {proven}: "
        f"no mapping of the space is below {statement['lower_bound']:.10g}",
        f"space: {space['mapspace']}, {float(space['mappings']):.4g} mappings; "
        f"{statement['visited']} joins of tilings looked at, {statement['pruned']} cut by a bound",
        *(f"  covers {words}" for words in space["covers"]),
        *(f"  excludes {words}" for words in space["excludes"]),
    ]
    return "\n".join(lines)


def certificate_json(statement: dict[str, Any]) -> str:
    """The text of a certificate's file."""
    return json.dumps(statement, indent=1) + "\n"
