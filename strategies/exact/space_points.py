"""Points of a space for the mappings that an exact search found.

The exact search knows nests that a space may lack (a rank looped over above and below another
tensor's tile in one block). Those are replaced by the best of the close points that the space
offers; what the replacement costs is priced by the evaluator and handed on, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from evaluators.evaluation import Evaluator
from spaces.mappings.loop_nest import MappingBatch
from spaces.space import Columns, Space
from strategies.exact.grid import FloatArray
from strategies.exact.search_result import SearchResult, objective_values


@runtime_checkable
class ApproximatingSpace(Space, Protocol):
    """Optional capability of a space of mappings: points near mappings that it lacks."""

    def approximate(self, designs: MappingBatch) -> Columns:
        """At least one point near each mapping; good ones need not be equal in cost."""
        ...


@dataclass(frozen=True)
class SpacePoint:
    """A mapping that a search found, as a point of a space.

    Attributes:
        columns: The point, a batch of one.
        value: Its objective as the evaluator prices it; larger than the search's where the space
            lacks the mapping itself.
    """

    columns: Columns
    value: float


def space_points(found: SearchResult, space: Space, evaluator: Evaluator) -> list[SpacePoint]:
    """The mappings found that the space has, or comes close to, by increasing objective.

    A mapping that the space can neither encode nor approximate within the constraints is left out.
    """
    points = []
    for index, value in enumerate(found.values):
        mapping = found.mappings.take(np.array([index]))
        try:
            points.append(SpacePoint(space.encode(mapping), float(value)))
        except ValueError:
            near = _nearest(mapping, found.objective, space, evaluator)
            points += [] if near is None else [near]
    return sorted(points, key=lambda point: point.value)


def _nearest(
    mapping: MappingBatch, objective: str, space: Space, evaluator: Evaluator
) -> SpacePoint | None:
    """The feasible approximation with the least objective."""
    if not isinstance(space, ApproximatingSpace):
        return None
    columns = space.approximate(mapping)
    priced = evaluator.evaluate(space.decode(columns))
    energy, cycles = priced.metrics["energy_pj"], priced.metrics["latency_cycles"]
    values: FloatArray = np.where(
        priced.feasible, objective_values(objective, energy, cycles), np.inf
    )
    best = int(values.argmin())
    if not np.isfinite(values[best]):
        return None
    point = {name: column[best : best + 1] for name, column in columns.items()}
    return SpacePoint(point, float(values[best]))
