"""Small problems that the strategy tests share; importable, so that worker processes find them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.parameter_space import ParameterSpace
from strategies.objective import make_goal
from strategies.problem import Problem

MIXED: Mapping[str, Mapping[str, Any]] = {
    "tile_m": {"low": 0, "high": 12},
    "tile_k": {"low": 0, "high": 12},
    "scale": {"low": 0.01, "high": 10.0, "log": True},
    "format": {"choices": ["none", "bitmap", "rle"]},
}
DISCRETE = {"x": {"low": 0, "high": 9}, "y": {"low": 0, "high": 9}, "k": {"choices": ["a", "b"]}}


@dataclass(frozen=True)
class Bowl:
    """Two opposed bowls over the numeric parameters, and a price per format.

    Attributes:
        fail_below: Designs with a first parameter below it raise.
        seconds: Time an evaluation of a batch takes.
    """

    fail_below: int = 0
    seconds: float = 0.0

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        time.sleep(self.seconds)
        names = list(designs)
        first = np.asarray(designs[names[0]], dtype=float)
        if (first < self.fail_below).any():
            raise ArithmeticError(f"{names[0]} is too small")
        numbers = np.stack([np.asarray(designs[n], dtype=float) for n in names[:-1]], axis=1)
        price = np.array([len(str(label)) for label in designs[names[-1]]], dtype=float)
        return Evaluation(
            {
                "energy_pj": (numbers**2).sum(axis=1) + price,
                "latency_cycles": ((numbers - 8) ** 2).sum(axis=1) + price,
            },
            {"capacity": numbers[:, 0] / 20 - 0.5},
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"process": os.getpid()}


def bowl_problem(
    metrics: Sequence[str] = ("energy_pj", "latency_cycles"),
    constraints: Sequence[str] = (),
    evaluator: Bowl | None = None,
    definitions: Mapping[str, Mapping[str, Any]] = MIXED,
) -> Problem:
    """A study of the bowls."""
    return Problem(
        ParameterSpace(definitions),
        evaluator or Bowl(),
        make_goal(metrics, constraints=constraints),
    )


class Deadly(Bowl):
    """Ends its process for some designs, as a crash in compiled code does."""

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        if (np.asarray(designs["tile_m"]) == 0).any():
            os._exit(9)
        return super().evaluate(designs)
