"""What every strategy must do; a fixture lists the implementations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.parameters import checked_columns
from spaces.space import Columns
from strategies.problem import Problem
from strategies.strategy import Strategy
from strategies.tuning.batches import batch_length, evaluate_points
from strategies.tuning.budget import Budget
from strategies.tuning.pace import SteadyStrategy
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner

Maker = Callable[[Problem, int], Strategy]
N_TRIALS = 40


def priced(problem: Problem, columns: Columns) -> Evaluation:
    return problem.goal.constrain(evaluate_points(problem.space, problem.evaluator, columns))


def searched(problem: Problem, strategy: Strategy, trials: int = N_TRIALS) -> list[list[object]]:
    """Parameters and metrics of a study, row by row."""
    log = in_memory_log(problem.meta("contract"))
    result = Tuner(problem, strategy, log, Budget(trials=trials)).run()
    frame = result.frame()
    kept = [name for name in frame.columns if name.startswith(("param/", "metric/"))]
    return [list(row) for row in frame[kept].itertuples(index=False)]


class StrategyContract:
    """Inherit, and provide the fixtures `problem` and `maker`."""

    @pytest.fixture
    def problem(self) -> Problem:
        raise NotImplementedError("provide a problem")

    @pytest.fixture
    def maker(self) -> Maker:
        raise NotImplementedError("provide a maker of strategies")

    def test_is_a_strategy(self, maker: Maker, problem: Problem) -> None:
        assert isinstance(maker(problem, 0), Strategy)

    def test_proposes_at_most_what_is_asked_and_in_range(
        self, maker: Maker, problem: Problem
    ) -> None:
        strategy = maker(problem, 0)
        for n in (1, 7, 3):
            columns = strategy.ask(n)
            assert 1 <= batch_length(columns) <= n
            assert list(columns) == list(problem.space.parameters)
            checked_columns(problem.space.parameters, columns)
            strategy.tell(columns, priced(problem, columns))

    def test_same_seed_same_search(self, maker: Maker, problem: Problem) -> None:
        assert searched(problem, maker(problem, 5)) == searched(problem, maker(problem, 5))

    def test_is_restored_by_asking_again_and_telling_the_record(
        self, maker: Maker, problem: Problem
    ) -> None:
        whole, first, second = (maker(problem, 3) for _ in range(3))
        asked = []
        for _ in range(6):
            columns = first.ask(8)
            asked.append(columns)
            first.tell(columns, priced(problem, columns))
        for columns in asked:
            second.ask(batch_length(columns))
            second.tell(columns, priced(problem, columns))
        for _ in range(6):
            columns = whole.ask(8)
            whole.tell(columns, priced(problem, columns))
        expected, restored = whole.ask(8), second.ask(8)
        for name in expected:
            assert np.array_equal(restored[name], expected[name])

    def test_a_steady_strategy_proposes_the_same_in_any_portions(
        self, maker: Maker, problem: Problem
    ) -> None:
        rows: list[list[tuple[object, ...]]] = []
        for portions in ((40,) * 40, (1, 2, 3, 4) * 20):
            strategy = maker(problem, 2)
            if not isinstance(strategy, SteadyStrategy):
                return
            proposed: list[tuple[object, ...]] = []
            for portion in portions:
                columns = strategy.ask(portion)
                if batch_length(columns) == 0:
                    break
                strategy.tell(columns, priced(problem, columns))
                lists = (np.asarray(values).tolist() for values in columns.values())
                proposed += zip(*lists, strict=True)
            rows.append(proposed[:150])
        assert rows[0] == rows[1]
        assert len(rows[0]) == 150

    def test_accepts_points_it_did_not_propose(self, maker: Maker, problem: Problem) -> None:
        strategy = maker(problem, 0)
        given = problem.space.sample(5, np.random.default_rng(9))
        strategy.tell(given, priced(problem, given))
        columns = strategy.ask(4)
        strategy.tell(given, priced(problem, given))
        assert batch_length(strategy.ask(4)) >= 1
        assert batch_length(columns) >= 1

    def test_survives_failed_trials(self, maker: Maker, problem: Problem) -> None:
        strategy = maker(problem, 0)
        for _ in range(8):
            columns = strategy.ask(6)
            good = priced(problem, columns)
            metrics = {name: values.copy() for name, values in good.metrics.items()}
            for values in metrics.values():
                values[0] = np.nan
            strategy.tell(columns, Evaluation(metrics, good.violations, {0: "broken"}))
        assert batch_length(strategy.ask(2)) >= 1

    def test_goes_on_after_a_budget_cut_a_batch(self, maker: Maker, problem: Problem) -> None:
        strategy = maker(problem, 0)
        columns = strategy.ask(33)
        strategy.tell(columns, priced(problem, columns))
        for _ in range(3):
            columns = strategy.ask(3)
            assert batch_length(columns) <= 3
            strategy.tell(columns, priced(problem, columns))
