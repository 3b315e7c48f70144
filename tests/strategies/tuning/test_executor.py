from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from strategies.tuning.batches import batch_length, concatenate, take_columns
from strategies.tuning.executor import ProcessExecutor, SerialExecutor, make_executor
from tests.strategies.problems import Bowl, Deadly, bowl_problem

SPACE = bowl_problem().space


def test_only_the_guilty_point_of_a_batch_fails() -> None:
    columns = SPACE.sample(50, np.random.default_rng(0))
    evaluation = SerialExecutor(SPACE, Bowl(fail_below=3)).evaluate(columns)
    guilty = np.flatnonzero(columns["tile_m"] < 3)
    assert sorted(evaluation.failures) == guilty.tolist() != []
    alone = Bowl().evaluate(columns)
    good = np.setdiff1d(np.arange(50), guilty)
    np.testing.assert_array_equal(
        evaluation.metrics["energy_pj"][good], alone.metrics["energy_pj"][good]
    )
    assert np.isnan(evaluation.metrics["energy_pj"][guilty]).all()


def test_a_process_that_dies_costs_the_point_it_died_of() -> None:
    columns = SPACE.sample(12, np.random.default_rng(1))
    columns["tile_m"][:] = np.arange(12) + 1
    columns["tile_m"][4] = 0
    executor = ProcessExecutor(SPACE, Deadly(), workers=2)
    evaluation = executor.evaluate(columns)
    executor.close()
    assert dict(evaluation.failures) == {4: "the worker process died (killed, or out of memory)"}
    assert np.isfinite(np.delete(evaluation.metrics["energy_pj"], 4)).all()


def test_an_evaluator_of_the_wrong_length_is_a_failure() -> None:
    class Short(Bowl):
        def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
            return super().evaluate(take_columns(designs, slice(0, 1)))

    evaluation = SerialExecutor(SPACE, Short()).evaluate(SPACE.sample(3, np.random.default_rng(0)))
    assert len(evaluation) == 3
    assert not evaluation.failures  # one by one, a single result is right

    class Empty(Bowl):
        def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
            return Evaluation({"energy_pj": np.empty(0)})

    evaluation = SerialExecutor(SPACE, Empty()).evaluate(SPACE.sample(2, np.random.default_rng(0)))
    assert set(evaluation.failures) == {0, 1}
    assert "returned 0 results for 1 designs" in evaluation.failures[0]


def test_joining_fills_what_a_part_lacks_with_nan() -> None:
    left = Evaluation({"a": np.ones(2)}, {"c": np.zeros(2)})
    right = Evaluation({"a": np.ones(1), "b": np.ones(1)}, failures={0: "x"})
    joined = concatenate([left, right])
    assert joined.metrics["a"].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(joined.metrics["b"], [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(joined.violations["c"], [0.0, 0.0, np.nan])
    assert dict(joined.failures) == {2: "x"}


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="workers: must be >= 1, got 0"):
        make_executor(SPACE, Bowl(), 0)
    assert isinstance(make_executor(SPACE, Bowl(), 1), SerialExecutor)
    assert batch_length({}) == 0
