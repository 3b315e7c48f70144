"""Check a certificate without the search that wrote it.

    python benchmarks/check_certificate.py CERTIFICATE [SAMPLES]

Prices the certified mapping again with the evaluator, compares value, bound and gap, and attacks
the claim by walks of random changes from the certified mapping, none of which may be valid and
better than the bound. It shares no code with the search. The problem is a plain matrix product:
sizes by rank, a file of conf/hardware, densities as tensor -> [model, density], and formats as
tensor -> [format, ...].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import Evaluation
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.hardware_config import build_hardware
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import matmul

TOLERANCE = 1e-9


def build_evaluator(problem: dict[str, Any], stationarity: str) -> SparseAccelerator:
    """The evaluator that a certificate's problem names."""
    config: Any = OmegaConf.to_container(OmegaConf.load(problem["hardware"]))
    config.pop("_target_")
    operator = matmul("certified", problem["sizes"])
    names = {t.name: [d.name for d in t.dimensions] for t in operator.tensors}
    return SparseAccelerator(
        operator,
        build_hardware(**config),
        densities={t: DensitySpec(*spec) for t, spec in problem.get("densities", {}).items()},
        formats={
            t: (UNCOMPRESSED, *(parse_format(text, names[t]) for text in texts))
            for t, texts in problem.get("formats", {}).items()
        },
        stationarity=stationarity,
    )


def as_batch(columns: dict[str, Any]) -> MappingBatch:
    return MappingBatch(
        np.array([columns["loop_rank"]], np.int8),
        np.array([columns["loop_trip"]], np.int64),
        np.array([columns["loop_kind"]], np.int8),
        np.array([columns["keep_at"]], np.int8),
        np.array([columns["format_id"]], np.int16),
    )


def objective(name: str, found: Evaluation) -> NDArray[np.float64]:
    energy, cycles = found.metrics["energy_pj"], found.metrics["latency_cycles"]
    value = {"energy": energy, "latency": cycles}.get(name, energy * cycles)
    return np.where(found.feasible, value, np.inf)


def neighbour(columns: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A random change: swap two loops, move a factor, or move a tile's position."""
    new = json.loads(json.dumps(columns))
    slots = len(new["loop_trip"])
    kind = int(rng.integers(3))
    a, b = (int(x) for x in rng.integers(slots, size=2))
    if kind == 0:
        for name in ("loop_rank", "loop_trip"):
            new[name][a], new[name][b] = new[name][b], new[name][a]
    elif kind == 1 and new["loop_rank"][a] == new["loop_rank"][b] and a != b:
        factors = [d for d in range(2, 65) if new["loop_trip"][a] % d == 0]
        if factors:
            factor = int(rng.choice(factors))
            new["loop_trip"][a] //= factor
            new["loop_trip"][b] *= factor
    else:
        row = new["keep_at"][int(rng.integers(len(new["keep_at"])))]
        level = 1 + int(rng.integers(len(row) - 1))
        row[level] = int(rng.integers(BYPASS, slots + 1))
    return new  # type: ignore[no-any-return]


def attack(
    evaluator: SparseAccelerator, statement: dict[str, Any], samples: int, seed: int = 0
) -> tuple[float, int]:
    """Best objective found by a random walk from the certified mapping, and mappings priced."""
    rng = np.random.default_rng(seed)
    best, priced = np.inf, 0
    current = statement["mapping"]
    for step in range(samples):
        if step % 25 == 0:
            current = statement["mapping"]
        candidate = neighbour(current, rng)
        try:
            value = float(
                objective(statement["objective"], evaluator.evaluate(as_batch(candidate)))[0]
            )
        except ValueError:
            continue
        priced += 1
        if np.isfinite(value):
            current = candidate
            best = min(best, value)
    return best, priced


def check(statement: dict[str, Any], samples: int) -> list[str]:
    """What is wrong with a certificate; empty = nothing found."""
    evaluator = build_evaluator(statement["problem"], statement["stationarity"])
    priced = evaluator.evaluate(as_batch(statement["mapping"]))
    value = float(objective(statement["objective"], priced)[0])
    faults = []
    if not priced.feasible[0]:
        faults.append("the certified mapping is not feasible")
    if abs(value / statement["value"] - 1) > TOLERANCE:
        faults.append(f"the mapping costs {value!r}, the certificate says {statement['value']!r}")
    if statement["certified"] and statement["lower_bound"] < statement["value"] * (1 - TOLERANCE):
        faults.append("it claims optimality with a bound below its value")
    if statement["lower_bound"] > statement["value"] * (1 + TOLERANCE):
        faults.append("its bound is above its value")
    best, tried = attack(evaluator, statement, samples)
    if best < statement["lower_bound"] * (1 - TOLERANCE):
        faults.append(f"one of {tried} other mappings costs {best!r}, below the bound")
    return faults


def main(path: Path, samples: int) -> int:
    statement = json.loads(path.read_text())
    faults = check(statement, samples)
    print(f"space: {statement['space']['mapspace']}, {statement['space']['mappings']} mappings")
    for line in statement["space"]["covers"]:
        print(f"  covers: {line}")
    for line in statement["space"]["excludes"]:
        print(f"  excludes: {line}")
    for fault in faults:
        print(f"FAULT: {fault}")
    print(json.dumps({"benchmark": "check_certificate", "file": path.name, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000))
