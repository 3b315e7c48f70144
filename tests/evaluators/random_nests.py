"""Random small mappings: any order, split, fan-out, placement and bypass that is well formed."""

from __future__ import annotations

import numpy as np

from spaces.hardware import Hardware, Level
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.workloads.workload import Operator

THREE_LEVELS = Hardware(
    "three",
    (
        Level("DRAM", "dram"),
        Level("GLB", "sram", capacity_bits=1 << 13, fan_out={"X": 2, "Y": 2}),
        Level("RF", "register_file", capacity_bits=1 << 9, access_bits=8),
    ),
)
"""DRAM, a buffer, 2 x 2 register files."""

LEAF_ARRAY = Hardware(
    "leaf_array",
    (
        Level("DRAM", "dram", fan_out={"C": 2}),
        Level("GLB", "sram", capacity_bits=1 << 13, fan_out={"X": 2, "Y": 2}),
    ),
)
"""Two buffers, each with 2 x 2 compute units that share its words."""


def random_mapping(
    operator: Operator, hardware: Hardware, rng: np.random.Generator
) -> MappingBatch:
    """One well-formed mapping with exact factors, as a batch of one."""
    left = dict(operator.ranks)
    loops: list[tuple[int, int, int]] = []
    starts: list[int] = []
    names = operator.rank_names
    axes = hardware.axes
    spatial: dict[int, list[tuple[int, int, int]]] = {}
    for axis, (level, _, size) in enumerate(axes):
        fitting = [rank for rank in names if left[rank] % size == 0]
        if fitting and rng.random() < 0.8:
            rank = fitting[rng.integers(len(fitting))]
            left[rank] //= size
            spatial.setdefault(level, []).append((names.index(rank), size, axis + 1))
    for level in range(len(hardware.levels)):
        starts.append(len(loops))
        last = level + 1 == len(hardware.levels)
        for rank in rng.permutation(names):
            choices = [f for f in range(1, left[rank] + 1) if left[rank] % f == 0]
            trip = left[rank] if last else int(rng.choice(choices))
            left[rank] //= trip
            loops.append((names.index(rank), trip, 0))
        loops += spatial.get(level, [])
    keep = [_keep(len(loops), starts, loops, hardware, rng) for _ in operator.tensors]
    ranks, trips, kinds = (np.array([column]) for column in zip(*loops, strict=True))
    keep_at = np.array([keep], dtype=np.int8)
    return MappingBatch(
        ranks.astype(np.int8),
        trips.astype(np.int64),
        kinds.astype(np.int8),
        keep_at,
        np.zeros_like(keep_at, dtype=np.int16),
    )


def _keep(
    slots: int,
    starts: list[int],
    loops: list[tuple[int, int, int]],
    hardware: Hardware,
    rng: np.random.Generator,
) -> list[int]:
    """Positions of one tensor: anywhere between the fan-outs around a level, or a bypass."""
    positions = [0]
    floor = 0
    for level in range(1, len(hardware.levels)):
        above = [
            p for p, loop in enumerate(loops) if loop[2] and hardware.axes[loop[2] - 1][0] < level
        ]
        below = [
            p for p, loop in enumerate(loops) if loop[2] and hardware.axes[loop[2] - 1][0] >= level
        ]
        low = max([floor, *(p + 1 for p in above)])
        high = min([slots, *below])
        if rng.random() < 0.25 or low > high:
            positions.append(BYPASS)
            continue
        floor = (
            int(rng.integers(low, high + 1))
            if rng.random() < 0.5
            else max(low, min(starts[level], high))
        )
        positions.append(floor)
    return positions
