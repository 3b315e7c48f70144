"""One self-contained HTML page per study: tables, interactive figures, designs, the command."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.evaluation import MODEL_VERSION
from strategies.reporting.figures import GREY, PALETTE, spans_decades
from strategies.reporting.study_result import StudyResult, Trial
from strategies.reporting.terminal import Rows, cell_text

MAX_HOVER_POINTS = 3000
"""Trials with hover text in the page; a page of more is slow to open."""

PART_CHARACTERS = 1 << 16
"""Characters of the plotting library held at a time while the page is written."""


@dataclass(frozen=True)
class ReportContent:
    """What the page shows beside the figures of the study.

    Attributes:
        title: Name of the study.
        question: What it asks; one sentence.
        command: The command that reproduces it.
        tables: Title -> rows of one shape.
        texts: Title -> preformatted text, such as a loop nest.
        breakdown: Group -> part -> energy [pJ], for a stacked bar chart.
        plots: Title -> Plotly figure, shown before those of the study.
        images: Name -> PNG file that the page takes in.
    """

    title: str
    question: str
    command: str
    tables: Mapping[str, Rows] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    plots: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)


def write_report(path: Path, content: ReportContent, result: StudyResult | None = None) -> Path:
    """Write the page; with a study its interactive figures are inside.

    The page needs no network: style, script and the plotting library are part of it.
    """
    from jinja2 import Environment, FileSystemLoader

    plots = _plots(content, result)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters["cell"] = cell_text
    page = environment.get_template("report.html.jinja").stream(
        content=content,
        tables={title: rows for title, rows in content.tables.items() if rows},
        plots=plots,
        images={
            name.replace("_", " "): b64encode(file.read_bytes()).decode("ascii")
            for name, file in content.images.items()
        },
        plotting_library=plotting_library(),
        model_version=MODEL_VERSION,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    page.dump(str(path), encoding="utf-8")
    return path


def plotting_library() -> Iterator[str]:
    """The script of plotly in parts: whole, it takes tens of megabytes as a string."""
    with (files("plotly") / "package_data" / "plotly.min.js").open(encoding="utf-8") as script:
        yield from iter(partial(script.read, PART_CHARACTERS), "")


def write_tables(folder: Path, tables: Mapping[str, Rows]) -> list[Path]:
    """Each table as CSV and as LaTeX (booktabs); returns the files."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title, rows in tables.items():
        if not rows:
            continue
        stem = "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
        frame = pd.DataFrame(list(rows))
        frame.to_csv(folder / f"{stem}.csv", index=False)
        (folder / f"{stem}.tex").write_text(latex_table(title, rows), encoding="utf-8")
        written += [folder / f"{stem}.csv", folder / f"{stem}.tex"]
    return written


_LATEX = str.maketrans(
    {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
)


def latex_table(title: str, rows: Rows) -> str:
    """A booktabs table.

    >>> print(latex_table("T", [{"name": "a_b", "pJ": 1.5}]))
    \\begin{table}
    \\caption{T}
    \\begin{tabular}{lr}
    \\toprule
    name & pJ \\\\
    \\midrule
    a\\_b & 1.5 \\\\
    \\bottomrule
    \\end{tabular}
    \\end{table}
    """
    first = rows[0]
    columns = "".join("r" if isinstance(value, int | float) else "l" for value in first.values())
    body = [" & ".join(cell_text(cell).translate(_LATEX) for cell in row.values()) for row in rows]
    lines = [
        r"\begin{table}",
        rf"\caption{{{title.translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(str(name).translate(_LATEX) for name in first) + r" \\",
        r"\midrule",
        *(f"{line} \\\\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _plots(content: ReportContent, result: StudyResult | None) -> dict[str, str]:
    plots = {title: _html(figure) for title, figure in content.plots.items()}
    if result is not None and len(result.front):
        if len(result.goal.objectives) >= 2:
            plots["Pareto front"] = _html(_pareto(result))
        plots["Convergence"] = _html(_convergence(result))
    if content.breakdown:
        plots["Energy by level and tensor"] = _html(_breakdown(content.breakdown))
    return plots


def _html(figure: Any) -> str:
    figure.update_layout(
        template="simple_white", height=460, margin={"l": 70, "r": 20, "t": 20, "b": 60}
    )
    figure.update_xaxes(exponentformat="power", minexponent=5)
    figure.update_yaxes(exponentformat="power", minexponent=5)
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))


def _pareto(result: StudyResult) -> Any:
    """Trials in the plane of the first two objectives; hovering shows all others and parameters.

    Two objectives make a line of the front, more of them a cloud.
    """
    import plotly.graph_objects as go

    front_mode = "lines+markers" if len(result.goal.objectives) == 2 else "markers"

    first, second, *others = result.goal.metrics
    feasible = np.flatnonzero(np.isfinite(result.losses).all(axis=1))
    thin = feasible[:: max(1, len(feasible) // MAX_HOVER_POINTS)]
    figure = go.Figure()
    for name, numbers, colour, mode in (
        ("trial", thin, GREY, "markers"),
        ("Pareto front", result.front, PALETTE[0], front_mode),
    ):
        trials = result.trials(np.asarray(numbers, dtype=np.intp))
        trials.sort(key=lambda trial: trial.metrics[first])
        figure.add_scatter(
            x=[trial.metrics[first] for trial in trials],
            y=[trial.metrics[second] for trial in trials],
            text=[_hover(trial, others) for trial in trials],
            mode=mode,
            name=name,
            marker={"color": colour, "size": 7},
            hovertemplate=f"%{{text}}<br>{first} %{{x:.5g}}<br>{second} %{{y:.5g}}",
        )
    shown = [result.reader.values(f"metric/{name}")[feasible] for name in (first, second)]
    figure.update_xaxes(title=first, type="log" if spans_decades(shown[0]) else "linear")
    figure.update_yaxes(title=second, type="log" if spans_decades(shown[1]) else "linear")
    return figure


def _hover(trial: Trial, metrics: Sequence[str]) -> str:
    from html import escape

    values = {name: f"{trial.metrics[name]:.5g}" for name in metrics}
    lines = [f"{name} = {value}" for name, value in {**values, **trial.params}.items()]
    return f"trial {trial.number}<br>" + "<br>".join(escape(line) for line in lines[:12])


def _convergence(result: StudyResult) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, objective in enumerate(result.goal.objectives):
        running = np.minimum.accumulate(result.losses[:, index])
        seen = np.flatnonzero(np.isfinite(running))
        changes = seen[np.r_[True, np.diff(running[seen]) < 0]] if len(seen) else seen
        steps = np.unique(np.append(changes, seen[-1:]))
        best = running[-1] if len(running) and running[-1] else 1.0
        figure.add_scatter(
            x=steps.tolist(),
            y=(running[steps] / best).tolist(),
            mode="lines",
            line={"shape": "hv", "color": PALETTE[index % 7]},
            name=objective.metric,
        )
    figure.update_xaxes(title="trial")
    drawn = np.concatenate([np.asarray(line.y, float) for line in figure.data])
    scale = "log" if spans_decades(drawn) else "linear"
    figure.update_yaxes(title="best so far / best of the study", type=scale)
    return figure


def _breakdown(parts: Mapping[str, Mapping[str, float]]) -> Any:
    import plotly.graph_objects as go

    names: Sequence[str] = list(dict.fromkeys(part for group in parts.values() for part in group))
    figure = go.Figure()
    for index, name in enumerate(names):
        figure.add_bar(
            y=list(parts),
            x=[group.get(name, 0.0) for group in parts.values()],
            name=name,
            orientation="h",
            marker={"color": PALETTE[index % 8]},
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="energy_pj")
    figure.update_yaxes(autorange="reversed")
    return figure
