"""The strategy contract for every file of `conf/strategy`: add a file there and it is tested."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from strategies.problem import Problem
from strategies.strategy import Strategy
from strategies.tasks.instantiate import make_strategy
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.contracts.strategy_contract import Maker, StrategyContract
from tests.strategies.problems import DISCRETE, bowl_problem

FOLDER = Path(__file__).parents[2] / "conf" / "strategy"
NEEDS_A_MODEL = {"shortlist", "progressive", "exact", "gradient", "nm_selection"}
"""Strategies of accelerator problems only; their own tests run the contract on one."""

NEEDS_A_DATABASE = {"shared"}
"""Strategies with a memory outside the process; tested with a real database elsewhere."""

NAMES = sorted(
    path.stem for path in FOLDER.glob("*.yaml") if path.stem not in NEEDS_A_MODEL | NEEDS_A_DATABASE
)
SLOW = {"gp"}
"""Seconds per trial: run in the smoke test below, not through the whole contract."""

NEEDS_TORCH = {"gp"}
"""Torch comes with the extra `llm`."""

ONE_OBJECTIVE = {"cmaes", "pymoo_ga", "pymoo_de"}


def strategy_config(name: str) -> Any:
    tree = OmegaConf.create({"seed": 1, "strategy": OmegaConf.load(FOLDER / f"{name}.yaml")})
    return tree.strategy


def build(name: str, problem: Problem, seed: int) -> Strategy:
    return make_strategy(strategy_config(name), problem, seed)


def problem_for(name: str) -> Problem:
    metrics = ["energy_pj"] if name in ONE_OBJECTIVE else ["energy_pj", "latency_cycles"]
    return bowl_problem(metrics, ["latency_cycles <= 150"], definitions=DISCRETE)


class TestStrategies(StrategyContract):
    @pytest.fixture(params=[name for name in NAMES if name not in SLOW])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def problem(self, name: str) -> Problem:
        return problem_for(name)

    @pytest.fixture
    def maker(self, name: str) -> Maker:
        return partial(build, name)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.llm] if n in NEEDS_TORCH else []) for n in NAMES],
)
def test_every_strategy_file_finds_feasible_trials(name: str) -> None:
    problem = problem_for(name)
    trials = 12 if name in SLOW else 60
    log = in_memory_log(problem.meta("smoke"))
    result = Tuner(problem, build(name, problem, 0), log, Budget(trials=trials)).run()
    assert result.n_trials == trials
    assert result.best is not None
    assert result.best.metrics["latency_cycles"] <= 150
