"""Which N:M each layer of a model gets: FLOW as released and corrected, retained saliency, OWL,
uniform.

Every method is a cost table for the program of `integer_program`, over plain statistics. After FLOW
(arXiv 2504.14365) and its released solver, OWL (arXiv 2310.05175) and Wanda; `docs/choices.md` and
`docs/nm_sparsity.md` say what we chose where a text was not available.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.nm_sparsity import NMPattern
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import (
    DEFAULT_TOLERANCE,
    ROUNDING,
    Budget,
    NMProgram,
    NMSelection,
    smallest_tolerance,
    solve,
    sparsity_of,
    within_budgets,
)

FloatArray = NDArray[np.float64]

RELEASED_PATTERNS = tuple(NMPattern.parse(t) for t in ("2:4", "4:4", "2:8", "4:8", "8:8"))
RELEASED_PRESENCE_WEIGHT, RELEASED_CLUSTERING_WEIGHT, RELEASED_MAXIMUM = 1.0, 4.0, 8
"""Candidates, weights a and b, and Nmax = Mmax of the released solver."""

OWL_GROUP, OWL_RANGE = 8, 0.16
"""OWL's N:M: fixed M, and the range of densities between the extreme layers, 2 lambda with the
paper's lambda = 0.08. Its README gives 2 weights of 8 (0.25) for N:M, which was worse here."""

DENSITY_SPREAD = 0.25
"""Corrected FLOW: range of the wanted density between extreme presences, relative to the mean."""


@dataclass(frozen=True)
class SelectionTask:
    """What every method is given.

    Attributes:
        statistics: Of the units that share an N:M (merge them first).
        target_sparsity: Parameter-weighted mean over all units, the dense ones included.
        tolerance: Allowed deviation.
        forced_dense: Units that keep every weight.
        budgets: Name -> limit on a per-unit cost over the statistics' patterns.
    """

    statistics: NMStatistics
    target_sparsity: float
    tolerance: float = DEFAULT_TOLERANCE
    forced_dense: frozenset[str] = frozenset()
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    def program(self, cost: FloatArray) -> NMProgram:
        """The integer program with this cost, shape (L, q)."""
        usable = ~np.isnan(self.statistics.retained_saliency)
        return NMProgram(
            layers=self.statistics.layers,
            patterns=self.statistics.patterns,
            cost=np.where(usable, cost, np.nan),
            weight=self.statistics.parameters,
            target_sparsity=self.target_sparsity,
            tolerance=self.tolerance,
            forced_dense=self.forced_dense,
            budgets=self.budgets,
        )

    @property
    def free_density(self) -> float:
        """Mean density that the units not forced dense must have to meet the target."""
        share = self.statistics.parameters / self.statistics.parameters.sum()
        dense = np.array([name in self.forced_dense for name in self.statistics.layers])
        free = float(share[~dense].sum())
        return max((1.0 - self.target_sparsity - float(share[dense].sum())) / free, 0.0)


def retained_saliency(task: SelectionTask) -> NMSelection:
    """Keep the most saliency: maximise the mean of the units' retained fractions.

    The mean is weighted by parameters, like the sparsity: a unit's fraction is worth as much as
    the weights it is paid with. Without the weights the optimum keeps small units nearly dense.
    """
    return solve(task.program(-_retained(task, "saliency")))


def retained_energy(task: SelectionTask) -> NMSelection:
    """Keep the most squared saliency, the diagonal estimate of each unit's output energy."""
    return solve(task.program(-_retained(task, "energy")))


def _retained(task: SelectionTask, measure: str) -> FloatArray:
    """Parameter share x retained fraction, shape (L, q)."""
    parameters = task.statistics.parameters
    fraction = task.statistics.retained_fraction(measure)
    return np.asarray((parameters / parameters.sum())[:, None] * fraction)


def flow_corrected(task: SelectionTask) -> NMSelection:
    """FLOW as its figure and patent mean it: more presence, larger N; more clustering, larger M.

    Unit l wants m_l = Mmin + (Mmax - Mmin) D_l with D the clustering (index of dispersion, min-max
    scaled) and n_l = d_l m_l, where the density d_l is the target's mean plus the centred presence
    O_l (min-max scaled) times `DENSITY_SPREAD`. The cost of n:m is |n/m - d_l| Mmax + |m - m_l|/4,
    so that M decides among equal densities and the released weights' proportion is inverted.
    """
    statistics = task.statistics
    sizes = np.array([pattern.m for pattern in statistics.patterns], dtype=np.float64)
    groups = sizes[[not pattern.is_dense for pattern in statistics.patterns]]
    low, high = float(groups.min()), float(groups.max())
    wanted_group = low + (high - low) * _scaled(statistics.dispersion)
    density = _wanted_density(task, DENSITY_SPREAD)
    kept = np.array([pattern.density for pattern in statistics.patterns])
    distance = np.abs(sizes[None, :] - wanted_group[:, None]) / 4.0
    distance[:, [pattern.is_dense for pattern in statistics.patterns]] = 0.0
    return solve(task.program(np.abs(kept[None, :] - density[:, None]) * high + distance))


def flow_released(task: SelectionTask) -> NMSelection:
    """The released solver, defects included, for comparison.

    Blocks only; unweighted equality of the mean sparsity, relaxed by the smallest tolerance that
    has a solution (said in `note`); the first and the last block are made dense afterwards, so
    that the sparsity reached is below the target.

    Raises:
        ValueError: If the units are not the model's blocks, or there are budgets.
    """
    statistics = task.statistics
    if task.budgets:
        raise ValueError("flow_released: the released solver knows no budgets; use another method")
    if set(statistics.layers) != set(statistics.released_presence):
        raise ValueError("flow_released: it selects per block; set granularity=block")
    presence = _scaled(np.array([statistics.released_presence[b] for b in statistics.layers]))
    spread = _scaled(np.array([statistics.released_distribution[b] for b in statistics.layers]))
    top = RELEASED_MAXIMUM
    cost = np.array(
        [
            [
                RELEASED_PRESENCE_WEIGHT * abs(p.n - o * top)
                + RELEASED_CLUSTERING_WEIGHT * abs(p.m - (1.0 - d) * top)
                for p in RELEASED_PATTERNS
            ]
            for o, d in zip(presence, spread, strict=True)
        ]
    )
    program = NMProgram(
        layers=statistics.layers,
        patterns=RELEASED_PATTERNS,
        cost=cost,
        weight=np.ones(len(cost)),
        target_sparsity=task.target_sparsity,
        tolerance=0.0,
    )
    relaxed = smallest_tolerance(program)
    selection = solve(replace(program, tolerance=relaxed))
    choice = selection.choice.copy()
    choice[[0, -1]] = RELEASED_PATTERNS.index(NMPattern(8, 8))
    weighted = replace(program, weight=statistics.parameters)
    note = "first and last block made dense after solving"
    if relaxed > ROUNDING:
        note = f"equality infeasible, relaxed by {relaxed:.4g}; {note}"
    sparsity = sparsity_of(weighted, choice)
    return replace(selection, choice=choice, sparsity=sparsity, tolerance=relaxed, note=note)


def owl(task: SelectionTask) -> NMSelection:
    """OWL's N:M: one M, outlier-rich units drop fewer weights.

    The presence, min-max scaled to a range of `OWL_RANGE` and centred, is added to the mean
    density. Instead of rounding each unit alone to N of `OWL_GROUP`, the nearest numbers that meet
    the target are found by the integer program.
    """
    density = _wanted_density(task, OWL_RANGE / max(task.free_density, 1e-9))
    return solve(task.program(_nearest_density(task, density, OWL_GROUP)))


def uniform(task: SelectionTask) -> NMSelection:
    """The same N:M everywhere, at OWL's fixed M.

    Where the target lies between two N, both are used, spread evenly over depth: the running
    excess over the target decides.

    Where that misses the target by more than the tolerance, or a budget, the integer program places
    the two neighbours.
    """
    statistics = task.statistics
    density, carried = task.free_density, 0.0
    low = max(np.floor(density * OWL_GROUP), 1.0) / OWL_GROUP
    high = np.ceil(density * OWL_GROUP) / OWL_GROUP
    wanted = np.ones(len(statistics.layers))
    for index, name in enumerate(statistics.layers):
        if name not in task.forced_dense:
            due = density + carried / statistics.parameters[index]
            wanted[index] = np.clip(np.round(due * OWL_GROUP) / OWL_GROUP, low, high)
            carried += (density - wanted[index]) * statistics.parameters[index]
    kept = np.array([pattern.density for pattern in statistics.patterns])
    neighbour = (kept == low) | (kept == high)
    free = np.array([name not in task.forced_dense for name in statistics.layers])
    usable = neighbour[None, :] | ~free[:, None]
    cost = np.where(usable, _nearest_density(task, wanted, OWL_GROUP), np.nan)
    program = task.program(cost)
    choice = np.nanargmin(cost, axis=1)
    sparsity = sparsity_of(program, choice)
    if abs(sparsity - task.target_sparsity) > task.tolerance or not within_budgets(program, choice):
        return solve(program)
    objective = float(cost[np.arange(len(choice)), choice].sum())
    found = NMSelection(
        statistics.layers, statistics.patterns, choice, objective, objective, sparsity, 0.0
    )
    return replace(found, tolerance=task.tolerance)


METHODS: Mapping[str, Callable[[SelectionTask], NMSelection]] = {
    "retained_saliency": retained_saliency,
    "retained_energy": retained_energy,
    "flow_corrected": flow_corrected,
    "flow_released": flow_released,
    "owl": owl,
    "uniform": uniform,
}
"""Selection methods by name."""


def select(method: str, task: SelectionTask) -> NMSelection:
    """Run a method by name; `ValueError` lists the names.

    Raises:
        ValueError: If there is no such method.
        ImpossibleSelection: If the target or a budget cannot be met.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method](task)


def _scaled(values: FloatArray) -> FloatArray:
    """Min-max scaled to 0..1; zeros where all are equal."""
    span = values.max() - values.min()
    return np.asarray((values - values.min()) / span if span > 0 else np.zeros_like(values))


def _wanted_density(task: SelectionTask, spread: float) -> FloatArray:
    """Mean density of the free units, more where the presence is high; shape (L,).

    `spread` is the range between the extreme units, relative to the mean density.
    """
    presence = _scaled(task.statistics.presence)
    share = task.statistics.parameters / task.statistics.parameters.sum()
    centred = presence - float(share @ presence)
    return np.clip(task.free_density * (1.0 + spread * centred), 0.0, 1.0)


def _nearest_density(task: SelectionTask, density: FloatArray, group: int) -> FloatArray:
    """Cost |n/m - density| x parameters among the patterns of one M, shape (L, q)."""
    patterns = task.statistics.patterns
    kept = np.array([pattern.density for pattern in patterns])
    usable = np.array([pattern.m == group or pattern.is_dense for pattern in patterns])
    if usable.sum() < 2:
        raise ValueError(f"no candidate pattern has M = {group}; offer it among the group sizes")
    share = task.statistics.parameters / task.statistics.parameters.sum()
    cost = np.abs(kept[None, :] - density[:, None]) * share[:, None]
    return np.where(usable[None, :], cost, np.nan)
