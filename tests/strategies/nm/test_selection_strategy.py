"""N:M selection as a strategy: one assignment per target, budgets on the evaluator's metrics."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.sparsity.nm_sparsity import NMPattern, NMSpace
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import FloatArray, ImpossibleSelection
from strategies.nm.selection import SelectionTask
from strategies.nm.selection_strategy import NMSelectionStrategy, selection_strategy
from strategies.strategy import Strategy
from tests.strategies.nm.test_selection import synthetic

LAYERS = 8


class PricedModel:
    """A model whose latency is the layer's number times its density."""

    def statistics(self) -> NMStatistics:
        return synthetic(LAYERS)

    def unit_costs(self, patterns: Sequence[NMPattern]) -> Mapping[str, FloatArray]:
        density = np.array([pattern.density for pattern in patterns])
        return {"latency_cycles": (1.0 + np.arange(LAYERS))[:, None] * density[None, :]}


class DescribedModel:
    """A model without hardware."""

    def statistics(self) -> NMStatistics:
        return synthetic(LAYERS)


def model_space() -> NMSpace:
    statistics = synthetic(LAYERS)
    return NMSpace(statistics.layers, statistics.patterns)


def test_strategy_asks_for_every_target_once() -> None:
    statistics = synthetic(8)
    space = NMSpace(statistics.layers, statistics.patterns)
    tasks = [SelectionTask(statistics, target, 0.02) for target in (0.4, 0.5, 0.6)]
    strategy = NMSelectionStrategy(space, "retained_saliency", tasks)
    assert isinstance(strategy, Strategy)
    first = strategy.ask(2)
    assert len(first["nm.h.0.q"]) == 2
    strategy.tell(first, Evaluation({"loss": np.zeros(2)}))
    assert len(strategy.ask(2)["nm.h.0.q"]) == 1
    assert len(strategy.ask(2)["nm.h.0.q"]) == 0
    resumed = NMSelectionStrategy(space, "retained_saliency", tasks)
    resumed.tell(first, Evaluation({"loss": np.zeros(2)}))
    assert len(resumed.ask(5)["nm.h.0.q"]) == 1
    densities = space.decode(first).density
    share = statistics.parameters / statistics.parameters.sum()
    np.testing.assert_allclose(1 - densities @ share, [0.4, 0.5], atol=0.02)


def test_budgets_bind_the_metric_they_name() -> None:
    space, model = model_space(), PricedModel()
    cost = model.unit_costs(space.patterns)["latency_cycles"]

    def latency(limits: Mapping[str, float]) -> float:
        strategy = selection_strategy(
            space, model, target_sparsities=(0.5,), tolerance=0.02, budgets=limits
        )
        choice = space.decode(strategy.ask(1)).choice[0]
        return float(cost[np.arange(LAYERS), choice].sum())

    free = latency({})
    assert latency({"latency_cycles": 0.95 * free}) <= 0.95 * free + 1e-9


def test_budgets_that_cannot_be_kept_or_priced_are_explained() -> None:
    space = model_space()
    tight = selection_strategy(space, PricedModel(), budgets={"latency_cycles": 0.5})
    with pytest.raises(ImpossibleSelection, match=r"budget latency_cycles = 0\.5 cannot be met"):
        tight.ask(1)
    with pytest.raises(ValueError, match="budgets: unknown key 'latency'; did you mean"):
        selection_strategy(space, PricedModel(), budgets={"latency": 1.0})
    with pytest.raises(ValueError, match="DescribedModel has no hardware to price layers with"):
        selection_strategy(space, DescribedModel(), budgets={"latency_cycles": 1.0})
