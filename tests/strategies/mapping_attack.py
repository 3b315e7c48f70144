"""Descents through neighbouring mappings, to refute a claimed bound; no code of a search in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import Evaluation
from spaces.mappings.loop_nest import BYPASS, MappingBatch

SPARE_SLOTS = 4
"""Loops of one trip added to a mapping, so that a factor can move anywhere."""

SHAKES = 6
"""Random changes between two descents."""


def as_batch(columns: dict[str, Any]) -> MappingBatch:
    """A batch of one from the arrays of a certificate."""
    return MappingBatch(
        np.array([columns["loop_rank"]], np.int8),
        np.array([columns["loop_trip"]], np.int64),
        np.array([columns["loop_kind"]], np.int8),
        np.array([columns["keep_at"]], np.int8),
        np.array([columns["format_id"]], np.int16),
    )


@dataclass(frozen=True)
class Attack:
    """A search for a mapping that is cheaper than a bound allows.

    Attributes:
        evaluator: Prices mappings.
        value: Objective of every design of an evaluation, inf where infeasible.
        even: Whether every level must keep all tensors, at one place.
    """

    evaluator: SparseAccelerator
    value: Callable[[Evaluation], NDArray[np.float64]]
    even: bool

    def run(self, mapping: dict[str, Any], samples: int, seed: int = 0) -> tuple[float, int]:
        """The least value found and the mappings priced, from a mapping given as columns."""
        rng = np.random.default_rng(seed)
        start = self._roomy(as_batch(mapping), rng)
        best, priced, current = np.inf, 0, start
        cost = float(self.value(self.evaluator.evaluate(start))[0])
        while priced < samples:
            near = self._well_formed(self._neighbours(current, rng))
            values = self.value(self.evaluator.evaluate(near)) if len(near) else np.zeros(0)
            priced += max(1, len(values))
            least = int(values.argmin()) if len(values) else -1
            if least >= 0 and values[least] < cost:
                current, cost = near.take(np.array([least])), float(values[least])
                best = min(best, cost)
                continue
            current = start if rng.random() < 0.5 else current
            for _ in range(int(rng.integers(1, SHAKES))):
                near = self._well_formed(self._neighbours(current, rng))
                if len(near):
                    current = near.take(rng.integers(len(near), size=1))
            cost = float(self.value(self.evaluator.evaluate(current))[0])
            best = min(best, cost)
        return best, priced

    def _roomy(self, batch: MappingBatch, rng: np.random.Generator) -> MappingBatch:
        """The same mapping with loops of one trip appended at its inner end."""
        ranks = rng.integers(len(self.evaluator.operator.ranks), size=(1, SPARE_SLOTS))
        ones = np.ones((1, SPARE_SLOTS), np.int64)
        return MappingBatch(
            np.concatenate([batch.loop_rank, ranks.astype(np.int8)], axis=1),
            np.concatenate([batch.loop_trip, ones], axis=1),
            np.concatenate([batch.loop_kind, 0 * ranks.astype(np.int8)], axis=1),
            batch.keep_at,
            batch.format_id,
        )

    def _neighbours(self, batch: MappingBatch, rng: np.random.Generator) -> MappingBatch:
        """Swapped loops, moved factors, changed kinds, moved places, other formats: one change
        each, drawn at random, 256 of them.
        """
        n, slots = 256, batch.loop_rank.shape[1]
        near = batch.take(np.zeros(n, dtype=np.int64))
        _, tensors, levels = near.keep_at.shape
        kind, a, b = rng.integers(5, size=n), *rng.integers(slots, size=(2, n))
        for i in range(n):
            if kind[i] == 0:
                for column in (near.loop_rank, near.loop_trip, near.loop_kind):
                    column[i, [a[i], b[i]]] = column[i, [b[i], a[i]]]
            elif kind[i] == 1:
                self._move_factor(near, i, (int(a[i]), int(b[i])), rng)
            elif kind[i] == 2:
                near.loop_kind[i, a[i]] = rng.integers(1 + len(self.evaluator.hardware.axes))
            else:
                t, level = rng.integers(tensors), rng.integers(levels)
                if kind[i] == 3 and level > 0:
                    rows = slice(None) if self.even else t
                    least = 0 if self.even else BYPASS
                    near.keep_at[i, rows, level] = rng.integers(least, slots + 1)
                else:
                    name = self.evaluator.operator.tensors[t].name
                    offered = len(self.evaluator.formats_of(name))
                    near.format_id[i, t, level] = rng.integers(offered)
        return near

    @staticmethod
    def _move_factor(
        near: MappingBatch, i: int, slots: tuple[int, int], rng: np.random.Generator
    ) -> None:
        """Move a factor of one loop to another of its rank, or to an empty one."""
        a, b = slots
        trip = int(near.loop_trip[i, a])
        factors = [d for d in range(2, min(trip, 64) + 1) if trip % d == 0]
        if not factors or a == b:
            return
        if near.loop_trip[i, b] == 1:
            near.loop_rank[i, b] = near.loop_rank[i, a]
        if near.loop_rank[i, a] == near.loop_rank[i, b]:
            factor = int(rng.choice(factors))
            near.loop_trip[i, a] //= factor
            near.loop_trip[i, b] *= factor

    def _well_formed(self, batch: MappingBatch) -> MappingBatch:
        """The mappings that the evaluator accepts and in which no level's tile stands below one of
        the next level inwards.
        """
        keep = batch.keep_at.astype(np.int64)
        good = np.ones(len(batch), dtype=bool)
        outer = np.zeros(len(batch), dtype=np.int64)
        for level in range(1, keep.shape[2]):
            place = keep[:, :, level]
            kept = place != BYPASS
            good &= (~kept | (place >= outer[:, None])).all(axis=1)
            outer = np.maximum(outer, place.max(axis=1))
        axis_level = np.array([-1, *(level for level, _, _ in self.evaluator.hardware.axes)])
        for slot in range(batch.loop_trip.shape[1]):
            spatial = (batch.loop_kind[:, slot] > 0) & (batch.loop_trip[:, slot] > 1)
            above = axis_level[batch.loop_kind[:, slot]]
            for level in range(keep.shape[2]):
                place = keep[:, :, level]
                wrong = (place != BYPASS) & ((place <= slot) != (level <= above)[:, None])
                good &= ~(spatial & wrong.any(axis=1))
        return batch.take(np.flatnonzero(good))
