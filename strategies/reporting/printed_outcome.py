"""What a finished study shows in the terminal; report and files have all of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from strategies.pareto import thinned
from strategies.reporting.ending import ending
from strategies.reporting.nest_figure import nest_items
from strategies.reporting.outcome import FRONT, Findings
from strategies.reporting.terminal import Rows, output_console, print_table

FRONT_ROWS = 12
"""Rows of the front, evenly spread, beside that of the best design."""

NESTS = 3
"""Loop nests of the best design."""


def print_outcome(findings: Findings, folder: Path) -> None:
    """Tables and texts in the terminal, how the search ended, and where the artifacts are."""
    console = output_console()
    for title, rows in findings.tables.items():
        if title == FRONT:
            title, rows = shown_front(rows, findings.summary["best_trial"])
        print_table(console, title, rows)
    nests = [title for title, text in findings.texts.items() if nest_items(text)]
    for title, text in findings.texts.items():
        if title not in nests[NESTS:]:
            console.print(f"\n[bold]{title}[/bold]")
            console.print(text, markup=False, highlight=False)
    if nests[NESTS:]:
        console.print(f"\n{len(nests) - NESTS} more loop nests are in the report", highlight=False)
    console.print(f"\n{ending(findings.summary)}", highlight=False, soft_wrap=True)
    console.print(f"artifacts and report.html: {folder}", highlight=False, soft_wrap=True)


def shown_front(rows: Rows, best: int) -> tuple[str, Rows]:
    """Title and rows of the front as printed: a choice of a long one, with the best design."""
    if len(rows) <= FRONT_ROWS:
        return FRONT, rows
    chosen = set(thinned(np.arange(len(rows)), FRONT_ROWS).tolist())
    kept = [row for index, row in enumerate(rows) if index in chosen or row["trial"] == best]
    return f"{FRONT} ({len(kept)} of {len(rows)} trials: evenly spread, and the best)", kept


def print_json(findings: Findings, folder: Path) -> None:
    """The summary and the tables as one JSON document, for scripts."""
    document = {
        "summary": findings.summary,
        "tables": findings.tables,
        "artifacts": str(folder),
    }
    print(json.dumps(document, default=str))
