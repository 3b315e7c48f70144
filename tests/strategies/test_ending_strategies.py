"""Strategies that search by the structure of the cost and then end: exact and gradient."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.mappings.mapping_space import MappingSpace
from spaces.parameters import checked_columns
from spaces.workloads.workload import matmul
from strategies.exact.exact_search import exact_search
from strategies.exact_strategy import ExactStrategy
from strategies.gradient_strategy import GradientStrategy
from strategies.objective import make_goal
from strategies.problem import Problem
from strategies.strategy import Strategy
from strategies.tuning.batches import batch_length
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner
from tests.contracts.strategy_contract import priced, searched
from tests.strategies.problems import bowl_problem
from tests.strategies.test_progressive_sampler import HARDWARE

MAKERS = {
    "exact": ExactStrategy,
    "exact front": partial(ExactStrategy, objective="pareto"),
    "gradient": partial(GradientStrategy, starts=3, steps=40),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest):
    return MAKERS[request.param]


@pytest.fixture
def problem() -> Problem:
    accelerator = SparseAccelerator(matmul("small", {"M": 4, "K": 8, "N": 8}), HARDWARE)
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    return Problem(space, accelerator, make_goal(["edp_pj_cycles"]))


def test_proposals_are_points_of_the_space_until_the_search_ends(make, problem) -> None:
    strategy = make(problem, seed=0)
    assert isinstance(strategy, Strategy)
    asked = 0
    while batch_length(columns := strategy.ask(5)):
        assert batch_length(columns) <= 5
        checked_columns(problem.space.parameters, columns)
        strategy.tell(columns, priced(problem, columns))
        asked += 1
    assert asked >= 1
    assert batch_length(strategy.ask(5)) == 0


def test_the_same_seed_gives_the_same_search(make, problem) -> None:
    assert searched(problem, make(problem, seed=4)) == searched(problem, make(problem, seed=4))


def test_points_it_did_not_propose_do_no_harm(make, problem) -> None:
    strategy = make(problem, seed=0)
    given = problem.space.sample(5, np.random.default_rng(1))
    strategy.tell(given, priced(problem, given))
    assert batch_length(strategy.ask(3)) >= 1


def test_the_exact_strategy_ends_with_the_certified_optimum(problem) -> None:
    strategy = ExactStrategy(problem)
    assert strategy.gap == np.inf
    assert not strategy.stages
    log = in_memory_log(problem.meta("exact"))
    result = Tuner(problem, strategy, log, Budget(trials=9, gap=0.0)).run()
    best = exact_search(problem.evaluator.cost_terms(), "edp").lower_bound
    assert result.best.metrics["edp_pj_cycles"] == pytest.approx(best)
    assert strategy.gap == 0.0
    assert [stage.name for stage in strategy.stages][-1] == "refinement"


def test_an_evaluator_without_cost_terms_is_refused(make) -> None:
    with pytest.raises(ValueError, match="needs an evaluator with cost terms, got Bowl"):
        make(bowl_problem(["energy_pj"]), seed=0)
