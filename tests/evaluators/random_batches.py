"""Large batches of random well-formed mappings of any operator, padded sizes included."""

from __future__ import annotations

import numpy as np

from spaces.hardware import Hardware
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.workloads.workload import Operator


def random_batch(
    operator: Operator, hardware: Hardware, n: int, rng: np.random.Generator
) -> MappingBatch:
    """n mappings on a hardware with three levels whose fan-outs all stand below the second.

    Every rank is cut at random into inner, spatial (on one axis) and middle trips; the outermost
    trip covers what is left, rounded up.
    """
    ranks = len(operator.ranks)
    sizes = np.array(list(operator.ranks.values()))
    axes = hardware.axes
    inner = random_part(sizes, n, rng)
    spatial = np.ones((n, len(axes)), dtype=np.int64)
    spread = rng.integers(0, ranks, (n, len(axes)))
    left = -(-sizes // inner)
    rows = np.arange(n)
    for axis, (_, _, size) in enumerate(axes):
        most = np.minimum(left[rows, spread[:, axis]], size)
        spatial[:, axis] = rng.integers(1, most + 1)
        left[rows, spread[:, axis]] = -(-left[rows, spread[:, axis]] // spatial[:, axis])
    middle = random_part(left, n, rng)
    outer = -(-left // middle)
    order = [np.argsort(rng.random((n, ranks)), axis=1) for _ in range(3)]
    parts = [
        np.take_along_axis(trips, o, 1)
        for trips, o in zip((outer, middle, inner), order, strict=True)
    ]
    kinds = np.zeros((n, 3 * ranks + len(axes)), dtype=np.int8)
    kinds[:, 2 * ranks : 2 * ranks + len(axes)] = np.arange(len(axes)) + 1
    tensors = len(operator.tensors)
    keep = np.zeros((n, tensors, 3), dtype=np.int8)
    keep[:, :, 1] = rng.integers(0, 2 * ranks + 1, (n, tensors))
    keep[:, :, 2] = rng.integers(2 * ranks + len(axes), 3 * ranks + len(axes) + 1, (n, tensors))
    keep[:, :, 1:][rng.random((n, tensors, 2)) < 0.15] = BYPASS
    return MappingBatch(
        np.concatenate([order[0], order[1], spread, order[2]], axis=1).astype(np.int8),
        np.concatenate([parts[0], parts[1], spatial, parts[2]], axis=1).astype(np.int64),
        kinds,
        keep,
        np.zeros((n, tensors, 3), dtype=np.int16),
    )


def random_part(limits: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Log-uniform integers between 1 and the limits, shape (n, ranks)."""
    limits = np.broadcast_to(limits, (n, np.shape(limits)[-1]))
    return np.minimum(
        np.floor(np.exp(rng.random(limits.shape) * np.log(limits + 1))), limits
    ).astype(np.int64)
