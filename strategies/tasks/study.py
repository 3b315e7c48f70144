"""`task=study`: builds what the configuration names, searches, and writes down what was found.

Nothing is written before everything has been built: a mistake in the configuration leaves no trace.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omegaconf import DictConfig, OmegaConf

from spaces.space import Columns
from strategies.passwords import without_passwords
from strategies.problem import Problem
from strategies.reporting.study_result import StudyResult
from strategies.strategy import StagedStrategy, StageRecord, StatingStrategy, Strategy
from strategies.tasks.instantiate import build_problem, instantiate, make_strategy
from strategies.tasks.invocation import (
    ARTIFACTS,
    CONFIG_FILE,
    HOW_TO_RUN,
    TRIALS_FILE,
    chosen_options,
    command_line,
    default_name,
    sweep_name,
    task_overrides,
)
from strategies.tasks.user_errors import UserError
from strategies.tuning.budget import Budget
from strategies.tuning.memory import free_memory, return_large_arrays
from strategies.tuning.trial_log import TrialLog, create_log, resume_log
from strategies.tuning.tuner import Observer, Tuner

if TYPE_CHECKING:
    from strategies.tracking.tracking import MlflowTracker, TrackingSettings

CERTIFICATE = "certificate.json"
"""Among the designs of a study whose strategy proved something."""


@runtime_checkable
class GivesBaselines(Protocol):
    """Optional capability of an evaluator: designs that every study should evaluate first."""

    def baselines(self, parameters: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """Baseline name -> value of every parameter."""
        ...


@dataclass(frozen=True)
class Setup:
    """Everything a study needs, built from the configuration.

    Attributes:
        name: Of the study and of its folder.
        folder: Where its record and its artifacts go.
        problem: Space, evaluator and goal.
        budget: When to stop.
        config: The resolved configuration as plain data.
        resumed: True when the folder holds a study to go on with.
        tracking: Where trials are tracked; None = nowhere.
    """

    name: str
    folder: Path
    problem: Problem
    budget: Budget
    config: Mapping[str, Any]
    resumed: bool
    tracking: TrackingSettings | None


def run(config: DictConfig) -> float | None:
    """Run the study; returns the best value of its first objective, for sweeps."""
    return_large_arrays()
    setup = prepare(config)
    strategy = make_strategy(config_node(setup, "strategy"), setup.problem, seed_of(setup))
    with kept_log(setup) as log, ExitStack() as stack:
        earlier = len(log)
        tracker = open_tracker(setup, log)
        observers: list[Observer] = [] if setup.config["quiet"] else [progress_line()]
        if tracker is not None:
            observers.append(stack.enter_context(tracker))
        tuner = Tuner(setup.problem, strategy, log, setup.budget, observers)
        for name, columns in baseline_columns(setup.problem):
            tuner.enqueue(columns, {"baseline": name})
        if setup.config["warm_start"]:
            tuner.enqueue(earlier_designs(setup), {"warm_start": setup.config["warm_start"]})
        result = tuner.run()
        best = result.best_of(setup.problem.goal.metrics[0])
        publish(setup, result, tracker, strategy)
        bundle(setup, tracker)
    show_tracking(setup, tracker)
    if setup.resumed and result.n_trials == earlier:
        hint = {"trials": "budget.trials", "seconds": "budget.seconds"}.get(result.ended_by, "")
        hint = hint and f": give a larger {hint}"
        print(f"note: no trial was added to the {earlier} recorded{hint}", file=sys.stderr)
    if result.ended_by == "interrupted":
        raise KeyboardInterrupt
    if result.counts.get("failed", 0) == result.n_trials > 0:
        reason = next(iter(result.reader.failures()))
        raise UserError(f"every trial failed, most often with: {reason}")
    return None if best is None else float(best.metrics[setup.problem.goal.metrics[0]])


def stages_of(strategy: Strategy | None) -> Sequence[StageRecord]:
    """What the stages of the search did; empty for strategies without stages."""
    return strategy.stages if isinstance(strategy, StagedStrategy) else ()


def publish(
    setup: Setup,
    result: StudyResult,
    tracker: MlflowTracker | None,
    strategy: Strategy | None = None,
) -> None:
    """Write the artifacts of a study, hand them to the tracker, and show what was found."""
    from strategies.exact.certificate import certificate_json, certificate_text
    from strategies.reporting.foreign_results import with_foreign
    from strategies.reporting.outcome import gather, write_outcome
    from strategies.reporting.printed_outcome import print_json, print_outcome
    from strategies.reporting.stages import TITLE, stage_metrics, stage_rows

    folder = setup.folder / ARTIFACTS
    findings = gather(setup.problem.space, setup.problem.evaluator, result)
    findings = with_foreign(findings, setup.config.get("foreign"), result)
    stages = stages_of(strategy)
    if stages:
        findings = replace(findings, tables={**findings.tables, TITLE: stage_rows(stages)})
    if isinstance(strategy, StatingStrategy) and strategy.statement:
        statement = dict(strategy.statement)
        findings = replace(
            findings,
            texts={**findings.texts, "Certificate": certificate_text(statement)},
            files={**findings.files, CERTIFICATE: certificate_json(statement)},
        )
    free_memory()
    write_outcome(folder, findings, result, command_line())
    if tracker is not None:
        tracker.add_artifacts(folder)
        tracker.add_artifacts(setup.folder / CONFIG_FILE)
        tracker.add_metrics(breakdown_metrics(findings.breakdown) | stage_metrics(stages))
    show = print_json if setup.config["quiet"] else print_outcome
    show(findings, folder)


def bundle(setup: Setup, tracker: MlflowTracker | None) -> None:
    """One zip of the study, from which `task=reproduce` prices every number again."""
    from strategies.tasks.bundle import write_bundle
    from strategies.tasks.recorded_study import study_in

    path = write_bundle(study_in(setup.folder), setup.folder / f"{setup.name}.zip")
    if tracker is not None:
        tracker.add_artifacts(path)
    if not setup.config["quiet"]:
        print(f"bundle: {path}\n  check it: python run.py task=reproduce study={path}")


def show_tracking(setup: Setup, tracker: MlflowTracker | None) -> None:
    """How to look at the tracked study; known once its parent run exists."""
    if tracker is not None and tracker.link and not setup.config["quiet"]:
        print(f"MLflow UI: {tracker.command or 'on the tracking server'}\n  then {tracker.link}")


def breakdown_metrics(breakdown: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`breakdown/GROUP/PART` -> energy [pJ], as tracked on the parent run."""
    return {
        f"breakdown/{group}/{part}_pj": float(value)
        for group, parts in breakdown.items()
        for part, value in parts.items()
    }


def prepare(config: DictConfig) -> Setup:
    """Build the problem and check the budget, without writing anything.

    Raises:
        ValueError: One line that names the key, the rule and the value.
    """
    resumed = config.resume is not None
    if resumed:
        config = resumed_config(config)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if not resumed:
        plain |= {"sweep": sweep_name(config.sweep), "overrides": task_overrides()}
    check_foreign(plain.get("foreign") or ())
    problem = build_problem(config)
    name = str(config.resume) if resumed else free_name(config)
    return Setup(
        name=name,
        folder=Path(str(config.out_dir)) / name,
        problem=problem,
        budget=instantiate(
            {"_target_": "strategies.tuning.budget.Budget", **plain["budget"]}, "budget"
        ),
        config=plain,
        resumed=resumed,
        tracking=tracking_settings(config),
    )


def check_foreign(paths: Sequence[str]) -> None:
    """Read other tools' results before anything runs, so that a mistake costs no search."""
    if paths:
        from strategies.reporting.foreign_results import read_foreign

        for path in paths:
            read_foreign(path)


def config_node(setup: Setup, key: str) -> DictConfig:
    """One group of the resolved configuration."""
    node: DictConfig = OmegaConf.create(dict(setup.config))[key]
    return node


def seed_of(setup: Setup) -> int:
    """The study's seed.

    Raises:
        UserError: When it is not a whole number >= 0.
    """
    seed = setup.config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed: must be a whole number >= 0, got {seed!r}")
    return seed


def progress_line() -> Observer:
    """The progress line, on stderr so that tables can be piped."""
    from rich.console import Console

    from strategies.reporting.terminal import ProgressLine

    return ProgressLine(Console(stderr=True))


def tracking_settings(config: DictConfig) -> TrackingSettings | None:
    """Where the study is tracked, None when tracking is off; the store must answer.

    Raises:
        ValueError: In one line, when the settings are wrong or the store cannot be reached.
    """
    if config.tracking.uri is None:
        return None
    from strategies.tracking.mlflow_store import check_store

    params = {"choices": chosen_options(), "seed": config.seed, "overrides": task_overrides()}
    params |= {"set": dict(text.lstrip("+~").split("=", 1) for text in task_overrides())}
    sweep = sweep_name(config.sweep)
    tags = {**config.tracking.get("tags", {}), **({"sweep": sweep} if sweep else {})}
    node = {k: v for k, v in config.tracking.items() if k != "tags"}
    settings: TrackingSettings = instantiate(node, "tracking", params=params, tags=tags)
    check_store(settings.uri)
    return settings


def open_tracker(setup: Setup, log: TrialLog) -> MlflowTracker | None:
    """The tracker of this study; None when tracking is off."""
    if setup.tracking is None:
        return None
    from strategies.tracking.tracking import MlflowTracker

    return MlflowTracker(setup.tracking, log, setup.problem.space)


def open_log(setup: Setup) -> TrialLog:
    """Create the folder and the record, or reopen them; the resolved configuration goes beside.

    A resume keeps the configuration but for its budget, which it may change.
    """
    public = without_passwords(setup.config)
    meta = setup.problem.meta(setup.name, seed_of(setup), public)
    file = setup.folder / CONFIG_FILE
    if not setup.resumed:
        log = create_log(setup.folder / TRIALS_FILE, meta)
        OmegaConf.save(OmegaConf.create(public), file)
        return log
    log = resume_log(setup.folder / TRIALS_FILE, meta)
    recorded = OmegaConf.load(file)
    if OmegaConf.select(recorded, "budget") != public["budget"]:
        OmegaConf.update(recorded, "budget", public["budget"], merge=False)
        OmegaConf.save(recorded, file)
    return log


@contextmanager
def kept_log(setup: Setup) -> Iterator[TrialLog]:
    """The record of the study; one that fails before its first trial leaves no trace."""
    empty = False
    try:
        with open_log(setup) as log:
            try:
                yield log
            finally:
                empty = not setup.resumed and len(log) == 0
    except Exception:
        if empty:
            for path in (setup.folder / CONFIG_FILE, *setup.folder.glob(f"{TRIALS_FILE}*")):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # holds files that are not ours
                setup.folder.rmdir()
        raise


def baseline_columns(problem: Problem) -> list[tuple[str, Columns]]:
    """The evaluator's baselines as batches of one, where it has any."""
    if not isinstance(problem.evaluator, GivesBaselines):
        return []
    parameters = problem.space.parameters
    named = problem.evaluator.baselines(parameters)
    return [
        (name, problem.space.encode(problem.space.from_json([dict(values)])))
        for name, values in named.items()
    ]


def earlier_designs(setup: Setup) -> Columns:
    """The best designs of an earlier study of the same folder, in this space."""
    from strategies.tasks.warm_start import warm_start

    path = setup.folder.parent / str(setup.config["warm_start"]) / TRIALS_FILE
    return warm_start(path, setup.problem.space, seed=seed_of(setup))


def free_name(config: DictConfig) -> str:
    """The given name, or one made of what differs from the defaults, with a number if taken.

    Raises:
        UserError: When the given name cannot name a folder in `out_dir`.
    """
    if config.name:
        name = str(config.name)
        if name in (".", "..") or Path(name).name != name:
            raise UserError(f"name: must be a folder's name without a path, got {name!r}")
        return name
    stem = default_name(task_overrides(), int(config.seed))
    name, count = stem, 1
    while (Path(str(config.out_dir)) / name).exists():
        count += 1
        name = f"{stem}-{count}"
    return name


def resumed_config(config: DictConfig) -> DictConfig:
    """The recorded configuration of a study, with the values now given on the command line.

    Raises:
        UserError: If there is no such study, or a value given now would change what it searches.
    """
    file = Path(str(config.out_dir)) / str(config.resume) / CONFIG_FILE
    if not file.is_file():
        names = sorted(path.parent.name for path in file.parent.parent.glob(f"*/{CONFIG_FILE}"))
        raise UserError(f"resume: no study {config.resume!r} in {config.out_dir}; known: {names}")
    recorded = OmegaConf.load(file)
    assert isinstance(recorded, DictConfig)
    for override in task_overrides():
        key = override.lstrip("+~").partition("=")[0]
        if key.split(".")[0] not in HOW_TO_RUN | {"budget"}:
            raise UserError(f"resume: {key} cannot change in a resumed study, only budget.* can")
        if "." in key or not isinstance(OmegaConf.select(recorded, key), DictConfig):
            OmegaConf.update(recorded, key, OmegaConf.select(config, key))
        else:
            recorded[key] = config[key]
    return recorded
