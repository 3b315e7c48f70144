"""The adaptive compression engine: which formats suit a tensor, ranked.

After SnipSnap (arXiv 2509.17072), whose formulas are not public: the penalty, the pruning and the
scores here are our own. A deeper pattern is kept only if it pays: a format of n levels that are not
None is ranked by

    score = energy * (1 + penalty)^(n - 1)

and penalty = 0 ranks by energy alone. `rank_formats` prices every format of a space;
`search_formats` builds formats from the innermost level outwards and drops parts that another part
of the same extents beats in everything that outer levels can see, which loses none of the k best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation
from spaces.formats.compression_format import Format
from spaces.formats.format_batch import NONE_CODE, UOP_CODE, FormatBatch, concatenate_formats
from spaces.formats.format_space import FormatSpace
from strategies.formats.format_pruning import undominated

FloatArray = NDArray[np.float64]

OBJECTIVE = "energy_pj"
"""The metric that formats are ranked by."""


class FormatEvaluator(Protocol):
    """What the engine needs to know of a tensor."""

    def evaluate(self, designs: FormatBatch) -> Evaluation:
        """Metrics of n formats, `energy_pj` among them."""
        ...

    def settled(self, designs: FormatBatch) -> FormatBatch:
        """The formats with the run bits chosen that were left open."""
        ...

    def growth_features(self, partial: FormatBatch) -> FloatArray:
        """Features of inner parts of formats, shape (n, q); the first is energy already certain.

        Of two parts of the same extents, one with features all at most the other's costs no more
        under any outer levels.
        """
        ...


@dataclass(frozen=True)
class RankedFormats:
    """The best formats of a tensor, best first.

    Attributes:
        formats: As a batch, run bits chosen.
        scores: Penalised energies, shape (n,).
        evaluation: Their metrics.
        considered: Formats, or parts of formats, that were priced.
    """

    formats: FormatBatch
    scores: FloatArray
    evaluation: Evaluation
    considered: int

    def __len__(self) -> int:
        return len(self.formats)

    @property
    def best(self) -> Format:
        """The winner."""
        return self.formats.format(0)

    def rows(self) -> list[dict[str, float | str]]:
        """One record per format: text, score, and every metric."""
        return [
            {
                "format": str(self.formats.format(index)),
                "score": float(self.scores[index]),
                **{name: float(v[index]) for name, v in self.evaluation.metrics.items()},
            }
            for index in range(len(self))
        ]


def penalised(evaluation: Evaluation, formats: FormatBatch, penalty: float) -> FloatArray:
    """Scores of formats: energy, dearer by `penalty` per level after the first; shape (n,)."""
    extra = np.maximum(formats.depth - 1, 0)
    return np.asarray(evaluation.metrics[OBJECTIVE] * (1.0 + penalty) ** extra, dtype=np.float64)


def open_runs(space: FormatSpace) -> FormatSpace:
    """The same space with run bits left to the evaluator: one format per pattern and allocation."""
    return replace(space, run_bits=(0,))


def rank_formats(
    space: FormatSpace, evaluator: FormatEvaluator, keep: int = 10, penalty: float = 0.0
) -> RankedFormats:
    """Price every format of a space and keep the best.

    Raises:
        ValueError: If `keep` is below 1 or the penalty negative.
    """
    _check(keep, penalty)
    best: RankedFormats | None = None
    for formats in space.batches():
        found = _ranked(formats, evaluator, keep, penalty)
        best = found if best is None else _merged(best, found, keep)
    assert best is not None
    return replace(best, formats=evaluator.settled(best.formats))


def _check(keep: int, penalty: float) -> None:
    if keep < 1:
        raise ValueError(f"format engine keep must be >= 1, got {keep}")
    if penalty < 0:
        raise ValueError(f"format engine penalty must be >= 0, got {penalty}")


def _ranked(
    formats: FormatBatch, evaluator: FormatEvaluator, keep: int, penalty: float
) -> RankedFormats:
    evaluation = evaluator.evaluate(formats)
    scores = penalised(evaluation, formats, penalty)
    if len(scores) > keep:
        order = np.argpartition(scores, keep - 1)[:keep]
        order = order[np.argsort(scores[order], kind="stable")]
    else:
        order = np.argsort(scores, kind="stable")
    return RankedFormats(
        formats.take(order), scores[order], evaluation.take(order), considered=len(formats)
    )


def _merged(left: RankedFormats, right: RankedFormats, keep: int) -> RankedFormats:
    scores = np.concatenate([left.scores, right.scores])
    order = np.argsort(scores, kind="stable")[:keep]
    metrics = {
        name: np.concatenate([values, right.evaluation.metrics[name]])
        for name, values in left.evaluation.metrics.items()
    }
    formats = concatenate_formats([left.formats, right.formats])
    return RankedFormats(
        formats.take(order),
        scores[order],
        Evaluation(metrics).take(order),
        left.considered + right.considered,
    )


def search_formats(
    space: FormatSpace, evaluator: FormatEvaluator, keep: int = 1, penalty: float = 0.0
) -> RankedFormats:
    """The `keep` best formats of a space, without pricing all of it.

    Run bits are chosen by the evaluator. The scores are those of `rank_formats` on the space with
    open runs; among formats of equal score any may be returned.

    Raises:
        ValueError: If `keep` is below 1 or the penalty negative.
    """
    _check(keep, penalty)
    whole = open_runs(space)
    best = _ranked(next(iter(whole.batches())), evaluator, keep, penalty)
    parts = _innermost(whole)
    for levels in range(2, space.max_levels + 1):
        grown = _extended(parts, whole, complete=True)
        if len(grown):
            best = _merged(best, _ranked(grown, evaluator, keep, penalty), keep)
        if levels == space.max_levels or not len(parts):
            break
        grown = _extended(parts, whole, complete=False)
        best = replace(best, considered=best.considered + len(grown))
        parts = _pruned(grown, evaluator, best, keep, penalty)
    return replace(best, formats=evaluator.settled(best.formats))


def _innermost(space: FormatSpace) -> FormatBatch:
    """Every innermost level that does not cover the whole tensor."""
    inner = space.allocations(2)[:, 1] if space.max_levels > 1 else np.ones((0, 1), np.int32)
    codes = space.strings(1)[:, 0]
    primitive = np.tile(codes, len(inner))[:, None]
    sizes = np.repeat(inner, len(codes), axis=0)[:, None, :]
    return FormatBatch(tuple(space.sizes), primitive, np.zeros_like(primitive), sizes)


def _extended(parts: FormatBatch, space: FormatSpace, complete: bool) -> FormatBatch:
    """Every part with one more level outside that completes it, or that does not."""
    full = np.array(list(space.sizes.values()))
    left = full // parts.sizes.prod(axis=1)
    if complete:
        row, outer = np.arange(len(parts)), left
    else:
        inner = space.allocations(2)[:, 1]
        fits = (left[:, None] % inner[None] == 0).all(axis=2)
        fits &= (left[:, None] != inner[None]).any(axis=2)
        row, which = np.nonzero(fits)
        outer = inner[which]
    codes = np.unique(space.strings(2))
    top = np.tile(codes, len(row))
    row, outer = np.repeat(row, len(codes)), np.repeat(outer, len(codes), axis=0)
    below = parts.primitive[row]
    allowed = ~((top == NONE_CODE) & (below[:, 0] == NONE_CODE))
    allowed &= ~((top == UOP_CODE) & ~_stores_positions(below))
    row, top, outer = row[allowed], top[allowed], outer[allowed]
    primitive = np.column_stack([top, parts.primitive[row]]).astype(np.int8)
    sizes = np.concatenate([outer[:, None], parts.sizes[row]], axis=1).astype(np.int32)
    return FormatBatch(parts.dimensions, primitive, np.zeros_like(primitive), sizes)


def _stores_positions(primitive: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether a part has a compressed level, shape (n,)."""
    return np.asarray(((primitive > NONE_CODE) & (primitive != UOP_CODE)).any(axis=1))


def _pruned(
    parts: FormatBatch,
    evaluator: FormatEvaluator,
    best: RankedFormats,
    keep: int,
    penalty: float,
) -> FormatBatch:
    features = evaluator.growth_features(parts)
    depth = parts.depth
    floor = features[:, 0] * (1.0 + penalty) ** np.maximum(depth - 1, 0)
    limit = best.scores[-1] if len(best) >= keep else np.inf
    hopeful = np.flatnonzero(floor <= limit)
    columns = [features[hopeful], depth[hopeful, None]] if penalty > 0 else [features[hopeful]]
    kept = undominated(np.concatenate(columns, axis=1), _groups(parts.take(hopeful)), keep)
    return parts.take(hopeful[kept])


def _groups(parts: FormatBatch) -> NDArray[np.int64]:
    """Parts that the same outer levels may complete: equal extents and kind of top level."""
    extents = parts.sizes.prod(axis=1)
    kind = 2 * (parts.primitive[:, 0] == NONE_CODE) + _stores_positions(parts.primitive)
    rows = np.column_stack([extents, kind])
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def pareto_formats(
    space: FormatSpace, evaluator: FormatEvaluator, metrics: Sequence[str]
) -> RankedFormats:
    """The formats that no other beats in all of these metrics (all minimised), by energy.

    Of formats with equal metrics one is kept.

    Raises:
        ValueError: If the evaluator has no such metric.
    """
    found: list[tuple[FormatBatch, Evaluation]] = []
    considered = 0
    for formats in space.batches():
        evaluation = evaluator.evaluate(formats)
        rows = _front(evaluation, metrics)
        found.append((formats.take(rows), evaluation.take(rows)))
        considered += len(formats)
    merged = concatenate_formats([formats for formats, _ in found])
    evaluation = evaluator.evaluate(merged)
    rows = _front(evaluation, metrics)
    order = rows[np.argsort(evaluation.metrics[OBJECTIVE][rows], kind="stable")]
    best = evaluation.take(order)
    formats = evaluator.settled(merged.take(order))
    return RankedFormats(formats, best.metrics[OBJECTIVE], best, considered)


def _front(evaluation: Evaluation, metrics: Sequence[str]) -> NDArray[np.intp]:
    for name in metrics:
        if name not in evaluation.metrics:
            known = ", ".join(evaluation.metrics)
            raise ValueError(f"format engine: no metric {name!r}, there are {known}")
    values = np.column_stack([evaluation.metrics[name] for name in metrics])
    return undominated(values, np.zeros(len(values), dtype=np.int64), 1)
