"""What a person sees in the terminal: a progress line while a study runs, tables after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from strategies.reporting.study_result import StudyResult
from strategies.tuning.progress import Progress
from strategies.tuning.trial_batch import TrialBatch
from strategies.tuning.trial_log import TrialLog

Rows = Sequence[Mapping[str, Any]]
"""A table: one mapping of column title to cell per row; all rows have the same columns."""


PIPED_WIDTH = 200
"""Columns of tables that go to a file or a pipe."""


class ProgressLine:
    """Observer that shows trials, rate, best so far and the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Bar | None = None

    def study_started(self, log: TrialLog, progress: Progress) -> None:
        """Begin the line."""
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[trials]} trials"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}"),
            console=self.console,
            transient=not self.console.is_terminal,
        )
        self._bar.start()
        self._bar.add_task(log.meta.name, total=1.0, trials=progress.trials, best="")

    def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
        """Move the line on."""
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=progress.fraction or 0.0,
                trials=progress.trials,
                best=progress_text(progress),
            )

    def study_ended(self, result: StudyResult) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=1.0)
            self._bar.stop()


def output_console() -> Console:
    """Where results are printed: as wide as the terminal, and wide enough when piped."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)


def progress_text(progress: Progress) -> str:
    """Rate, time left and the best value of every objective, in one line."""
    rate = progress.trials / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    parts = [f"{rate:,.0f}/s"] if rate >= 10 else [f"{rate:.1f}/s"]
    fraction = progress.fraction
    if fraction:
        parts.append(f"{progress.elapsed_s * (1 / fraction - 1):.0f} s left")
    parts += [f"{metric} {value:.5g}" for metric, value in progress.best.items()]
    return " · ".join(parts)


def print_table(console: Console, title: str, rows: Rows) -> None:
    """Print rows of one shape; numbers are right-aligned and short."""
    if not rows:
        return
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for name, value in rows[0].items():
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(value) for value in row.values()))
    console.print(table)


def cell_text(value: Any) -> str:
    """A table cell: four significant digits, plain up to a million.

    >>> cell_text(0.123456), cell_text(22191.3), cell_text(1234567.0)
    ('0.1235', '22191', '1.235e+06')
    >>> cell_text(None), cell_text("x"), cell_text(7), cell_text(True)
    ('', 'x', '7', 'yes')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"
