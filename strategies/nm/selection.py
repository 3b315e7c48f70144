"""Which N:M each layer of a model gets: FLOW as released and corrected, retained saliency, OWL,
uniform.

Every method is a cost table for the program of `integer_program`, over plain statistics. After FLOW
(arXiv 2504.14365) and its released solver, OWL (arXiv 2310.05175) and Wanda; `docs/choices.md` and
`docs/nm_sparsity.md` say what we chose where a text was not available.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import ceil, floor

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
)

FloatArray = NDArray[np.float64]

RELEASED_PATTERNS = tuple(NMPattern.parse(t) for t in ("2:4", "4:4", "2:8", "4:8", "8:8"))
RELEASED_PRESENCE_WEIGHT, RELEASED_CLUSTERING_WEIGHT, RELEASED_MAXIMUM = 1.0, 4.0, 8
"""Candidates, weights a and b, and Nmax = Mmax of the released solver."""

OWL_GROUP, OWL_LAMBDA = 8, 0.08
"""OWL's N:M: fixed M, and the usual lambda; densities of the extreme layers differ by 2 lambda. Its
README gives a range of 2 weights of 8 (0.25) for N:M, which was worse here."""

OWL_LAMBDAS = (0.02, 0.05, 0.08, 0.1, 0.2)
"""Values of lambda among which OWL's authors search for each model (arXiv 2310.05175)."""

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
        seed: Of what a method draws.
        calibration_loss: Measured loss of an assignment on calibration text, for methods that
            choose their settings by it; never on the text that fidelity is reported on.
        settings: What such a method chose before, as `NMSelection.settings` has it; it does not
            choose again.
    """

    statistics: NMStatistics
    target_sparsity: float
    tolerance: float = DEFAULT_TOLERANCE
    forced_dense: frozenset[str] = frozenset()
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    seed: int = 0
    calibration_loss: Callable[[Mapping[str, NMPattern]], float] | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.forced_dense.issuperset(self.statistics.layers):
            raise ValueError("forced_dense names every layer; leave one free")

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
        free = float(self.share[~self.dense].sum())
        return max(1.0 - self.target_sparsity / free, 0.0)

    @property
    def share(self) -> FloatArray:
        """Part of the parameters that each unit has, shape (L,)."""
        parameters = self.statistics.parameters
        return np.asarray(parameters / parameters.sum())

    @property
    def dense(self) -> NDArray[np.bool_]:
        """Units that keep every weight, shape (L,)."""
        return np.array([name in self.forced_dense for name in self.statistics.layers])

    @property
    def densities(self) -> FloatArray:
        """Of the candidate patterns, shape (q,)."""
        return np.array([pattern.density for pattern in self.statistics.patterns])


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
    return np.asarray(task.share[:, None] * task.statistics.retained_fraction(measure))


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
    density = _wanted_density(task, statistics.presence, DENSITY_SPREAD * task.free_density)
    distance = np.abs(sizes[None, :] - wanted_group[:, None]) / 4.0
    distance[:, [pattern.is_dense for pattern in statistics.patterns]] = 0.0
    return solve(task.program(np.abs(task.densities[None, :] - density[:, None]) * high + distance))


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
    """OWL's N:M with the same settings for every model: `OWL_LAMBDA`, the statistics' threshold."""
    return owl_with(task, OWL_LAMBDA, task.statistics.presence)


def owl_tuned(task: SelectionTask) -> NMSelection:
    """OWL's N:M with lambda and outlier threshold searched, as its paper does for every model.

    Of all pairs of `OWL_LAMBDAS` and the statistics' thresholds, the one whose pruned model has the
    least loss on calibration text: `settings` of what is returned.

    Raises:
        ValueError: If the task cannot measure.
    """
    if task.settings:
        return _owl_at(task, task.settings["owl_lambda"], task.settings["owl_threshold"])
    if task.calibration_loss is None:
        raise ValueError(
            "owl_tuned: chooses its settings by measuring the pruned model; use an evaluator that "
            "measures, such as nm_methods, or the method owl"
        )
    found: dict[bytes, NMSelection] = {}
    for threshold, scale in product(task.statistics.thresholds, OWL_LAMBDAS):
        selection = _owl_at(task, scale, threshold)
        found.setdefault(selection.choice.tobytes(), selection)
    losses = [task.calibration_loss(selection.assignment) for selection in found.values()]
    return list(found.values())[int(np.argmin(losses))]


def _owl_at(task: SelectionTask, scale: float, threshold: float) -> NMSelection:
    """OWL's N:M at these settings, which it names."""
    selection = owl_with(task, scale, task.statistics.presence_above(threshold))
    return replace(selection, settings={"owl_lambda": scale, "owl_threshold": threshold})


def owl_with(task: SelectionTask, scale: float, presence: FloatArray) -> NMSelection:
    """One M, outlier-rich units drop fewer weights.

    The presence, min-max scaled to a range of 2 lambda and centred, is added to the mean density.
    Instead of rounding each unit alone to N of `OWL_GROUP`, the nearest numbers that meet the
    target are found by the integer program.

    Args:
        task: What to select for.
        scale: lambda.
        presence: Fraction of outliers, shape (L,).
    """
    density = _wanted_density(task, presence, 2.0 * scale)
    distance = np.abs(task.densities[None, :] - density[:, None]) * task.share[:, None]
    return solve(task.program(np.where(_of_group(task), distance, np.nan)))


def uniform(task: SelectionTask) -> NMSelection:
    """The same N of OWL's M everywhere; where the target lies between two N, both.

    Which units get which is drawn from `task.seed`: any choice would be as uniform, so the spread
    between draws belongs to the baseline.
    """
    kept = round(task.free_density * OWL_GROUP, 9)
    neighbours = [max(floor(kept), 1) / OWL_GROUP, ceil(kept) / OWL_GROUP]
    usable = _of_group(task) & np.isin(task.densities, neighbours)[None, :]
    usable |= task.dense[:, None]
    drawn = np.random.default_rng(task.seed).random(usable.shape) * task.share[:, None]
    return solve(task.program(np.where(usable, drawn, np.nan)))


METHODS: Mapping[str, Callable[[SelectionTask], NMSelection]] = {
    "retained_saliency": retained_saliency,
    "retained_energy": retained_energy,
    "flow_corrected": flow_corrected,
    "flow_released": flow_released,
    "owl": owl,
    "owl_tuned": owl_tuned,
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


def _wanted_density(task: SelectionTask, presence: FloatArray, spread: float) -> FloatArray:
    """Mean density of the free units, more where the presence is high; shape (L,).

    `spread` is the range between the extreme free units.
    """
    free = ~task.dense
    scaled = np.zeros(len(free))
    scaled[free] = _scaled(presence[free])
    centred = scaled - float(task.share[free] @ scaled[free] / task.share[free].sum())
    return np.clip(task.free_density + spread * centred, 0.0, 1.0)


def _of_group(task: SelectionTask) -> NDArray[np.bool_]:
    """Patterns of OWL's M, and dense, that a unit may take; shape (L, q).

    Raises:
        ValueError: If no pattern of that M is offered.
    """
    patterns = task.statistics.patterns
    if not any(pattern.m == OWL_GROUP for pattern in patterns):
        raise ValueError(
            f"no candidate pattern has M = {OWL_GROUP}; offer it among the group sizes"
        )
    usable = np.array([pattern.m == OWL_GROUP or pattern.is_dense for pattern in patterns])
    return np.broadcast_to(usable, (len(task.statistics.layers), len(patterns)))
