"""N:M selection methods as a study: method, target sparsity and calibration seed are the decisions.

An adapter between a selection (a search of its own, solved to proven optimality) and a measured
fidelity; what it measured is kept, so that it can be compared in pairs over the seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import (
    DEFAULT_TOLERANCE,
    FloatArray,
    ImpossibleSelection,
    NMSelection,
)
from strategies.nm.method_comparison import SETTINGS, Key, MethodComparison, pattern_rows
from strategies.nm.selection import SelectionTask, select
from strategies.nm.selection_strategy import PricesUnits, unit_budgets

TABLE = "Methods at equal sparsity (means over seeds; over X: paired gain ± standard error)"
"""Title of the comparison."""


class FidelitySource(Protocol):
    """A model that can be described and measured under an assignment."""

    def statistics(self, seed: int) -> NMStatistics:
        """Statistics of the units that share an N:M."""
        ...

    def measure(self, assignment: Mapping[str, NMPattern], seed: int) -> Mapping[str, float]:
        """Fidelity metrics, `fidelity_loss` among them."""
        ...

    def calibration_loss(self, assignment: Mapping[str, NMPattern], seed: int) -> float:
        """`fidelity_loss` on calibration text instead."""
        ...


@dataclass
class SelectedFidelity:
    """Prices columns `method`, `target_sparsity` and `calibration_seed`.

    A method may carry the suffix `_m<M>`, which offers it the patterns of one M only. Metrics: the
    measured fidelity, `sparsity` and `density` reached, `retained_saliency`, `certified` (1 =
    proven optimal), `allowed_deviation`, and the settings that a method chose by itself.

    Attributes:
        fidelity: The model.
        tolerance: Allowed deviation from the target sparsity.
        dense_ends: Number of first and of last units forced dense, inside the constraint.
        hardware: Prices units, for `budgets`.
        budgets: Metric of `hardware` -> largest total over the model.
    """

    fidelity: FidelitySource
    tolerance: float = DEFAULT_TOLERANCE
    dense_ends: int = 0
    hardware: PricesUnits | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
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
        row, selection = self._row(key), self.selection(key)
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
            "tables": {TABLE: self.methods.table()},
            "texts": {title: picture(selection.assignment, statistics)},
        }

    def remember(self, designs: Columns, metrics: Mapping[str, FloatArray]) -> None:
        """Rows that worker processes, or an earlier session, measured: compared with the others."""
        for index, key in enumerate(_keys(designs)):
            row = {name: float(values[index]) for name, values in metrics.items()}
            known = {name: value for name, value in row.items() if not np.isnan(value)}
            self._rows.setdefault(key, known)

    def survey(self, designs: Columns) -> Mapping[str, Any]:
        """What methods chose by themselves, and one picture per target.

        A picture shows the N:M of every layer by every method, at its first seed.
        """
        heat_maps = {}
        for target in sorted({key[1] for key in _keys(designs)}):
            chosen: dict[str, Key] = {}
            for key in sorted(_keys(designs)):
                if key[1] == target:
                    chosen.setdefault(key[0], key)
            rows = pattern_rows(
                {method: self.selection(key).assignment for method, key in chosen.items()},
                self.fidelity.statistics(next(iter(chosen.values()))[2]),
            )
            heat_maps[f"nm_per_layer_at_{target:.0%}".replace("%", "_percent")] = {
                "rows": rows,
                "x": "layer",
                "y": "block",
                "colour": "density",
                "number": "N:M",
                "panel": "method",
            }
        settings = self.methods.settings_table()
        tables = {"Settings chosen on calibration text": settings} if settings else {}
        return {"tables": tables, "heat_maps": heat_maps}

    @property
    def methods(self) -> MethodComparison:
        """Everything measured so far by this process, and what it was told of."""
        return MethodComparison(self._rows)

    def selection(self, key: Key) -> NMSelection:
        """The proven optimal assignment of one row."""
        if key not in self._selections:
            (method, target, seed), row = key, self._rows.get(key, {})
            statistics = self._offered(key)
            ends = {*statistics.layers[: self.dense_ends]}
            ends |= {*statistics.layers[len(statistics.layers) - self.dense_ends :]}
            task = SelectionTask(
                statistics,
                target,
                self.tolerance,
                frozenset(ends),
                unit_budgets(self.hardware, statistics.patterns, self.budgets),
                seed,
                lambda assignment: self.fidelity.calibration_loss(assignment, seed),
                {name: row[name] for name in SETTINGS if name in row},
            )
            name = method.rpartition("_m")[0] if _group(method) else method
            self._selections[key] = select(name, task)
        return self._selections[key]

    def _row(self, key: Key) -> dict[str, float]:
        """Metrics of one selection, measured once."""
        if key not in self._rows:
            selection = self.selection(key)
            measured = self.fidelity.measure(selection.assignment, key[2])
            self._rows[key] = {**measured, **_selection_metrics(selection, self._offered(key))}
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
    rows = pattern_rows({"": assignment}, statistics)
    columns = list(dict.fromkeys(row["layer"] for row in rows))
    sizes = [max(len(column), 5) for column in columns]
    width = max(len(text) for text in [*statistics.blocks, "block"])
    cells = {(row["block"], row["layer"]): row["N:M"] for row in rows}

    def line(head: str, texts: Iterable[str]) -> str:
        aligned = (f"{text:>{size}}" for text, size in zip(texts, sizes, strict=True))
        return "  ".join([f"{head:{width}}", *aligned])

    blocks = dict.fromkeys(statistics.blocks)
    body = [line(block, (cells.get((block, c), "") for c in columns)) for block in blocks]
    return "\n".join([line("block", columns), *body])


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
        **selection.settings,
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
