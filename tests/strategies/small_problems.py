"""Random small operators on random small hardware, for comparing searches with enumeration."""

from __future__ import annotations

import numpy as np

from evaluators.accelerator.intersection import SparseOptimization, build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import TensorClass, matmul

CLASSES = (TensorClass.ACTIVATION, TensorClass.WEIGHT, TensorClass.OUTPUT)
FORMATS = ("B(K,N)", "UOP(K)-CP(N)", "B(K)-B(N)", "CP(K,N)", "RLE(K,N)")
SHAPES = (
    {"M": 2, "K": 2, "N": 2}, {"M": 2, "K": 3, "N": 2}, {"M": 1, "K": 4, "N": 2},
    {"M": 4, "K": 1, "N": 3}, {"M": 1, "K": 2, "N": 6}, {"M": 3, "K": 2, "N": 2},
)  # fmt: skip


def small_problem(seed: int, sparse: bool = False) -> SparseAccelerator:
    """A problem of at most three loops: which placements, ports, bandwidths and zeros is random."""
    rng = np.random.default_rng(seed)
    levels = _levels(rng, three=bool(rng.random() < 0.8))
    compute = ComputeUnit(energy_pj=float(rng.choice([0.2, 1.0])), gated_energy_pj=0.05)
    densities, formats, optimization = {}, {}, SparseOptimization()
    if sparse:
        densities = {"W": DensitySpec("bernoulli", float(rng.choice([0.1, 0.3, 0.6])))}
        formats = {"W": _formats(rng, ("K", "N"), 2)}
        if rng.random() < 0.5:
            densities["A"] = DensitySpec("bernoulli", float(rng.choice([0.2, 0.5])))
            formats["A"] = _formats(rng, ("M", "K"), 1)
        if rng.random() < 0.4 and not levels[-1].fan_out:
            rule = {"level": levels[-1].name, "target": "A", "leaders": ["W"]}
            optimization = build_optimization(
                [{**rule, "kind": str(rng.choice(["gating", "skipping"]))}]
            )
    return SparseAccelerator(
        matmul("small", dict(SHAPES[int(rng.integers(len(SHAPES)))])),
        Hardware("small", tuple(levels), compute),
        densities=densities,
        formats=formats,
        optimization=optimization,
        stationarity=str(rng.choice(["implicit", "explicit"])),
        drain_read=bool(rng.random() < 0.5),
    )


def _formats(rng: np.random.Generator, names: tuple[str, str], count: int) -> tuple:  # type: ignore[type-arg]
    picked = rng.choice(len(FORMATS), size=count, replace=False)
    texts = [FORMATS[i].replace("K", "@").replace("N", names[1]) for i in picked]
    return (UNCOMPRESSED, *(parse_format(t.replace("@", names[0]), names) for t in texts))


def _levels(rng: np.random.Generator, three: bool) -> list[Level]:
    names = ("DRAM", "GLB", "RF") if three else ("DRAM", "RF")
    levels = []
    for place, name in enumerate(names):
        fan_out = {"X": int(rng.choice([2, 4]))} if rng.random() < 0.5 else {}
        classes = [c for c in CLASSES if rng.random() < 0.4]
        levels.append(
            Level(
                name,
                capacity_bits=np.inf if place == 0 else float(rng.integers(24, 160)),
                access_bits=8,
                read_bits_per_cycle=float(rng.choice([4, 16, 64, np.inf])),
                write_bits_per_cycle=float(rng.choice([4, 16, 64, np.inf])),
                shared_port=bool(rng.random() < 0.5),
                fan_out=fan_out,
                must_keep=frozenset(classes) if place else frozenset(),
                may_keep=None
                if rng.random() < 0.6 or place == 0
                else frozenset(classes + [c for c in CLASSES if rng.random() < 0.5]),
                read_energy_pj=float((100, 6, 1)[place] * rng.uniform(0.5, 1.5)),
                write_energy_pj=float((100, 6, 1)[place] * rng.uniform(0.5, 1.5)),
            )
        )
    return levels
