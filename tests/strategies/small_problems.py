"""Random small operators on random small hardware, for comparing searches with enumeration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evaluators.accelerator.intersection import SparseOptimization, build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.formats.format_grammar import parse_format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass, matmul
from tests.strategies.mapping_oracle import own_sizes, size_of_enumeration

CLASSES = (TensorClass.ACTIVATION, TensorClass.WEIGHT, TensorClass.OUTPUT)
FORMATS = ("B({0},{1})", "UOP({0})-CP({1})", "B({0})-B({1})", "CP({0},{1})", "RLE({0},{1})")
SHAPES = (
    {"M": 2, "K": 2, "N": 2}, {"M": 2, "K": 3, "N": 2}, {"M": 1, "K": 4, "N": 2},
    {"M": 4, "K": 1, "N": 3}, {"M": 1, "K": 2, "N": 6}, {"M": 3, "K": 2, "N": 2},
    {"M": 2, "K": 4, "N": 1}, {"M": 1, "K": 3, "N": 2}, {"M": 5, "K": 2, "N": 1},
)  # fmt: skip
WINDOWS = (
    {"M": 2, "P": 2, "R": 2}, {"M": 1, "P": 4, "R": 2}, {"M": 2, "P": 3, "R": 1},
    {"M": 1, "P": 2, "R": 3}, {"M": 3, "P": 2, "R": 2},
)  # fmt: skip
KINDS = ("matmul", "batched", "grouped", "convolution")
NAMES = {2: ("DRAM", "RF"), 3: ("DRAM", "GLB", "RF"), 4: ("DRAM", "L2", "GLB", "RF")}
EVALUATIONS = 6e5
"""Mappings that one enumeration may price: larger problems are drawn again."""


@dataclass(frozen=True)
class SmallProblem:
    """One problem, the sizes its ranks may be padded to, and what is special about it."""

    accelerator: SparseAccelerator
    sizes: list[list[int]]
    features: frozenset[str]


def small_problem(seed: int, sparse: bool = False) -> SparseAccelerator:
    """A matrix product without padding; see `random_problem`."""
    return _draw(np.random.default_rng(seed), "matmul", sparse).accelerator


def random_problem(seed: int) -> SmallProblem:
    """A problem of at most three loops: operator, padding, placements, ports, zeros at random."""
    rng = np.random.default_rng([seed, 5])
    while True:
        kind = KINDS[int(rng.choice(4, p=[0.4, 0.2, 0.15, 0.25]))]
        problem = _draw(rng, kind, sparse=bool(rng.random() < 0.5))
        if rng.random() < 0.3:
            sizes = [[s, *range(s + 1, s + 3)] if s > 2 else [s] for (s,) in problem.sizes]
            more = problem.features | ({"padding"} if sizes != problem.sizes else set())
            problem = SmallProblem(problem.accelerator, sizes, more)
        if size_of_enumeration(problem.accelerator, problem.sizes) <= EVALUATIONS:
            return problem


def random_even_problem(seed: int) -> SmallProblem:
    """A matrix product on three levels that all keep everything, as the even mapspace asks for."""
    rng = np.random.default_rng([seed, 9])
    while True:
        kind = "matmul" if rng.random() < 0.7 else "batched"
        problem = _draw(rng, kind, sparse=bool(rng.random() < 0.6))
        levels = problem.accelerator.hardware.levels
        if len(levels) == 3:
            break
    kept = tuple(replace(level, must_keep=frozenset(CLASSES), may_keep=None) for level in levels)
    hardware = replace(problem.accelerator.hardware, levels=kept)
    return replace(
        problem,
        accelerator=replace(problem.accelerator, hardware=hardware),
        features=problem.features | {"even"},
    )


def random_deep_problem(seed: int) -> SmallProblem:
    """A problem on four storage levels whose loops stay where they are fetched for."""
    rng = np.random.default_rng([seed, 13])
    while True:
        kind = KINDS[int(rng.choice(4, p=[0.5, 0.2, 0.1, 0.2]))]
        problem = _draw(rng, kind, sparse=bool(rng.random() < 0.5), levels=4)
        accelerator = replace(problem.accelerator, stationarity="explicit")
        features = problem.features - {"implicit"} | {"explicit"}
        problem = SmallProblem(accelerator, problem.sizes, features)
        if size_of_enumeration(problem.accelerator, problem.sizes) <= EVALUATIONS:
            return problem


def _operator(rng: np.random.Generator, kind: str) -> Operator:
    if kind == "matmul":
        return matmul("small", dict(SHAPES[int(rng.integers(len(SHAPES)))]))
    if kind == "convolution":
        return window_operator(WINDOWS[int(rng.integers(len(WINDOWS)))])
    sizes = {"B": 2, **SHAPES[int(rng.choice([2, 6, 7]))]}
    return matmul("small", sizes) if kind == "batched" else grouped_operator(sizes)


def window_operator(sizes: dict[str, int]) -> Operator:
    """`Z[M,P] = W[M,R] * A[P+R]`: tiles of A have halos."""
    return Operator(
        "small",
        dict(sizes),
        (
            Tensor("A", (Dimension((("P", 1), ("R", 1))),), TensorClass.ACTIVATION),
            Tensor("W", _plain("M", "R"), TensorClass.WEIGHT),
            Tensor("Z", _plain("M", "P"), TensorClass.OUTPUT),
        ),
    )


def grouped_operator(sizes: dict[str, int]) -> Operator:
    """`Z[B,M,N] = A[B,M,K] * W[K,N]`: two ranks are irrelevant to the weights."""
    return Operator(
        "small",
        dict(sizes),
        (
            Tensor("A", _plain("B", "M", "K"), TensorClass.ACTIVATION),
            Tensor("W", _plain("K", "N"), TensorClass.WEIGHT),
            Tensor("Z", _plain("B", "M", "N"), TensorClass.OUTPUT),
        ),
    )


def _plain(*ranks: str) -> tuple[Dimension, ...]:
    return tuple(Dimension(((rank, 1),)) for rank in ranks)


def _draw(
    rng: np.random.Generator, kind: str, sparse: bool, levels: int | None = None
) -> SmallProblem:
    operator = _operator(rng, kind)
    storage = _levels(rng, levels or (3 if rng.random() < 0.8 else 2))
    compute = ComputeUnit(energy_pj=float(rng.choice([0.2, 1.0])), gated_energy_pj=0.05)
    features = {kind, f"{len(storage)} levels"}
    densities: dict[str, DensitySpec] = {}
    formats: dict[str, tuple[Format, ...]] = {}
    optimization = SparseOptimization()
    if sparse:
        features.add("sparse")
        densities["W"] = _density(rng, [0.1, 0.3, 0.6])
        formats["W"] = _formats(rng, operator, "W", int(rng.integers(1, 3)))
        if rng.random() < 0.5 and kind != "convolution":
            features.add("two sparse")
            densities["A"] = _density(rng, [0.2, 0.5])
            formats["A"] = _formats(rng, operator, "A", 1)
        optimization = _optimization(rng, storage, features)
    stationarity = str(rng.choice(["implicit", "explicit"]))
    features.add(stationarity)
    accelerator = SparseAccelerator(
        operator,
        Hardware("small", tuple(storage), compute),
        densities=densities,
        formats=formats,
        optimization=optimization,
        stationarity=stationarity,
        drain_read=bool(rng.random() < 0.5),
    )
    return SmallProblem(accelerator, own_sizes(accelerator), frozenset(features))


def _density(rng: np.random.Generator, densities: list[float]) -> DensitySpec:
    return DensitySpec("bernoulli", float(rng.choice(densities)))


def _optimization(
    rng: np.random.Generator, levels: list[Level], features: set[str]
) -> SparseOptimization:
    """Gating or skipping by rules at the innermost level, or by the compute units, or neither."""
    kind = int(rng.integers(4))
    if kind == 0 and not levels[-1].fan_out:
        features.add("rules")
        rule = {"level": levels[-1].name, "target": "A", "leaders": ["W"]}
        return build_optimization([{**rule, "kind": str(rng.choice(["gating", "skipping"]))}])
    if kind == 1:
        compute = str(rng.choice(["gating", "skipping"]))
        features.add(f"compute {compute}")
        return build_optimization([], compute)
    return SparseOptimization()


def _formats(
    rng: np.random.Generator, operator: Operator, tensor: str, count: int
) -> tuple[Format, ...]:
    names = [d.name for t in operator.tensors if t.name == tensor for d in t.dimensions]
    first, rest = names[0], ",".join(names[1:])
    picked = rng.choice(len(FORMATS), size=count, replace=False)
    texts = [FORMATS[i].format(first, rest) for i in picked]
    return (UNCOMPRESSED, *(parse_format(text, tuple(names)) for text in texts))


def _levels(rng: np.random.Generator, count: int) -> list[Level]:
    names = NAMES[count]
    energies = (100, 20, 6, 1) if count == 4 else (100, 6, 1)
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
                read_energy_pj=float(energies[place] * rng.uniform(0.5, 1.5)),
                write_energy_pj=float(energies[place] * rng.uniform(0.5, 1.5)),
            )
        )
    return levels
