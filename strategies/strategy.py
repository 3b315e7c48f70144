"""The strategy protocol: a strategy picks the next numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from evaluators.evaluation import Evaluation
from spaces.space import Columns


@runtime_checkable
class Strategy(Protocol):
    """Proposes points of a space and learns from their evaluations.

    The tuner owns the loop: it asks, decodes, evaluates, tells and writes down. A strategy is
    deterministic under its seed as long as the sequence of `ask` and `tell` calls is the same;
    that is how a resumed study restores it: the tuner asks again and tells what was recorded.
    """

    def ask(self, n: int) -> Columns:
        """Propose at most n points (fewer, even none, when the strategy has finished)."""
        ...

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Learn the outcome of points: the last ones it proposed, in order, or any given ones."""
        ...


@runtime_checkable
class CertifyingStrategy(Strategy, Protocol):
    """Optional capability: a proven bound on how far the best is from the optimum."""

    @property
    def gap(self) -> float:
        """(best - lower bound) / best; inf before anything is proven."""
        ...


@runtime_checkable
class StatingStrategy(Strategy, Protocol):
    """Optional capability: a certificate of what was proven, which others can check."""

    @property
    def statement(self) -> Mapping[str, Any]:
        """JSON-serialisable, see `strategies.exact.certificate`; empty = nothing is proven yet."""
        ...


@runtime_checkable
class TaggingStrategy(Strategy, Protocol):
    """Optional capability: says where its proposals come from, e.g. which stage made them."""

    def tags(self) -> Sequence[Mapping[str, str]]:
        """Tags of the points of the last `ask`, one mapping each; empty = none."""
        ...


class StageRecord(Protocol):
    """What one stage of a staged search did."""

    @property
    def name(self) -> str:
        """The stage."""
        ...

    @property
    def entered(self) -> int:
        """Candidates that came in."""
        ...

    @property
    def cut(self) -> int:
        """Of these, how many were dropped."""
        ...

    @property
    def bound(self) -> str:
        """What cut them."""
        ...


@runtime_checkable
class StagedStrategy(Strategy, Protocol):
    """Optional capability: what each stage of its search took in, cut and passed on."""

    @property
    def stages(self) -> Sequence[StageRecord]:
        """In order; empty when the strategy has none."""
        ...


@runtime_checkable
class SharedStrategy(Strategy, Protocol):
    """Optional capability: a memory outside this process, which a resumed study finds as it was."""

    def restore(self, columns: Columns, evaluation: Evaluation) -> None:
        """Learn recorded points that the memory lacks; points it has are left alone."""
        ...
