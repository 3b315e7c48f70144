"""Every experiment runs a few trials, and says what it is for."""

from pathlib import Path

import pytest

from strategies.tasks.catalogue import experiments, read_experiment
from tests.test_run import run

ROOT = Path(__file__).resolve().parent.parent
FEW_TEXTS = ["evaluator.fidelity.held_out_texts=12", "evaluator.fidelity.calibration.sequences=8"]
"""Overrides that keep the experiments on the real model short."""

MEASURED = {experiment.name for experiment in experiments() if "'llm'" in experiment.needs}
NAMES = [
    pytest.param(experiment.name, marks=[pytest.mark.llm] if experiment.name in MEASURED else [])
    for experiment in experiments()
]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_three_trials(name: str, tmp_path: Path) -> None:
    shorter = FEW_TEXTS if name in MEASURED else []
    result = run(f"+experiment={name}", "budget.trials=3", "tracking=none", *shorter, out=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (next(tmp_path.glob(f"{name}*")) / "artifacts" / "report.html").is_file()


def test_a_missing_header_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# command: python run.py +experiment=mine\n# question: why?\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: header line '# seconds: \.\.\.' is missing"):
        read_experiment(path)
