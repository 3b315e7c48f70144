"""Tensors that stay on chip: what they no longer move, what they take, how they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluators.accelerator.bounds import compulsory_bound
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.mappings.dataflow import Dataflow, mapping_rules
from spaces.mappings.design_file import (
    Design,
    design_from_data,
    design_to_data,
    read_design,
    write_design,
)
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.mapping_space import MappingSpace
from spaces.mappings.nest_text import nest_items, read_nest_items
from spaces.workloads.workload import Operator, matmul

HARDWARE = Hardware(
    "tiny",
    (
        Level("DRAM", "dram", access_bits=8, read_bits_per_cycle=8.0, write_bits_per_cycle=8.0,
              read_energy_pj=100.0, write_energy_pj=200.0),
        Level("GLB", capacity_bits=4096.0, access_bits=8, read_bits_per_cycle=64.0,
              write_bits_per_cycle=64.0, read_energy_pj=10.0, write_energy_pj=20.0),
        Level("RF", "register_file", capacity_bits=512.0, access_bits=8, read_energy_pj=1.0,
              write_energy_pj=2.0),
    ),
    ComputeUnit(energy_pj=0.5),
)  # fmt: skip
SIZES = {"M": 2, "K": 4, "N": 8}
NEST = ["for N in 8", "RF keeps A, W, Z", "for M in 2", "for K in 4"]


def resident(*names: str) -> Operator:
    operator = matmul("m", SIZES)
    tensors = tuple(replace(t, resident=t.name in names) for t in operator.tensors)
    return replace(operator, tensors=tensors)


def with_nest(operator: Operator) -> MappingBatch:
    here = [t.name for t in operator.tensors if not t.resident]
    there = [t.name for t in operator.tensors if t.resident]
    items = [f"DRAM keeps {', '.join(here)}"] * bool(here)
    return read_nest_items(
        [*items, *[f"GLB keeps {name}" for name in there], *NEST], operator, HARDWARE
    )


def account(operator: Operator) -> dict:
    accelerator = SparseAccelerator(operator, HARDWARE)
    return dict(accelerator.explain(with_nest(operator)))


def test_a_resident_operand_is_read_from_its_home() -> None:
    plain, stays = account(matmul("m", SIZES)), account(resident("A"))
    bits = 8 * SIZES["M"] * SIZES["K"]
    assert plain["levels"]["DRAM"]["tensors"]["A"]["data_read_bits"] == bits
    assert "A" not in stays["levels"]["DRAM"]["tensors"]
    home = stays["levels"]["GLB"]["tensors"]["A"]
    assert (home["data_read_bits"], home["resident_bits"]) == (bits, bits)
    assert home["energy_pj"]["total"] == bits / 8 * 10.0
    saved = plain["totals"]["memory_energy_pj"] - stays["totals"]["memory_energy_pj"]
    assert saved == pytest.approx(bits / 8 * (100.0 - 10.0))
    assert stays["levels"]["DRAM"]["read_bits"] == plain["levels"]["DRAM"]["read_bits"] - bits


def test_a_resident_result_takes_room_for_its_partial_sums() -> None:
    plain, stays = account(matmul("m", SIZES)), account(resident("Z"))
    elements = SIZES["M"] * SIZES["N"]
    home = stays["levels"]["GLB"]["tensors"]["Z"]
    assert home["data_written_bits"] == 8 * elements
    assert home["resident_bits"] == 24 * elements
    assert stays["levels"]["GLB"]["resident_bits"] == 24 * elements
    saved = plain["totals"]["memory_energy_pj"] - stays["totals"]["memory_energy_pj"]
    assert saved == pytest.approx(elements * (200.0 - 20.0))


def test_capacity_and_ports_of_the_home_are_charged() -> None:
    small = replace(HARDWARE.levels[1], capacity_bits=64.0, write_bits_per_cycle=0.5)
    hardware = replace(HARDWARE, levels=(HARDWARE.levels[0], small, HARDWARE.levels[2]))
    operator = resident("Z")
    priced = SparseAccelerator(operator, hardware).evaluate(with_nest(operator))
    assert priced.violations["capacity_GLB"][0] == pytest.approx(24 * 16 / 64 - 1)
    assert priced.metrics["latency_cycles"][0] == 8 * 16 / 0.5


def test_every_mapping_of_a_space_keeps_it_once() -> None:
    operator = resident("A", "Z")
    space = MappingSpace(operator, HARDWARE)
    batch = space.decode(space.sample(64, np.random.default_rng(0)))
    assert (batch.keep_at[:, [0, 2], 1] == -1).all()
    assert (batch.keep_at[:, 1, 1] >= 0).any()
    priced = SparseAccelerator(operator, HARDWARE).evaluate(batch)
    assert (priced.violations["placement"] == 0).all()
    kept = mapping_rules(Dataflow(), operator, HARDWARE)
    assert not kept.may_keep[[0, 2], 1].any()


def test_the_bound_moves_only_what_leaves_the_chip() -> None:
    plain = compulsory_bound(SparseAccelerator(matmul("m", SIZES), HARDWARE))
    stays = compulsory_bound(SparseAccelerator(resident("A"), HARDWARE))
    assert plain.energy_pj - stays.energy_pj == pytest.approx(8 * 100.0)


def test_designs_say_where_it_stays(tmp_path: Path) -> None:
    operator = resident("Z")
    mapping = with_nest(operator)
    assert nest_items(operator, HARDWARE, mapping)[:2] == ["DRAM keeps A, W", "GLB keeps Z"]
    design = Design(operator, HARDWARE, mapping)
    write_design(tmp_path / "d.yaml", design)
    again = read_design(tmp_path / "d.yaml")
    assert again.operator == operator
    assert again.mapping.keep_at.tolist() == mapping.keep_at.tolist()
    data = design_to_data(design)
    with pytest.raises(ValueError, match="nest: Z stays on chip: GLB must keep it above every"):
        design_from_data({**data, "nest": ["DRAM keeps A, W, Z", *NEST]})


def test_hardware_without_a_home_is_named() -> None:
    with pytest.raises(ValueError, match="Z stays on chip, which takes hardware with one instance"):
        SparseAccelerator(resident("Z"), Hardware("flat", HARDWARE.levels[:1]))
    fanned = replace(HARDWARE.levels[0], fan_out={"X": 2})
    many = replace(HARDWARE, levels=(fanned, *HARDWARE.levels[1:]))
    with pytest.raises(ValueError, match="one instance of a level below DRAM"):
        SparseAccelerator(resident("Z"), many)
    with pytest.raises(ValueError, match="stay on chip need 'codec'"):
        SparseAccelerator(resident("Z"), HARDWARE, accounting="sparseloop")
