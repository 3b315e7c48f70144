"""The certified search against the differentiable relaxation, at equal or better EDP.

    python benchmarks/exact_against_gradient.py

Operators of LLaMA-2-7B on conf/hardware/edge.yaml. First dense: mappings alone. Then with weights
that are 30 % random non-zeros and the formats of conf/format/compact.yaml: the relaxation knows no
formats, so it descends once for each (one per tensor, all levels the same), rounds and repairs at
the true price; the certified search takes any of them at every level. Processor time of one
thread, compiled code warm; the last line is a JSON summary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median
from time import process_time
from typing import Any

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.compression_format import Format
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.sparsity.sparsity import DENSE, DensitySpec
from spaces.workloads.workload import matmul
from strategies.exact.exact_search import exact_search
from strategies.relaxation import Schedule, relaxation_search

CONF = Path(__file__).resolve().parents[1] / "conf"
REPEATS = 3
LAYERS = {
    "decode q_proj": {"M": 1, "K": 4096, "N": 4096},
    "decode attention": {"B": 32, "M": 1, "K": 128, "N": 2048},
    "prefill q_proj": {"M": 2048, "K": 4096, "N": 4096},
    "prefill gate_proj": {"M": 2048, "K": 4096, "N": 11008},
}
WEIGHTS = 1
"""Place of the second operand among the tensors of a matrix product."""


def edge() -> Hardware:
    """The shipped edge accelerator."""
    hardware = instantiate(OmegaConf.load(CONF / "hardware" / "edge.yaml"), _convert_="all")
    assert isinstance(hardware, Hardware)
    return hardware


def compact_formats(sizes: dict[str, int]) -> tuple[Format, ...]:
    """The handful of formats, for a weight with these rank sizes."""
    offer = instantiate(OmegaConf.load(CONF / "format" / "compact.yaml"), _convert_="all")
    return tuple(offer.formats({rank: sizes[rank] for rank in ("B", "K", "N") if rank in sizes}))


def compare(name: str, sizes: dict[str, int], sparse: bool) -> dict[str, Any]:
    """One row: both searches on one operator."""
    operator = matmul(name, sizes)
    weight = operator.tensors[WEIGHTS].name
    formats = compact_formats(sizes) if sparse else ()
    accelerator = SparseAccelerator(
        operator,
        edge(),
        densities={weight: DensitySpec("bernoulli", 0.3) if sparse else DENSE},
        formats={weight: formats} if sparse else {},
    )
    value, gradient_s = relaxed(accelerator, range(max(1, len(formats))))
    terms = accelerator.cost_terms()
    exact_search(terms, "edp")
    times = []
    for _ in range(REPEATS):
        begin = process_time()
        exact = exact_search(terms, "edp")
        times.append(process_time() - begin)
    return {
        "layer": name,
        "formats": len(formats),
        "edp_ratio": float(exact.values.min()) / value,
        "exact_cpu_s": median(times),
        "gradient_cpu_s": gradient_s,
        "speed_up": gradient_s / median(times),
        "certified": exact.certified,
    }


def relaxed(accelerator: SparseAccelerator, codes: Sequence[int]) -> tuple[float, float]:
    """Least EDP of a descent for each format of the weights, and the seconds of all descents."""
    terms = accelerator.cost_terms()
    relaxation_search(terms, partial(price, accelerator, 0), schedule=Schedule(1, 2))
    begin = process_time()
    found = [relaxation_search(terms, partial(price, accelerator, code)) for code in codes]
    return min(result.value for result in found), process_time() - begin


def price(accelerator: SparseAccelerator, code: int, batch: MappingBatch) -> NDArray[np.float64]:
    """EDP with all copies of the weights in one format, inf where that is not valid."""
    kept = batch.keep_at[:, WEIGHTS] != BYPASS
    batch.format_id[:, WEIGHTS] = np.where(kept, code, batch.format_id[:, WEIGHTS])
    found = accelerator.evaluate(batch)
    return np.where(found.feasible, found.metrics["edp_pj_cycles"], np.inf)


def gradient_rows() -> list[dict[str, Any]]:
    """Every layer, dense and sparse."""
    return [
        compare(name, sizes, sparse) for sparse in (False, True) for name, sizes in LAYERS.items()
    ]


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(
        f"{'layer':20} {'formats':>7} {'exact/gradient EDP':>19} {'exact CPU ms':>13} "
        f"{'gradient CPU s':>15} {'speed-up':>9}"
    )
    for row in rows:
        print(
            f"{row['layer']:20} {row['formats'] or 'none':>7} {row['edp_ratio']:19.6f} "
            f"{row['exact_cpu_s'] * 1e3:13.1f} {row['gradient_cpu_s']:15.2f} "
            f"{row['speed_up']:9.0f}"
        )


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Geometric means of the speed-up by kind of row, and the worst ratio of EDPs."""
    dense = [row["speed_up"] for row in rows if not row["formats"]]
    joint = [row["speed_up"] for row in rows if row["formats"]]
    return {
        "speed_up_mappings": geometric_mean(dense),
        "speed_up_joint": geometric_mean(joint),
        "worst_edp_ratio": max(row["edp_ratio"] for row in rows),
        "all_certified": all(row["certified"] for row in rows),
    }


def main() -> None:
    rows = gradient_rows()
    print_rows(rows)
    print(json.dumps({"benchmark": "exact_against_gradient", **summary(rows), "rows": rows}))


if __name__ == "__main__":
    main()
