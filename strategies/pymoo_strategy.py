"""Any pymoo algorithm as a strategy, on integer-coded genomes in vectorised generations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.algorithm import Algorithm
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.core.termination import NoTermination
from pymoo.termination.max_gen import MaximumGenerationTermination

from evaluators.evaluation import Evaluation, FloatArray
from spaces.space import Columns
from strategies.genome import Genome
from strategies.pareto import non_dominated
from strategies.problem import Problem
from strategies.tuning.batches import batch_length

AlgorithmFactory = Callable[..., Algorithm]
"""Makes an algorithm (`_partial_: true` in YAML); reference directions are added if it has them."""

FAILED_VIOLATION = 1e6
"""Violation of a point whose evaluation failed: worse than any infeasible one."""


NEED_SEVERAL = ("SMSEMOA",)
"""Algorithms that fail on one objective without saying so."""


class PymooStrategy:
    """Drives a pymoo algorithm generation by generation.

    Violations reach the algorithm as one native inequality constraint, their sum of positive
    parts, which is the constraint violation pymoo itself works with; an algorithm that refuses
    constraints sees infeasible points as worse than every feasible one instead. Given points that
    were not proposed take the place of members of the next generation, the best first.

    Args:
        algorithm: An algorithm, or a factory of one.
        problem: Its space gives the genes, its goal the losses.
        seed: Same seed, same generations.
        reference_directions: About how many directions the algorithms that need them get.
    """

    steady = True

    def __init__(
        self,
        algorithm: Algorithm | AlgorithmFactory,
        problem: Problem,
        seed: int | None = None,
        reference_directions: int = 100,
    ):
        self.goal = problem.goal
        self.genome = Genome(problem.space.parameters)
        n_objectives = len(self.goal.objectives)
        _check_objectives(algorithm, n_objectives)
        made = make_algorithm(algorithm, self.genome, n_objectives, reference_directions)
        self._constrained, self.algorithm = set_up(made, self.genome, n_objectives, seed)
        self._generation: Any = None
        self._genes = np.empty((0, len(self.genome.lower)))
        self._outcome = _Outcome.empty(n_objectives)
        self._handed = 0
        self._given: list[tuple[FloatArray, FloatArray, float]] = []
        self._worst = np.zeros(n_objectives)

    def ask(self, n: int) -> Columns:
        """Propose the next points of the generation, at most n; none when pymoo has finished."""
        if self._handed == len(self._genes):
            self._next_generation()
        chosen = self._genes[self._handed : self._handed + n]
        self._handed += len(chosen)
        return self.genome.decode(chosen) if len(chosen) else {}

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Take the outcomes in; a complete generation advances the algorithm."""
        if batch_length(columns) == 0:
            return
        genes = self.genome.encode(columns)
        losses, violations = self._losses(evaluation)
        told = len(self._outcome)
        expected = self._genes[told : self._handed]
        if genes.shape == expected.shape and np.allclose(genes, expected, rtol=0, atol=1e-9):
            self._outcome = self._outcome.extended(losses, violations)
        else:
            self._handed = told
            self._given += list(zip(genes, losses, violations.tolist(), strict=True))
        if len(self._genes) and len(self._outcome) == len(self._genes):
            self._advance()

    def _next_generation(self) -> None:
        """Ask pymoo for a generation and seat given points in it, at most half of it."""
        infills = self.algorithm.ask()
        if infills is None:
            self._genes = self._genes[:0]
            self._handed = 0
            return
        self._generation = infills
        members = Population.create(infills) if isinstance(infills, Individual) else infills
        genes = self.genome.rounded(np.array(members.get("X"), dtype=np.float64))
        n_seats = min(len(self._given), len(genes) // 2)
        seated = self._take_given(n_seats)
        for index, (known, _, _) in enumerate(seated):
            genes[index] = known
        members.set("X", genes)
        self._genes = genes
        self._handed = n_seats
        self._outcome = _Outcome(
            np.array([loss for _, loss, _ in seated]).reshape(n_seats, len(self._worst)),
            np.array([violation for _, _, violation in seated]),
        )

    def _take_given(self, count: int) -> list[tuple[FloatArray, FloatArray, float]]:
        """The best given points, removed from the waiting ones when they are used up."""
        if count == 0:
            return []
        losses: FloatArray = np.array([loss for _, loss, _ in self._given])
        violations: FloatArray = np.array([violation for _, _, violation in self._given])
        scale = float(np.abs(losses).max()) + 1.0
        penalised = losses + scale * violations.reshape(-1, 1)
        front = non_dominated(penalised)
        rest = np.setdiff1d(np.argsort(penalised.sum(axis=1), kind="stable"), front)
        chosen = [*front.tolist(), *rest.tolist()][:count]
        taken = [self._given[index] for index in chosen]
        self._given = []
        return taken

    def _advance(self) -> None:
        """Hand the outcomes of a whole generation to pymoo."""
        losses, violations = self._outcome.losses, self._outcome.violations[:, None]
        if not self._constrained:
            infeasible = np.flatnonzero(self._outcome.violations > 0)
            losses = losses.copy()
            losses[infeasible] = self._worst + violations[infeasible]
        infills = self._generation
        members = Population.create(infills) if isinstance(infills, Individual) else infills
        empty = np.zeros((len(members), 0))
        members.set("F", losses, "G", violations if self._constrained else empty, "H", empty)
        for member in members:
            member.evaluated.update(("F", "G", "H"))
        self.algorithm.evaluator.n_eval += len(members)
        self.algorithm.tell(infills=infills)
        self._genes = self._genes[:0]
        self._handed = 0
        self._outcome = _Outcome.empty(losses.shape[1])

    def _losses(self, evaluation: Evaluation) -> tuple[FloatArray, FloatArray]:
        """Finite losses (n, m) and summed violations (n,) of an evaluation."""
        losses = self.goal.losses(evaluation)
        violations = np.zeros(len(evaluation))
        for values in evaluation.violations.values():
            violations += np.maximum(np.nan_to_num(values, nan=0.0, posinf=FAILED_VIOLATION), 0.0)
        violations[list(evaluation.failures)] = FAILED_VIOLATION
        finite = np.asarray(np.isfinite(losses).all(axis=1))
        if finite.any():
            self._worst = np.maximum(self._worst, losses[finite].max(axis=0))
        violations[~finite] = FAILED_VIOLATION
        return np.where(finite[:, None], losses, self._worst), violations


class _Outcome:
    """Losses and violations of the members of a generation told so far."""

    def __init__(self, losses: FloatArray, violations: FloatArray):
        self.losses = losses
        self.violations = violations

    @classmethod
    def empty(cls, n_objectives: int) -> _Outcome:
        return cls(np.empty((0, n_objectives)), np.empty(0))

    def __len__(self) -> int:
        return len(self.violations)

    def extended(self, losses: FloatArray, violations: FloatArray) -> _Outcome:
        return _Outcome(
            np.concatenate([self.losses, losses]), np.concatenate([self.violations, violations])
        )


class GenomeRepair(Repair):  # type: ignore[misc]  # pymoo has no types
    """Rounds discrete genes, so that pymoo sees duplicates as what they are."""

    def __init__(self, genome: Genome):
        super().__init__()
        self.genome = genome

    def _do(self, problem: Any, X: FloatArray, **_: Any) -> FloatArray:
        return self.genome.rounded(np.asarray(X, dtype=np.float64))


def make_algorithm(
    algorithm: Algorithm | AlgorithmFactory, genome: Genome, n_objectives: int, n_directions: int
) -> Algorithm:
    """The algorithm itself, or what its factory makes with rounding and reference directions."""
    if isinstance(algorithm, Algorithm):
        return algorithm
    given = getattr(algorithm, "keywords", {})
    maker = getattr(algorithm, "func", algorithm)
    arguments: dict[str, Any] = {}
    if isinstance(maker, type) and issubclass(maker, GeneticAlgorithm) and "repair" not in given:
        arguments["repair"] = GenomeRepair(genome)
    if _needs_directions(maker) and "ref_dirs" not in given:
        arguments["ref_dirs"] = spread_directions(n_objectives, n_directions)
    made = algorithm(**arguments)
    if not isinstance(made, Algorithm):
        raise ValueError(
            f"strategy.algorithm: must be a pymoo algorithm, got {type(made).__name__}"
        )
    return made


def _check_objectives(algorithm: Algorithm | AlgorithmFactory, n_objectives: int) -> None:
    """Refuse an algorithm that cannot work with this number of objectives."""
    maker = getattr(algorithm, "func", type(algorithm))
    single = maker.__module__.startswith("pymoo.algorithms.soo.")
    if (single and n_objectives > 1) or (maker.__name__ in NEED_SEVERAL and n_objectives == 1):
        rule = "one objective" if single else "at least two objectives"
        raise ValueError(
            f"strategy.algorithm: {maker.__name__} needs {rule}, this study has {n_objectives}"
        )


def _needs_directions(maker: Any) -> bool:
    import inspect

    return "ref_dirs" in inspect.signature(maker).parameters


def spread_directions(n_objectives: int, n_points: int) -> FloatArray:
    """Evenly spread reference directions, at most `n_points` of them, shape (k, n_objectives).

    Raises:
        ValueError: For a single objective, which has no directions.
    """
    from math import comb

    from pymoo.util.ref_dirs import get_reference_directions

    if n_objectives < 2:
        raise ValueError(
            "strategy.algorithm: reference directions need at least two objectives; "
            "use pymoo_ga or pymoo_de"
        )
    partitions = 1
    while comb(partitions + n_objectives, n_objectives - 1) <= n_points:
        partitions += 1
    directions: FloatArray = get_reference_directions(
        "das-dennis", n_objectives, n_partitions=partitions
    )
    return directions


def set_up(
    algorithm: Algorithm, genome: Genome, n_objectives: int, seed: int | None
) -> tuple[bool, Algorithm]:
    """Prepare the algorithm; returns whether it takes constraints, and itself."""
    for n_constraints in (1, 0):
        described = PymooProblem(
            n_var=len(genome.lower),
            n_obj=n_objectives,
            n_ieq_constr=n_constraints,
            xl=genome.lower,
            xu=genome.upper,
        )
        options: dict[str, Any] = {"seed": seed, "verbose": False}
        if not isinstance(algorithm.termination, MaximumGenerationTermination):
            options["termination"] = NoTermination()
        try:
            algorithm.setup(described, **options)
            return n_constraints == 1, algorithm
        except AssertionError as error:
            if n_constraints == 0:
                name = type(algorithm).__name__
                raise ValueError(f"strategy.algorithm: {name}: {error}") from error
    raise AssertionError("unreachable")
