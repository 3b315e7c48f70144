"""Structures of zeros at any density, by name: what a map of formats varies."""

from __future__ import annotations

from math import sqrt

from spaces.sparsity.sparsity import DensitySpec
from spaces.validation import check_key

STRUCTURES = ("random", "n_m", "block_4", "block_16", "dead_columns")
"""random: independent zeros. n_m: N of every M along the first dimension, M as small as the density
allows and at least 4. block_E: E x E blocks all zero or all non-zero. dead_columns: as many
columns dead as there are zeros in the live ones, sqrt(density) of either."""

GROUPS = (4, 8, 16, 32, 64)
"""M of an N:M pattern, smallest first."""


def structured(structure: str, density: float, dimensions: tuple[str, str]) -> DensitySpec:
    """The zeros of a matrix with this structure and density.

    Args:
        structure: One of `STRUCTURES`.
        density: Fraction of non-zeros.
        dimensions: Names of the matrix's two dimensions; columns are indices of the second.

    Raises:
        ValueError: For an unknown structure, or a density that no N:M pattern has.

    >>> structured("n_m", 0.125, ("K", "N")).parameters
    {'n': 1, 'm': 8, 'dimension': 'K'}
    """
    check_key("structure", structure, STRUCTURES)
    rows, columns = dimensions
    if structure == "random":
        return DensitySpec("bernoulli", density)
    if structure == "n_m":
        kept, group = _pattern(density)
        return DensitySpec("n_m", density, {"n": kept, "m": group, "dimension": rows})
    if structure == "dead_columns":
        dead = 1.0 - sqrt(density)
        return DensitySpec("dead_columns", density, {"dimension": columns, "dead": dead})
    edge = int(structure.removeprefix("block_"))
    return DensitySpec("block", density, {"block": {rows: edge, columns: edge}})


def _pattern(density: float) -> tuple[int, int]:
    for group in GROUPS:
        if (density * group).is_integer() and density * group >= 1:
            return int(density * group), group
    raise ValueError(
        f"density of an N:M pattern must be N/M with M among {', '.join(map(str, GROUPS))}, "
        f"got {density}"
    )
