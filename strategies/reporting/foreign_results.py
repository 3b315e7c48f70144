"""Results of other tools and people, set beside a study: Timeloop's `stats.txt`, or rows of a CSV.

    python run.py +experiment=llama_decode 'foreign=[timeloop-mapper.stats.txt,paper.csv]'

A CSV has the columns `name`, `metric`, `value` (our metric names, our units); of a stats file the
summary is read. Numbers are shown as given: they are not priced again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.validation import nearest
from strategies.reporting.outcome import Findings
from strategies.reporting.study_result import StudyResult
from strategies.reporting.terminal import Rows
from strategies.tasks.user_errors import UserError

STATS_LINES: Mapping[str, tuple[str, float]] = {
    "Cycles": ("latency_cycles", 1.0),
    "Energy": ("energy_pj", 1e6),
    "Utilization": ("utilization", 1.0),
    "Area": ("area_mm2", 1.0),
}
"""Line of a stats file -> metric and factor into its unit; energies there are in uJ."""

COLUMNS = ("name", "metric", "value")

_LINE = re.compile(r"^(\w+)(?:\s*\([^)]*\))?\s*:\s*([\d.eE+-]+)\s*(%|uJ|mm\^2)?\s*$", re.MULTILINE)

TITLE = "Other results"


def read_foreign(path: str | Path) -> dict[str, dict[str, float]]:
    """Result name -> metric -> value, of one file.

    Raises:
        UserError: One line with file, line, key and rule.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"foreign: no such file {path}")
    text = file.read_text(encoding="utf-8")
    return _csv_results(file, text) if file.suffix == ".csv" else {file.name: _stats(file, text)}


def _stats(file: Path, text: str) -> dict[str, float]:
    summary = text.split("Summary Stats")[-1]
    metrics: dict[str, float] = {}
    for key, number, unit in _LINE.findall(summary):
        if key in STATS_LINES:
            metric, factor = STATS_LINES[key]
            metrics[metric] = float(number) * (0.01 if unit == "%" else factor)
    if "energy_pj" not in metrics or "latency_cycles" not in metrics:
        raise UserError(f"{file}: must hold the lines Energy and Cycles of a Timeloop summary")
    metrics["edp_pj_cycles"] = metrics["energy_pj"] * metrics["latency_cycles"]
    return metrics


def _csv_results(file: Path, text: str) -> dict[str, dict[str, float]]:
    reader = csv.DictReader(text.splitlines())
    for name in COLUMNS:
        if name not in (reader.fieldnames or ()):
            hint = nearest(name, reader.fieldnames or ())
            raise UserError(f"{file.name}:1: {name}: column is missing{hint}")
    results: dict[str, dict[str, float]] = {}
    for row in reader:
        try:
            value = float(row["value"])
        except (TypeError, ValueError):
            where = f"{file.name}:{reader.line_num}"
            raise UserError(f"{where}: value: must be a number, got {row['value']!r}") from None
        results.setdefault(row["name"].strip(), {})[row["metric"].strip()] = value
    return results


def foreign_rows(paths: Sequence[str], result: StudyResult) -> Rows:
    """One row per foreign result, and the study's best first: its metrics and ours / theirs.

    Metrics of others that are no goal of the study are named, not dropped.
    """
    best = result.best
    metrics = list(result.goal.metrics)
    ours = {} if best is None else best.metrics
    rows: list[Mapping[str, Any]] = []
    if ours:
        rows.append({"result": "this study", **_cells(metrics, ours, ours), "not compared": None})
    for path in paths:
        for name, values in read_foreign(path).items():
            others = ", ".join(metric for metric in values if metric not in metrics)
            rows.append(
                {"result": name, **_cells(metrics, values, ours), "not compared": others or None}
            )
    return rows


def _cells(
    metrics: Sequence[str], values: Mapping[str, float], ours: Mapping[str, float]
) -> dict[str, float | None]:
    cells: dict[str, float | None] = {}
    for metric in metrics:
        value = values.get(metric)
        cells[metric] = value
        known = value and metric in ours
        cells[f"{metric}: ours / this"] = ours[metric] / value if known and value else None
    return cells


def with_foreign(findings: Findings, paths: Sequence[str] | None, result: StudyResult) -> Findings:
    """The findings with a table of foreign results; unchanged where none are given."""
    if not paths:
        return findings
    rows = foreign_rows(paths, result)
    return replace(findings, tables={**findings.tables, TITLE: rows})
