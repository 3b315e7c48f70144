"""Random masks drawn from a density specification: what the closed forms are averages over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from spaces.sparsity.sparsity import DensitySpec

Mask = NDArray[np.bool_]
Sampler = Callable[[DensitySpec, Sequence[str], Sequence[int], np.random.Generator], Mask]


def sample_mask(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    """Draw where a tensor of these dimensions is non-zero; shape `sizes`.

    Raises:
        ValueError: When the model has no sampler (`mask` is its own sample).
    """
    if spec.model not in _SAMPLERS:
        raise ValueError(f"no sampler for density model {spec.model!r}: {', '.join(_SAMPLERS)}")
    return _SAMPLERS[spec.model](spec, names, sizes, rng)


def _dense(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    return np.ones(sizes, dtype=bool)


def _bernoulli(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    return np.asarray(rng.random(tuple(sizes)) < spec.density)


def _hypergeometric(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    return _exact_share(prod(sizes), spec.density, rng).reshape(tuple(sizes))


def _exact_share(count: int, share: float, rng: np.random.Generator) -> Mask:
    """ceil(share * count) marks anywhere among `count` places."""
    flat = np.zeros(count, dtype=bool)
    flat[rng.choice(count, ceil(share * count - 1e-9), replace=False)] = True
    return np.asarray(flat)


def _fixed_structured(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    """Evenly spaced in linear order, from a random start."""
    marks = np.floor(np.arange(prod(sizes) + 1) * spec.density + rng.random())
    return np.asarray((np.diff(marks) > 0).reshape(tuple(sizes)))


def _n_m(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    kept, block = int(spec.parameters["n"]), int(spec.parameters["m"])
    axis = list(names).index(spec.parameters["dimension"])
    others = [size for place, size in enumerate(sizes) if place != axis]
    blocks = -(-sizes[axis] // block)
    ranks = rng.random((*others, blocks, block)).argsort(axis=-1)
    line = (ranks < kept).reshape(*others, blocks * block)[..., : sizes[axis]]
    return np.moveaxis(line, -1, axis)


def _block(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    edges: Mapping[str, int] = spec.parameters["block"]
    shape = [edges.get(name, 1) for name in names]
    grid = [-(-size // edge) for size, edge in zip(sizes, shape, strict=True)]
    mask = _exact_share(prod(grid), spec.density, rng).reshape(grid)
    for axis, edge in enumerate(shape):
        mask = np.repeat(mask, edge, axis=axis)
    return np.asarray(mask[tuple(slice(size) for size in sizes)])


def _banded(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    rows, columns = np.ogrid[: sizes[0], : sizes[1]]
    return np.asarray(np.abs(rows - columns) <= int(spec.parameters["half_bandwidth"]))


def _dead_columns(
    spec: DensitySpec, names: Sequence[str], sizes: Sequence[int], rng: np.random.Generator
) -> Mask:
    axis, dead = list(names).index(spec.parameters["dimension"]), float(spec.parameters["dead"])
    live = ~_exact_share(sizes[axis], dead, rng)
    shape = [size if place == axis else 1 for place, size in enumerate(sizes)]
    inside = rng.random(tuple(sizes)) < spec.density / (1.0 - dead)
    return np.asarray(inside & live.reshape(shape))


_SAMPLERS: dict[str, Sampler] = {
    "dense": _dense,
    "bernoulli": _bernoulli,
    "hypergeometric": _hypergeometric,
    "fixed_structured": _fixed_structured,
    "n_m": _n_m,
    "block": _block,
    "banded": _banded,
    "dead_columns": _dead_columns,
}
