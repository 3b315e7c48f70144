"""Search quality: our certified optimum against what reference tools found, on their own metric.

    python benchmarks/search_quality.py FILE

FILE follows the schema of tests/golden/search_targets.json. Each target is searched on its own
hardware and layer with its tool's stationarity, ports and mapspace: Timeloop's even one with the
weight tile in RF at least 8 words along K where the target says so; AccelForge's uneven one with or
without bypass. AccelForge's best mappings are given as nodes and are priced in our model, too. The
search is one thread: on a busy machine its processor time, beside the wall time, says more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from evaluators.accelerator.intersection import SparseOptimization, build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from evaluators.reference.golden_cases import accelforge_case
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Precision, TensorClass, matmul
from strategies.exact.exact_search import exact_search
from strategies.exact.search_result import objective_values

REPEATS = 3
NO_LEAKAGE = Technology(values={"leakage_mw_per_mm2": 0.0})
EVERYTHING = frozenset(TensorClass)


@dataclass(frozen=True)
class Target:
    """One row of the file as a problem of ours, and the reference's result in our units."""

    name: str
    accelerator: SparseAccelerator
    objective: str
    mapspace: str
    value: float
    seconds: float
    minimum_tile: tuple[int, int, int] | None = None
    nodes: Mapping[str, Any] = field(default_factory=dict)


def sparseloop_hardware(spec: Mapping[str, Any]) -> Hardware:
    """Levels of the Sparseloop rows, everything kept everywhere; one axis pair of the mesh."""
    word = spec["word_bits"]
    levels = []
    for row in spec["levels"]:
        mesh = {"X": spec["levels"][2]["mesh"][0], "Y": spec["levels"][2]["mesh"][1]}
        rate = row.get("read_bandwidth_words_per_cycle", inf) * word
        levels.append(
            Level(
                row["name"],
                capacity_bits=row.get("capacity_words", inf) * word,
                access_bits=word,
                read_bits_per_cycle=rate,
                write_bits_per_cycle=row.get("write_bandwidth_words_per_cycle", inf) * word,
                fan_out=mesh if row["name"] == "GLB" else {},
                must_keep=EVERYTHING,
                read_energy_pj=row["energy_pj_per_word"],
                write_energy_pj=row["energy_pj_per_word"],
                gated_energy_pj=row.get("gated_pj", 0.0),
            )
        )
    compute = ComputeUnit(energy_pj=spec["mac_pj"], gated_energy_pj=spec["mac_gated_pj"])
    return Hardware("sparseloop", tuple(levels), compute)


def sparseloop_targets(document: Mapping[str, Any]) -> Iterator[Target]:
    """Rows with a result of their own (the hypergeometric ones only measured speed)."""
    spec = document["spec"]
    hardware = sparseloop_hardware(spec)
    word = spec["word_bits"]
    precision = Precision(weight=word, activation=word, kv=word, psum=word)
    for layer, rows in document["layers"].items():
        for name, row in rows.items():
            if "summary" not in row:
                continue
            sizes = dict(zip("MKN", row["MKN"], strict=True))
            sparse = row["density_B"] < 1.0
            model = DensitySpec("fixed_structured", row["density_B"]) if sparse else DensitySpec()
            yield Target(
                f"{layer}/{name}",
                SparseAccelerator(
                    matmul(layer, sizes),
                    hardware,
                    densities={"W": model},
                    formats={"W": (UNCOMPRESSED, parse_format("B(K,N)", ("K", "N")))},
                    precision=precision,
                    technology=NO_LEAKAGE,
                    optimization=skipping() if sparse else SparseOptimization(),
                    drain_read=False,
                ),
                "edp",
                "even",
                row["summary"]["Energy"] * 1e6 * row["summary"]["Cycles"],
                row["time_to_best_s"],
                (1, 8, 1) if "k8" in name else None,
            )


def skipping() -> SparseOptimization:
    """A is skipped on the zeros of the weights, at the compute units."""
    return build_optimization(
        [
            {"level": "RF", "target": "A", "leaders": ["W"]},
            {"level": "RF", "target": "Z", "leaders": ["W"]},
        ]
    )


def accelforge_hardware(spec: Mapping[str, Any], bypass: bool) -> Hardware:
    """Levels of the AccelForge rows; widths are given there in bits, energies per word."""
    levels = []
    for row in spec["levels"]:
        words = row["bandwidth_words_per_cycle"]
        array = {"X": spec["pe_array"]["X"], "Y": spec["pe_array"]["Y"]}
        levels.append(
            Level(
                row["name"],
                capacity_bits=row["size_bits"] or inf,
                access_bits=8,
                read_bits_per_cycle=words * 8 if words else inf,
                write_bits_per_cycle=words * 8 if words else inf,
                shared_port=True,
                fan_out=array if row["name"] == spec["pe_array"]["below_level"] else {},
                must_keep=frozenset() if bypass else EVERYTHING,
                read_energy_pj=row["read_pJ_per_word"],
                write_energy_pj=row["write_pJ_per_word"],
            )
        )
    return Hardware("accelforge", tuple(levels), ComputeUnit(energy_pj=spec["mac"]["energy_pJ"]))


def accelforge_targets(document: Mapping[str, Any]) -> Iterator[Target]:
    spec = document["spec"]
    precision = Precision(weight=8, activation=8, kv=8, psum=8)
    for name, row in document["targets"].items():
        arch, layer, objective, keep = name.split("|")
        hardware = accelforge_hardware(spec["archs"][arch], keep == "bypass")
        metric = {"energy": "energy_pJ", "latency": "latency_cycles"}.get(objective, "edp")
        accelerator = SparseAccelerator(
            matmul(layer, spec["workloads"][layer]),
            hardware,
            precision=precision,
            technology=NO_LEAKAGE,
            stationarity=document["stationarity"],
        )
        yield Target(
            name, accelerator, objective, "uneven", row[metric], row["search_cpu_s"],
            nodes={
                "arch": arch,
                "dims": spec["workloads"][layer],
                "nodes": row["nodes"],
                "spec": spec,
            },
        )  # fmt: skip


def search(target: Target) -> dict[str, Any]:
    """Search one target; the first call compiles or loads compiled code, the others are warm."""
    terms = target.accelerator.cost_terms()
    minimum = None if target.minimum_tile is None else np.array(target.minimum_tile)
    times, busy = [], []
    for _ in range(1 + REPEATS):
        begin, used = perf_counter(), process_time()
        found = exact_search(terms, target.objective, target.mapspace, minimum)
        times.append(perf_counter() - begin)
        busy.append(process_time() - used)
    priced = target.accelerator.evaluate(found.mappings)
    energy, cycles = priced.metrics["energy_pj"], priced.metrics["latency_cycles"]
    ours = float(objective_values(target.objective, energy, cycles).min())
    warm, processor = median(times[1:]), median(busy[1:])
    return {
        "target": target.name,
        "ours": ours,
        "theirs": target.value,
        "ratio": ours / target.value,
        "first_s": times[0],
        "warm_s": warm,
        "warm_processor_s": processor,
        "reference_s": target.seconds,
        "speed_up": target.seconds / warm,
        "processor_speed_up": target.seconds / processor,
        "visited": found.visited,
        "certified": found.certified and ours <= found.lower_bound * (1 + 1e-9),
        "mapspace": target.mapspace,
        "reference_repriced": repriced(target),
    }


def repriced(target: Target) -> float | None:
    """The reference's own best mapping in our model over its reported value, where it is given."""
    if not target.nodes:
        return None
    case = accelforge_case(target.nodes["spec"], target.name, target.nodes)
    priced = target.accelerator.evaluate(case.mapping)
    energy, cycles = priced.metrics["energy_pj"], priced.metrics["latency_cycles"]
    return float(objective_values(target.objective, energy, cycles)[0]) / target.value


def mean_speed_up(rows: Sequence[Mapping[str, Any]], which: str) -> float | None:
    """Geometric mean of a speed-up over some rows; None without rows."""
    return geometric_mean(row[which] for row in rows) if rows else None


def main(path: Path) -> None:
    document = json.loads(path.read_text())
    targets = [
        *sparseloop_targets(document["sparseloop"]),
        *accelforge_targets(document["accelforge"]),
    ]
    rows = [search(target) for target in targets]
    print(
        f"{'target':44} {'ours/theirs':>12} {'warm ms':>8} {'CPU ms':>8} {'ref s':>7} "
        f"{'speed-up':>9} {'by CPU':>7} {'reference repriced':>19} certified"
    )
    for row in rows:
        print(
            f"{row['target']:44} {row['ratio']:12.8f} {row['warm_s'] * 1e3:8.2f} "
            f"{row['warm_processor_s'] * 1e3:8.2f} {row['reference_s']:7.2f} "
            f"{row['speed_up']:9.0f} {row['processor_speed_up']:7.0f} "
            f"{row['reference_repriced'] or float('nan'):19.8f} {row['certified']}"
        )
    structured = [row for row in rows if "structured" in row["target"]]
    summary = {
        "benchmark": "search_quality",
        "targets": len(rows),
        "worst_ratio": max(row["ratio"] for row in rows),
        "all_certified": all(row["certified"] for row in rows),
        "structured_speed_up_geomean": mean_speed_up(structured, "speed_up"),
        "structured_processor_speed_up_geomean": mean_speed_up(structured, "processor_speed_up"),
        "rows": rows,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/search_targets.json"))
