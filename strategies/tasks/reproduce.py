"""`task=reproduce study=NAME` (or a bundle): price everything again and fail on a difference.

Every trial is decoded and evaluated from the recorded configuration; tables, designs and summary
are made again and compared number by number with those the study left behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from evaluators.evaluation import MODEL_VERSION, Evaluation, FloatArray
from strategies.problem import Problem
from strategies.reporting.study_result import StudyResult
from strategies.reporting.terminal import Rows
from strategies.tasks.bundle import unpacked
from strategies.tasks.invocation import ARTIFACTS
from strategies.tasks.recorded_study import RecordedStudy, open_study, references, study_in
from strategies.tasks.user_errors import UserError
from strategies.tuning.batches import evaluate_points
from strategies.tuning.trial_batch import TrialBatch

STATE = "state"
_NUMBER = re.compile(r"-?\b\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\b")


@dataclass
class Check:
    """Numbers of one kind, compared with their recomputed values.

    Attributes:
        what: `metric/...`, `violation/...`, `state` or the name of a file.
        compared: Numbers compared.
        different: Of them beyond the tolerance.
        worst: Largest relative deviation.
        where: The first difference, for people.
    """

    what: str
    compared: int = 0
    different: int = 0
    worst: float = 0.0
    where: str = ""

    def add(self, deviation: FloatArray, tolerance: float, first: int = 0) -> None:
        """Count relative deviations of consecutive trials (or numbers), shape (n,)."""
        bad = np.flatnonzero(deviation > tolerance)
        self.compared += len(deviation)
        self.different += len(bad)
        self.worst = max(self.worst, float(deviation.max(initial=0.0)))
        if len(bad) and not self.where:
            self.where = f"first at {first + int(bad[0])}"


def run(config: DictConfig) -> None:
    """Print what was compared.

    Raises:
        UserError: If any number differs, after the table.
    """
    (name,) = references(config.study, "study", at_least=1)[:1]
    tolerance = float(config.reproduce.tolerance)
    if not 0 <= tolerance < 1:
        raise UserError(f"reproduce.tolerance: must be in [0, 1), got {tolerance}")
    with opened(name, Path(str(config.out_dir))) as study:
        checks = [*check_trials(study, tolerance), *check_artifacts(study, tolerance)]
        rows = [check_row(check) for check in checks]
        _show(f"Study {study.name}, priced again", rows, quiet=bool(config.quiet))
        different = sum(check.different for check in checks)
        if different:
            total = sum(check.compared for check in checks)
            recorded = study.result.reader.meta.model_version
            models = f"; model {recorded} then, {MODEL_VERSION} now" * (recorded != MODEL_VERSION)
            raise UserError(
                f"reproduce: {different} of {total} numbers differ beyond {tolerance:g}{models}"
            )


@contextmanager
def opened(reference: str, out_dir: Path) -> Iterator[RecordedStudy]:
    """A study by name, by folder or in a bundle."""
    if reference.endswith(".zip"):
        with unpacked(Path(reference)) as folder:
            yield study_in(folder)
    else:
        yield open_study(reference, out_dir)


def check_trials(study: RecordedStudy, tolerance: float) -> list[Check]:
    """Every metric, violation and state of every trial."""
    checks: dict[str, Check] = {STATE: Check(STATE)}
    for batch in study.result.reader.batches():
        again = repriced(study.problem, batch)
        same = _states(batch.evaluation) == _states(again)
        checks[STATE].add(1.0 - same.astype(float), 0.5, batch.first)
        groups = (
            ("metric", batch.evaluation.metrics, again.metrics),
            ("violation", batch.evaluation.violations, again.violations),
        )
        for kind, recorded, now in groups:
            for name, values in recorded.items():
                check = checks.setdefault(f"{kind}/{name}", Check(f"{kind}/{name}"))
                new = now.get(name, np.full(len(batch), np.nan))
                check.add(relative_deviation(values, new), tolerance, batch.first)
    return list(checks.values())


def repriced(problem: Problem, batch: TrialBatch) -> Evaluation:
    """The batch evaluated again, with the constraints of the goal."""
    evaluation = evaluate_points(problem.space, problem.evaluator, batch.columns)
    if len(evaluation.failures) == len(evaluation):
        return evaluation
    problem.goal.check(evaluation)
    return problem.goal.constrain(evaluation)


def _states(evaluation: Evaluation) -> NDArray[np.int64]:
    """2 = feasible, 1 = infeasible, 0 = failed, per trial."""
    states = 1 + evaluation.feasible.astype(np.int64)
    states[list(evaluation.failures)] = 0
    return states


def relative_deviation(recorded: FloatArray, now: FloatArray) -> FloatArray:
    """|recorded - now| / the larger magnitude; 0 where equal or both nan, inf where one is nan.

    >>> relative_deviation(np.array([2.0, np.nan, 1.0]), np.array([1.0, np.nan, np.nan])).tolist()
    [0.5, 0.0, inf]
    """
    recorded, now = np.asarray(recorded, float), np.asarray(now, float)
    equal = (recorded == now) | (np.isnan(recorded) & np.isnan(now))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.maximum(np.abs(recorded), np.abs(now))
        deviation = np.abs(recorded - now) / size
    return np.where(equal, 0.0, np.where(np.isfinite(deviation), deviation, np.inf))


def check_artifacts(study: RecordedStudy, tolerance: float) -> list[Check]:
    """Every table, design and the summary, made again; empty when the study left none."""
    from strategies.reporting.outcome import gather, write_findings

    folder = study.folder / ARTIFACTS
    if not (folder / "summary.json").is_file():
        return []
    ended_by = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["ended_by"]
    result = StudyResult(study.result.reader, study.result.goal, str(ended_by))
    checks = []
    with TemporaryDirectory() as scratch:
        findings = gather(study.problem.space, study.problem.evaluator, result)
        for path in write_findings(Path(scratch), findings):
            name = str(path.relative_to(scratch))
            checks.append(check_text(name, folder / name, path.read_text(), tolerance))
    return checks


def check_text(name: str, recorded: Path, now: str, tolerance: float) -> Check:
    """Compare two texts: the same words, and numbers within the tolerance."""
    check = Check(name)
    text = recorded.read_text(encoding="utf-8") if recorded.is_file() else ""
    if _NUMBER.sub("0", text) != _NUMBER.sub("0", now):
        return Check(name, compared=1, different=1, worst=np.inf, where="another text")
    numbers = [np.array([float(m) for m in _NUMBER.findall(t)]) for t in (text, now)]
    check.add(relative_deviation(*numbers), tolerance)
    return check


def check_row(check: Check) -> dict[str, Any]:
    """One line of the table."""
    return {
        "what": check.what,
        "numbers": check.compared,
        "different": check.different,
        "largest deviation": check.worst,
        "where": check.where,
    }


def _show(title: str, rows: Rows, quiet: bool) -> None:
    if quiet:
        print(json.dumps({"checks": rows}))
        return
    from strategies.reporting.terminal import output_console, print_table

    print_table(output_console(), title, rows)
