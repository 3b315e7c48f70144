"""`task=summarise sweep=NAME`: the studies of a sweep in one table and one picture.

`python run.py -m ...` does this by itself at its end. The studies of a sweep share its name, in
their recorded configuration and as the tag `sweep` of their MLflow parent runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig

from strategies.reporting.comparison import Comparison
from strategies.reporting.comparison_figures import fronts_figure, plotly_fronts
from strategies.reporting.figures import PALETTE, SIZE_IN, new_axes, save_figures
from strategies.reporting.terminal import Rows, cell_text
from strategies.tasks.compare import compared, show, volume
from strategies.tasks.invocation import command_line
from strategies.tasks.recorded_study import RecordedStudy, Subject, known_studies, study_in
from strategies.tasks.user_errors import UserError

OVERLAID_FRONTS = 7
"""Fronts drawn over one another at most; the palette has no more colours that differ well."""


def run(config: DictConfig) -> None:
    """Summarise the sweep that `sweep=NAME` names.

    Raises:
        UserError: If it is not given or there is no such sweep.
    """
    if not config.sweep:
        names = sorted({str(s.config.sweep) for s in _studies(Path(str(config.out_dir)), None)})
        raise UserError(f"sweep: needs the name of a sweep; known: {names}")
    summarise(str(config.sweep), config)


def summarise(name: str, config: DictConfig) -> Path:
    """Write, track and print the summary; returns its folder."""
    out_dir = Path(str(config.out_dir))
    studies = _studies(out_dir, name)
    if not studies:
        raise UserError(f"sweep: no study of a sweep {name!r} in {out_dir}")
    settings = differing_overrides(studies)
    tables = sweep_tables(studies, settings)
    folder = out_dir / "sweeps" / name
    write_summary(folder, name, tables, comparison_of(studies, settings))
    if config.tracking.uri is not None:
        track_summary(config, name, folder, len(studies))
    show(tables, folder, quiet=bool(config.quiet))
    return folder


def _studies(out_dir: Path, name: str | None) -> list[RecordedStudy]:
    """Studies of this sweep (None = of any), in the order of their creation."""
    found = []
    for folder in known_studies(out_dir):
        study = study_in(out_dir / folder)
        recorded = study.config.get("sweep")
        if recorded is not None and name in (None, str(recorded)):
            found.append(study)
    return sorted(found, key=lambda study: study.result.reader.meta.created_unix_s)


def differing_overrides(studies: Sequence[RecordedStudy]) -> list[dict[str, str]]:
    """Per study the command line's key -> value, of the keys whose values are not all equal."""
    given = [
        dict(text.lstrip("+~").split("=", 1) for text in study.config.get("overrides", []))
        for study in studies
    ]
    keys = dict.fromkeys(key for row in given for key in row)
    differing = [k for k in keys if len({row.get(k) for row in given}) > 1 and k != "name"]
    return [{key: row.get(key, "") for key in differing} for row in given]


def sweep_tables(
    studies: Sequence[RecordedStudy], settings: Sequence[Mapping[str, str]]
) -> dict[str, Rows]:
    """One row per study; where seeds were swept, also one per setting over its seeds."""
    comparison = comparison_of(studies, settings)
    numbers = [study_numbers(study, comparison) for study in studies]
    rows = [
        {**setting, **row, "study": study.name}
        for study, setting, row in zip(studies, settings, numbers, strict=True)
    ]
    tables: dict[str, Rows] = {"Studies of the sweep": rows}
    if settings and "seed" in settings[0]:
        tables["Mean and standard deviation over seeds"] = seed_rows(settings, numbers)
    return tables


def comparison_of(
    studies: Sequence[RecordedStudy], settings: Sequence[Mapping[str, str]]
) -> Comparison | None:
    """The studies that found anything, side by side; None when none did."""
    subjects = [
        Subject(_label(study, setting), study, study.best())
        for study, setting in zip(studies, settings, strict=True)
        if study.result.best is not None
    ]
    return compared(subjects, [{} for _ in subjects]) if subjects else None


def _label(study: RecordedStudy, setting: Mapping[str, str]) -> str:
    """What differs, short; the study's name where that is not unique or nothing differs."""
    return ", ".join(f"{k.split('.')[-1]}={v}" for k, v in setting.items()) or study.name


def study_numbers(study: RecordedStudy, comparison: Comparison | None) -> dict[str, float | None]:
    """Best of every objective, share of the common hypervolume, trials and seconds."""
    numbers: dict[str, float | None] = {}
    for metric in study.result.goal.metrics:
        best = study.result.best_of(metric)
        numbers[f"best {metric}"] = None if best is None else float(best.metrics[metric])
    if comparison is not None and len(comparison.objectives) > 1:
        own = [i for i, s in enumerate(comparison.subjects) if s.study is study]
        numbers["hypervolume"] = volume(comparison, own[0]) if own else 0.0
    numbers["trials"] = float(study.result.n_trials)
    numbers["seconds"] = study.result.reader.elapsed_s
    return numbers


def seed_rows(
    settings: Sequence[Mapping[str, str]], numbers: Sequence[Mapping[str, float | None]]
) -> Rows:
    """Settings without their seed: number of seeds, mean and sample deviation of every number."""
    groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, float | None]]] = {}
    for setting, row in zip(settings, numbers, strict=True):
        key = tuple((k, v) for k, v in setting.items() if k != "seed")
        groups.setdefault(key, []).append(row)
    table = []
    for key, rows in groups.items():
        cells: dict[str, Any] = {**dict(key), "seeds": len(rows)}
        for name in rows[0]:
            values = np.array([v for row in rows if (v := row.get(name)) is not None])
            cells[name] = cell_text(float(values.mean())) if len(values) else ""
            if len(values) > 1:
                cells[name] += f" ± {cell_text(float(f'{values.std(ddof=1):.2g}'))}"
        table.append(cells)
    return table


def write_summary(
    folder: Path, name: str, tables: Mapping[str, Rows], comparison: Comparison | None
) -> Path:
    """Tables (CSV, LaTeX), pictures (PNG, PDF) and one HTML page; returns the page."""
    from strategies.reporting.report import ReportContent, write_report, write_tables

    write_tables(folder / "tables", tables)
    plots: dict[str, Any] = {}
    if comparison is not None:
        save_figures(sweep_figures(comparison), folder / "figures")
        if len(comparison.objectives) > 1:
            plots["Pareto fronts"] = plotly_fronts(comparison)
    content = ReportContent(
        title=f"Sweep {name}",
        question=f"{len(tables['Studies of the sweep'])} studies",
        command=command_line(),
        tables=tables,
        plots=plots,
    )
    return write_report(folder / "report.html", content)


def sweep_figures(comparison: Comparison) -> dict[str, Figure]:
    """The best of the first objective per study, and the fronts where they are few."""
    figures = {"best": best_figure(comparison)}
    if len(comparison.objectives) > 1 and len(comparison.subjects) <= OVERLAID_FRONTS:
        figures["fronts"] = fronts_figure(comparison)
    return figures


def best_figure(comparison: Comparison) -> Figure:
    """One dot per study and objective, relative to the best of the sweep; best study on top."""
    figure, axes = new_axes("Best of every study", "best of the study / best of the sweep", "")
    best = np.stack([losses.min(axis=0) for losses in comparison.losses])
    order = np.argsort(best[:, 0], kind="stable")
    for position, objective in enumerate(comparison.objectives):
        values = np.abs(best[order, position])
        top = values[np.argmin(best[order, position])] or 1.0
        axes.plot(
            values / top,
            range(len(order)),
            "os^Dv"[position % 5],
            color=PALETTE[position % 7],
            label=objective.metric,
        )
    axes.set_yticks(range(len(order)), [comparison.labels[i] for i in order], fontsize=8)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    figure.set_size_inches(SIZE_IN[0], max(2.5, 0.3 * len(order) + 1.4))
    return figure


def track_summary(config: DictConfig, name: str, folder: Path, n_studies: int) -> None:
    """A run of its own, tagged `role=sweep`, with the summary as artifacts; once per sweep."""
    from strategies.tracking.mlflow_store import ensure_experiment, open_store

    uri = str(config.tracking.uri)
    client = open_store(uri)
    settings = config.tracking
    experiment = ensure_experiment(client, uri, str(settings.experiment), settings.get("artifacts"))
    condition = f"tags.sweep = '{name}' and tags.role = 'sweep'"
    found = client.search_runs([experiment], condition, max_results=1)
    tags = {"role": "sweep", "sweep": name}
    run = found[0] if found else client.create_run(experiment, tags=tags, run_name=f"sweep {name}")
    client.log_metric(run.info.run_id, "search/studies", n_studies)
    client.log_artifacts(run.info.run_id, str(folder))
    client.set_terminated(run.info.run_id)
