"""What every evaluator must do; a fixture lists the implementations."""

from __future__ import annotations

import json

import cloudpickle
import numpy as np
import pytest

from evaluators.evaluation import Evaluation, Evaluator
from spaces.space import Space
from strategies.tuning.batches import take_columns

N_DESIGNS = 64


class EvaluatorContract:
    """Inherit, and provide the fixtures `space` and `evaluator`, which fit each other."""

    @pytest.fixture
    def space(self) -> Space:
        raise NotImplementedError("provide a space")

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        raise NotImplementedError("provide an evaluator")

    @pytest.fixture
    def evaluation(self, space: Space, evaluator: Evaluator) -> Evaluation:
        return evaluator.evaluate(space.decode(space.sample(N_DESIGNS, np.random.default_rng(0))))

    def test_returns_one_value_per_design(self, evaluation: Evaluation) -> None:
        assert len(evaluation) == N_DESIGNS
        for values in (*evaluation.metrics.values(), *evaluation.violations.values()):
            assert values.shape == (N_DESIGNS,)
            assert values.dtype == np.float64

    def test_nan_only_where_a_failure_is_named(self, evaluation: Evaluation) -> None:
        for name, values in evaluation.metrics.items():
            bad = set(np.flatnonzero(np.isnan(values)).tolist())
            assert bad <= set(evaluation.failures), name

    def test_is_deterministic(self, space: Space, evaluator: Evaluator) -> None:
        designs = space.decode(space.sample(N_DESIGNS, np.random.default_rng(1)))
        first, second = evaluator.evaluate(designs), evaluator.evaluate(designs)
        assert_same(first, second)

    def test_a_design_costs_the_same_alone_as_in_a_batch(
        self, space: Space, evaluator: Evaluator, evaluation: Evaluation
    ) -> None:
        columns = space.sample(N_DESIGNS, np.random.default_rng(0))
        for index in (0, N_DESIGNS // 2, N_DESIGNS - 1):
            alone = evaluator.evaluate(space.decode(take_columns(columns, [index])))
            for name, values in alone.metrics.items():
                np.testing.assert_allclose(values[0], evaluation.metrics[name][index], rtol=1e-12)

    def test_travels_to_a_worker_process(self, space: Space, evaluator: Evaluator) -> None:
        designs = space.decode(space.sample(8, np.random.default_rng(2)))
        copy = cloudpickle.loads(cloudpickle.dumps(evaluator))
        assert_same(evaluator.evaluate(designs), copy.evaluate(designs))

    def test_explains_one_design_as_plain_data(self, space: Space, evaluator: Evaluator) -> None:
        design = space.decode(space.sample(1, np.random.default_rng(3)))
        json.dumps(evaluator.explain(design))


def assert_same(first: Evaluation, second: Evaluation) -> None:
    """Both evaluations hold the same numbers under the same names."""
    assert list(first.metrics) == list(second.metrics)
    assert list(first.violations) == list(second.violations)
    assert dict(first.failures) == dict(second.failures)
    for name in first.metrics:
        np.testing.assert_array_equal(first.metrics[name], second.metrics[name])
    for name in first.violations:
        np.testing.assert_array_equal(first.violations[name], second.violations[name])
