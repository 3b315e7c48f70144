"""`task=compare`: two or more studies, runs or designs side by side.

    python run.py task=compare 'compare=[first,second]'        # studies by name or folder
    python run.py task=compare 'compare=[first:12,second:40]'  # two trials

What differs in the configuration, the best of every shared objective, the fronts against one
common reference point, and where the energy of the chosen designs goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from strategies.objective import Objective
from strategies.pareto import hypervolume, non_dominated, worst_reference
from strategies.reporting.comparison import Comparison
from strategies.reporting.terminal import Rows
from strategies.tasks.invocation import HOW_TO_RUN, command_line
from strategies.tasks.recorded_study import Subject, label_errors, open_subject, references
from strategies.tasks.user_errors import UserError
from strategies.tracking.child_runs import flattened

NOT_COMPARED = HOW_TO_RUN | {"name", "compare", "study", "sweep", "overrides", "hydra"}
"""Top-level keys that say nothing of what a study searched."""

SHOWN_CHARACTERS = 60


def run(config: DictConfig) -> None:
    """Print the comparison and write it as tables, figures and one HTML page."""
    names = references(config.compare, "compare", at_least=2)
    uri = config.tracking.uri
    subjects = [open_subject(name, Path(str(config.out_dir)), uri) for name in names]
    comparison = compared(subjects, [chosen_energy(subject) for subject in subjects])
    folder = Path(str(config.out_dir)) / "comparisons" / (config.name or _folder_name(comparison))
    tables = comparison_tables(comparison)
    write_comparison(folder, comparison, tables)
    show(tables, folder, quiet=bool(config.quiet))


def compared(subjects: Sequence[Subject], energy_pj: Sequence[Mapping[str, float]]) -> Comparison:
    """Gather what the subjects share.

    Args:
        subjects: What is compared.
        energy_pj: Per subject `group/part` -> energy of its chosen design; empty = unknown.

    Raises:
        UserError: If two are the same or they share no objective.
    """
    labels = [subject.label for subject in subjects]
    if len(set(labels)) != len(labels):
        raise UserError(f"compare: every study must be named once, got {labels}")
    objectives = shared_objectives(subjects)
    losses = [
        s.study.result.losses[:, [s.study.result.goal.objectives.index(o) for o in objectives]]
        for s in subjects
    ]
    fronts = [non_dominated(values) for values in losses]
    union = np.concatenate([v[front] for v, front in zip(losses, fronts, strict=True)])
    return Comparison(subjects, objectives, losses, fronts, worst_reference(union), energy_pj)


def shared_objectives(subjects: Sequence[Subject]) -> list[Objective]:
    """Objectives that all studies have, in the order of the first.

    Raises:
        UserError: If there is none.
    """
    goals = [subject.study.result.goal for subject in subjects]
    shared = [o for o in goals[0].objectives if all(o in goal.objectives for goal in goals)]
    if not shared:
        lists = "; ".join(
            f"{s.label}: {list(g.metrics)}" for s, g in zip(subjects, goals, strict=True)
        )
        raise UserError(f"compare: the studies share no objective ({lists})")
    return shared


def chosen_energy(subject: Subject) -> dict[str, float]:
    """`group/part` -> energy [pJ] of the chosen design, by the evaluator's own account."""
    with label_errors(f"compare: {subject.label}"):
        problem = subject.study.problem
        explained = problem.evaluator.explain(problem.space.decode(subject.trial.columns))
    parts = explained.get("energy_breakdown_pj", {})
    return {
        f"{group}/{part}": float(value)
        for group, row in parts.items()
        for part, value in row.items()
    }


def comparison_tables(comparison: Comparison) -> dict[str, Rows]:
    """Title -> rows, in order of reading."""
    tables = {
        "What differs in the configuration": differing_keys(comparison),
        "Best of every objective": best_rows(comparison),
        "The chosen designs": design_rows(comparison),
        "Energy of the chosen designs (pJ)": energy_rows(comparison),
    }
    return {title: rows for title, rows in tables.items() if rows}


def differing_keys(comparison: Comparison) -> Rows:
    """Configuration keys whose values are not the same everywhere."""
    leaves = [config_leaves(subject.study.config) for subject in comparison.subjects]
    keys = dict.fromkeys(key for leaf in leaves for key in leaf)
    values = {key: [leaf.get(key, "") for leaf in leaves] for key in keys}
    differing = {key: row for key, row in values.items() if len(set(row)) > 1}
    return [
        {"key": key, **_row(comparison, row)}
        for key, row in differing.items()
        if not _repeats(key, row, differing)
    ]


def _repeats(key: str, row: list[str], rows: Mapping[str, list[str]]) -> bool:
    """True for `evaluator.model.hardware.clock` beside an equal `hardware.clock`."""
    parts = key.split(".")
    shorter = (".".join(parts[start:]) for start in range(1, len(parts) - 1))
    return any(rows.get(name) == row for name in shorter)


def config_leaves(config: DictConfig) -> dict[str, str]:
    """Dotted key -> value as short text, of the keys that say what is searched."""
    plain: Any = OmegaConf.to_container(config)
    chosen = {key: value for key, value in plain.items() if key not in NOT_COMPARED}
    return {key: _short(value) for key, value in flattened(chosen)}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _row(comparison: Comparison, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(comparison.labels, values, strict=True))


def best_rows(comparison: Comparison) -> Rows:
    """Best value per objective and study, with the last against the first; then the fronts."""
    indices = range(len(comparison.subjects))
    rows: list[dict[str, Any]] = []
    for position, objective in enumerate(comparison.objectives):
        best = np.array([losses[:, position].min() for losses in comparison.losses])
        values = objective.loss(best).tolist()
        rows.append(_compared_row(comparison, f"{objective.direction} {objective.metric}", values))
    facts: dict[str, Callable[[int], float]] = {
        "size of the front": lambda i: float(len(comparison.fronts[i])),
        "trials": lambda i: float(comparison.subjects[i].study.result.n_trials),
        "search seconds": lambda i: comparison.subjects[i].study.result.reader.elapsed_s,
    }
    if len(comparison.objectives) > 1:
        facts = {"hypervolume (common reference)": lambda i: volume(comparison, i), **facts}
    rows += [_compared_row(comparison, k, [fact(i) for i in indices]) for k, fact in facts.items()]
    return rows


def _compared_row(comparison: Comparison, quantity: str, values: Sequence[float]) -> dict[str, Any]:
    ratio = values[-1] / values[0] if values[0] else None
    return {"quantity": quantity, **_row(comparison, values), "last / first": ratio}


def volume(comparison: Comparison, index: int) -> float:
    """Hypervolume of one front against the common reference, as a share of that of all fronts."""
    fronts = [v[f] for v, f in zip(comparison.losses, comparison.fronts, strict=True)]
    whole = hypervolume(np.concatenate(fronts), comparison.reference)
    return hypervolume(fronts[index], comparison.reference) / whole if whole else 0.0


def design_rows(comparison: Comparison) -> Rows:
    """Trial number, parameters that differ and all shared metrics of the chosen designs."""
    trials = [subject.trial for subject in comparison.subjects]
    rows = [{"what": "trial", **_row(comparison, [trial.number for trial in trials])}]
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    for name in names:
        values = [trial.params.get(name, "") for trial in trials]
        if any(value != values[0] for value in values):
            rows.append({"what": name, **_row(comparison, values)})
    shared = [m for m in trials[0].metrics if all(m in trial.metrics for trial in trials)]
    rows += [{"what": m, **_row(comparison, [t.metrics[m] for t in trials])} for m in shared]
    return rows


def energy_rows(comparison: Comparison) -> Rows:
    """Energy per level and tensor, and how far the last is from the first."""
    if not all(comparison.energy_pj):
        return []
    parts = list(dict.fromkeys(part for energy in comparison.energy_pj for part in energy))
    rows = []
    for part in parts:
        values = [energy.get(part, 0.0) for energy in comparison.energy_pj]
        rows.append(
            {"part": part, **_row(comparison, values), "difference": values[-1] - values[0]}
        )
    return rows


def write_comparison(folder: Path, comparison: Comparison, tables: Mapping[str, Rows]) -> Path:
    """Tables (CSV, LaTeX), figures (PNG, PDF) and the HTML page; returns the page."""
    from strategies.reporting.comparison_figures import drawn, plotted
    from strategies.reporting.figures import save_figures
    from strategies.reporting.report import ReportContent, write_report, write_tables

    write_tables(folder / "tables", tables)
    save_figures(drawn(comparison), folder / "figures")
    designs = {
        f"Design of {subject.label} (trial {subject.trial.number})": json.dumps(
            subject.trial.params, indent=2, default=str
        )
        for subject in comparison.subjects
    }
    content = ReportContent(
        title=" against ".join(comparison.labels),
        question=f"{len(comparison.subjects)} studies compared",
        command=command_line(),
        tables=tables,
        texts=designs,
        plots=plotted(comparison),
    )
    return write_report(folder / "report.html", content)


def show(tables: Mapping[str, Rows], folder: Path, quiet: bool) -> None:
    """Print the tables, or one JSON document for scripts."""
    if quiet:
        print(json.dumps({"tables": tables, "artifacts": str(folder)}, default=str))
        return
    from strategies.reporting.terminal import output_console, print_table

    console = output_console()
    for title, rows in tables.items():
        print_table(console, title, rows)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def _folder_name(comparison: Comparison) -> str:
    return "-vs-".join(label.replace(":", "_") for label in comparison.labels)[:150]
