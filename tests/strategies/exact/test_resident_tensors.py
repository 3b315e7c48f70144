"""Tensors that stay on chip: the exact search against literal enumeration, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from strategies.exact.exact_search import exact_search
from tests.strategies.comparison import Costs, differences
from tests.strategies.mapping_oracle import all_costs
from tests.strategies.small_problems import SmallProblem, random_problem

SEEDS = range(8)


def with_residents(seed: int, room: tuple[int, int] = (-40, 300)) -> SmallProblem:
    """A random small problem with one or two uncompressed tensors resident in level 1.

    `room`: range of the bits added to what level 1 holds.
    """
    rng = np.random.default_rng(seed)
    problem = random_problem(seed)
    plain = problem.accelerator
    chosen = rng.permutation(3)[: int(rng.integers(1, 3))]
    tensors = tuple(
        replace(tensor, resident=t in chosen) for t, tensor in enumerate(plain.operator.tensors)
    )
    stay = {tensor.name for tensor in tensors if tensor.resident}
    outer, home, *inner = plain.hardware.levels
    bits = max(8.0, home.capacity_bits + float(rng.integers(*room)))
    levels = (replace(outer, fan_out={}), replace(home, capacity_bits=bits), *inner)
    accelerator = replace(
        plain,
        operator=replace(plain.operator, tensors=tensors),
        hardware=replace(plain.hardware, levels=levels),
        formats={name: table for name, table in plain.formats.items() if name not in stay},
    )
    return replace(problem, accelerator=accelerator)


@lru_cache
def enumerated(seed: int) -> Costs:
    problem = with_residents(seed)
    return all_costs(problem.accelerator, problem.sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_optimum_and_front_equal_enumeration(seed: int) -> None:
    problem = with_residents(seed)
    for objective in ("energy", "latency", "edp", "pareto"):
        found = exact_search(
            problem.accelerator.cost_terms(), objective, "uneven_runs", padding=problem.sizes
        )
        assert differences(problem, found, enumerated(seed)) == []


def test_both_outcomes_occur() -> None:
    assert {bool(len(enumerated(seed)[0])) for seed in SEEDS} == {True, False}


def test_too_little_room_is_named() -> None:
    problem = with_residents(3, room=(-(10**6), -(10**6) + 1))
    found = exact_search(problem.accelerator.cost_terms())
    assert found.mapping is None
    assert "what stays there takes" in found.reason
