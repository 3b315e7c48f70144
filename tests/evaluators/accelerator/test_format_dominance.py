"""Dominated formats: no mapping gets dearer without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluators.accelerator.format_dominance import dominance, undominated
from evaluators.accelerator.intersection import NO_OPTIMIZATION, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware, Level
from spaces.mappings.mapping_space import MappingFreedom, MappingSpace
from spaces.sparsity.sparsity import DensitySpec, unstructured
from spaces.workloads.workload import matmul

HARDWARE = Hardware(
    "small",
    (
        Level("DRAM", kind="dram", read_bits_per_cycle=64, shared_port=True),
        Level("GLB", capacity_bits=1 << 13, fan_out={"X": 4}),
        Level("RF", kind="register_file", capacity_bits=1 << 9, access_bits=16),
    ),
)
TEXTS = ("none", "bitmap", "coo", "csr", "RLE(*,r=2)", "RLE(*,r=8)", "B(*)-B(last:4)",
         "B(*)-None(*:4)", "CP(*)-B(last:4)")  # fmt: skip
TWO_OF_FOUR = DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"})
BLOCKS = DensitySpec("block", 0.25, {"block": {"K": 4, "N": 4}})
GATED = SparseOptimization(compute="gating")


def product(density: DensitySpec, optimization: SparseOptimization) -> SparseAccelerator:
    operator = matmul("product", {"M": 4, "K": 24, "N": 16})
    formats = {"W": tuple(parse_format(text, ("K", "N")) for text in TEXTS)}
    return SparseAccelerator(operator, HARDWARE, {"W": density}, formats, optimization=optimization)


@pytest.mark.parametrize("optimization", [NO_OPTIMIZATION, GATED], ids=["every zero", "gated"])
@pytest.mark.parametrize(
    "density",
    [unstructured(0.5), unstructured(0.1), TWO_OF_FOUR, BLOCKS],
    ids=lambda spec: f"{spec.model} {spec.density}",
)
def test_a_mapping_is_no_dearer_in_the_better_format(
    density: DensitySpec, optimization: SparseOptimization
) -> None:
    part = product(density, optimization)
    better = dominance(part)[1]
    assert better.sum() > len(TEXTS) - 1  # more than every format as good as itself
    space = MappingSpace(part.operator, HARDWARE, freedom=MappingFreedom(maximum_padding=0.0))
    mappings = space.decode(space.sample(400, np.random.default_rng(0)))

    def held_in(code: int):
        ids = np.zeros_like(mappings.format_id)
        ids[:, 1] = code
        return part.evaluate(replace(mappings, format_id=ids))

    found = [held_in(code) for code in range(len(TEXTS))]
    for i, j in zip(*np.nonzero(better), strict=True):
        for metric in ("energy_pj", "memory_energy_pj", "latency_cycles"):
            good, bad = found[i].metrics[metric], found[j].metrics[metric]
            assert (good <= bad * (1 + 1e-9)).all(), (TEXTS[i], TEXTS[j], metric)
        assert (found[i].feasible >= found[j].feasible).all()


def test_a_bitmap_is_all_that_random_zeros_at_one_half_need() -> None:
    better = dominance(product(unstructured(0.5), NO_OPTIMIZATION))[1]
    kept = [TEXTS[code] for code in undominated(range(len(TEXTS)), better)]
    assert kept == ["none", "bitmap"]


def test_blocks_are_worth_formats_that_know_them() -> None:
    better = dominance(product(BLOCKS, NO_OPTIMIZATION))[1]
    kept = [TEXTS[code] for code in undominated(range(len(TEXTS)), better)]
    assert "B(*)-None(*:4)" in kept
    assert "RLE(*,r=8)" not in kept
