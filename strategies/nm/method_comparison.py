"""Selection methods compared at equal sparsity: means over calibration seeds, and paired gains.

Seeds are paired: both methods of a gain see the same calibration text, so that its standard error
holds the method's part of the scatter only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from spaces.sparsity.nm_sparsity import NMPattern
from spaces.sparsity.nm_statistics import NMStatistics

REFERENCES = ("uniform", "owl", "owl_tuned")
"""The methods that gains are measured against."""

SMALLER_IS_BETTER = frozenset({"fidelity_loss", "perplexity"})
"""Metrics that are losses."""

SETTINGS = ("owl_lambda", "owl_threshold")
"""Metrics that are values a method chose by itself."""

NOT_FIDELITY = frozenset(
    {"sparsity", "density", "certified", "allowed_deviation", "retained_saliency", *SETTINGS}
)
"""Metrics that a selection says of itself."""

Key = tuple[str, float, int]
"""(method, target sparsity, calibration seed)."""


@dataclass(frozen=True)
class Gain:
    """What one method has over another: positive = better.

    Attributes:
        mean: Over the seeds that both have; nan if there are none.
        standard_error: Of that mean; nan for fewer than two seeds.
    """

    mean: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.standard_error:.3f}" if self.mean == self.mean else ""

    @property
    def no_worse(self) -> bool:
        """True unless the loss exceeds one standard error."""
        return self.mean >= -self.standard_error


@dataclass(frozen=True)
class MethodComparison:
    """Measured rows of a study of selection methods.

    Attributes:
        rows: Metrics of each (method, target, seed).
    """

    rows: Mapping[Key, Mapping[str, float]]

    @property
    def methods(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(method for method, _, _ in self.rows))

    @property
    def targets(self) -> list[float]:
        """Target sparsities, ascending."""
        return sorted({target for _, target, _ in self.rows})

    @property
    def fidelity_metrics(self) -> list[str]:
        """What was measured on held-out text."""
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        return [name for name in names if name not in NOT_FIDELITY]

    def seeds(self, method: str, target: float) -> list[int]:
        """Seeds measured."""
        return sorted(s for m, t, s in self.rows if (m, t) == (method, target))

    def mean(self, method: str, target: float, metric: str) -> float:
        """Mean over the seeds; nan if none was measured."""
        values = [self.rows[method, target, s][metric] for s in self.seeds(method, target)]
        return float(np.mean(values)) if values else float("nan")

    def gain(self, method: str, over: str, target: float, metric: str) -> Gain:
        """How much better a method is than another in a metric, whichever sign is good."""
        common = set(self.seeds(method, target)) & set(self.seeds(over, target))
        sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
        gains = [
            sign * (self.rows[method, target, s][metric] - self.rows[over, target, s][metric])
            for s in sorted(common)
        ]
        error = float(np.std(gains, ddof=1) / sqrt(len(gains))) if len(gains) > 1 else float("nan")
        return Gain(float(np.mean(gains)) if gains else float("nan"), error)

    def compression(self, method: str, target: float, metric: str) -> float:
        """How many times fewer weights than uniform a method keeps at its own fidelity.

        Uniform's density at that fidelity is interpolated between its targets; nan outside them.
        """
        kept = [self.mean("uniform", t, "density") for t in self.targets]
        levels = [self.mean("uniform", t, metric) for t in self.targets]
        order = np.argsort(levels)
        value = self.mean(method, target, metric)
        same = np.interp(
            value,
            np.array(levels)[order],
            np.array(kept)[order],
            left=float("nan"),
            right=float("nan"),
        )
        return float(same) / self.mean(method, target, "density")

    def table(self, metric: str = "fidelity_loss") -> list[dict[str, Any]]:
        """One row per target and method, best first: measured means and gains in `metric`.

        `over X` is the paired gain over each of `REFERENCES` with its standard error, `fewer
        weights` the compression at equal fidelity.
        """
        rows: list[dict[str, Any]] = []
        sign = 1.0 if metric in SMALLER_IS_BETTER else -1.0
        for target in self.targets:
            measured = [method for method in self.methods if self.seeds(method, target)]
            measured.sort(key=lambda method: sign * self.mean(method, target, metric))
            rows += [self._table_row(method, target, metric) for method in measured]
        return rows

    def settings_table(self) -> list[dict[str, Any]]:
        """One row per target and method that chose settings by itself: their values by seed."""
        found: dict[tuple[float, str], dict[str, list[str]]] = {}
        for (method, target, _), row in sorted(self.rows.items(), key=lambda item: item[0][1:]):
            for name in (name for name in SETTINGS if name in row):
                values = found.setdefault((target, method), {}).setdefault(name, [])
                values.append(f"{row[name]:g}")
        return [
            {"target": target, "method": method}
            | {f"{name} by seed": ", ".join(values) for name, values in chosen.items()}
            for (target, method), chosen in found.items()
        ]

    def _table_row(self, method: str, target: float, metric: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "target": target,
            "method": method,
            "seeds": len(self.seeds(method, target)),
            "sparsity": self.mean(method, target, "sparsity"),
        }
        row |= {name: self.mean(method, target, name) for name in self.fidelity_metrics}
        for reference in REFERENCES:
            row[f"over {reference}"] = str(self.gain(method, reference, target, metric))
        fewer = self.compression(method, target, metric)
        row["fewer weights"] = f"{fewer:.2f}x" if fewer == fewer else ""
        row["optimal"] = self.mean(method, target, "certified") == 1.0
        return row


def pattern_rows(
    assignments: Mapping[str, Mapping[str, NMPattern]], statistics: NMStatistics
) -> list[dict[str, Any]]:
    """Cells of a picture of N:M per layer: `method`, `block`, `layer`, `N:M`, `density`.

    Args:
        assignments: Method -> layer -> pattern.
        statistics: Names of the layers and their blocks.
    """
    short = {
        name: name.removeprefix(f"{block}.")
        for name, block in zip(statistics.layers, statistics.blocks, strict=True)
    }
    labels = unique_suffixes(list(dict.fromkeys(short.values())))
    return [
        {
            "method": method,
            "block": block,
            "layer": labels[short[name]],
            "N:M": str(chosen[name]),
            "density": chosen[name].density,
        }
        for method, chosen in assignments.items()
        for name, block in zip(statistics.layers, statistics.blocks, strict=True)
    ]


def unique_suffixes(names: Sequence[str]) -> dict[str, str]:
    """Dotted name -> its shortest ending that no other name has, else the whole name.

    >>> unique_suffixes(["attention.query", "attention.dense", "dense"])
    {'attention.query': 'query', 'attention.dense': 'attention.dense', 'dense': 'dense'}
    """
    found = {}
    for name in names:
        parts = name.split(".")
        endings = (".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1))
        others = [f".{other}" for other in names if other != name]
        found[name] = next(
            (end for end in endings if not any(other.endswith(f".{end}") for other in others)), name
        )
    return found
