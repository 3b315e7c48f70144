"""Every choice of one alternative per part, literally: the oracle of model-level goals."""

from __future__ import annotations

import numpy as np

from strategies.exact.model_search import FloatArray, Front


def random_fronts(seed: int, most: int = 7, parts: int = 4) -> list[Front]:
    """Up to `most` - 1 alternatives for each of a few parts that run one to three times."""
    rng = np.random.default_rng(seed)
    return [
        Front(rng.uniform(1, 9, n), rng.uniform(1, 9, n), int(rng.integers(1, 4)))
        for n in rng.integers(1, most, size=parts)
    ]


def every_sum(fronts: list[Front]) -> tuple[FloatArray, FloatArray]:
    """Energy and latency of every choice, the last part's alternatives fastest."""
    energy, cycles = np.zeros(1), np.zeros(1)
    for front in fronts:
        energy = np.add.outer(energy, front.count * front.energy_pj).ravel()
        cycles = np.add.outer(cycles, front.count * front.latency_cycles).ravel()
    return energy, cycles
