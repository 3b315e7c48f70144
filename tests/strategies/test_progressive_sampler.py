"""The progressive sampler in a plain Optuna study."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import Evaluation
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.mappings.mapping_space import MappingSpace
from spaces.parameter_space import ParameterSpace
from spaces.workloads.workload import matmul
from strategies.compulsory import compulsory_costs
from strategies.exact.exact_search import exact_search
from strategies.optuna_strategy import STAGE
from strategies.plain_study import suggested
from strategies.progressive_sampler import ProgressiveSampler
from strategies.staged_sampler import STAGES

HARDWARE = Hardware(
    "two",
    (
        Level("DRAM", access_bits=8, read_bits_per_cycle=16, shared_port=True,
              read_energy_pj=64, write_energy_pj=64),
        Level("GLB", capacity_bits=2048, access_bits=8, fan_out={"X": 4},
              read_energy_pj=4, write_energy_pj=4),
        Level("RF", capacity_bits=256, access_bits=8, read_energy_pj=0.5, write_energy_pj=0.5),
    ),
    ComputeUnit(energy_pj=0.5),
)  # fmt: skip


@pytest.fixture
def accelerator() -> SparseAccelerator:
    return SparseAccelerator(matmul("small", {"M": 4, "K": 8, "N": 8}), HARDWARE)


def price(space: Any, evaluator: Any, trial: optuna.Trial) -> Evaluation:
    found: Evaluation = evaluator.evaluate(space.decode(suggested(trial, space)))
    return found


def test_first_proposal_is_the_optimum(accelerator: SparseAccelerator) -> None:
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    study = optuna.create_study(sampler=ProgressiveSampler(space, accelerator, seed=0))

    def edp(trial: optuna.Trial) -> float:
        return float(price(space, accelerator, trial).metrics["edp_pj_cycles"][0])

    study.optimize(edp, n_trials=12)
    best = exact_search(accelerator.cost_terms(), "edp").lower_bound
    assert study.trials[0].value == pytest.approx(best)
    assert study.trials[0].user_attrs[STAGE] == "joint"
    names = [stage["name"] for stage in study.user_attrs[STAGES]]
    assert names == ["bounds", "loop orders", "tilings", "formats", "joint", "refinement"]
    assert all(stage["entered"] >= stage["cut"] >= 0 for stage in study.user_attrs[STAGES])


def test_several_objectives_start_on_the_front(accelerator: SparseAccelerator) -> None:
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    sampler = ProgressiveSampler(space, accelerator, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def both(trial: optuna.Trial) -> tuple[float, float]:
        metrics = price(space, accelerator, trial).metrics
        return float(metrics["energy_pj"][0]), float(metrics["latency_cycles"][0])

    front = exact_search(accelerator.cost_terms(), "pareto")
    study.optimize(both, n_trials=len(front.mappings) + 5)
    found = {(round(t.values[0], 3), round(t.values[1], 3)) for t in study.best_trials}
    pairs = zip(front.energy_pj, front.latency_cycles, strict=True)
    assert found == {(round(e, 3), round(c, 3)) for e, c in pairs}


class Bowl:
    """An evaluator without any structure."""

    def evaluate(self, designs: Any) -> Evaluation:
        return Evaluation({"loss": (designs["x"] - 0.3) ** 2 + (designs["n"] - 4) ** 2})

    def explain(self, design: Any) -> dict[str, Any]:
        return {}


def test_without_structure_it_still_improves_and_is_deterministic() -> None:
    space = ParameterSpace({"x": {"low": -1.0, "high": 1.0}, "n": {"low": 0, "high": 9}})

    def run() -> list[float]:
        study = optuna.create_study(sampler=ProgressiveSampler(space, Bowl(), seed=3))
        study.optimize(
            lambda trial: float(price(space, Bowl(), trial).metrics["loss"][0]), n_trials=150
        )
        return [float(t.value or 0.0) for t in study.trials]

    values = run()
    assert values == run()
    assert min(values) < min(values[:64])
    assert min(values) < 0.01


def test_an_unknown_parameter_is_sampled_independently(accelerator: SparseAccelerator) -> None:
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    study = optuna.create_study(sampler=ProgressiveSampler(space, accelerator, seed=0))
    study.optimize(lambda trial: trial.suggest_float("other", 0.0, 1.0), n_trials=3)
    assert all(0.0 <= trial.params["other"] <= 1.0 for trial in study.trials)


class BoundedBowl(Bowl):
    """Says of negative x that it cannot be feasible."""

    def lower_bound(self, partial: Any) -> Evaluation:
        return Evaluation(
            {"loss": (partial["x"] - 0.3) ** 2}, {"x": np.where(partial["x"] < 0, 1.0, 0.0)}
        )


def test_a_lower_bound_cuts_and_orders_the_broad_draw() -> None:
    space = ParameterSpace({"x": {"low": -1.0, "high": 1.0}, "n": {"low": 0, "high": 9}})
    study = optuna.create_study(sampler=ProgressiveSampler(space, BoundedBowl(), seed=3))
    study.optimize(lambda t: float(price(space, BoundedBowl(), t).metrics["loss"][0]), n_trials=64)
    (stage,) = study.user_attrs[STAGES]
    drawn = [t.params["x"] for t in study.trials if t.user_attrs[STAGE] == "broad draw"]
    assert stage["cut"] > 0
    assert len(drawn) == stage["entered"] - stage["cut"]
    assert all(x >= 0 for x in drawn)
    assert drawn == sorted(drawn, key=lambda x: abs(x - 0.3))


def test_stages_are_logged(
    accelerator: SparseAccelerator, caplog: pytest.LogCaptureFixture
) -> None:
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    study = optuna.create_study(sampler=ProgressiveSampler(space, accelerator, seed=0))
    with caplog.at_level("INFO", logger="strategies.staged_sampler"):
        study.optimize(
            lambda t: float(price(space, accelerator, t).metrics["energy_pj"][0]), n_trials=1
        )
    lines = [r.getMessage() for r in caplog.records if r.name == "strategies.staged_sampler"]
    assert lines[0].startswith("stage 0, bounds: 1 in, 0 cut by at least")
    assert lines[5].startswith("stage 5, refinement: ")
    best = exact_search(accelerator.cost_terms(), "energy").lower_bound
    assert compulsory_costs(accelerator.cost_terms())[0] <= best


def test_later_proposals_vary_the_front(accelerator: SparseAccelerator) -> None:
    space = MappingSpace(accelerator.operator, accelerator.hardware)
    sampler = ProgressiveSampler(space, accelerator, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def both(trial: optuna.Trial) -> tuple[float, float]:
        metrics = price(space, accelerator, trial).metrics
        return float(metrics["energy_pj"][0]), float(metrics["latency_cycles"][0])

    study.optimize(both, n_trials=60)
    stages = [trial.user_attrs[STAGE] for trial in study.trials]
    later = stages[stages.index("refinement") :]
    assert later.count("refinement") > 0.7 * len(later)
    assert set(stages) <= {"joint", "front", "refinement", "random"}
