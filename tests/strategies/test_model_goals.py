"""Goals of whole models against every mapping of every operator, literally."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.mappings.loop_nest import MappingBatch
from strategies.exact.exact_search import exact_search
from strategies.exact.model_search import Front, undominated
from strategies.nested_search import NestedSearch
from tests.strategies.mapping_oracle import all_costs, own_sizes, size_of_enumeration
from tests.strategies.model_oracle import every_sum
from tests.strategies.small_problems import small_problem

COUNTS = (1, 3, 2)
MODELS = 8
LARGEST = 4e4
"""Mappings of one operator that are enumerated at most, about."""


class SmallModel:
    """Three small operators, each with the formats of its accelerator."""

    def __init__(self, parts: tuple[SparseAccelerator, ...]) -> None:
        self.parts = parts
        self.problems = tuple(range(len(parts)))
        self.counts = COUNTS
        self.clock_hz = parts[0].hardware.clock_hz

    def part_name(self, part: int) -> str:
        return f"operator {part}"

    def rules(self, part: int) -> None:
        return None

    def alternatives(self, decisions, part: int):
        return (self.parts[part].cost_terms().format_choices,)

    def total(self, costs):
        names = ("energy_pj", "memory_energy_pj", "latency_cycles", "latency_s")
        sums = {n: sum(c * m[n] for c, m in zip(COUNTS, costs, strict=True)) for n in names}
        return {**sums, "edp_j_s": sums["energy_pj"] * 1e-12 * sums["latency_s"]}

    def explain_parts(self, found: list[MappingBatch]):
        return {}


@cache
def small_models() -> tuple[SmallModel, ...]:
    """Models of operators that have a valid mapping and are quick to enumerate."""
    parts = []
    seed = 0
    while len(parts) < MODELS * len(COUNTS):
        seed += 1
        drawn = small_problem(seed, sparse=seed % 2 == 1)
        quick = size_of_enumeration(drawn, own_sizes(drawn)) <= LARGEST
        if quick and len(all_costs(drawn)[0]):
            parts.append(drawn)
    step = len(COUNTS)
    return tuple(SmallModel(tuple(parts[i : i + step])) for i in range(0, len(parts), step))


def every_total(model: SmallModel, metric: str = "energy_pj") -> tuple[np.ndarray, np.ndarray]:
    """Energy and latency of every choice of an undominated mapping per operator."""
    fronts = []
    for part, count in zip(model.parts, COUNTS, strict=True):
        energy, cycles = all_costs(part, metric=metric)
        keep = undominated(energy, cycles)
        fronts.append(Front(energy[keep], cycles[keep], count))
    return every_sum(fronts)


def found(model: SmallModel, goal: str) -> dict[str, float]:
    """Metrics and violations of the model's best mappings."""
    nested = NestedSearch(model, partial(exact_search, mapspace="uneven_runs"), threads=1)
    evaluation = nested.evaluate({"mapping_goal": np.array([goal], object)})
    named = {**evaluation.metrics, **evaluation.violations}
    return {name: float(values[0]) for name, values in named.items()}


@pytest.mark.parametrize("number", range(MODELS))
def test_the_product_of_the_sums_is_least(number: int) -> None:
    model = small_models()[number]
    energy, cycles = every_total(model)
    metrics = found(model, "edp")
    assert metrics["energy_pj"] * metrics["latency_cycles"] == pytest.approx(
        (energy * cycles).min()
    )
    assert metrics["goal_gap"] <= 1e-9
    assert metrics["goal_bound"] == pytest.approx(metrics["edp_j_s"])


@pytest.mark.parametrize("number", range(MODELS))
@pytest.mark.parametrize("kind", ["energy", "memory_energy"])
def test_least_energy_within_every_latency_that_matters(number: int, kind: str) -> None:
    model = small_models()[number]
    energy, cycles = every_total(model, f"{kind}_pj")
    budgets = cycles[undominated(energy, cycles)]
    for budget in np.unique(budgets[[0, len(budgets) // 2, -1]]):
        seconds = float(budget) / model.clock_hz * (1 + 1e-10)
        metrics = found(model, f"{kind} within {seconds!r}s")
        assert metrics["over_budget"] == 0.0
        assert metrics["latency_cycles"] <= budget * (1 + 1e-9)
        assert metrics[f"{kind}_pj"] == pytest.approx(energy[cycles <= budget].min())
        assert metrics["goal_gap"] <= 1e-9


@pytest.mark.parametrize("number", range(MODELS))
def test_least_latency_within_every_energy_that_matters(number: int) -> None:
    model = small_models()[number]
    energy, cycles = every_total(model)
    budgets = energy[undominated(energy, cycles)]
    for budget in np.unique(budgets[[0, len(budgets) // 2, -1]]):
        metrics = found(model, f"latency within {float(budget) * (1 + 1e-10)!r}pJ")
        assert metrics["energy_pj"] <= budget * (1 + 1e-9)
        assert metrics["latency_cycles"] == pytest.approx(cycles[energy <= budget].min())
        assert metrics["goal_gap"] <= 1e-9


def test_a_budget_that_no_mappings_meet_is_proven_so() -> None:
    model = small_models()[0]
    _, cycles = every_total(model)
    metrics = found(model, f"energy within {float(cycles.min()) / 2 / model.clock_hz!r}s")
    assert metrics["over_budget"] == pytest.approx(1.0)
    assert metrics["latency_cycles"] == pytest.approx(cycles.min())
    assert metrics["goal_gap"] == 0.0


def test_operators_that_choose_alone_miss_the_least_product() -> None:
    """Why the combination is worth its name: own products, summed up, are worse somewhere."""
    worse = 0
    for model in small_models():
        together = found(model, "edp")
        results = [exact_search(p.cost_terms(), "edp", "uneven_runs") for p in model.parts]
        energy = sum(c * float(r.energy_pj[0]) for c, r in zip(COUNTS, results, strict=True))
        cycles = sum(c * float(r.latency_cycles[0]) for c, r in zip(COUNTS, results, strict=True))
        worse += energy * cycles > together["energy_pj"] * together["latency_cycles"] * 1.001
    assert worse


def test_the_whole_front_is_merged() -> None:
    for model in small_models():
        energy, cycles = every_total(model)
        keep = undominated(energy, cycles)
        nested = NestedSearch(model, partial(exact_search, mapspace="uneven_runs"), threads=1)
        front = nested.front({"mapping_goal": "edp"})
        assert front.complete
        assert [row["energy_pj"] for row in front.rows()] == pytest.approx(energy[keep])
        assert [row["latency_s"] * model.clock_hz for row in front.rows()] == pytest.approx(
            cycles[keep]
        )
