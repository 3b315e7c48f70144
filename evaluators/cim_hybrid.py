"""The best mixture of mappings under an array budget, solved exactly.

Every site picks one (mapping, rule, block); stages run one after another, parallel sites of a stage
together. That is a multiple-choice knapsack, which HiGHS solves in milliseconds; searches over
`CimMappingSpace` can be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.analog_cim import AnalogCim
from spaces.cim_mapping import ORGANISATION, CimDesigns, CimMappingSpace

Floats = NDArray[np.float64]

GOALS = ("token_latency_ns", "energy_pj")
"""What the mixture minimises."""


@dataclass(frozen=True)
class Hybrid:
    """An optimal mixture.

    Attributes:
        design: A batch of one.
        value: Of the goal, all digital work included.
        arrays: Arrays used.
    """

    design: CimDesigns
    value: float
    arrays: float


def best_hybrid(
    evaluator: AnalogCim, space: CimMappingSpace, budget: int, goal: str = "token_latency_ns"
) -> Hybrid:
    """The mixture with the least latency of a token, or energy, within a number of arrays.

    The organisation is the first value of each choice.

    Raises:
        ValueError: If no mixture fits the budget (the message says what would), or for an unknown
            goal.
    """
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}, got {goal!r}")
    options = space.site_options
    sites = len(space.model.sites)
    uniform = CimDesigns(
        space.model,
        space.choices,
        np.zeros((len(options), len(ORGANISATION)), dtype=np.int64),
        np.repeat(options[:, None, :], sites, axis=1),
    )
    columns = evaluator.site_columns(uniform)
    fits = columns["excess"] <= 0
    arrays = np.where(fits, columns["arrays"], np.inf)
    smallest = float(arrays.min(axis=0).sum())
    if smallest > budget:
        raise ValueError(f"array_budget must be >= {smallest:g} for this model, got {budget}")
    cost = columns["time_ns" if goal == "token_latency_ns" else "energy_pj"]
    picked = _solve(space, cost, arrays, budget, by_stage=goal == "token_latency_ns")
    site = options[picked][None]
    design = CimDesigns(space.model, space.choices, uniform.organisation[:1], site)
    metrics = evaluator.evaluate(design).metrics
    return Hybrid(design, float(metrics[goal][0]), float(metrics["arrays"][0]))


def _solve(
    space: CimMappingSpace, cost: Floats, arrays: Floats, budget: int, by_stage: bool
) -> NDArray[np.intp]:
    """Option of every site: minimise the sum over stages of the slowest site, or of all sites."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    options, sites = cost.shape
    stages = [site.stage if by_stage else i for i, site in enumerate(space.model.sites)]
    names = sorted(set(stages))
    weight = {
        s: float(site.layers) if by_stage else 1.0
        for s, site in zip(stages, space.model.sites, strict=True)
    }
    width = options * sites + len(names)
    scale = float(np.max(cost[np.isfinite(arrays)])) or 1.0
    objective = np.zeros(width)
    objective[options * sites :] = [weight[name] for name in names]
    one, slow = np.zeros((sites, width)), np.zeros((sites, width))
    for i in range(sites):
        mine = slice(i * options, (i + 1) * options)
        one[i, mine] = 1.0
        slow[i, mine] = cost[:, i] / scale
        slow[i, options * sites + names.index(stages[i])] = -1.0
    used = np.zeros(width)
    used[: options * sites] = np.where(np.isfinite(arrays), arrays, 0.0).T.reshape(-1)
    upper = np.full(width, np.inf)
    upper[: options * sites] = np.isfinite(arrays).T.reshape(-1)
    integral = np.zeros(width, dtype=np.int64)
    integral[: options * sites] = 1
    found = milp(
        objective,
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(slow, -np.inf, 0),
            LinearConstraint(used[None], -np.inf, budget),
        ],
        integrality=integral,
        bounds=Bounds(0, upper),
        options={"mip_rel_gap": 0.0},
    )
    assert found.x is not None, found.message
    chosen = np.asarray(found.x[: options * sites]).reshape(sites, options)
    return np.asarray(chosen.argmax(axis=1), dtype=np.intp)
