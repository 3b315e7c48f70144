"""`task=sensitivity study=NAME`: constants halved and doubled, does the winner change?

Every key is scaled by every factor, one at a time, in the recorded configuration; the designs of
the front and the baselines are priced again with it. A design whose evaluation includes a search
(the best mapping of every operator) searches again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from evaluators.evaluation import Evaluation, FloatArray
from spaces.space import Columns
from spaces.validation import nearest
from strategies.objective import Objective
from strategies.pareto import thinned
from strategies.reporting.figures import PALETTE, SIZE_IN, new_axes, save_figures
from strategies.reporting.study_result import Trial
from strategies.reporting.terminal import Rows
from strategies.tasks.compare import show
from strategies.tasks.instantiate import build_problem, instantiate
from strategies.tasks.invocation import command_line
from strategies.tasks.recorded_study import RecordedStudy, label_errors, open_study, references
from strategies.tasks.user_errors import UserError
from strategies.tracking.child_runs import flattened
from strategies.tuning.batches import concatenate_columns, evaluate_points

PRICED = ("evaluator", "space")
"""Top-level keys below which a scaled constant can change a price."""

_NUMBER = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(.*)$")


@dataclass(frozen=True)
class Outcome:
    """The designs under one change of the configuration.

    Attributes:
        key: What was scaled; empty for the recorded configuration.
        factor: By how much.
        losses: Objectives of every design, smaller is better, inf where infeasible; (designs, m).
    """

    key: str
    factor: float
    losses: FloatArray

    def winner(self, objective: int) -> int:
        """Index of the best design in one objective."""
        return int(np.argmin(self.losses[:, objective]))


def run(config: DictConfig) -> None:
    """Print whether the winner changes and write table, tornado and page."""
    (name,) = references(config.study, "study", at_least=1)[:1]
    settings = config.sensitivity
    study = open_study(name, Path(str(config.out_dir)))
    factors = checked_factors(settings.factors)
    constants = instantiate(settings.constants, "sensitivity.constants")
    designs = chosen_designs(study, int(settings.designs))
    keys = [str(key) for key in settings["keys"]]
    changed = {(k, f): scaled(study.config, k, f, constants) for k in keys for f in factors}
    columns = concatenate_columns([trial.columns for trial in designs.values()])
    outcomes = [Outcome("", 1.0, priced(study.config, columns))]
    for (key, factor), node in changed.items():
        with label_errors(f"sensitivity: {key} x {factor:g}"):
            outcomes.append(Outcome(key, factor, priced(node, columns)))
    labels, objectives = list(designs), study.result.goal.objectives
    tables = sensitivity_tables(outcomes, labels, objectives)
    folder = study.folder / "sensitivity"
    write_sensitivity(folder, study.name, tables, tornado(outcomes, objectives))
    show(tables, folder, quiet=bool(config.quiet))


def checked_factors(values: Any) -> list[float]:
    """Factors other than 1.

    Raises:
        UserError: If there is none, or one is not a positive number.
    """
    plain: Any = OmegaConf.to_container(values) if OmegaConf.is_config(values) else values
    factors: list[Any] = plain if isinstance(plain, list) else [plain]
    for factor in factors or [None]:
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not number or factor <= 0:
            raise UserError(f"sensitivity.factors: each must be a number > 0, got {factors}")
    return [float(factor) for factor in factors]


def chosen_designs(study: RecordedStudy, most: int) -> dict[str, Trial]:
    """Label -> trial: the best of every objective, the front (thinned), then the baselines.

    Raises:
        UserError: If no trial is feasible.
    """
    result = study.result
    tags = result.reader.tags()
    best = [t.number for m in result.goal.metrics if (t := result.best_of(m)) is not None]
    numbers = [*best, study.best().number]
    numbers += thinned(result.front, max(0, most - len(set(numbers)))).tolist()
    numbers += [number for number, tag in enumerate(tags) if tag and "baseline" in tag]
    chosen = {}
    for number in dict.fromkeys(numbers):
        name = tags[number].get("baseline") if tags[number] else None
        chosen[f"trial {number} ({name})" if name else f"trial {number}"] = result.trial(number)
    return chosen


def scaled(
    config: DictConfig, key: str, factor: float, constants: Mapping[str, float]
) -> DictConfig:
    """The configuration with one constant multiplied wherever the evaluator or the space has it.

    Args:
        config: A recorded, resolved configuration.
        key: `group.path.to.constant`; the group may lie anywhere below the evaluator or the space.
        factor: What it is multiplied with.
        constants: Values of constants that a configuration need not state, by their last name.

    Raises:
        UserError: If the study does not use the group, or the constant has no number.
    """
    group, _, rest = key.partition(".")
    places = group_places(config, group)
    if not places or not rest:
        near = nearest(group, sorted({path.split(".")[-1] for path in mapping_paths(config)}))
        raise UserError(f"sensitivity.keys: {key!r}: the study uses no {group!r}{near}")
    copy = config.copy()
    for place in places:
        path = f"{place}.{rest}"
        value = OmegaConf.select(config, path)
        if value is None:
            value = constants.get(rest.rpartition(".")[2])
        if value is None:
            names = [*constants, *(name for name, _ in flattened(_plain(config, place)))]
            near = nearest(rest.rpartition(".")[2], names)
            raise UserError(f"sensitivity.keys: {key!r} is no constant of this study{near}")
        OmegaConf.update(copy, path, scaled_value(value, factor, key), force_add=True)
    return copy


def _plain(config: DictConfig, path: str) -> Any:
    return OmegaConf.to_container(OmegaConf.select(config, path))


def group_places(config: DictConfig, group: str) -> list[str]:
    """Dotted paths of every mapping called `group` from which prices come.

    >>> group_places(OmegaConf.create({"evaluator": {"model": {"technology": {}}}}), "technology")
    ['evaluator.model.technology']
    """
    return [path for path in mapping_paths(config) if path.rpartition(".")[2] == group]


def mapping_paths(config: DictConfig) -> list[str]:
    """Dotted paths of all mappings at or below the evaluator and the space."""
    found: list[str] = []

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            found.append(path)
            for name, child in node.items():
                visit(child, f"{path}.{name}")

    for top in PRICED:
        if top in config:
            visit(_plain(config, top), top)
    return found


def scaled_value(value: Any, factor: float, key: str) -> Any:
    """A number, or a text that begins with one, multiplied.

    >>> scaled_value(8, 0.5, "k"), scaled_value("25.6GB/s", 2, "k")
    (4.0, '51.2GB/s')
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) * factor
    match = _NUMBER.match(value) if isinstance(value, str) else None
    if match is None:
        raise UserError(f"sensitivity.keys: {key}: {value!r} is no number, it cannot be scaled")
    return f"{float(match[1]) * factor:.12g}{match[2]}"


def priced(config: DictConfig, columns: Columns) -> FloatArray:
    """Objectives of the designs under a configuration, inf where infeasible, (designs, m)."""
    problem = build_problem(config)
    evaluation: Evaluation = evaluate_points(problem.space, problem.evaluator, columns)
    problem.goal.check(evaluation)
    evaluation = problem.goal.constrain(evaluation)
    feasible = evaluation.feasible[:, None]
    return np.where(feasible, problem.goal.losses(evaluation), np.inf)


def sensitivity_tables(
    outcomes: Sequence[Outcome], labels: Sequence[str], objectives: Sequence[Objective]
) -> dict[str, Rows]:
    """One table per objective: winner under every change, and how far the recorded one is off."""
    base = outcomes[0]
    tables: dict[str, Rows] = {}
    for index, objective in enumerate(objectives):
        old = base.winner(index)
        rows = []
        for outcome in outcomes:
            new = outcome.winner(index)
            losses = outcome.losses[:, index]
            values = objective.loss(losses[[new, old]])
            rows.append(
                {
                    "constant": short_key(outcome.key) or "as recorded",
                    "factor": outcome.factor,
                    "winner": labels[new],
                    "changed": bool(losses[new] < losses[old]),
                    f"{objective.metric} of the winner": float(values[0]),
                    f"of {labels[old]}": float(values[1]),
                    "against recorded": float(
                        values[0] / objective.loss(base.losses[[old], index])[0]
                    ),
                }
            )
        tables[f"Best {objective.metric}"] = rows
    return tables


def short_key(key: str) -> str:
    """The group and the last name of a dotted key.

    >>> short_key("technology.values.sram_pj"), short_key("hardware.clock")
    ('technology: sram_pj', 'hardware: clock')
    """
    return f"{key.split('.')[0]}: {key.rpartition('.')[2]}" if key else ""


def tornado(outcomes: Sequence[Outcome], objectives: Sequence[Objective]) -> Figure:
    """Bars of the recorded winner's first objective over every constant, the widest on top."""
    base = outcomes[0]
    index = base.winner(0)
    recorded = abs(base.losses[index, 0]) or 1.0
    swings: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes[1:]:
        ratio = abs(outcome.losses[index, 0]) / recorded
        swings.setdefault(outcome.key, []).append((outcome.factor, float(ratio)))
    order = sorted(swings, key=lambda key: -max(abs(ratio - 1) for _, ratio in swings[key]))
    figure, axes = new_axes("Sensitivity", f"{objectives[0].metric} / as recorded", "")
    for position, key in enumerate(order):
        for factor, ratio in swings[key]:
            colour = PALETTE[0] if factor < 1 else PALETTE[1]
            axes.barh(position, ratio - 1, left=1, color=colour, height=0.6)
            axes.annotate(f"x {factor:g}", (ratio, position), fontsize=7, va="center")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(order)), [short_key(key) for key in order], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    figure.set_size_inches(SIZE_IN[0], max(2.5, 0.4 * len(order) + 1.4))
    return figure


def write_sensitivity(folder: Path, name: str, tables: Mapping[str, Rows], figure: Figure) -> Path:
    """Tables (CSV, LaTeX, JSON), the tornado (PNG, PDF) and one HTML page; returns the page."""
    from strategies.reporting.report import ReportContent, write_report, write_tables

    write_tables(folder / "tables", tables)
    save_figures({"tornado": figure}, folder / "figures")
    (folder / "sensitivity.json").write_text(json.dumps(tables, indent=2), encoding="utf-8")
    content = ReportContent(
        title=f"Sensitivity of {name}",
        question="Constants scaled one at a time: does the winner change?",
        command=command_line(),
        tables=tables,
    )
    return write_report(folder / "report.html", content)
