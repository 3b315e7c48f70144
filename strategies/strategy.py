"""The strategy protocol: a strategy picks the next numbers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from evaluators.evaluation import Evaluation
from spaces.space import Columns


@runtime_checkable
class Strategy(Protocol):
    """Proposes points of a space and learns from their evaluations.

    The tuner owns the loop: it asks, decodes, evaluates, tells and writes down. A strategy is
    deterministic under its seed as long as the sequence of `ask` and `tell` calls is the same.
    """

    def ask(self, n: int) -> Columns:
        """Propose at most n points (fewer, even none, when the strategy has finished)."""
        ...

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Learn the outcome of points, proposed by this strategy or (on resume) by its past."""
        ...
