"""N:M selection methods as a study: method, target sparsity and calibration seed are the decisions.

An adapter between a selection (a search of its own, solved to proven optimality) and a measured
fidelity; what it measured is kept, so that it can be compared in pairs over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Protocol

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import DEFAULT_TOLERANCE, ImpossibleSelection, NMSelection
from strategies.nm.selection import SelectionTask, select

REFERENCE_METHOD = "uniform"
"""The method that gains are measured against."""

Key = tuple[str, float, int]
"""(method, target sparsity, calibration seed)."""


class FidelitySource(Protocol):
    """A model that can be described and measured under an assignment."""

    def statistics(self, seed: int) -> NMStatistics:
        """Statistics of the units that share an N:M."""
        ...

    def measure(self, assignment: Mapping[str, NMPattern], seed: int) -> Mapping[str, float]:
        """Fidelity metrics, `fidelity_loss` among them."""
        ...


@dataclass
class SelectedFidelity:
    """Prices columns `method`, `target_sparsity` and `calibration_seed`.

    A method may carry the suffix `_m<M>`, which offers it the patterns of one M only. Metrics: the
    measured fidelity, `sparsity` and `density` reached, `retained_saliency`, `certified` (1 =
    proven optimal) and `relaxed_tolerance`.

    Attributes:
        fidelity: The model.
        tolerance: Allowed deviation from the target sparsity.
        dense_ends: Number of first and of last units forced dense, inside the constraint.
    """

    fidelity: FidelitySource
    tolerance: float = DEFAULT_TOLERANCE
    dense_ends: int = 0
    _rows: dict[Key, dict[str, float]] = field(default_factory=dict, init=False)
    _selections: dict[Key, NMSelection] = field(default_factory=dict, init=False)

    def evaluate(self, designs: Columns) -> Evaluation:
        """Select, prune and measure; a target that cannot be met is a failure of that row."""
        rows: list[Mapping[str, float]] = []
        failures: dict[int, str] = {}
        for index, key in enumerate(_keys(designs)):
            try:
                rows.append(self._row(key))
            except ImpossibleSelection as error:
                failures[index] = str(error)
                rows.append({})
        names = list(dict.fromkeys(name for row in rows for name in row)) or ["fidelity_loss"]
        metrics = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
        return Evaluation(metrics, failures=failures)

    def explain(self, design: Columns) -> Mapping[str, Any]:
        """The assignment of one design as a picture, and the methods compared so far."""
        key = _keys(design)[0]
        row = self._row(key)
        selection = self._selections[key]
        statistics = self._offered(key)
        title = f"N:M per layer, {key[0]} at {key[1]:.0%}"
        return {
            "metrics": row,
            "selection": {
                "objective": selection.objective,
                "proven_bound": selection.bound,
                "certified": selection.certified,
                "tolerance": selection.tolerance,
                "note": selection.note,
            },
            "tables": {"Methods at equal sparsity, mean over seeds": self.comparison_rows()},
            "texts": {title: picture(selection.assignment, statistics)},
        }

    def comparison_rows(self) -> list[dict[str, Any]]:
        """Mean loss per method and target, and its paired gain over uniform [+- standard error]."""
        rows = []
        for method, target in sorted({key[:2] for key in self._rows}, key=lambda k: (k[1], k[0])):
            seeds = [key[2] for key in self._rows if key[:2] == (method, target)]
            losses = [self._rows[(method, target, seed)]["fidelity_loss"] for seed in seeds]
            gain, error = self._paired(method, target, seeds)
            rows.append(
                {
                    "target_sparsity": target,
                    "method": method,
                    "seeds": len(seeds),
                    "fidelity_loss": float(np.mean(losses)),
                    "gain_over_uniform": gain,
                    "standard_error": error,
                }
            )
        return rows

    def _paired(self, method: str, target: float, seeds: Sequence[int]) -> tuple[float, float]:
        """Mean loss saved over uniform on the seeds both have, and its standard error."""
        common = [seed for seed in seeds if (REFERENCE_METHOD, target, seed) in self._rows]
        gains = [
            self._rows[(REFERENCE_METHOD, target, seed)]["fidelity_loss"]
            - self._rows[(method, target, seed)]["fidelity_loss"]
            for seed in common
        ]
        if len(gains) < 2:
            return (gains[0] if gains else float("nan")), float("nan")
        return float(np.mean(gains)), float(np.std(gains, ddof=1) / sqrt(len(gains)))

    def _row(self, key: Key) -> dict[str, float]:
        """Metrics of one selection, measured once."""
        if key not in self._rows:
            statistics = self._offered(key)
            ends = {*statistics.layers[: self.dense_ends]}
            ends |= {*statistics.layers[len(statistics.layers) - self.dense_ends :]}
            task = SelectionTask(statistics, key[1], self.tolerance, frozenset(ends))
            selection = select(key[0].rpartition("_m")[0] if _group(key[0]) else key[0], task)
            self._selections[key] = selection
            measured = self.fidelity.measure(selection.assignment, key[2])
            self._rows[key] = {**measured, **_selection_metrics(selection, statistics)}
        return self._rows[key]

    def _offered(self, key: Key) -> NMStatistics:
        """Statistics with the patterns that the method may use."""
        statistics = self.fidelity.statistics(key[2])
        group = _group(key[0])
        if group is None:
            return statistics
        chosen = [pattern for pattern in statistics.patterns if pattern.m == group]
        return statistics.offering([*chosen, DENSE_PATTERN])


def picture(assignment: Mapping[str, NMPattern], statistics: NMStatistics) -> str:
    """Blocks as lines, their layers as columns, `N:M` in the cells."""
    blocks = list(dict.fromkeys(statistics.blocks))
    short = {
        name: name.removeprefix(f"{block}.")
        for name, block in zip(statistics.layers, statistics.blocks, strict=True)
    }
    columns = list(dict.fromkeys(short.values()))
    width = max(len(text) for text in [*blocks, "block"])
    cells = {
        (block, short[name]): str(assignment[name])
        for name, block in zip(statistics.layers, statistics.blocks, strict=True)
    }
    sizes = [max(len(column.rpartition(".")[2]), 6) for column in columns]
    lines = [
        "  ".join(
            [f"{'block':{width}}"]
            + [f"{c.rpartition('.')[2]:>{s}}" for c, s in zip(columns, sizes, strict=True)]
        )
    ]
    for block in blocks:
        row = [f"{cells.get((block, c), ''):>{s}}" for c, s in zip(columns, sizes, strict=True)]
        lines.append("  ".join([f"{block:{width}}", *row]))
    return "\n".join(lines)


def _selection_metrics(selection: NMSelection, statistics: NMStatistics) -> dict[str, float]:
    """What the selection itself says: sparsity, retained saliency, certificate."""
    assignment = selection.assignment
    share = statistics.parameters / statistics.parameters.sum()
    kept = np.array([assignment[name].density for name in statistics.layers])
    metrics = {
        "sparsity": selection.sparsity,
        "density": float(share @ kept),
        "certified": float(selection.certified),
        "allowed_deviation": selection.tolerance,
    }
    fraction = statistics.retained_fraction("saliency")
    columns = [
        statistics.patterns.index(assignment[name])
        if assignment[name] in statistics.patterns
        else -1
        for name in statistics.layers
    ]
    if all(column >= 0 for column in columns):
        rows = np.arange(len(columns))
        metrics["retained_saliency"] = float(share @ fraction[rows, columns])
    return metrics


def _group(method: str) -> int | None:
    """The M of a `_m<M>` suffix, None without one."""
    _, mark, text = method.rpartition("_m")
    return int(text) if mark and text.isdigit() else None


def _keys(designs: Columns) -> list[Key]:
    """(method, target, seed) of every row."""
    columns = (designs["method"], designs["target_sparsity"], designs["calibration_seed"])
    return [(str(m), float(t), int(s)) for m, t, s in zip(*columns, strict=True)]
