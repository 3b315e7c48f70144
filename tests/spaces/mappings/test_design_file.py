from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.documents import FileError
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.mappings.design_file import (
    Design,
    design_from_data,
    design_to_data,
    read_design,
    write_design,
)
from spaces.mappings.loop_nest import compacted
from spaces.mappings.mapping_space import MappingSpace
from spaces.mappings.nest_text import nest_items
from spaces.mappings.placement import format_offer
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Dimension, Operator, Precision, Tensor, TensorClass, matmul

TEXT = """
schema: cosearch.design/1
operator: {name: q_proj, ranks: {M: 1, K: 64, N: 64}, tensors: {
  A: {dimensions: [M, K], class: activation}, W: {dimensions: [K, N], class: weight},
  Z: {dimensions: [M, N], class: output}}}
hardware:
  name: tiny
  levels:
    DRAM: {kind: dram, bandwidth: 8GB/s, port: shared}
    GLB: {capacity: 4KiB, fan_out: {X: 4}}
    RF: {kind: register_file, capacity: 512B, read_energy: 120fJ, write_energy: 0.15pJ}
nest:
  - DRAM keeps A W Z
  - for N in 4
  - GLB keeps W, Z
  - for N in 4
  - spatial X: N in 4
  - RF keeps W Z A
  - for K in 64
formats: {W: {DRAM: bitmap, GLB: "B(K,N)-B(K:16)"}}
densities: {W: 0.5, A: {model: n_m, density: 0.5, parameters: {n: 2, m: 4, dimension: K}}}
bits: {weight: 4, activation: 8, kv: 8, psum: 24}
conventions: {stationarity: explicit}
"""

DATA: dict[str, Any] = yaml.safe_load(TEXT)


def test_a_file_written_by_hand_reads(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    design = read_design(path)
    assert design.operator == matmul("q_proj", {"M": 1, "K": 64, "N": 64})
    assert design.hardware.levels[1].capacity_bits == 4096 * 8
    assert design.hardware.levels[2].read_energy_pj == 0.12
    assert [str(fmt) for fmt in design.formats["W"]] == ["None", "B(K,N)", "B(K,N)-B(K:16)"]
    assert design.mapping.format_id[0, 1].tolist() == [1, 2, 0]
    assert design.densities["W"] == DensitySpec("hypergeometric", 0.5)
    assert design.precision == Precision(weight=4)
    assert (design.stationarity, design.accounting) == ("explicit", "codec")


def strange_design() -> Design:
    """Halos, odd numbers, energies of every kind, restricted levels."""
    operator = Operator(
        "conv",
        {"M": 4, "P": 6, "R": 3},
        (
            Tensor("I", (Dimension((("P", 2), ("R", 1))),), TensorClass.ACTIVATION),
            Tensor("W", (Dimension((("M", 1),)), Dimension((("R", 1),))), TensorClass.WEIGHT),
            Tensor("O", (Dimension((("M", 1),)), Dimension((("P", 1),))), TensorClass.OUTPUT),
        ),
        count=6,
        tags={"role": "conv"},
        layers=(0, 1, 5),
    )
    hardware = Hardware(
        "odd",
        (
            Level("DRAM", "dram", read_bits_per_cycle=204.8, write_bits_per_cycle=0.1 + 0.2),
            Level(
                "GLB",
                capacity_bits=12345.5,
                access_bits=48,
                shared_port=True,
                fan_out={"X": 3, "Y": 2},
                may_keep=frozenset({TensorClass.WEIGHT, TensorClass.OUTPUT}),
                must_keep=frozenset({TensorClass.WEIGHT}),
                read_energy_pj=1 / 3,
                write_energy_pj=2e-7,
                gated_energy_pj=0.0,
                metadata_access_bits=8,
                metadata_energy_pj=0.7,
                metadata_write_energy_pj=0.9,
            ),
            Level("RF", "register_file", capacity_bits=512.0),
        ),
        ComputeUnit(2.0, 0.31, 0.01),
        clock_hz=1.2e9,
        technology_nm=7.5,
    )
    space = MappingSpace(operator, hardware)
    mapping = space.decode(space.sample(1, np.random.default_rng(5)))
    return Design(operator, hardware, mapping, evaluator={"drain_read": False, "note": [1, 2.5]})


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("make", [lambda: design_from_data(DATA), strange_design])
def test_writing_and_reading_gives_the_same_design(
    tmp_path: Path, make: Callable[[], Design], suffix: str
) -> None:
    design, path = make(), tmp_path / f"best.{suffix}"
    write_design(path, design)
    again = read_design(path)
    assert design_to_data(again) == design_to_data(design)
    assert again.operator == design.operator
    assert again.hardware == design.hardware
    assert again.densities == design.densities
    assert dict(again.evaluator) == dict(design.evaluator)
    np.testing.assert_array_equal(
        compacted(again.mapping).keep_at, compacted(design.mapping).keep_at
    )
    assert list(tmp_path.iterdir()) == [path]


def test_reloaded_designs_cost_the_same(tmp_path: Path) -> None:
    operator = matmul("m", {"M": 1, "K": 64, "N": 100})
    hardware = design_from_data(DATA).hardware
    offer = format_offer({"W": {"DRAM": ["bitmap", "csr", "rle"]}}, operator, hardware)
    space = MappingSpace(operator, hardware, formats=offer)
    batch = space.decode(space.sample(20, np.random.default_rng(0)))
    densities = {"W": DensitySpec("hypergeometric", 0.3)}

    def cost(design: Design) -> dict[str, float]:
        model = SparseAccelerator(
            design.operator, design.hardware, design.densities, design.formats, design.precision
        )
        evaluation = model.evaluate(design.mapping)
        return {name: float(values[0]) for name, values in evaluation.metrics.items()}

    for index in range(20):
        mapping = batch.take(np.array([index]))
        design = Design(operator, hardware, mapping, offer.parsed(operator), densities)
        write_design(tmp_path / "d.yaml", design)
        assert cost(read_design(tmp_path / "d.yaml")) == cost(design)


def test_the_best_of_a_space_is_a_design_of_the_space() -> None:
    space = MappingSpace(matmul("m", {"M": 1, "K": 64, "N": 64}), design_from_data(DATA).hardware)
    batch = space.decode(space.sample(1, np.random.default_rng(1)))
    design = design_from_data(design_to_data(Design(space.operator, space.hardware, batch)))
    again = space.decode(space.encode(design.mapping))
    assert nest_items(space.operator, space.hardware, again) == nest_items(
        space.operator, space.hardware, batch
    )


def edited(*path: Any, to: Any = None, remove: bool = False) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    node = data
    for key in path[:-1]:
        node = node[key]
    if remove:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (edited("nests", to=[]), r"design: unknown key 'nests'; did you mean 'nest'"),
        (
            edited("schema", to="cosearch.design/9"),
            r"schema: must be one of cosearch.design/1",
        ),
        (edited("operator", remove=True), r"design: key 'operator' is missing"),
        (edited("operator", to=[1]), r"operator: must be a mapping, got \[1\]"),
        (
            edited("operator", "ranks", "M", to=0),
            r"operator.ranks.M: must be >= 1, got 0",
        ),
        (edited("operator", "size", to=1), r"operator: unknown key 'size'"),
        (
            edited("operator", "tensors", "A", "dimensions", to=["M", "KK"]),
            r"operator.tensors.A.dimensions: must be one of M, K, N, got 'KK'; did you mean 'K'",
        ),
        (
            edited("operator", "tensors", "A", "dimensions", to=["M*K"]),
            r"operator.tensors.A.dimensions: must read like K or 2\*P\+R, got 'M\*K'",
        ),
        (
            edited("operator", "tensors", "W", "class", to="weights"),
            r"operator.tensors.W.class: must be one of .*, got 'weights'; did you mean",
        ),
        (
            edited("operator", "count", to="two"),
            r"operator.count: must be a whole number, got 'two'",
        ),
        (
            edited("operator", "tensors", to={}),
            r"operator.tensors: must have at least 2: operands and, last, the",
        ),
        (edited("hardware", "levels", to={}), r"hardware.levels: must have at least 1, got"),
        (
            edited("hardware", "levels", "GLB", "capasity", to=1),
            r"hardware.levels.GLB.*'capasity'.*did you mean 'capacity'",
        ),
        (
            edited("hardware", "clok", to="1GHz"),
            r"hardware: unknown key 'clok'; did you mean 'clock'",
        ),
        (edited("nest", 1, to="for J in 4"), r"nest\[1\]: no rank 'J'"),
        (
            edited("nest", 1, to="for N in 3"),
            r"factors of rank N must multiply to 64 .*got 3 x 4 x 4",
        ),
        (edited("nest", to="for K in 3"), r"nest: must be a list, got 'for K in 3'"),
        (edited("formats", "W", "DRAM", to="BB(K)"), r"formats.W.DRAM: .*unknown primitive 'BB'"),
        (edited("formats", "W", "DRAM", to="B(J,K)"), r"formats.W.DRAM: .*'J'"),
        (edited("formats", "W", "DRAM", to=3), r"formats.W.DRAM: must be a text, got 3"),
        (edited("formats", "A", to={"GLB": "bitmap"}), r"formats.A.GLB: the level does not keep A"),
        (edited("formats", "V", to={}), r"formats: unknown key 'V'; valid: A, W, Z"),
        (edited("formats", "W", "L2", to="csr"), r"formats.W: unknown key 'L2'"),
        (
            edited("densities", "W", to=1.5),
            r"densities.W: must be between 0 and 1, got 1.5",
        ),
        (
            edited("densities", "W", to=-0.1),
            r"densities.W: must be between 0 and 1, got -0.1",
        ),
        (edited("densities", "W", to="1e-2"), r"densities.W: .*got '1e-2'; write 1.0e-2"),
        (
            edited("densities", "A", "density", to="half"),
            r"densities.A.density: must be a number, got 'half'",
        ),
        (
            edited("densities", "A", "modle", to="n_m"),
            r"densities.A: unknown key 'modle'; did you mean",
        ),
        (
            edited("densities", "A", "model", to="nm"),
            r"densities.A.model: must be one of .*, got 'nm'; did you mean 'n_m'",
        ),
        (edited("bits", "weights", to=8), r"bits: unknown key 'weights'; did you mean 'weight'"),
        (edited("bits", "weight", to=0), r"bits.weight: must be between 1 and 64, got 0"),
        (
            edited("conventions", "stationarity", to="implict"),
            r"conventions.stationarity: must be one of implicit, .*got 'implict'; did you mean",
        ),
    ],
)
def test_errors_are_one_line_with_file_field_rule_and_value(
    tmp_path: Path, data: dict[str, Any], message: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data))
    with pytest.raises(FileError, match=message) as error:
        read_design(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "operator: {", r"a.yaml:1: is not YAML: .* at column 12"),
        ("a.json", "{", r"a.json:1: is not JSON: .* at column 2"),
        ("a.yaml", "- 1", r"a.yaml:1: design: must be a mapping, got \[1\]"),
        ("a.yaml", "", r"a.yaml:1: design: must be a mapping, got None"),
    ],
)
def test_files_that_are_no_designs(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=message):
        read_design(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none.yaml: cannot be read: No such file"):
        read_design(tmp_path / "none.yaml")
