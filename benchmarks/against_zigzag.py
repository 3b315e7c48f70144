"""Our certified mappings against ZigZag's own search, on the same layers and hardware.

    python3 -m venv /somewhere && /somewhere/bin/pip install zigzag-dse six
    python benchmarks/against_zigzag.py --zigzag /somewhere/bin/python

Layers and architectures are those of tests/golden/search_targets.json (A16, B32); the goal is the
energy-delay product; every level keeps every operand (ZigZag does not bypass). ZigZag searches with
its default engine (LOMA); its best mapping is priced in our model, where the two searches meet: the
column `repriced` is that price over ZigZag's own, `ratio` our optimum over the repriced mapping.
A mapping that no single loop nest expresses is compared by ZigZag's own price and marked so.
Both sides use the cores as they come; seconds are wall clock and include neither side's imports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any

from search_quality import NO_LEAKAGE, accelforge_hardware

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.reference.golden_cases import accelforge_case
from spaces.workloads.workload import Precision, matmul
from strategies.exact.exact_search import exact_search

TARGETS = Path("tests/golden/search_targets.json")
RANKS = {"O": "MN", "I": "MK", "W": "KN"}
WORD_BITS = 8
REPEATS = 5


def zigzag(python: str, arch: Mapping[str, Any], dims: Mapping[str, int], limit: int) -> Any:
    """What ZigZag finds, see benchmarks/zigzag_search.py."""
    request = {
        "arch": arch,
        "dims": dims,
        "word_bits": WORD_BITS,
        "lpf_limit": limit,
        "spatial_mappings": 3,
        "mixed": False,
    }
    script = str(Path(__file__).with_name("zigzag_search.py"))
    command = [python, script, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"--zigzag: {python} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def nodes_of(found: Mapping[str, Any], axes: Mapping[str, int]) -> list[list[Any]] | None:
    """The mapping as storage nodes and loops, outermost first; None if no single nest says it.

    ZigZag gives each operand its own cut of one loop order into levels. The spatial loops stand
    below every GLB tile. A register tile that spans loops above them may only span loops that do
    not index it: then implicit stationarity earns the same reuse.
    """
    temporal = found["temporal"]
    cuts = {name: [len(level) for level in levels] for name, levels in temporal.items()}
    order = [loop for level in temporal["O"] for loop in level][::-1]
    spatial_at = max(cut[2] for cut in cuts.values())
    nodes: list[list[Any]] = [["S", "DRAM", ["W", "O", "I"]]]
    for position in range(len(order) + 1):
        nodes += [["S", "GLB", [name]] for name, cut in cuts.items() if cut[2] == position]
        if position == spatial_at:
            spatial = _spatial_loops(found["spatial"]["O"][1], axes)
            if spatial is None:
                return None
            nodes += spatial
        for name, cut in cuts.items():
            at = cut[1] + cut[2]
            spanned = {rank for rank, _ in order[at:spatial_at]}
            if spanned & set(RANKS[name]):
                return None
            if max(at, spatial_at) == position:
                nodes.append(["S", "RF", [name]])
        if position < len(order):
            nodes.append(["T", *order[position]])
    return nodes


def _spatial_loops(loops: list[list[Any]], axes: Mapping[str, int]) -> list[list[Any]] | None:
    """Spread unrolled ranks over the two axes; None if they do not fit there."""
    room = dict(axes)
    nodes: list[list[Any]] = []
    for rank, trips in sorted(loops, key=lambda loop: -int(loop[1])):
        rest = int(trips)
        for axis in room:
            part = next(p for p in range(min(rest, room[axis]), 0, -1) if rest % p == 0)
            if part > 1:
                nodes.append(["P", axis, rank, part])
                room[axis] //= part
                rest //= part
        if rest > 1:
            return None
    return nodes


def compare(python: str, spec: Mapping[str, Any], arch: str, layer: str, limit: int) -> Any:
    """One layer on one architecture: both searches, and ZigZag's mapping in our model."""
    dims = spec["workloads"][layer]
    theirs = zigzag(python, spec["archs"][arch], dims, limit)
    accelerator = SparseAccelerator(
        matmul(layer, dims),
        accelforge_hardware(spec["archs"][arch], bypass=False),
        precision=Precision(weight=WORD_BITS, activation=WORD_BITS, kv=WORD_BITS, psum=WORD_BITS),
        technology=NO_LEAKAGE,
    )
    seconds = []
    for _ in range(1 + REPEATS):
        begin = perf_counter()
        found = exact_search(accelerator.cost_terms(), "edp", "uneven_runs")
        seconds.append(perf_counter() - begin)
    ours = edp(accelerator, found.mappings)
    own = theirs["energy_pj"] * theirs["latency_cycles"]
    array = spec["archs"][arch]["pe_array"]
    nodes = nodes_of(theirs, {"Y": array["Y"], "X": array["X"]})
    repriced = None
    if nodes is not None:
        case = accelforge_case(spec, layer, {"arch": arch, "dims": dims, "nodes": nodes})
        repriced = edp(accelerator, case.mapping)
    return {
        "target": f"{arch}/{layer}",
        "ours_edp": ours,
        "zigzag_edp": own,
        "zigzag_repriced": None if repriced is None else repriced / own,
        "ratio": ours / (repriced or own),
        "ours_warm_s": median(seconds[1:]),
        "zigzag_s": theirs["wall_s"],
        "speed_up": theirs["wall_s"] / median(seconds[1:]),
        "certified": found.certified,
    }


def edp(accelerator: SparseAccelerator, mapping: Any) -> float:
    """Energy-delay product [pJ x cycles] of a mapping in our model."""
    metrics = accelerator.evaluate(mapping).metrics
    return float((metrics["energy_pj"] * metrics["latency_cycles"]).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zigzag", required=True, help="a Python that has zigzag-dse installed")
    parser.add_argument("--lpf-limit", type=int, default=6, help="LOMA's limit (ZigZag's default)")
    chosen = parser.parse_args()
    spec = json.loads(TARGETS.read_text())["accelforge"]["spec"]
    rows = [
        compare(chosen.zigzag, spec, arch, layer, chosen.lpf_limit)
        for arch in spec["archs"]
        for layer in spec["workloads"]
    ]
    print(f"{'target':14} {'ratio':>8} {'repriced':>9} {'ours ms':>8} {'ZigZag s':>9} certified")
    for row in rows:
        priced = row["zigzag_repriced"]
        print(
            f"{row['target']:14} {row['ratio']:8.4f} "
            f"{'no nest' if priced is None else f'{priced:.4f}':>9} "
            f"{row['ours_warm_s'] * 1e3:8.2f} {row['zigzag_s']:9.2f} {row['certified']}"
        )
    summary = {
        "benchmark": "against_zigzag",
        "speed_up_geomean": geometric_mean(row["speed_up"] for row in rows),
        "edp_ratio_geomean": geometric_mean(row["ratio"] for row in rows),
        "rows": rows,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
