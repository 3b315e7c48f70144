"""The exact search against literal enumeration of every mapping, and against itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluators.accelerator.decoder import ADD_PJ, DEFAULT_OPERATIONS, Decoder
from evaluators.accelerator.intersection import build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import TensorClass, matmul
from strategies.exact.exact_search import exact_search
from strategies.exact.search_result import SearchResult
from tests.strategies.comparison import differences
from tests.strategies.mapping_oracle import all_costs
from tests.strategies.small_problems import (
    random_deep_problem,
    random_even_problem,
    random_problem,
)

FORMATS = ("B(K,N)", "UOP(K)-CP(N)", "RLE(K,N)", "B(K)-B(N:4)")


@pytest.mark.parametrize("seed", range(48))
def test_optimum_and_front_equal_enumeration(seed: int) -> None:
    problem = random_problem(seed)
    costs = all_costs(problem.accelerator, problem.sizes)
    terms = problem.accelerator.cost_terms()
    for objective in ("energy", "latency", "edp", "pareto"):
        found = exact_search(terms, objective, "uneven_runs", padding=problem.sizes)
        assert differences(problem, found, costs) == []


@pytest.mark.parametrize("seed", range(24))
def test_optimum_and_front_of_four_levels_equal_enumeration(seed: int) -> None:
    problem = random_deep_problem(seed)
    costs = all_costs(problem.accelerator, problem.sizes)
    terms = problem.accelerator.cost_terms()
    for objective in ("energy", "latency", "edp", "pareto"):
        assert differences(problem, exact_search(terms, objective), costs) == []


@pytest.mark.parametrize("place", [1, 2])
def test_a_level_that_keeps_nothing_might_as_well_be_absent(place: int) -> None:
    product = block_sparse_product(1)
    dram, buffer, registers = product.hardware.levels
    bandwidth = {"read_bits_per_cycle": 16.0, "write_bits_per_cycle": 16.0}
    buffer = replace(buffer, fan_out={"X": 4}, **bandwidth)
    three = [dram, buffer, replace(registers, fan_out={"Y": 2})]
    four = list(three)
    four.insert(place, Level("empty", capacity_bits=1024, may_keep=frozenset()))
    if place == 2:
        four[1], four[2] = replace(buffer, fan_out={}), replace(four[2], fan_out={"X": 4})
    for objective in ("energy", "edp", "pareto"):
        found = []
        for levels in (three, four):
            part = replace(product, hardware=Hardware("small", tuple(levels)))
            terms = replace(part.cost_terms(), static_pj_per_cycle=0.1)
            found.append(exact_search(terms, objective))
        assert found[0].certified
        assert found[1].certified
        assert found[1].energy_pj == pytest.approx(found[0].energy_pj, rel=1e-9)
        assert found[1].latency_cycles == pytest.approx(found[0].latency_cycles, rel=1e-9)


def test_four_levels_cut_short_report_the_gap_and_refuse_runs() -> None:
    product = block_sparse_product(1)
    dram, buffer, registers = product.hardware.levels
    larger = replace(buffer, name="L2", capacity_bits=4 * buffer.capacity_bits)
    product = replace(product, hardware=Hardware("small", (dram, larger, buffer, registers)))
    terms = product.cost_terms()
    whole, cut = exact_search(terms), exact_search(terms, time_limit=0.0)
    assert whole.certified
    assert not cut.certified
    assert 0.0 < cut.lower_bound <= whole.lower_bound
    with pytest.raises(ValueError, match="uneven_runs covers two and three levels"):
        exact_search(replace(terms, stationarity="implicit"), mapspace="uneven_runs")


@pytest.mark.parametrize("seed", [*range(12), 38])
def test_even_optimum_equals_enumeration(seed: int) -> None:
    problem = random_even_problem(seed)
    costs = all_costs(problem.accelerator, problem.sizes, even=True)
    for objective in ("energy", "edp"):
        found = exact_search(problem.accelerator.cost_terms(), objective, "even")
        assert differences(problem, found, costs) == []


def block_sparse_product(seed: int, compute: str = "none") -> SparseAccelerator:
    """A product whose formats differ in what they are good at; metadata and decoding cost."""
    rng = np.random.default_rng(seed)
    everything = frozenset(TensorClass)
    sizes = {"M": int(rng.choice([1, 8])), "K": 32, "N": 16}
    names = ("K", "N")
    return SparseAccelerator(
        matmul("product", sizes),
        Hardware(
            "small",
            (
                Level("DRAM", "dram", read_bits_per_cycle=32.0, shared_port=True),
                Level("GLB", capacity_bits=float(rng.integers(2, 9)) * 1024, must_keep=everything),
                Level(
                    "RF", "register_file", capacity_bits=512, access_bits=8, must_keep=everything
                ),
            ),
            ComputeUnit(),
        ),
        densities={
            "W": DensitySpec("block", 0.25, {"block": {"K": 4, "N": 4}}),
            "A": DensitySpec("bernoulli", 0.5),
        },
        formats={
            "W": (UNCOMPRESSED, *(parse_format(text, names) for text in FORMATS)),
            "A": (UNCOMPRESSED, parse_format("B(M,K)", ("M", "K"))),
        },
        optimization=build_optimization([], compute),
        decoder=Decoder({name: ADD_PJ * n for name, n in DEFAULT_OPERATIONS.items()}),
    )


def fixed_formats(product: SparseAccelerator, code: int) -> SearchResult:
    """The search with the weights in one format everywhere, the other operand's formats free."""
    terms = product.cost_terms()
    rows = tuple(
        ((code,),) * len(row) if t == 1 else row for t, row in enumerate(terms.format_choices)
    )
    return exact_search(replace(terms, format_choices=rows), "energy", "even")


@pytest.mark.parametrize("compute", ["none", "gating", "skipping"])
@pytest.mark.parametrize("seed", range(4))
def test_several_formats_are_no_worse_than_any_one(seed: int, compute: str) -> None:
    product = block_sparse_product(seed, compute)
    found = exact_search(product.cost_terms(), "energy", "even")
    assert found.certified
    assert product.evaluate(found.mappings).metrics["energy_pj"] == pytest.approx(found.energy_pj)
    single = [fixed_formats(product, code).values.min() for code in range(1 + len(FORMATS))]
    assert found.energy_pj[0] <= min(single) * (1.0 + 1e-12)


@pytest.mark.parametrize("mapspace", ["even", "uneven"])
def test_cut_short_it_reports_the_gap_and_claims_nothing(mapspace: str) -> None:
    terms = block_sparse_product(1).cost_terms()
    whole = exact_search(terms, "edp", mapspace)
    cut = exact_search(terms, "edp", mapspace, time_limit=0.0)
    assert not cut.certified
    assert 0.0 < cut.lower_bound <= whole.lower_bound
    assert cut.gap > 0.0


def test_a_tensor_with_one_format_has_it_on_every_level() -> None:
    problem = block_sparse_product(2)
    terms = problem.cost_terms()
    found = exact_search(replace(terms, one_format=np.array([False, True, False])), "energy")
    assert found.certified
    assert len(set(found.mappings.format_id[0, 1].tolist())) == 1
    assert found.energy_pj[0] >= exact_search(terms, "energy").energy_pj[0]


def test_padding_is_taken_where_it_pays() -> None:
    hardware = Hardware(
        "wide",
        (
            Level("DRAM", "dram"),
            Level("RF", "register_file", capacity_bits=256, access_bits=8, fan_out={"X": 8}),
        ),
    )
    part = SparseAccelerator(matmul("prime", {"M": 1, "K": 4, "N": 31}), hardware)
    own = exact_search(part.cost_terms(), "latency")
    padded = exact_search(part.cost_terms(), "latency", padding=[[], [], [32]])
    assert padded.certified
    assert padded.latency_cycles[0] < own.latency_cycles[0]
    assert part.evaluate(padded.mappings).metrics["latency_cycles"] == padded.latency_cycles
    with pytest.raises(ValueError, match="padding of N must be at least its size 31, got 30"):
        exact_search(part.cost_terms(), padding=[[], [], [30]])
