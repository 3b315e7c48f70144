"""What a finished study leaves behind: its findings, and a folder of artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from evaluators.evaluation import MODEL_VERSION, FloatArray
from spaces.space import Space
from strategies.reporting.ending import FAILURES, ending
from strategies.reporting.stages import TITLE as STAGES
from strategies.reporting.stages import funnel_figure
from strategies.reporting.study_result import StudyResult, Trial
from strategies.reporting.terminal import Rows
from strategies.tuning.memory import free_memory
from strategies.tuning.trial_batch import TrialBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PARAMS = 8
"""Parameters shown in a row; designs of more are listed one by one instead."""

FRONT = "Pareto front"
WITHOUT_PLOT = ("hypervolume", "parallel_coordinates")
"""Figures of the study that the report shows as they are; the others it draws to be hovered."""


@runtime_checkable
class Compares(Protocol):
    """Optional capability of an evaluator: a design set beside the baselines its users ask for."""

    def comparison(self, design: Any) -> Mapping[str, Rows]:
        """Title -> rows of one shape."""
        ...


@runtime_checkable
class NamesObstacles(Protocol):
    """Optional capability of an evaluator: which rule makes a design infeasible."""

    def obstacle(self, design: Any) -> str:
        """One line that names the part, the rule and by how much; empty for a feasible design."""
        ...


@runtime_checkable
class Surveys(Protocol):
    """Optional capability of an evaluator: what all designs of a study say together."""

    def survey(self, designs: Any) -> Mapping[str, Any]:
        """`tables` and `texts` by title, `heat_maps` by name, each the arguments of a `HeatMap`,
        and matplotlib `figures` by name."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """Optional capability of an evaluator that compares its own results with one another."""

    def remember(self, designs: Any, metrics: Mapping[str, FloatArray]) -> None:
        """Take over what other processes, or an earlier session, measured of n designs."""
        ...


@runtime_checkable
class Draws(Protocol):
    """Optional capability of an evaluator: pictures of a design in its own terms."""

    def pictures(self, design: Any) -> Mapping[str, Callable[[], Figure]]:
        """File name without ending -> what draws the picture."""
        ...


@dataclass(frozen=True)
class Findings:
    """What is shown of a study, before any of it is drawn.

    Attributes:
        tables: Title -> rows of one shape, in order of reading.
        texts: Title -> preformatted text.
        files: File name -> text, for example designs that can be priced again.
        breakdown: Group -> part -> energy [pJ].
        summary: Numbers of the study as a whole.
        heat_maps: File name without ending -> arguments of a `HeatMap`.
        pictures: File name without ending -> what draws it.
        figures: File name without ending -> matplotlib figure.
    """

    tables: Mapping[str, Rows]
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    heat_maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pictures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


def gather(space: Space, evaluator: Any, result: StudyResult) -> Findings:
    """Tables and texts of a study; the evaluator explains the best design in its own words.

    An evaluator's `explain` may hold, beside its breakdown: `tables`, `texts`, `files` and
    `energy_breakdown_pj`, each a mapping by title.
    """
    tables: dict[str, Rows] = {FRONT if len(result.front) > 1 else "Best": front_rows(result)}
    best = result.best
    if best is None:
        texts = {"No feasible trial": no_feasible_text(result)}
        texts |= obstacles(space, evaluator, result)
        return Findings({}, texts, summary=summary_of(space, result))
    if isinstance(evaluator, Remembers):
        known = feasible_trials(result)
        evaluator.remember(space.decode(known.columns), known.evaluation.metrics)
    design = space.decode(best.columns)
    explained = evaluator.explain(design)
    tables.update(explained.get("tables", {}))
    if isinstance(evaluator, Compares):
        tables.update(evaluator.comparison(design))
    survey = surveyed(space, evaluator, result)
    tables.update(survey.get("tables", {}))
    described = described_text(space.describe(design, 0))
    return Findings(
        tables=tables,
        texts={
            best_title(best, result): described,
            **explained.get("texts", {}),
            **survey.get("texts", {}),
        },
        files={
            "best_design.json": json.dumps(space.to_json(design)[0], indent=2, default=str),
            **explained.get("files", {}),
        },
        breakdown=explained.get("energy_breakdown_pj", {}),
        summary=summary_of(space, result),
        heat_maps=survey.get("heat_maps", {}),
        pictures=evaluator.pictures(design) if isinstance(evaluator, Draws) else {},
        figures=survey.get("figures", {}),
    )


def best_title(best: Trial, result: StudyResult) -> str:
    """Which trial is shown as the best, and why that one of a front."""
    baseline = best.tags.get("baseline")
    words = [f"trial {best.number}", f"baseline {baseline}" if baseline else ""]
    words.append("knee of the front" if len(result.front) > 1 else "")
    return f"Best design ({', '.join(word for word in words if word)})"


def obstacles(space: Space, evaluator: Any, result: StudyResult) -> dict[str, str]:
    """Why no trial is feasible, in the evaluator's words where it has any."""
    if not isinstance(evaluator, NamesObstacles) or not result.n_trials:
        return {}
    said = evaluator.obstacle(space.decode(result.trial(0).columns))
    return {"What excludes the first trial": said} if said else {}


def surveyed(space: Space, evaluator: Any, result: StudyResult) -> Mapping[str, Any]:
    """What an evaluator says of all feasible designs together; nothing if it does not survey."""
    if not isinstance(evaluator, Surveys):
        return {}
    return evaluator.survey(space.decode(feasible_trials(result).columns))


def feasible_trials(result: StudyResult) -> TrialBatch:
    """Every feasible trial of a study as one batch."""
    feasible = np.flatnonzero(np.isfinite(result.losses).all(axis=1))
    return result.reader.trials([int(number) for number in feasible])


def no_feasible_text(result: StudyResult) -> str:
    """Why no trial can be shown: the commonest failures, and how near each constraint came."""
    frame = result.frame()
    failures = islice(result.reader.failures().items(), FAILURES)
    lines = [f"{count} failed: {reason}" for reason, count in failures]
    infeasible = frame[frame["state"] == "infeasible"]
    limits = {constraint.name: constraint.metric for constraint in result.goal.constraints}
    for column in [column for column in frame.columns if column.startswith("violation/")]:
        name = column.removeprefix("violation/")
        least = infeasible[column].min()
        if least > 0:
            broken = int((infeasible[column] > 0).sum())
            nearest = infeasible.iloc[int(np.nanargmin(infeasible[column]))]
            metric = limits.get(name)
            has = f"has {nearest[f'metric/{metric}']:.4g}" if metric else f"by {least:.4g}"
            lines.append(
                f"constraint {name}: {broken} of {len(frame)} trials break it, the nearest {has}; "
                f"loosen it or offer other choices"
            )
    return "\n".join(lines) or f"{len(frame)} trials break different constraints"


def described_text(description: Mapping[str, Any]) -> str:
    """A space's own text of a design where it gives one, JSON otherwise."""
    text = description.get("text")
    return str(text) if text else json.dumps(description, indent=2, default=str)


def front_rows(result: StudyResult) -> list[dict[str, Any]]:
    """The front, best in the first objective first: trial, objectives, parameters.

    A column says which designs are baselines, where there are any.
    """
    trials = result.trials(result.front)
    first = result.goal.objectives[0]
    trials.sort(key=lambda trial: float(first.loss(np.array([trial.metrics[first.metric]]))[0]))
    rows = [trial_row(trial, result.goal.metrics) for trial in trials]
    names = [trial.tags.get("baseline") for trial in trials]
    if any(names):
        rows = [row | {"baseline": name} for row, name in zip(rows, names, strict=True)]
    return rows


def trial_row(trial: Trial, metrics: Sequence[str]) -> dict[str, Any]:
    """One row: number, objectives, and the parameters unless there are too many to read."""
    chosen = {metric: float(trial.metrics[metric]) for metric in metrics}
    params = trial.params if len(trial.params) <= MAX_PARAMS else {}
    return {"trial": trial.number, **chosen, **params}


def summary_of(space: Space, result: StudyResult) -> dict[str, Any]:
    """Numbers of the study: trials by state and given, front, hypervolume, best per objective."""
    best: dict[str, float] = {}
    for metric in result.goal.metrics:
        trial = result.best_of(metric)
        if trial is not None:
            best[metric] = float(trial.metrics[metric])
    return {
        "trials": result.n_trials,
        **result.counts,
        "given": result.n_given,
        "space_size": space.size,
        "failures": result.reader.failures(),
        "ended_by": result.ended_by,
        "search_seconds": result.reader.elapsed_s,
        "front_size": len(result.front),
        "hypervolume": result.hypervolume,
        "best": best,
        "best_trial": None if result.best is None else result.best.number,
        "model_version": MODEL_VERSION,
    }


def write_findings(folder: Path, findings: Findings) -> list[Path]:
    """Write designs, tables (CSV, LaTeX) and the summary; returns the files."""
    from strategies.reporting.report import write_tables

    written = write_tables(folder / "tables", findings.tables)
    for name, text in findings.files.items():
        path = folder / "designs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    summary = folder / "summary.json"
    summary.write_text(json.dumps(findings.summary, indent=2), encoding="utf-8")
    return [*written, summary]


def write_trials(folder: Path, result: StudyResult) -> Path:
    """The table of all trials as parquet; tags as JSON text."""
    frame = result.frame()
    for name in frame.columns:
        if frame[name].map(lambda cell: isinstance(cell, dict | list)).any():
            frame[name] = frame[name].map(json.dumps)
    path = folder / "trials.parquet"
    frame.to_parquet(path)
    return path


def write_outcome(folder: Path, findings: Findings, result: StudyResult, command: str) -> Path:
    """Write every artifact of a study into its folder; returns the report."""
    from strategies.reporting.report import ReportContent, write_report

    write_findings(folder, findings)
    write_trials(folder, result)
    images = _write_figures(folder / "figures", findings, result)
    free_memory()
    content = ReportContent(
        title=result.reader.meta.name,
        question=f"Objectives: {', '.join(result.goal.metrics)}. {ending(findings.summary)}.",
        command=command,
        tables=findings.tables,
        texts=findings.texts,
        breakdown=findings.breakdown,
        images=images,
    )
    return write_report(folder / "report.html", content, result)


def _write_figures(folder: Path, findings: Findings, result: StudyResult) -> dict[str, Path]:
    """Draw and save everything; returns the images that the report shows as they are."""
    from strategies.reporting.figures import breakdown_figure, save_figures, study_figures
    from strategies.reporting.heat_map import HeatMap, heat_map_figure
    from strategies.reporting.insights import figure_tables, insight_figures
    from strategies.reporting.nest_figure import nest_figures
    from strategies.reporting.report import write_tables

    data = figure_tables(result, findings.breakdown)
    write_tables(folder, data)
    figures = study_figures(result)
    if findings.breakdown:
        figures["energy_breakdown"] = breakdown_figure(
            findings.breakdown, "energy_pj", "Energy by level and tensor"
        )
    if findings.tables.get(STAGES):
        figures["stages"] = funnel_figure(findings.tables[STAGES])
    own = {name: heat_map_figure(HeatMap(**maps)) for name, maps in findings.heat_maps.items()}
    own |= {name: draw() for name, draw in findings.pictures.items()} | dict(findings.figures)
    own |= {name: figures[name] for name in WITHOUT_PLOT if name in figures}
    own |= insight_figures(data) | nest_figures(findings.texts)
    save_figures(figures | own, folder)
    return {name: folder / f"{name}.png" for name in own}
