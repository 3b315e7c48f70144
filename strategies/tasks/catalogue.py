"""`task=list`: every experiment with its question, its seconds and what it needs.

An experiment file begins with comment lines `# key: text`; they are the source of this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from strategies.tasks.user_errors import CONFIG_DIR, UserError

FIELDS = ("command", "question", "seconds", "needs")


@dataclass(frozen=True)
class Experiment:
    """What an experiment file says of itself.

    Attributes:
        name: File name without its ending; `+experiment=NAME` runs it.
        command: The whole command.
        question: The question it answers.
        seconds: Expected wall-clock seconds on two cores.
        needs: What must be installed or present beyond the base installation.
    """

    name: str
    command: str
    question: str
    seconds: str
    needs: str


def read_experiment(path: Path) -> Experiment:
    """Read the head of an experiment file.

    Raises:
        UserError: When one of the four header lines is missing.
    """
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        key, _, text = line.lstrip("# ").partition(":")
        found[key.strip()] = text.strip()
    for field in FIELDS:
        if not found.get(field):
            raise UserError(f"{path.name}: header line '# {field}: ...' is missing")
    return Experiment(path.stem, *(found[field] for field in FIELDS))


def experiments(directory: Path = CONFIG_DIR / "experiment") -> list[Experiment]:
    """All experiments of a directory, by name."""
    return [read_experiment(path) for path in sorted(directory.glob("*.yaml"))]


def run(_config: DictConfig) -> None:
    """Print the table of experiments."""
    from rich.table import Table

    from strategies.reporting.terminal import output_console

    table = Table(title="python run.py +experiment=…")
    table.add_column("experiment", no_wrap=True)
    for name in ("question", "seconds", "needs"):
        table.add_column(name)
    for experiment in experiments():
        table.add_row(experiment.name, experiment.question, experiment.seconds, experiment.needs)
    output_console().print(table)
