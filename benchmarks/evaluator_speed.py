"""Speed of the sparse accelerator model on one core, in designs per second.

    python benchmarks/evaluator_speed.py [--quick]

Random mappings of LLaMA-sized matmuls (any order, split, fan-out; six formats on the weights; exact
factors unless "padded") priced in batches: energy, latency, occupancy and every violation, checks
of the input included, building the batch excluded. Seconds are processor time of this process,
medians of repeats, compiled code warm. The reference model evaluates 100 to 470 designs per second
with a structured density model and 0.06 to 0.18 with the hypergeometric one (a 4096 x 4096 layer).
The last line is a JSON summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evaluators.accelerator.intersection import IntersectionRule, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware, Level
from spaces.mappings.loop_nest import MappingBatch
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Operator, matmul

FORMATS = ("None", "bitmap", "rle", "csr", "coo", "B(K)-B(N)-B(K:16)")
REFERENCE_PER_SECOND = {"structured": (100.0, 470.0), "hypergeometric": (0.06, 0.18)}
DENSITIES = {
    "dense": DensitySpec(),
    "structured": DensitySpec("fixed_structured", 0.25),
    "hypergeometric": DensitySpec("hypergeometric", 0.25),
    "n_m": DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
}


def hardware(levels: int) -> Hardware:
    """DRAM, one or two buffers and register files behind 16 x 16 fan-outs: 2 to 4 levels."""
    buffers = [
        Level(f"GLB{index}", capacity_bits=2.0 ** (23 - index), read_bits_per_cycle=2048.0)
        for index in range(levels - 2)
    ]
    outer = [Level("DRAM", "dram", access_bits=64, read_bits_per_cycle=205.0), *buffers]
    last = outer[-1]
    outer[-1] = Level(
        last.name,
        last.kind,
        last.capacity_bits,
        read_bits_per_cycle=last.read_bits_per_cycle,
        fan_out={"X": 16, "Y": 16},
    )
    return Hardware("speed", (*outer, Level("RF", "register_file", 4096.0, 16)))


def random_mappings(
    operator: Operator, machine: Hardware, n: int, seed: int, grain: int = 2
) -> MappingBatch:
    """n mappings with one loop per rank and level, K and N spread over the fan-outs.

    Trips are powers of `grain`: 2 gives exact factors of these sizes; 1 any trip, so padded tiles.
    """
    rng = np.random.default_rng(seed)
    levels, ranks = len(machine.levels), len(operator.ranks)
    left = np.tile(np.array(list(operator.ranks.values())), (n, 1))
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    spread = np.minimum(left[:, 1:3], 16)
    left[:, 1:3] = -(-left[:, 1:3] // spread)
    for level in range(levels - 1, -1, -1):
        part = np.floor(np.exp(rng.random((n, ranks)) * np.log(left + 0.999))).astype(np.int64)
        if grain > 1:
            part = grain ** np.floor(np.log(part) / np.log(grain) + 1e-9).astype(np.int64)
        trips = left if level == 0 else part
        left = -(-left // trips)
        order = np.argsort(rng.random((n, ranks)), axis=1)
        kinds = np.zeros((n, ranks), dtype=np.int64)
        blocks.insert(0, (order, np.take_along_axis(trips, order, 1), kinds))
    axes = (np.tile([1, 2], (n, 1)), spread, np.tile([1, 2], (n, 1)))
    blocks.insert(levels - 1, axes)
    columns = [np.concatenate(arrays, axis=1) for arrays in zip(*blocks, strict=True)]
    starts = [ranks * level + 2 * (level == levels - 1) for level in range(levels)]
    keep = np.tile(np.array(starts, dtype=np.int8), (n, len(operator.tensors), 1))
    format_id = np.zeros(keep.shape, dtype=np.int16)
    format_id[:, 1] = rng.integers(0, len(FORMATS), (n, 1))
    return MappingBatch(
        columns[0].astype(np.int8), columns[1], columns[2].astype(np.int8), keep, format_id
    )


def model(operator: Operator, machine: Hardware, density: str, skipping: bool) -> SparseAccelerator:
    """The evaluator under test."""
    rules = (IntersectionRule("RF", "A", ("W",)), IntersectionRule("RF", "Z", ("A", "W")))
    return SparseAccelerator(
        operator,
        machine,
        densities={"W": DENSITIES[density]},
        formats={"W": tuple(parse_format(text, ("K", "N")) for text in FORMATS)},
        optimization=SparseOptimization(rules if skipping else ()),
    )


def rate(evaluator: SparseAccelerator, batch: MappingBatch, repeats: int) -> float:
    """Designs per second of processor time, median of repeats."""
    evaluator.evaluate(batch)
    seconds = []
    for _ in range(repeats):
        start = process_time()
        evaluator.evaluate(batch)
        seconds.append(process_time() - start)
    return len(batch) / max(median(seconds), 1e-9)


def held_bytes(evaluator: SparseAccelerator, batch: MappingBatch) -> float:
    """Bytes per design of the results: metrics and violations."""
    result = evaluator.evaluate(batch)
    arrays = {id(a.base if a.base is not None else a): a for a in result.metrics.values()}
    arrays |= {id(a.base if a.base is not None else a): a for a in result.violations.values()}
    total = sum((a.base if a.base is not None else a).nbytes for a in arrays.values())
    return total / len(batch)


def sweep(quick: bool) -> list[dict[str, object]]:
    """Rows: what was varied, and designs per second."""
    sizes = (100, 1_000, 10_000, 100_000) if quick else (100, 1_000, 10_000, 100_000, 1_000_000)
    operator = matmul("llama", {"M": 2048, "K": 4096, "N": 4096})
    rows: list[dict[str, object]] = []

    def add(varied: str, value: object, evaluator: SparseAccelerator, batch: MappingBatch) -> None:
        repeats = 3 if len(batch) >= 1_000_000 else 5
        rows.append(
            {"varied": varied, "value": value, "per_second": rate(evaluator, batch, repeats)}
        )

    machine = hardware(3)
    for n in sizes:
        batch = random_mappings(operator, machine, n, 0)
        add("batch, hypergeometric", n, model(operator, machine, "hypergeometric", False), batch)
    batch = random_mappings(operator, machine, 100_000, 0)
    for density in DENSITIES:
        add("density model", density, model(operator, machine, density, False), batch)
    padded = random_mappings(operator, machine, 100_000, 0, grain=1)
    add("tilings", "padded", model(operator, machine, "hypergeometric", False), padded)
    add("skipping", "two rules", model(operator, machine, "hypergeometric", True), batch)
    for levels in (2, 3, 4):
        tower = hardware(levels)
        mappings = random_mappings(operator, tower, 100_000, 0)
        add("levels", levels, model(operator, tower, "hypergeometric", False), mappings)
    for edge in (64, 1024, 16384, 262144):
        large = matmul("edge", {"M": edge, "K": edge, "N": edge})
        mappings = random_mappings(large, machine, 100_000, 0)
        add("matmul edge", edge, model(large, machine, "hypergeometric", False), mappings)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the batch of a million")
    rows = sweep(parser.parse_args(arguments).quick)
    print(f"{'varied':24} {'value':>16} {'designs/s':>14}")
    for row in rows:
        print(f"{row['varied']:24} {row['value']!s:>16} {row['per_second']:14,.0f}")
    named = {(row["varied"], row["value"]): float(str(row["per_second"])) for row in rows}
    ratios = {
        density: [
            named["density model", density] / speed for speed in REFERENCE_PER_SECOND[density]
        ]
        for density in REFERENCE_PER_SECOND
    }
    operator = matmul("llama", {"M": 2048, "K": 4096, "N": 4096})
    machine = hardware(3)
    held = held_bytes(
        model(operator, machine, "hypergeometric", False),
        random_mappings(operator, machine, 10_000, 0),
    )
    summary = {
        "sparse_three_level_per_second": named["density model", "hypergeometric"],
        "held_bytes_per_design": held,
        "ratio_to_reference": ratios,
        "growth_with_tensor_size": named["matmul edge", 64] / named["matmul edge", 262144],
    }
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
