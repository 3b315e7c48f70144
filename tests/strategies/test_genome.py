from __future__ import annotations

import numpy as np

from spaces.parameter_space import ParameterSpace
from strategies.genome import Genome

SPACE = ParameterSpace(
    {
        "n": {"low": 4, "high": 10, "step": 2},
        "x": {"low": 1e-3, "high": 10.0, "log": True},
        "y": {"low": -1.0, "high": 1.0},
        "kind": {"choices": ["a", 1, True, None]},
        "one": {"low": 3, "high": 3},
    }
)
GENOME = Genome(SPACE.parameters)


def test_decode_is_the_inverse_of_encode() -> None:
    columns = SPACE.sample(200, np.random.default_rng(0))
    decoded = GENOME.decode(GENOME.encode(columns))
    for name in ("n", "kind", "one"):
        assert decoded[name].tolist() == columns[name].tolist()
    np.testing.assert_allclose(decoded["x"], columns["x"], rtol=1e-12)
    np.testing.assert_allclose(decoded["y"], columns["y"], rtol=1e-12, atol=1e-15)


def test_every_gene_within_the_bounds_decodes_into_the_range() -> None:
    rng = np.random.default_rng(1)
    genes = rng.uniform(GENOME.lower, GENOME.upper, (500, 5))
    genes[0], genes[1] = GENOME.lower, GENOME.upper
    SPACE.decode(GENOME.decode(GENOME.rounded(genes)))  # checks every value


def test_rounding_uniform_genes_gives_uniform_values() -> None:
    genes = np.random.default_rng(2).uniform(GENOME.lower, GENOME.upper, (40_000, 5))
    counts = np.bincount(GENOME.rounded(genes)[:, 0].astype(int), minlength=4)
    assert (np.abs(counts / 40_000 - 0.25) < 0.01).all()  # 4.6 standard errors


def test_rounding_is_idempotent_and_keeps_within_bounds() -> None:
    genes = np.random.default_rng(3).normal(0, 10, (100, 5))
    once = GENOME.rounded(genes)
    np.testing.assert_array_equal(GENOME.rounded(once), once)
