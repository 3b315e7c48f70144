"""The formats that `CompleteFamily` leaves, against all formats of the family."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.accelerator.intersection import SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.formats.complete_family import CompleteFamily
from evaluators.formats.compression import code_formats, tile_bits
from evaluators.sparsity.density import density_model
from spaces.formats.compression_format import Format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import TensorClass, matmul
from strategies.exact.exact_search import exact_search

SIZES = {"K": 4, "N": 8}


def every_format(family: CompleteFamily, sizes: dict[str, int]) -> list[Format]:
    """The whole family, one by one."""
    return [
        batch.format(index)
        for batch in family.space(sizes).batches()
        for index in range(len(batch))
    ]


def bits_on(
    formats: list[Format], tile: tuple[int, ...], density: DensitySpec
) -> NDArray[np.float64]:
    """Metadata and payload bits of every format on one tile, shape (n, 2)."""
    table = code_formats(formats, tuple(SIZES))
    ids, extents = np.arange(len(formats)), np.tile(tile, (len(formats), 1))
    code = density_model(density, tuple(SIZES), tuple(SIZES.values())).code
    return np.stack(tile_bits(table, ids, extents, code, 8.0), axis=1)


@pytest.mark.parametrize("density", [0.02, 0.3])
def test_on_every_tile_a_needed_format_is_as_good_as_any_of_the_family(density: float) -> None:
    family = CompleteFamily(DensitySpec("bernoulli", density), run_bits=(1, 2))
    everything, needed = every_format(family, SIZES), list(family.needed(SIZES))
    assert len(everything) == family.space(SIZES).size > 20 * len(needed)
    for tile in product((1, 2, 4), (1, 2, 4, 8)):
        some = bits_on(needed, tile, family.density) * (1.0 - 1e-9)
        every = bits_on(everything, tile, family.density)
        assert (some <= every[:, None]).all(axis=2).any(axis=1).all(), tile


def test_formats_left_out_do_not_lower_the_optimum() -> None:
    family = CompleteFamily(DensitySpec("bernoulli", 0.1), max_levels=2, run_bits=(1, 2))
    tensor_class = frozenset(TensorClass)
    hardware = Hardware(
        "two buffers",
        (
            Level("DRAM", must_keep=tensor_class, read_energy_pj=64.0, write_energy_pj=64.0),
            Level(
                "GLB",
                capacity_bits=150.0,
                fan_out={"X": 2},
                read_energy_pj=6.0,
                write_energy_pj=6.0,
            ),
            Level("RF", capacity_bits=40.0, read_energy_pj=0.5, write_energy_pj=0.5),
        ),
        ComputeUnit(energy_pj=0.2),
    )
    offers = every_format(family, SIZES), family.needed(SIZES)
    accelerator = SparseAccelerator(
        matmul("small", {"M": 4, **SIZES}),
        hardware,
        densities={"W": family.density},
        optimization=SparseOptimization(compute="skipping"),
    )
    for objective in ("energy", "edp"):
        values = [
            exact_search(replace(accelerator, formats={"W": offer}).cost_terms(), objective).values
            for offer in offers
        ]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-12)


def test_zeros_that_are_not_independent_are_refused() -> None:
    with pytest.raises(ValueError, match="zeros must be bernoulli, got n_m"):
        CompleteFamily(DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}))


def test_sizes_of_several_primes_are_refused() -> None:
    family = CompleteFamily(DensitySpec("bernoulli", 0.1))
    with pytest.raises(ValueError, match=r"powers of one prime, got \{'K': 12\}"):
        family.needed({"K": 12})
