"""The integer program of N:M selection: one pattern per layer, proven optimal by HiGHS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.nm_sparsity import NMBatch, NMPattern

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

FloatArray = NDArray[np.float64]

DEFAULT_TOLERANCE = 0.005
"""Allowed deviation from the target sparsity, absolute."""

OPTIMALITY_GAP = 1e-6
"""Relative gap below which a solution counts as proven optimal."""

ROUNDING = 1e-9
"""Slack of sparsity limits, so that sums of floats do not exclude an exact hit."""

INFEASIBLE = 2
"""`scipy.optimize.milp` status of a program without solution."""


class ImpossibleSelection(ValueError):
    """No assignment meets the constraints; the message says which and what would."""


@dataclass(frozen=True)
class Budget:
    """A limit on the sum of a per-layer cost, such as latency.

    Attributes:
        cost: Per layer and pattern, shape (L, q).
        limit: Largest total.
    """

    cost: FloatArray
    limit: float


@dataclass(frozen=True)
class NMProgram:
    """Choose one of q patterns for each of L layers at least cost.

    Attributes:
        layers, patterns: Names and candidates.
        cost: Shape (L, q); nan where a pattern is not allowed.
        weight: Share of each layer in the mean sparsity, shape (L,); its parameter count, or ones.
        target_sparsity: Wanted weighted mean sparsity.
        tolerance: Allowed deviation from it.
        forced_dense: Layers that keep every weight; they count in the mean.
        budgets: Name -> further limit.
    """

    layers: tuple[str, ...]
    patterns: tuple[NMPattern, ...]
    cost: FloatArray
    weight: FloatArray
    target_sparsity: float
    tolerance: float = DEFAULT_TOLERANCE
    forced_dense: frozenset[str] = frozenset()
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.layers), len(self.patterns))
        if self.cost.shape != shape:
            raise ValueError(f"cost must have shape {shape}, got {self.cost.shape}")
        if not 0.0 <= self.target_sparsity < 1.0:
            raise ValueError(
                f"target_sparsity must be at least 0 and below 1, got {self.target_sparsity}"
            )
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be >= 0, got {self.tolerance}")
        unknown = sorted(self.forced_dense - set(self.layers))
        if unknown:
            raise ValueError(f"forced_dense names unknown layers: {', '.join(unknown)}")

    @property
    def share(self) -> FloatArray:
        """`weight`, normalised to sum 1."""
        return np.asarray(self.weight / self.weight.sum())

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Patterns each layer may take, shape (L, q)."""
        allowed = ~np.isnan(self.cost)
        dense = np.array([pattern.is_dense for pattern in self.patterns])
        forced = np.array([name in self.forced_dense for name in self.layers])
        allowed[forced] &= dense
        if not allowed.any(axis=1).all():
            name = self.layers[int(np.argmin(allowed.any(axis=1)))]
            raise ImpossibleSelection(
                f"layer {name!r}: no candidate pattern is allowed; its size may not be divisible "
                "by any M, or it is forced dense and 1:1 is not offered"
            )
        return allowed


@dataclass(frozen=True)
class NMSelection:
    """An assignment with its certificate.

    Attributes:
        layers, patterns: As in the program.
        choice: Index into `patterns`, shape (L,).
        objective: Total cost.
        bound: Proven lower bound of the total cost.
        sparsity: Weighted mean sparsity reached.
        tolerance: Deviation that was allowed.
        note: What was relaxed, or empty.
        settings: Name -> value of what a method chose before it solved.
    """

    layers: tuple[str, ...]
    patterns: tuple[NMPattern, ...]
    choice: NDArray[np.int64]
    objective: float
    bound: float
    sparsity: float
    tolerance: float
    note: str = ""
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def certified(self) -> bool:
        """True when the objective is proven optimal."""
        return self.objective - self.bound <= OPTIMALITY_GAP * max(1.0, abs(self.objective))

    @property
    def assignment(self) -> dict[str, NMPattern]:
        """Layer name -> pattern."""
        chosen = [self.patterns[int(k)] for k in self.choice]
        return dict(zip(self.layers, chosen, strict=True))

    @property
    def batch(self) -> NMBatch:
        """The assignment as a batch of one design."""
        return NMBatch(self.layers, self.patterns, self.choice[None, :])


def solve(program: NMProgram) -> NMSelection:
    """Solve to proven optimality.

    Raises:
        ImpossibleSelection: If the target sparsity or a budget cannot be met; the message names
            the nearest sparsity that can.
    """
    kept = _undominated(program)
    cost = np.where(kept, np.nan_to_num(program.cost), 0.0)
    band = (
        program.target_sparsity - program.tolerance - ROUNDING,
        program.target_sparsity + program.tolerance + ROUNDING,
    )
    found = _milp(program, kept, cost, band)
    if found is None:
        raise ImpossibleSelection(_explanation(program))
    choice, bound = found
    rows = np.arange(len(choice))
    return NMSelection(
        layers=program.layers,
        patterns=program.patterns,
        choice=choice,
        objective=float(program.cost[rows, choice].sum()),
        bound=bound,
        sparsity=sparsity_of(program, choice),
        tolerance=program.tolerance,
    )


def sparsity_of(program: NMProgram, choice: NDArray[np.int64]) -> float:
    """Weighted mean sparsity of an assignment."""
    sparsity = np.array([pattern.sparsity for pattern in program.patterns])
    return float(program.share @ sparsity[choice])


def smallest_tolerance(program: NMProgram) -> float:
    """Least deviation from the target sparsity that any assignment reaches, budgets included.

    The nearest sparsity below and the nearest above are two programs of their own.

    Raises:
        ImpossibleSelection: If a budget alone cannot be met.
    """
    sparsity = np.array([pattern.sparsity for pattern in program.patterns])
    reached = program.share[:, None] * sparsity[None, :]
    target = program.target_sparsity
    sides = (
        _milp(program, program.allowed, -reached, (-np.inf, target + ROUNDING)),
        _milp(program, program.allowed, reached, (target - ROUNDING, np.inf)),
    )
    distances = [abs(sparsity_of(program, side[0]) - target) for side in sides if side is not None]
    if not distances:
        raise ImpossibleSelection(_budget_explanation(program))
    return min(distances)


def _undominated(program: NMProgram) -> NDArray[np.bool_]:
    """Drop patterns of a layer that another of equal sparsity beats in cost and every budget."""
    allowed = program.allowed
    sparsity = np.array([pattern.sparsity for pattern in program.patterns])
    tables = [program.cost, *(budget.cost for budget in program.budgets.values())]
    kept = allowed.copy()
    for layer in range(len(allowed)):
        for level in np.unique(sparsity[allowed[layer]]):
            rivals = np.flatnonzero(allowed[layer] & (sparsity == level))
            values = np.array([[table[layer, k] for table in tables] for k in rivals])
            for index, k in enumerate(rivals):
                others = np.delete(np.arange(len(rivals)), index)
                worse = (values[index] >= values[others]).all(axis=1)
                strictly = (values[index] > values[others]).any(axis=1) | (others < index)
                kept[layer, k] = not (worse & strictly).any()
    return kept


def _milp(
    program: NMProgram,
    kept: NDArray[np.bool_],
    cost: FloatArray,
    band: tuple[float, float],
) -> tuple[NDArray[np.int64], float] | None:
    """Optimal choice within a band of sparsity and its proven bound; None when infeasible."""
    import scipy.optimize as so
    from scipy.sparse import csr_array

    layers, patterns = np.nonzero(kept)
    sparsity = np.array([pattern.sparsity for pattern in program.patterns])
    places = (layers, np.arange(len(layers)))
    shape = (len(program.layers), len(layers))
    limits = [
        so.LinearConstraint(program.share[layers] * sparsity[patterns], *band),
        so.LinearConstraint(csr_array((np.ones(len(layers)), places), shape=shape), 1.0, 1.0),
        *(
            so.LinearConstraint(budget.cost[layers, patterns] / budget.limit, -np.inf, 1.0)
            for budget in program.budgets.values()
        ),
    ]
    found = _highs(cost[layers, patterns], limits)
    if found is None:
        return None
    taken = found[0] > 0.5
    choice = np.zeros(len(program.layers), dtype=np.int64)
    choice[layers[taken]] = patterns[taken]
    return choice, found[1]


def _highs(cost: FloatArray, limits: Sequence[LinearConstraint]) -> tuple[FloatArray, float] | None:
    """Binary optimum and dual bound by HiGHS; None when infeasible.

    HiGHS sometimes ends in a solve error that is gone without presolve.

    Raises:
        RuntimeError: If it fails for another reason than infeasibility.
    """
    import scipy.optimize as so

    for presolve in (True, False):
        result = so.milp(
            cost,
            constraints=list(limits),
            integrality=np.ones(len(cost), dtype=np.int64),
            bounds=so.Bounds(0.0, 1.0),
            options={"mip_rel_gap": OPTIMALITY_GAP / 10, "presolve": presolve},
        )
        if result.x is not None:
            return np.asarray(result.x), float(result.mip_dual_bound)
        if result.status == INFEASIBLE:
            return None
    raise RuntimeError(f"HiGHS: {result.message}")


def _explanation(program: NMProgram) -> str:
    """Why a program has no solution."""
    nearest = smallest_tolerance(program)
    limits = f" within {', '.join(program.budgets)}" if program.budgets else ""
    return (
        f"target_sparsity {program.target_sparsity:g} +- {program.tolerance:g} cannot be met"
        f"{limits}: the nearest assignment is {nearest:.4g} away; raise the tolerance, offer "
        "other patterns, or force fewer layers dense"
    )


def _budget_explanation(program: NMProgram) -> str:
    """Which budget is below what the cheapest assignment needs."""
    allowed = program.allowed
    for name, budget in program.budgets.items():
        least = float(np.where(allowed, budget.cost, np.inf).min(axis=1).sum())
        if least > budget.limit:
            return f"budget {name} = {budget.limit:g} cannot be met: the least total is {least:g}"
    return f"the budgets {', '.join(program.budgets)} cannot be met together"
