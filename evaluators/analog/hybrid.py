"""The best mixture of mappings under an array budget, solved exactly.

Every site picks one (mapping, rule, block); stages run one after another, parallel sites of a stage
together. That is a multiple-choice knapsack, which HiGHS solves in milliseconds; searches over
`CimMappingSpace` can be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.analog.analog_cim import AnalogCim
from spaces.cim.mapping import ORGANISATION, CimDesigns, CimMappingSpace

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
    if goal == "token_latency_ns":
        groups = [site.stage for site in space.model.sites]
        cost, weights = columns["time_ns"], [site.layers for site in space.model.sites]
    else:
        groups = list(range(sites))
        cost, weights = columns["energy_pj"], [1] * sites
    picked = _solve(cost, arrays, budget, groups, weights)
    site = options[picked][None]
    design = CimDesigns(space.model, space.choices, uniform.organisation[:1], site)
    metrics = evaluator.evaluate(design).metrics
    return Hybrid(design, float(metrics[goal][0]), float(metrics["arrays"][0]))


def _solve(
    cost: Floats, arrays: Floats, budget: int, groups: list[int], weights: list[int]
) -> NDArray[np.intp]:
    """Option of every site that minimises the weighted sum of the groups' largest costs.

    Variables: one per (site, option), then the largest cost of each group.

    Args:
        cost, arrays: Of every option at every site, shape (options, sites); inf = impossible.
        budget: Arrays in total.
        groups: Group of each site.
        weights: Weight of each site's group.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    options, sites = cost.shape
    names = list(dict.fromkeys(groups))
    picks = options * sites
    possible = np.isfinite(arrays).T.reshape(-1)
    objective, used = np.zeros((2, picks + len(names)))
    objective[picks:] = [weights[groups.index(name)] for name in names]
    used[:picks] = np.where(possible, arrays.T.reshape(-1), 0.0)
    one, slow = _rows_per_site(cost, [names.index(group) for group in groups])
    found = milp(
        objective,
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(slow, -np.inf, 0),
            LinearConstraint(used[None], -np.inf, budget),
        ],
        integrality=np.repeat([1, 0], [picks, len(names)]),
        bounds=Bounds(0, np.concatenate([possible, np.full(len(names), np.inf)])),
        options={"mip_rel_gap": 0.0},
    )
    assert found.x is not None, found.message
    chosen = np.asarray(found.x[:picks]).reshape(sites, options)
    return np.asarray(chosen.argmax(axis=1), dtype=np.intp)


def _rows_per_site(cost: Floats, group: list[int]) -> tuple[Floats, Floats]:
    """Constraint rows: a site picks one option, and its cost is at most that of its group."""
    options, sites = cost.shape
    width = options * sites + max(group) + 1
    scale = float(cost.max()) or 1.0
    one, slow = np.zeros((2, sites, width))
    for site in range(sites):
        mine = slice(site * options, (site + 1) * options)
        one[site, mine] = 1.0
        slow[site, mine] = cost[:, site] / scale
        slow[site, options * sites + group[site]] = -1.0
    return one, slow
