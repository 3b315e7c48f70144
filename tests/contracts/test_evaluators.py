"""The evaluator contract for every evaluator: add an experiment that uses it to `EXPERIMENTS`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from evaluators.evaluation import Evaluator
from evaluators.python_function import FunctionEvaluator
from spaces.space import Space
from strategies.problem import Problem
from strategies.tasks.instantiate import build_problem
from tests.contracts.evaluator_contract import EvaluatorContract
from tests.strategies.problems import MIXED, bowl_problem

CONFIG_DIR = Path(__file__).parents[2] / "conf"
SMALL = ["workload=gemm", "workload.M=64", "workload.N=96", "workload.K=128"]
WITHOUT_PHASE = ["~workload.phase", "~workload.batch", "~workload.context"]
EXPERIMENTS: dict[str, list[str]] = {
    "operator_mapping": [],
    "cim_mapping_search": [],
    "block_diagonal_cim": [],
    "adc_sweep": [],
    "flexcim": [],
    "llama_decode": [*SMALL, *WITHOUT_PHASE],
    "pareto_energy_latency": SMALL,
    "pareto_energy_accuracy": [],
    "llama_codesign": [
        "space.groups=1",
        "space.patterns=[2:4]",
        "space.knobs.spatial={array: {choices: [8]}}",
        "space.analog.block=[0]",
        "workload.shape.hidden=512",
        "workload.shape.feed_forward=1024",
    ],
}
"""Experiment -> overrides that keep its evaluation small."""


def composed(experiment: str) -> Problem:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", [f"+experiment={experiment}", *EXPERIMENTS[experiment]])
    return build_problem(config)


class TestEvaluators(EvaluatorContract):
    @pytest.fixture(scope="class", params=["bowl", "function", *EXPERIMENTS])
    def problem(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Problem:
        if request.param == "bowl":
            return bowl_problem()
        if request.param == "function":
            file = tmp_path_factory.mktemp("user") / "mine.py"
            names = ", ".join(MIXED)
            file.write_text(f"def evaluate({names}):\n    return {{'energy_pj': tile_m + scale}}\n")
            bowl = bowl_problem()
            return Problem(bowl.space, FunctionEvaluator(str(file)), bowl.goal)
        return composed(str(request.param))

    @pytest.fixture
    def space(self, problem: Problem) -> Space:
        return problem.space

    @pytest.fixture
    def evaluator(self, problem: Problem) -> Evaluator:
        return problem.evaluator
