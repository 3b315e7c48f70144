"""The product without the command line: compose, run, look.

::

    from strategies.tasks.notebook import compose, run_study
    study = run_study(compose(["+experiment=llama_decode", "tracking=none"]))
    study.trials        # a pandas frame; study.front the non-dominated rows of it
    study.best          # a design, drawn by the notebook
    study.plot("pareto_front")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from strategies.problem import Problem
from strategies.reporting.study_result import StudyResult
from strategies.tasks.instantiate import instantiate, make_strategy
from strategies.tasks.study import (
    Setup,
    baseline_columns,
    config_node,
    open_log,
    prepare,
    seed_of,
)
from strategies.tuning.tuner import Tuner

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CONFIGS = Path(__file__).resolve().parent.parent.parent / "conf"
"""The configuration groups of the command line."""


@dataclass(frozen=True)
class FoundDesign:
    """One design of a study.

    Attributes:
        number: Of its trial.
        params: Parameter name -> value.
        metrics: Metric name -> value.
        text: The design in words, as its space describes it.
    """

    number: int
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    text: str

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value:.6g}" for name, value in self.metrics.items())
        return f"FoundDesign(trial {self.number}: {metrics})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td style='text-align:right'>{value:.6g}</td></tr>"
            for name, value in self.metrics.items()
        )
        return f"<b>trial {self.number}</b><table>{rows}</table><pre>{escape(self.text)}</pre>"


@dataclass(frozen=True)
class Plot:
    """A figure that a notebook draws.

    Attributes:
        figure: To change or to save.
    """

    figure: Figure

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.figure.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


class Study:
    """A finished study.

    Args:
        setup: What was searched, and where its record is.
        result: What was found.
    """

    def __init__(self, setup: Setup, result: StudyResult):
        self.setup = setup
        self.result = result

    @property
    def trials(self) -> pd.DataFrame:
        """Every trial as one row."""
        return self.result.frame()

    @property
    def best(self) -> FoundDesign | None:
        """The best design (of several objectives: the knee of the front); None when all failed."""
        best = self.result.best
        return None if best is None else self.design(best.number)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of the non-dominated trials."""
        return self.trials.iloc[[int(number) for number in self.result.front]]

    def design(self, number: int) -> FoundDesign:
        """The design of one trial."""
        from strategies.reporting.outcome import described_text

        trial = self.result.trial(number)
        space = self.setup.problem.space
        text = described_text(space.describe(space.decode(trial.columns), 0))
        return FoundDesign(number, trial.params, dict(trial.metrics), text)

    def explain(self, number: int) -> Mapping[str, Any]:
        """The evaluator's account of one trial's design."""
        space = self.setup.problem.space
        account: Mapping[str, Any] = self.setup.problem.evaluator.explain(
            space.decode(self.result.trial(number).columns)
        )
        return account

    def figures(self) -> dict[str, Figure]:
        """Every figure of the study by name."""
        from strategies.reporting.figures import study_figures

        return study_figures(self.result)

    def plot(self, name: str) -> Plot:
        """One figure; a notebook draws what a cell returns.

        Raises:
            ValueError: If there is no figure of this name.
        """
        from spaces.validation import check_choice

        figures = self.figures()
        check_choice("plot", name, figures)
        return Plot(figures[name])

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.result.counts.items())
        return f"Study({self.setup.name}: {counts}; ended by {self.result.ended_by})"


def compose(overrides: Sequence[str] = (), config_dir: str | Path = CONFIGS) -> DictConfig:
    """The configuration that the command line would compose from these words.

    Raises:
        ValueError: In one line, when a group, an option or a key does not exist.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(Path(config_dir).resolve()), version_base="1.3"):
            config: DictConfig = hydra_compose("config", overrides=list(overrides))
    except HydraException as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return config


def run_study(config: DictConfig) -> Study:
    """Search, write the record under `out_dir`, and return what was found; tracking is not used.

    Raises:
        ValueError: In one line that names the key, the rule and the value.
    """
    setup = prepare(config)
    strategy = make_strategy(config_node(setup, "strategy"), setup.problem, seed_of(setup))
    with open_log(setup) as log:
        tuner = Tuner(setup.problem, strategy, log, setup.budget)
        for name, columns in baseline_columns(setup.problem):
            tuner.enqueue(columns, {"baseline": name})
        result = tuner.run()
    return Study(setup, result)


def price(path: str | Path, config: DictConfig | None = None) -> Mapping[str, Any]:
    """What the design in a file costs, every number explained."""
    chosen = compose() if config is None else config
    account: Mapping[str, Any] = instantiate(chosen.pricing, "pricing", path=str(path))
    return account


def problem_of(config: DictConfig) -> Problem:
    """Space, evaluator and goal of a configuration, to use by hand."""
    from strategies.tasks.instantiate import build_problem

    return build_problem(config)
