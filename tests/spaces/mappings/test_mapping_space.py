from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware import Hardware, Level
from spaces.mappings.dataflow import Dataflow
from spaces.mappings.loop_nest import BYPASS, MappingBatch, compacted, concatenate
from spaces.mappings.mapping_space import MappingFreedom, MappingSpace, mapping_space
from spaces.mappings.nest_text import nest_items, read_nest_items
from spaces.mappings.placement import format_offer
from spaces.workloads.workload import (
    Dimension,
    Operator,
    Precision,
    Tensor,
    TensorClass,
    Workload,
    matmul,
)
from tests.contracts.mapping_spaces import EDGE, EVEN, KEEP_ALL, MAPPING_SPACES, TINY


def priced(hardware: Hardware) -> Hardware:
    """The same hardware with energies, so that an evaluator takes it."""
    levels = [
        replace(level, read_energy_pj=1.0, write_energy_pj=1.0, capacity_bits=1e9)
        for level in hardware.levels
    ]
    return replace(hardware, levels=tuple(levels))


def drawn(space: MappingSpace, n: int = 400, seed: int = 0) -> MappingBatch:
    return space.decode(space.sample(n, np.random.default_rng(seed)))


def rank_products(space: MappingSpace, batch: MappingBatch) -> np.ndarray:
    ranks = range(len(space.operator.ranks))
    return np.stack(
        [np.where(batch.loop_rank == r, batch.loop_trip, 1).prod(axis=1) for r in ranks], axis=1
    )


@pytest.mark.parametrize("name", MAPPING_SPACES)
def test_every_mapping_is_well_formed_and_breaks_no_rule_of_the_hardware(name: str) -> None:
    space = MAPPING_SPACES[name]()
    evaluator = SparseAccelerator(
        space.operator, priced(space.hardware), formats=space.formats.parsed(space.operator)
    )
    evaluation = evaluator.evaluate(drawn(space))
    for label, violation in evaluation.violations.items():
        if not label.startswith("capacity"):
            assert (violation <= 0).all(), label


@pytest.mark.parametrize("name", MAPPING_SPACES)
def test_trips_cover_each_rank_within_the_padding(name: str) -> None:
    space = MAPPING_SPACES[name]()
    sizes = np.array(list(space.operator.ranks.values()))
    products = rank_products(space, drawn(space))
    assert (products >= sizes).all()
    assert (products <= sizes * (1 + space.freedom.maximum_padding)).all()


def literal_even_nests(sizes: dict[str, int], axis: int) -> set[tuple[object, ...]]:
    """Every even nest over DRAM, a fan-out and RF of ranks of prime or unit size, one by one."""
    nests = set()
    primes = [rank for rank, size in sizes.items() if size > 1]
    for spots in product(("DRAM", "X", "RF"), repeat=len(primes)):
        lanes = np.prod([sizes[r] for r, spot in zip(primes, spots, strict=True) if spot == "X"])
        if lanes > axis:
            continue
        groups = [
            [r for r, spot in zip(primes, spots, strict=True) if spot == where]
            for where in ("DRAM", "X", "RF")
        ]
        for outer, inner in product(permutations(groups[0]), permutations(groups[2])):
            nests.add((outer, tuple(groups[1]), inner))
    return nests


@pytest.mark.parametrize("axis", [1, 2, 3, 6, 7, 30])
def test_size_equals_a_literal_enumeration(axis: int) -> None:
    hardware = Hardware("h", (Level("DRAM", fan_out={"X": axis}), Level("RF")))
    sizes = {"M": 2, "K": 3, "N": 5}
    space = MappingSpace(matmul("m", sizes), hardware, freedom=KEEP_ALL)
    assert space.size == len(literal_even_nests(sizes, axis))


def test_size_of_composite_tilings_by_hand() -> None:
    """K = 4 over two blocks: 4|1 and 1|4 once, 2|2 once; W, A and Z kept everywhere."""
    hardware = Hardware("h", (Level("DRAM"), Level("RF")))
    operator = matmul("m", {"M": 1, "K": 4, "N": 1})
    assert MappingSpace(operator, hardware, freedom=KEEP_ALL).size == 3
    uneven = MappingFreedom(bypass=False, maximum_padding=0.0)
    # no loop in RF: 1 place; one loop in RF (2 tilings): 2^3 - 1 places of three tensors
    assert MappingSpace(operator, hardware, freedom=uneven).size == 1 + 2 * 7
    # bypass: RF keeps nothing (its loops belong to DRAM: 1), or one of 7 sets (3 tilings each)
    assert MappingSpace(operator, hardware, freedom=EVEN).size == 1 + 7 * 3


def literal_uneven_nests(axis: int) -> set[tuple[str, ...]]:
    """Every nest of K = 4, N = 2 over DRAM, an axis X and RF, with bypass, one by one."""
    nests = set()
    factors = {"K": [f for f in product((1, 2, 4), repeat=3) if np.prod(f) == 4]}
    factors["N"] = [f for f in product((1, 2), repeat=3) if np.prod(f) == 2]
    for (k0, kx, k1), (n0, nx, n1) in product(factors["K"], factors["N"]):
        if kx * nx > axis:
            continue
        outer = [f"for {r} in {t}" for r, t in (("K", k0), ("N", n0)) if t > 1]
        lanes = [f"spatial X: {r} in {t}" for r, t in (("K", kx), ("N", nx)) if t > 1]
        inner = [f"for {r} in {t}" for r, t in (("K", k1), ("N", n1)) if t > 1]
        for above, below in product(permutations(outer), permutations(inner)):
            for places in product([None, *range(len(below) + 1)], repeat=3):
                kept = [place for place in places if place is not None]
                if (kept and min(kept) > 0) or (not kept and below):
                    continue  # loops above every tensor of RF belong to DRAM's block
                nest = ["DRAM keeps A, W, Z", *above, *lanes]
                for position in range(len(below) + 1):
                    here = [t for t, place in zip("AWZ", places, strict=True) if place == position]
                    nest += [f"RF keeps {', '.join(here)}"] * bool(here)
                    nest += below[position : position + 1]
                nests.add(tuple(nest))
    return nests


@pytest.mark.parametrize("axis", [1, 2, 4, 8])
def test_enumeration_equals_every_nest_written_out(axis: int) -> None:
    hardware = Hardware("h", (Level("DRAM", fan_out={"X": axis}), Level("RF")))
    operator = matmul("m", {"M": 1, "K": 4, "N": 2})
    space = MappingSpace(operator, hardware, freedom=MappingFreedom(maximum_padding=0.0))
    found = [
        tuple(nest_items(operator, hardware, batch, index))
        for batch in map(space.decode, space.enumerate(batch=100))
        for index in range(len(batch))
    ]
    assert len(found) == space.size
    assert set(found) == literal_uneven_nests(axis)


def test_several_ranks_share_an_axis_and_none_exceeds_it() -> None:
    space = MappingSpace(matmul("m", {"M": 2048, "K": 4096, "N": 11008}), EDGE)
    batch = drawn(space, 5000)
    shared = 0
    for axis in (1, 2):
        on_axis = np.where(batch.loop_kind == axis, batch.loop_trip, 1)
        assert (on_axis.prod(axis=1) <= 16).all()
        shared += int(((on_axis > 1).sum(axis=1) > 1).sum())
    assert shared > 100


@pytest.mark.parametrize("size", [50257, 2049, 11008])
def test_awkward_sizes_fill_the_array(size: int) -> None:
    dataflow = Dataflow(spatial={"X": ["N"], "Y": ["K"]}, minimum_utilisation=1.0)
    space = MappingSpace(matmul("m", {"M": 1, "K": 4096, "N": size}), EDGE, dataflow)
    batch = drawn(space)
    for axis, rank in ((1, 2), (2, 1)):
        lanes = np.where(batch.loop_kind == axis, batch.loop_trip, 1).prod(axis=1)
        assert (lanes == 16).all()
        assert (batch.loop_rank[batch.loop_kind == axis] == rank).all()


def test_padding_is_shown_with_its_loss() -> None:
    dataflow = Dataflow(minimum_utilisation=1.0, spatial={"X": ["N"], "Y": ["K"]})
    operator = matmul("m", {"M": 1, "K": 64, "N": 50257})
    space = MappingSpace(operator, EDGE, dataflow, freedom=MappingFreedom(maximum_padding=0.001))
    described = space.describe(drawn(space, 1), 0)
    padded = described["padding"]["N"]["padded"]
    assert padded in (50272, 50304)
    assert described["padding"]["N"]["loss"] == pytest.approx(padded / 50257 - 1)
    assert described["lanes"]["GLB.X"] == {"used": 16, "size": 16}


def test_a_stationary_tensor_is_kept_at_the_head_below_its_reuse() -> None:
    dataflow = Dataflow(stationary={"RF": "weight"})
    space = MappingSpace(matmul("m", {"M": 8, "K": 8, "N": 8}), EDGE, dataflow)
    batch = drawn(space)
    start = space.tables.layout.block_start
    assert (batch.keep_at[:, 1, 2] == start[2]).all()
    for ranks, trips in zip(batch.loop_rank, batch.loop_trip, strict=True):
        block = [
            r for r, t in zip(ranks[start[1] :][:3], trips[start[1] :][:3], strict=True) if t > 1
        ]
        assert 0 not in block[:-1]  # M, irrelevant to W, is innermost or absent


def test_fixed_orders_bypass_keep_and_limits_hold() -> None:
    dataflow = Dataflow(
        order={"DRAM": ["N", "K"]},
        bypass={"GLB": ["weight"]},
        keep={"RF": ["Z"]},
        maximum_trip={"RF": {"M": 2}},
        minimum_tile={"RF": {"K": 4}},
    )
    space = MappingSpace(matmul("m", {"M": 16, "K": 16, "N": 16}), EDGE, dataflow)
    batch = drawn(space, 2000)
    start = space.tables.layout.block_start
    assert (batch.keep_at[:, 1, 1] == BYPASS).all()
    assert (batch.keep_at[:, 2, 2] != BYPASS).all()
    inner_rank, inner_trip = batch.loop_rank[:, start[2] :], batch.loop_trip[:, start[2] :]
    assert (np.where(inner_rank == 0, inner_trip, 1).prod(axis=1) <= 2).all()
    assert (np.where(inner_rank == 1, inner_trip, 1).prod(axis=1) >= 4).all()
    for ranks, trips in zip(batch.loop_rank[:, :3], batch.loop_trip[:, :3], strict=True):
        block = [int(r) for r, t in zip(ranks, trips, strict=True) if t > 1]
        if {1, 2} <= set(block):
            assert block.index(2) < block.index(1)


def test_an_impossible_dataflow_is_refused() -> None:
    dataflow = Dataflow(
        minimum_tile={"RF": {"K": 8}}, maximum_trip={"RF": {"K": 2}}, keep={"RF": ["weight"]}
    )
    with pytest.raises(ValueError, match="no mapping satisfies maximum_trip and minimum_tile"):
        _ = MappingSpace(matmul("m", {"M": 1, "K": 16, "N": 1}), EDGE, dataflow).parameters


def test_inner_levels_inherit_formats_unless_told() -> None:
    operator = matmul("m", {"M": 1, "K": 4, "N": 4})
    offer = format_offer({"W": {"DRAM": ["none", "bitmap"], "RF": ["none"]}}, operator, TINY)
    space = MappingSpace(operator, TINY, formats=offer)
    batch = drawn(space, 1000)
    kept = batch.keep_at[:, 1] != BYPASS
    dram, glb, rf = batch.format_id[:, 1].T
    assert (glb[kept[:, 1]] == dram[kept[:, 1]]).all()
    assert (glb[~kept[:, 1]] == 0).all()
    assert (rf == 0).all()
    assert set(dram.tolist()) == {0, 1}
    assert offer.tables["W"] == ("None", "B(K,N)")


def test_encode_takes_nests_written_by_hand() -> None:
    operator = matmul("m", {"M": 1, "K": 64, "N": 64})
    space = MappingSpace(operator, EDGE)
    items = [
        "DRAM keeps A, W, Z",
        "for N in 4",
        "GLB keeps A, Z",
        "for K in 2",
        "GLB keeps W",
        "for N in 2",
        "spatial Y: K in 16",
        "spatial X: N in 8",
        "RF keeps A, W",
        "for K in 2",
        "RF keeps Z",
    ]
    nest = read_nest_items(items, operator, EDGE)
    again = space.decode(space.encode(nest))
    wanted, found = compacted(nest), compacted(again)
    width = wanted.loop_rank.shape[1]
    np.testing.assert_array_equal(found.keep_at, wanted.keep_at)
    np.testing.assert_array_equal(found.loop_trip[:, :width], wanted.loop_trip)
    np.testing.assert_array_equal(found.loop_rank[:, :width], wanted.loop_rank)


def test_encode_refuses_a_nest_outside_the_space() -> None:
    operator = matmul("m", {"M": 1, "K": 8, "N": 8})
    nest = read_nest_items(
        ["DRAM keeps A, W, Z", "for K in 8", "RF keeps W", "for N in 8"], operator, EDGE
    )
    assert len(MappingSpace(operator, EDGE).encode(nest)["order.DRAM"]) == 1
    full = MappingSpace(operator, EDGE, freedom=KEEP_ALL)
    with pytest.raises(
        ValueError, match=r"mapping 0 is not in this space: DRAM keeps A, W, Z; for"
    ):
        full.encode(nest)


def test_a_padded_operator_of_seven_ranks_has_a_size() -> None:
    plain = [Dimension(((rank, 1),)) for rank in "NMCPQRS"]
    n, m, c, p, q, r, s = plain
    height = Dimension((("P", 2), ("R", 1)))
    width = Dimension((("Q", 2), ("S", 1)))
    operator = Operator(
        "conv",
        {"N": 2, "M": 64, "C": 3, "P": 112, "Q": 112, "R": 7, "S": 7},
        (
            Tensor("I", (n, c, height, width), TensorClass.ACTIVATION),
            Tensor("W", (m, c, r, s), TensorClass.WEIGHT),
            Tensor("O", (n, m, p, q), TensorClass.OUTPUT),
        ),
    )
    space = MappingSpace(operator, EDGE, freedom=MappingFreedom(maximum_padding=0.0))
    assert space.size > 10**15
    batch = drawn(space, 50)
    assert (rank_products(space, batch) == list(operator.ranks.values())).all()


def test_a_space_pickles_without_its_tables() -> None:
    space = MappingSpace(matmul("m", {"M": 2048, "K": 4096, "N": 11008}), EDGE)
    _ = space.parameters
    assert len(pickle.dumps(space)) < 10_000


def test_compacted_sorts_simultaneous_loops_and_drops_trivial_ones() -> None:
    operator = matmul("m", {"M": 1, "K": 4, "N": 4})
    one = ["DRAM keeps A W Z", "spatial X: K in 4", "spatial X: N in 2", "RF keeps Z", "for N in 2"]
    two = [one[0], "for M in 1", one[2], one[1], *one[3:]]
    hardware = Hardware("h", (Level("DRAM", fan_out={"X": 8}), Level("RF")))
    batch = concatenate([read_nest_items(items, operator, hardware) for items in (one, two)])
    assert batch.loop_rank.shape == (2, 4)
    found = compacted(batch)
    np.testing.assert_array_equal(found.loop_rank[0], found.loop_rank[1])
    np.testing.assert_array_equal(found.keep_at[0], found.keep_at[1])


def test_a_space_is_built_from_plain_values() -> None:
    small, large = (
        matmul("small", {"M": 1, "K": 2, "N": 2}),
        matmul("big", {"M": 1, "K": 8, "N": 8}),
    )
    workload = Workload("w", (small, large), precision=Precision())
    decisions = {"placement": "even", "formats": {"W": {"DRAM": ["none", "csr"]}}}
    space = mapping_space(workload, EDGE, decisions=decisions)
    assert space.operator.name == "big"
    assert "format.W.DRAM" in space.parameters
    assert mapping_space(workload, EDGE, operator="small").operator.name == "small"
    with pytest.raises(
        ValueError,
        match=r"space.operator: must be one of small, big, got 'smal'; did you mean 'small'",
    ):
        mapping_space(workload, EDGE, operator="smal")
    with pytest.raises(ValueError, match=r"space.decisions: unknown key 'bypas'"):
        mapping_space(workload, EDGE, decisions={"bypas": True})
    with pytest.raises(ValueError, match="placement: must be even or uneven, got 'odd'"):
        _ = mapping_space(workload, EDGE, decisions={"placement": "odd"}).parameters
    with pytest.raises(ValueError, match=r"maximum_padding: must be in 0..1, got 2"):
        _ = mapping_space(workload, EDGE, decisions={"maximum_padding": 2}).parameters


def test_items_of_decoded_nests_read_back() -> None:
    space = MappingSpace(matmul("m", {"M": 6, "K": 64, "N": 2049}), EDGE)
    batch = drawn(space, 100)
    for index in range(100):
        items = nest_items(space.operator, EDGE, batch, index)
        again = read_nest_items(items, space.operator, EDGE)
        assert nest_items(space.operator, EDGE, again) == items
