"""`task=dry_run`: what a study would search, how long it would take and what it would write.

Nothing is written. The study is rehearsed: its own strategy searches for a few trials or seconds
with the record in memory, and the artifacts of that go to a temporary folder, whose listing is the
list of files. The rate of the rehearsal's second half is what the estimate goes by, because the
first trials also pay for compilation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from strategies.objective import Goal
from strategies.passwords import redacted
from strategies.reporting.ending import size_text
from strategies.reporting.study_result import StudyResult
from strategies.reporting.terminal import Rows
from strategies.tasks.instantiate import instantiate, make_strategy
from strategies.tasks.invocation import ARTIFACTS, CONFIG_FILE, TRIALS_FILE, command_line
from strategies.tasks.study import Setup, baseline_columns, config_node, prepare, seed_of
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner

REHEARSED_TRIALS = 60
REHEARSED_S = 10.0
"""Whichever is reached first ends the rehearsal."""


@dataclass(frozen=True)
class Rehearsal:
    """A short search, timed.

    Attributes:
        counts: Trials per state.
        finished: True when the strategy had nothing left to propose.
        start_up_s: From the first proposal to the first recorded batch [s].
        trial_s: Of one trial, without tracking [s].
        artifacts: Path below the study's folder -> size [bytes].
        artifacts_s: Time to make them [s].
    """

    counts: Mapping[str, int]
    finished: bool
    start_up_s: float
    trial_s: float
    artifacts: Mapping[str, int]
    artifacts_s: float

    @property
    def n_trials(self) -> int:
        """Trials rehearsed."""
        return sum(self.counts.values())


def run(config: DictConfig) -> None:
    """Print the plan of the study that this configuration names."""
    setup = prepare(_without_tracking(config))
    rehearsal = rehearse(setup)
    tables = {
        f"Study {setup.name}": plan_rows(setup, rehearsal),
        "Parameters": parameter_rows(setup.problem.space.parameters),
        f"Would be written to {setup.folder}": file_rows(setup, rehearsal),
        "Would be tracked": tracking_rows(config, setup),
    }
    if setup.config["quiet"]:
        print(json.dumps({"tables": tables}, default=str))
        return
    from strategies.reporting.terminal import output_console, print_table

    console = output_console()
    for title, rows in tables.items():
        print_table(console, title, rows)
    words = [word for word in command_line().split(" ") if word != "task=dry_run"]
    console.print(f"Nothing was written. Run it: {' '.join(words)}", soft_wrap=True)


def _without_tracking(config: DictConfig) -> DictConfig:
    """The configuration with tracking off, so that building the study touches no store."""
    copy = config.copy()
    OmegaConf.update(copy, "tracking.uri", None)
    return copy


def rehearse(setup: Setup) -> Rehearsal:
    """Search for a moment in memory and write the artifacts of it to a temporary folder."""
    trials = min(REHEARSED_TRIALS, setup.budget.trials or REHEARSED_TRIALS)
    strategy = make_strategy(config_node(setup, "strategy"), setup.problem, seed_of(setup))
    with in_memory_log(setup.problem.meta(setup.name, seed_of(setup), setup.config)) as log:
        budget = Budget(trials=trials, seconds=REHEARSED_S)
        tuner = Tuner(setup.problem, strategy, log, budget)
        for name, columns in baseline_columns(setup.problem):
            tuner.enqueue(columns, {"baseline": name})
        result = tuner.run()
        started = time.monotonic()
        artifacts = _artifacts(setup, result)
        start_up_s, trial_s = _pace(result)
        return Rehearsal(
            counts=result.counts,
            finished=result.ended_by == "finished",
            start_up_s=start_up_s,
            trial_s=trial_s,
            artifacts=artifacts,
            artifacts_s=time.monotonic() - started,
        )


def _pace(result: StudyResult) -> tuple[float, float]:
    """(seconds to the first batch, seconds per trial in the later half of the batches)."""
    ends = [(0, 0.0)]
    for batch in result.reader.batches():
        ends.append((batch.first + len(batch), batch.elapsed_s))
    if len(ends) == 1:
        return 0.0, math.nan
    if len(ends) == 2:
        return ends[1][1], ends[1][1] / ends[1][0]
    (n_half, s_half), (n_last, s_last) = ends[len(ends) // 2], ends[-1]
    return ends[1][1], (s_last - s_half) / (n_last - n_half)


def _artifacts(setup: Setup, result: StudyResult) -> dict[str, int]:
    from strategies.reporting.outcome import gather, write_outcome

    with TemporaryDirectory() as scratch:
        findings = gather(setup.problem.space, setup.problem.evaluator, result)
        write_outcome(Path(scratch), findings, result, command_line())
        files = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        return {str(p.relative_to(scratch)): p.stat().st_size for p in files}


def planned_trials(setup: Setup, rehearsal: Rehearsal) -> int | None:
    """Trials of the whole study; None when neither the budget nor the strategy limits them."""
    if rehearsal.finished:
        return rehearsal.n_trials
    return setup.budget.trials


def expected_seconds(setup: Setup, rehearsal: Rehearsal) -> float | None:
    """Search and artifacts [s]; None when nothing bounds the search."""
    trials = planned_trials(setup, rehearsal)
    limits = [] if setup.budget.seconds is None else [float(setup.budget.seconds)]
    if trials is not None and math.isfinite(rehearsal.trial_s):
        limits.append(rehearsal.start_up_s + max(0, trials - 1) * rehearsal.trial_s)
    return min(limits) + rehearsal.artifacts_s if limits else None


def plan_rows(setup: Setup, rehearsal: Rehearsal) -> Rows:
    """What is searched, how and for how long."""
    expected = expected_seconds(setup, rehearsal)
    counts = ", ".join(f"{count} {state}" for state, count in rehearsal.counts.items())
    facts = {
        "searched": size_text(setup.problem.space.size),
        "parameters": str(len(setup.problem.space.parameters)),
        "objectives": goal_text(setup.problem.goal),
        "strategy": strategy_text(setup.config["strategy"]),
        "seed, workers": f"{seed_of(setup)}, {setup.problem.workers}",
        "budget": budget_text(setup.budget),
        "rehearsed": f"{rehearsal.n_trials} trials ({counts or 'none'})",
        "start-up": f"{rehearsal.start_up_s:.2g} s",
        "per trial": f"{rehearsal.trial_s * 1e3:.3g} ms",
        "artifacts": f"{rehearsal.artifacts_s:.2g} s",
        "expected": "until the strategy ends" if expected is None else expected_text(expected),
    }
    return [{"what": what, "value": value} for what, value in facts.items()]


def expected_text(seconds: float) -> str:
    """The estimate with its bias: trials that share inner searches get cheaper as a study goes on.

    >>> expected_text(12.3)
    '12 s, less where trials share work'
    """
    return f"{seconds:.0f} s, less where trials share work"


def goal_text(goal: Goal) -> str:
    """Objectives with their directions, then the constraints."""
    wanted = ", ".join(f"{o.direction} {o.metric}" for o in goal.objectives)
    limits = ", ".join(constraint.name for constraint in goal.constraints)
    return f"{wanted}; subject to {limits}" if limits else wanted


def strategy_text(node: Mapping[str, Any]) -> str:
    """The class that searches, with the library's class inside it.

    >>> strategy_text({"_target_": "a.Strategy", "sampler": {"_target_": "b.TPESampler"}})
    'Strategy(TPESampler)'
    """
    name = str(node["_target_"]).rpartition(".")[2]
    inner = [
        str(v["_target_"]) for v in node.values() if isinstance(v, Mapping) and "_target_" in v
    ]
    return f"{name}({', '.join(text.rpartition('.')[2] for text in inner)})" if inner else name


def budget_text(budget: Budget) -> str:
    """The limits that are set.

    >>> budget_text(Budget(trials=60, seconds=10))
    '60 trials or 10 s'
    """
    limits = [] if budget.trials is None else [f"{budget.trials} trials"]
    limits += [] if budget.seconds is None else [f"{budget.seconds:g} s"]
    limits += [] if budget.gap is None else [f"a gap of {budget.gap:g}"]
    return " or ".join(limits) or "until the strategy ends"


def parameter_rows(parameters: Mapping[str, BaseDistribution]) -> Rows:
    """Name, kind and range of every parameter."""
    rows = []
    for name, distribution in parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            shown = ", ".join(str(choice) for choice in distribution.choices[:6])
            more = len(distribution.choices) - 6
            text = f"{shown}, and {more} more" if more > 0 else shown
            rows.append({"parameter": name, "kind": "choice", "values": text})
        else:
            kind = type(distribution).__name__.replace("Distribution", "").lower()
            scale = ", logarithmic" if getattr(distribution, "log", False) else ""
            low, high = getattr(distribution, "low", ""), getattr(distribution, "high", "")
            rows.append({"parameter": name, "kind": kind, "values": f"{low} to {high}{scale}"})
    return rows


def file_rows(setup: Setup, rehearsal: Rehearsal) -> Rows:
    """Every file below the study's folder."""
    trials = planned_trials(setup, rehearsal)
    head = {
        CONFIG_FILE: "the resolved configuration",
        TRIALS_FILE: f"the record: {'all' if trials is None else trials} trials",
        f"{setup.name}.zip": "the bundle that task=reproduce checks",
    }
    sizes = {
        f"{ARTIFACTS}/{name}": f"about {math.ceil(size / 1024)} KiB"
        for name, size in rehearsal.artifacts.items()
    }
    return [{"file": name, "what": what} for name, what in {**head, **sizes}.items()]


def tracking_rows(config: DictConfig, setup: Setup) -> Rows:
    """Every kind of MLflow run, with its number."""
    node = config.tracking
    if node.uri is None:
        return []
    settings = instantiate(node, "tracking")
    trials = setup.budget.trials
    if trials is not None and trials <= settings.max_child_runs:
        children = f"{trials} nested runs, one per trial"
    else:
        children = (
            f"at most {settings.max_child_runs} nested runs and those of the best, the winners "
            f"and the front; every trial in trials.parquet and in metric histories"
        )
    where = f"{redacted(settings.uri)}, experiment {settings.experiment}"
    parent = f"run {settings.run_name or setup.name}, with every file above but the record"
    return [{"where": where, "what": parent}, {"where": where, "what": children}]
