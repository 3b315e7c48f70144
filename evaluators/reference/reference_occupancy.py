"""Occupancy of a tile by the reference's formulas: metadata and payload units per rank.

Used by `evaluators.reference.reference_model` only; the project's own sizes are in
`evaluators.formats.compression`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.sparsity import DensitySpec

FloatArray = NDArray[np.float64]

_NOISE = 1e-6
"""Slack below which a product is taken as the integer it is near to, relative."""

_TAIL_DEVIATIONS = 12.0
"""Occupancies further from the mean than this many standard deviations are left out."""


@dataclass(frozen=True)
class FiberRank:
    """One rank of a format resolved over a tile.

    Attributes:
        primitive: UOP, B, UB, CP or RLE.
        shape: Positions of a fiber (S).
        metadata_bits, payload_bits: Width of a coordinate, run or mask bit, and of an offset.
    """

    primitive: str
    shape: int
    metadata_bits: int
    payload_bits: int


def effective_density(spec: DensitySpec, elements: int) -> float:
    """Density after the model's rounding: hypergeometric tensors hold ceil(d*N) non-zeros."""
    if spec.model == "hypergeometric":
        return whole(spec.density * elements) / elements
    return spec.density


def whole(value: float) -> float:
    """Round up, but take what is an integer up to float noise as that integer."""
    nearest = round(value)
    return float(nearest) if abs(value - nearest) <= _NOISE * max(1.0, abs(value)) else ceil(value)


def tile_occupancies(spec: DensitySpec, elements: int, tile: int) -> tuple[FloatArray, FloatArray]:
    """Possible non-zero counts of a tile and their probabilities, each of shape (k,)."""
    if tile >= elements:
        return np.array([effective_density(spec, elements) * elements]), np.ones(1)
    if spec.model == "hypergeometric":
        return _hypergeometric_occupancies(whole(spec.density * elements), elements, tile)
    mean = tile * spec.density
    low = np.floor(mean + _NOISE)
    part = max(mean - low, 0.0)
    return np.array([low, low + 1.0]), np.array([1.0 - part, part])


def _hypergeometric_occupancies(
    nonzeros: float, elements: int, tile: int
) -> tuple[FloatArray, FloatArray]:
    from scipy.stats import hypergeom

    mean = tile * nonzeros / elements
    spread = _TAIL_DEVIATIONS * np.sqrt(mean * (1.0 - nonzeros / elements)) + 2.0
    low = max(0.0, np.floor(mean - spread), tile - (elements - nonzeros))
    high = min(tile, nonzeros, np.ceil(mean + spread))
    counts = np.arange(low, high + 1.0)
    return counts, hypergeom.pmf(counts, elements, int(nonzeros), tile)


def empty_probability(spec: DensitySpec, tile: int, occupancy: FloatArray, part: int) -> FloatArray:
    """P0 of `part` elements of a tile that holds `occupancy` non-zeros, shape (k,)."""
    if spec.model == "hypergeometric":
        from scipy.special import gammaln

        zeros = tile - occupancy
        fits = zeros >= part
        left = np.where(fits, zeros - part, 0.0)
        log_empty = (
            gammaln(zeros + 1) - gammaln(left + 1) - gammaln(tile + 1) + gammaln(tile - part + 1)
        )
        return np.where(fits, np.exp(np.minimum(log_empty, 0.0)), 0.0)
    return np.maximum(0.0, 1.0 - part * occupancy / tile)


def tile_units(
    spec: DensitySpec, elements: int, ranks: Sequence[FiberRank]
) -> list[tuple[float, float]]:
    """Expected (metadata, payload) units per rank of one tile, outermost first."""
    tile = prod(rank.shape for rank in ranks)
    counts, weights = tile_occupancies(spec, elements, tile)
    units = []
    outer, below = 1, tile
    for rank in ranks:
        following = below // rank.shape
        fibers = outer * (1.0 - empty_probability(spec, tile, counts, below))
        share = 1.0 - empty_probability(spec, tile, counts, following)
        metadata, payload = _rank_units(rank, outer, fibers, share)
        if following == 1 and rank.primitive != "UOP":
            payload = np.zeros_like(payload)
        units.append((float(metadata @ weights), float(payload @ weights)))
        outer, below = outer * rank.shape, following
    return units


def _rank_units(
    rank: FiberRank, outer: int, fibers: FloatArray, share: FloatArray
) -> tuple[FloatArray, FloatArray]:
    positions = rank.shape * share
    nearest = np.rint(positions)
    close = np.abs(positions - nearest) <= _NOISE * np.maximum(1.0, positions)
    coordinates = np.where(close, nearest, np.ceil(positions))
    if rank.primitive == "CP":
        return fibers * coordinates, fibers * coordinates
    if rank.primitive == "RLE":
        return fibers * positions, fibers * positions
    if rank.primitive == "B":
        return fibers * rank.shape, fibers * coordinates
    if rank.primitive == "UB":
        every = np.full_like(fibers, float(outer * rank.shape))
        return every, every
    return np.zeros_like(fibers), fibers * (rank.shape + 1)
