"""Batches fit the speed of the evaluator where that cannot change the result."""

from strategies.random_strategy import RandomStrategy
from strategies.tuning.pace import MAX_BATCH, Pace
from tests.strategies.problems import bowl_problem


class Unsteady:
    def ask(self, n):
        return {}

    def tell(self, columns, evaluation):
        pass


def test_a_steady_strategy_is_asked_for_about_a_second_of_work() -> None:
    pace = Pace(RandomStrategy(bowl_problem().space, 0), workers=2)
    assert pace.size == 2
    pace.learn(2, 0.01)
    assert pace.size == 4
    pace.learn(4, 8.0)
    assert pace.size == 2
    for _ in range(20):
        pace.learn(pace.size, 1e-6)
    assert pace.size == MAX_BATCH


def test_a_strategy_that_learns_from_batches_decides_their_size() -> None:
    pace = Pace(Unsteady())
    pace.learn(8, 100.0)
    assert pace.size == MAX_BATCH
