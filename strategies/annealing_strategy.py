"""Simulated annealing on the integer-coded genome of any space, several chains at a time."""

from __future__ import annotations

import numpy as np

from evaluators.evaluation import Evaluation, FloatArray
from spaces.space import Columns
from strategies.genome import Genome
from strategies.mapper_strategy import scalar_losses
from strategies.problem import Problem
from strategies.tuning.batches import batch_length

PENALTY = 10.0
"""Added to the logarithm of the losses per unit of relative violation."""


class AnnealingStrategy:
    """Chains that accept a worse neighbour with probability exp(-increase / temperature).

    The increase is that of the sum of the objectives' logarithms, so a temperature of 0.1 accepts
    ten per cent more energy-delay product with probability 0.4. A neighbour redraws one gene, and
    each further one with probability 1 / genes. After Kirkpatrick, Gelatt and Vecchi, Science 1983.

    Args:
        problem: Its space gives the genes, its goal the losses.
        chains: Points proposed at a time at most.
        temperature: At the start.
        cooling: Factor on the temperature after every round of the chains, below 1.
        seed: Of every random choice.
    """

    def __init__(
        self,
        problem: Problem,
        chains: int = 8,
        temperature: float = 1.0,
        cooling: float = 0.98,
        seed: int | None = None,
    ) -> None:
        if chains < 1:
            raise ValueError(f"strategy.chains: must be >= 1, got {chains}")
        if not 0 < cooling < 1 or temperature <= 0:
            raise ValueError(
                "strategy: temperature must be > 0 and cooling within (0, 1), "
                f"got {temperature} and {cooling}"
            )
        self.space = problem.space
        self.goal = problem.goal
        self.genome = Genome(problem.space.parameters)
        self.cooling = cooling
        self._rng = np.random.default_rng(seed)
        self._temperature = temperature
        self._genes = self.genome.encode(self.space.sample(chains, self._rng))
        self._values = np.full(chains, np.inf)
        self._started = np.zeros(chains, dtype=bool)
        self._next = 0
        self._pending: tuple[slice, FloatArray] | None = None

    def ask(self, n: int) -> Columns:
        """A neighbour of the next chains' points (the points themselves in the first round)."""
        turn = slice(self._next, min(self._next + n, len(self._genes)))
        proposed = np.stack(
            [
                self._neighbour(self._genes[chain]) if self._started[chain] else self._genes[chain]
                for chain in range(turn.start, turn.stop)
            ]
        )
        self._pending = (turn, proposed)
        return self.genome.decode(proposed)

    def tell(self, columns: Columns, evaluation: Evaluation) -> None:
        """Accept or reject; points that were not asked take the worst chain's place if better."""
        if batch_length(columns) == 0:
            return
        genes, values = self.genome.encode(columns), self._loss(evaluation)
        turn, proposed = self._pending or (slice(0, 0), genes[:0])
        if genes.shape == proposed.shape and np.allclose(genes, proposed, rtol=0, atol=1e-9):
            self._pending = None
            self._step(turn, genes, values)
            return
        for row, value in zip(genes, values, strict=True):
            worst = int(self._values.argmax())
            if value < self._values[worst]:
                self._genes[worst], self._values[worst] = row, value
                self._started[worst] = True

    def _step(self, turn: slice, genes: FloatArray, values: FloatArray) -> None:
        for chain, row, value in zip(range(turn.start, turn.stop), genes, values, strict=True):
            if self._accepts(float(value), float(self._values[chain])):
                self._genes[chain], self._values[chain] = row, value
            self._started[chain] = True
        self._next = turn.stop
        if self._next == len(self._genes):
            self._next = 0
            self._temperature *= self.cooling

    def _accepts(self, new: float, old: float) -> bool:
        if new <= old:
            return True
        chance = np.exp(-(new - old) / self._temperature) if np.isfinite(new) else 0.0
        return bool(self._rng.random() < chance)

    def _neighbour(self, genes: FloatArray) -> FloatArray:
        """The point with one gene drawn again, and each further one with probability 1 / genes."""
        fresh = self.genome.encode(self.space.sample(1, self._rng))[0]
        redraw = self._rng.random(len(genes)) < 1.0 / len(genes)
        redraw[int(self._rng.integers(len(genes)))] = True
        return np.where(redraw, fresh, genes)

    def _loss(self, evaluation: Evaluation) -> FloatArray:
        """Logarithms of the losses and the penalty of what is violated; inf where it failed."""
        whole = np.ones(len(evaluation), dtype=bool)
        whole[list(evaluation.failures)] = False
        excess = sum(np.maximum(v, 0.0) for v in evaluation.violations.values())
        return scalar_losses(self.goal.losses(evaluation), whole) + PENALTY * np.nan_to_num(excess)
