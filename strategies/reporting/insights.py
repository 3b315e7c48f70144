"""What the trials of a study say together: importances, stages, convergence; rows and figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from strategies.pareto import hypervolume_history
from strategies.reporting.figures import PALETTE, SIZE_IN, new_axes
from strategies.reporting.study_result import StudyResult
from strategies.reporting.terminal import Rows
from strategies.tuning.memory import left_out

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MAX_TRIALS = 2000
"""Trials that importances are estimated from at most, evenly spread."""

MIN_TRIALS = 20
"""Trials below which importances would be noise."""

SHOWN_PARAMETERS = 15
"""Parameters drawn, the most important ones; the table has all of them."""

NO_BEST_TENTH = "Target and region quantiles select the same set of trials"
"""Start of Optuna's warning that importances are undetermined."""

NOTE_CHARACTERS = 58
"""Of a line beside a bar; longer notes are broken."""

STEPS = 100
"""Points of a history."""


def figure_tables(
    result: StudyResult, breakdown: Mapping[str, Mapping[str, float]]
) -> dict[str, Rows]:
    """Name of a figure -> the rows it is drawn from; a figure without rows is not drawn."""
    tables = {
        "convergence": convergence_rows(result),
        "hypervolume": hypervolume_rows(result),
        "importances": importance_rows(result),
        "trials_by_stage": stage_rows(result),
        "energy_breakdown": [
            {"group": group, "part": part, "energy_pj": float(value)}
            for group, parts in breakdown.items()
            for part, value in parts.items()
        ],
    }
    return {name: rows for name, rows in tables.items() if rows}


def convergence_rows(result: StudyResult) -> Rows:
    """Every trial that beat all feasible ones before it in an objective."""
    rows = []
    for objective, losses in zip(result.goal.objectives, result.losses.T, strict=True):
        running = np.minimum.accumulate(losses)
        gains = np.flatnonzero(running < np.concatenate([[np.inf], running[:-1]]))
        values = result.reader.values(f"metric/{objective.metric}")
        rows += [
            {"objective": objective.metric, "trial": int(number), "best": float(values[number])}
            for number in gains
        ]
    return rows


def hypervolume_rows(result: StudyResult) -> Rows:
    """Hypervolume of the trials so far, of studies with several objectives."""
    if len(result.goal.objectives) < 2 or len(result.front) == 0:
        return []
    steps = np.unique(np.linspace(1, result.n_trials, STEPS).astype(np.intp))
    history = hypervolume_history(result.losses, result.reference, steps)
    return [
        {"trials": int(step), "hypervolume": float(value)}
        for step, value in zip(steps, history, strict=True)
    ]


def importance_rows(result: StudyResult) -> Rows:
    """Share of every parameter in what makes trials good, by objective, adding up to 1.

    PED-ANOVA (Watanabe et al., IJCAI 2023, arXiv 2304.10255) by Optuna: how far the best tenth of
    the trials departs from all of them in each parameter. Empty for studies too small to tell; an
    objective whose best value so many trials share that there is no best tenth is left out.
    """
    import optuna

    with left_out("sklearn"):  # 70 MB that only Optuna's other evaluators need
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    numbers = np.flatnonzero(np.isfinite(result.losses).all(axis=1))
    numbers = numbers[:: max(1, len(numbers) // MAX_TRIALS)]
    parameters = dict(result.reader.meta.parameters)
    free = {name: d for name, d in parameters.items() if not d.single()}
    if len(numbers) < MIN_TRIALS or len(free) < 2:
        return []
    study = optuna.create_study(directions=["minimize"] * len(result.goal.metrics))
    for trial in result.trials(numbers):
        params = trial.params
        study.add_trial(
            optuna.create_trial(
                params={name: params[name] for name in free},
                distributions=free,
                values=result.losses[trial.number].tolist(),
            )
        )
    shares: dict[str, dict[str, float]] = {}
    for index, metric in enumerate(result.goal.metrics):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            one = partial(_loss, index)
            share = get_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(), target=one
            )
        if not any(str(warning.message).startswith(NO_BEST_TENTH) for warning in heard):
            shares[metric] = share
    if not shares:
        return []
    order = sorted(free, key=lambda name: -sum(share.get(name, 0.0) for share in shares.values()))
    return [
        {"parameter": name, **{m: float(share.get(name, 0.0)) for m, share in shares.items()}}
        for name in order
    ]


def _loss(index: int, trial: FrozenTrial) -> float:
    """One of a trial's losses."""
    return float(trial.values[index])


def stage_rows(result: StudyResult) -> Rows:
    """Trials and the best of every objective per stage of a staged strategy, in order."""
    stages: dict[str, list[int]] = {}
    for number, tags in enumerate(result.reader.tags()):
        if tags.get("stage"):
            stages.setdefault(tags["stage"], []).append(number)
    rows: list[dict[str, Any]] = []
    for stage, numbers in stages.items():
        losses = result.losses[numbers]
        feasible = np.isfinite(losses).all(axis=1)
        row: dict[str, Any] = {
            "stage": stage,
            "trials": len(numbers),
            "feasible": int(feasible.sum()),
        }
        for objective, column in zip(result.goal.objectives, losses.T, strict=True):
            best = float(objective.loss(column.min(keepdims=True))[0])
            row[f"best {objective.metric}"] = best if feasible.any() else None
        rows.append(row)
    return rows


def insight_figures(tables: Mapping[str, Rows]) -> dict[str, Figure]:
    """Figures of importances and stages, where there are rows for them."""
    drawn = {}
    if "importances" in tables:
        drawn["importances"] = importances_figure(tables["importances"])
    if "trials_by_stage" in tables:
        drawn["trials_by_stage"] = stages_figure(tables["trials_by_stage"])
    return drawn


def importances_figure(rows: Rows) -> Figure:
    """One bar per parameter and objective, the most important parameter on top."""
    shown = rows[:SHOWN_PARAMETERS]
    metrics = [name for name in rows[0] if name != "parameter"]
    figure, axes = new_axes("Importance of the parameters", "share (PED-ANOVA)", "")
    height = 0.8 / len(metrics)
    for index, metric in enumerate(metrics):
        places = np.arange(len(shown)) + (index - (len(metrics) - 1) / 2) * height
        axes.barh(
            places, [row[metric] for row in shown], height, color=PALETTE[index % 7], label=metric
        )
    axes.set_yticks(range(len(shown)), [str(row["parameter"]) for row in shown], fontsize=8)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    figure.set_size_inches(SIZE_IN[0], max(2.5, 0.34 * len(shown) + 1.4))
    return figure


def stages_figure(rows: Rows) -> Figure:
    """A funnel: centred bars as wide as the number of trials of each stage, first stage on top."""
    figure, axes = new_axes("Trials by stage", "trials", "")
    widest = max(int(row["trials"]) for row in rows)
    for position, row in enumerate(rows):
        n, feasible = int(row["trials"]), int(row["feasible"])
        axes.barh(position, n, left=-n / 2, color=PALETTE[4])
        axes.barh(position, feasible, left=-n / 2, color=PALETTE[0])
        best = [f"{k} {v:.4g}" for k, v in row.items() if k.startswith("best ") and v is not None]
        text = fill("; ".join([f"{n} trials, {feasible} feasible", *best]), NOTE_CHARACTERS)
        axes.annotate(text, (widest / 2 * 1.05, position), va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [str(row["stage"]) for row in rows], fontsize=8)
    axes.set_xticks([])
    axes.set_xlim(-widest / 2 * 1.05, widest / 2 * 3)
    axes.invert_yaxis()
    axes.grid(visible=False)
    figure.set_size_inches(SIZE_IN[0], max(2.2, 0.5 * len(rows) + 1.2))
    return figure
