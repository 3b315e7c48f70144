"""The certified search against the differentiable relaxation, at equal or better EDP.

    python benchmarks/exact_against_gradient.py

Operators of LLaMA-2-7B on conf/hardware/edge.yaml, dense, compiled code warm.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware_config import build_hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import matmul
from strategies.exact.exact_search import exact_search
from strategies.relaxation import Schedule, relaxation_search

EDGE = Path(__file__).parents[1] / "conf" / "hardware" / "edge.yaml"
LAYERS = {
    "decode q_proj": {"M": 1, "K": 4096, "N": 4096},
    "decode attention": {"B": 32, "M": 1, "K": 128, "N": 2048},
    "prefill q_proj": {"M": 2048, "K": 4096, "N": 4096},
    "prefill gate_proj": {"M": 2048, "K": 4096, "N": 11008},
}


def compare(name: str, sizes: dict[str, int]) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(EDGE))
    config.pop("_target_")
    accelerator = SparseAccelerator(matmul(name, sizes), build_hardware(**config))
    terms = accelerator.cost_terms()

    def price(batch: MappingBatch) -> NDArray[np.float64]:
        found = accelerator.evaluate(batch)
        return np.where(found.feasible, found.metrics["edp_pj_cycles"], np.inf)

    relaxation_search(terms, price, schedule=Schedule(1, 2))
    relaxed = relaxation_search(terms, price)
    times = []
    for _ in range(4):
        begin = perf_counter()
        exact = exact_search(terms, "edp")
        times.append(perf_counter() - begin)
    seconds = median(times[1:])
    return {
        "layer": name,
        "edp_ratio": float(exact.values.min()) / relaxed.value,
        "exact_s": seconds,
        "gradient_s": relaxed.seconds,
        "speed_up": relaxed.seconds / seconds,
        "certified": exact.certified,
    }


def main() -> None:
    rows = [compare(name, sizes) for name, sizes in LAYERS.items()]
    print(
        f"{'layer':20} {'exact/gradient EDP':>19} {'exact ms':>9} "
        f"{'gradient s':>11} {'speed-up':>9}"
    )
    for row in rows:
        print(
            f"{row['layer']:20} {row['edp_ratio']:19.6f} {row['exact_s'] * 1e3:9.1f} "
            f"{row['gradient_s']:11.2f} {row['speed_up']:9.0f}"
        )
    speed_up = geometric_mean(row["speed_up"] for row in rows)
    print(json.dumps({"benchmark": "exact_against_gradient", "speed_up": speed_up, "rows": rows}))


if __name__ == "__main__":
    main()
