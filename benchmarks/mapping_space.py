"""How fast mapping spaces turn numbers into mappings, and how large they are.

    python benchmarks/mapping_space.py

One row per operator on the edge accelerator's shape: distinct mappings, seconds to build and to
count, designs per second decoded, encoded and enumerated (median of five batches, one core).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from spaces.hardware import Hardware, Level
from spaces.mappings.mapping_space import MappingSpace
from spaces.workloads.workload import matmul

EDGE = Hardware("edge", (Level("DRAM"), Level("GLB", fan_out={"X": 16, "Y": 16}), Level("RF")))
OPERATORS = {
    "projection, decode": {"M": 1, "K": 4096, "N": 4096},
    "projection, prefill": {"M": 2048, "K": 4096, "N": 11008},
    "LM head of 50257": {"M": 1, "K": 4096, "N": 50257},
    "attention over 2049": {"B": 32, "M": 1, "K": 128, "N": 2049},
    "attention, prefill 2049": {"B": 32, "M": 2049, "K": 128, "N": 2049},
}
BATCH = 50_000


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def measure(sizes: dict[str, int]) -> dict[str, float]:
    """The figures of one operator."""
    space = MappingSpace(matmul("operator", sizes), EDGE)
    build_s = seconds(lambda: space.parameters)
    count_s = seconds(lambda: space.size)
    batches = [space.sample(BATCH, np.random.default_rng(seed)) for seed in range(5)]
    designs = [space.decode(columns) for columns in batches]
    listing = space.enumerate(8192)
    next(listing)
    return {
        "mappings": float(space.size),
        "build_s": build_s,
        "count_s": count_s,
        "decode_per_s": BATCH / median(seconds(partial(space.decode, c)) for c in batches),
        "encode_per_s": BATCH / median(seconds(partial(space.encode, d)) for d in designs),
        "enumerate_per_s": 8192 / median(seconds(lambda: next(listing)) for _ in range(5)),
    }


def main() -> None:
    """Print the table and, last, one JSON line."""
    rows = {name: measure(sizes) for name, sizes in OPERATORS.items()}
    columns = list(next(iter(rows.values())))
    print(f"{'operator':<24}" + "".join(f"{column:>17}" for column in columns))
    for name, row in rows.items():
        print(f"{name:<24}" + "".join(f"{row[column]:>17.3g}" for column in columns))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
