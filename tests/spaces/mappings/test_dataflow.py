from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from spaces.hardware import Hardware, Level
from spaces.mappings.dataflow import NO_LIMIT, Dataflow, mapping_rules
from spaces.mappings.mapping_space import MappingSpace
from spaces.workloads.workload import TensorClass, matmul
from tests.contracts.mapping_spaces import EDGE

OPERATOR = matmul("m", {"M": 4, "K": 8, "N": 16})
CONF = Path(__file__).parents[3] / "conf" / "dataflow"


def test_a_free_dataflow_adds_nothing_to_the_hardware() -> None:
    rules = mapping_rules(Dataflow(), OPERATOR, EDGE)
    assert rules.spatial_allowed.all()
    assert not rules.stands_outside.any()
    assert rules.may_keep.all()
    assert rules.must_keep.tolist() == [[True, False, False]] * 3
    assert not rules.at_head.any()
    assert (rules.maximum_trip == NO_LIMIT).all()
    assert (rules.minimum_tile == 1).all()


def test_fields_resolve_to_arrays() -> None:
    dataflow = Dataflow(
        spatial={"X": ["N", "C"], "GLB.Y": ["reduction"]},
        order={"outermost": ["N", "K"]},
        keep={"innermost": ["weight"]},
        bypass={"GLB": ["Z"]},
        maximum_trip={"RF": {"K": 4, "streamed": 2}},
        minimum_tile={"RF": {"N": 2}},
    )
    rules = mapping_rules(dataflow, OPERATOR, EDGE)
    assert rules.spatial_allowed.tolist() == [[False, False, True], [False, True, False]]
    assert np.argwhere(rules.stands_outside).tolist() == [[0, 2, 1]]
    assert rules.must_keep[1].tolist() == [True, False, True]
    assert rules.may_keep[2].tolist() == [True, False, True]
    assert rules.maximum_trip[2].tolist() == [2, 4, NO_LIMIT]
    assert rules.minimum_tile[2].tolist() == [1, 1, 2]
    assert rules.at_head[:, 2].tolist() == [False, True, True]  # W and Z have N


def test_stationary_puts_irrelevant_loops_innermost_above_the_level() -> None:
    rules = mapping_rules(Dataflow(stationary={"RF": "weight"}), OPERATOR, EDGE)
    assert np.argwhere(rules.stands_outside).tolist() == [[1, 1, 0], [1, 2, 0]]  # K, N over M
    assert rules.must_keep[1, 2]
    assert rules.at_head[1, 2]


@pytest.mark.parametrize(
    ("classes", "index"),
    [
        ((TensorClass.ACTIVATION, TensorClass.WEIGHT), 1),
        ((TensorClass.KV, TensorClass.ACTIVATION), 0),
        ((TensorClass.ACTIVATION, TensorClass.ACTIVATION), 1),
    ],
)
def test_weight_means_the_cached_operand_of_attention(
    classes: tuple[TensorClass, TensorClass], index: int
) -> None:
    operator = matmul("m", {"M": 1, "K": 8, "N": 8}, classes)
    rules = mapping_rules(Dataflow(keep={"RF": ["weight"]}), operator, EDGE)
    assert rules.must_keep[:, 2].tolist() == [i == index for i in range(3)]


@pytest.mark.parametrize(
    ("dataflow", "message"),
    [
        (
            {"spatial": {"Z": ["K"]}},
            r"dataflow.spatial: unknown key 'Z'; valid: X, Y, GLB.X, GLB.Y",
        ),
        ({"spatial": {"X": ["J"]}}, r"dataflow.spatial.X: no rank 'J' in operator 'm'"),
        (
            {"order": {"GBL": ["K"]}},
            r"dataflow.order.GBL: must be one of .*, got 'GBL'; did you mean 'GLB'",
        ),
        (
            {"keep": {"RF": ["wieght"]}},
            r"keep.RF: must be one of A, W, Z, weight, .*, got 'wieght'; did you mean 'weight'\?",
        ),
        ({"maximum_trip": {"RF": {"KK": 2}}}, r"no rank 'KK' in operator 'm'"),
        ({"bypass": {"DRAM": ["weight"]}}, r"bypass.DRAM: the level must keep W"),
        (
            {"bypass": {"RF": ["W"]}, "stationary": {"RF": "W"}},
            r"stationary.RF: the tensor may not",
        ),
        ({"bypass": {"RF": ["W"]}, "keep": {"RF": ["weight"]}}, r"keep.RF: the tensor may not be"),
    ],
)
def test_what_does_not_exist_or_contradicts_is_named(
    dataflow: dict[str, dict[str, list[str]]], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        mapping_rules(Dataflow(**dataflow), OPERATOR, EDGE)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minimum_utilisation": 1.5}, r"dataflow.minimum_utilisation: must be in 0..1, got 1.5"),
        ({"minimum_tile": {"RF": {"K": 0}}}, r"dataflow.minimum_tile.RF.K: must be >= 1, got 0"),
        ({"maximum_trip": {"RF": {"K": 0}}}, r"dataflow.maximum_trip.RF.K: must be >= 1, got 0"),
    ],
)
def test_limits_out_of_range_are_named(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataflow(**fields)  # type: ignore[arg-type]


SHIPPED = [path for path in sorted(CONF.glob("*.yaml")) if path.stem != "file"]
"""`file` reads a file of the user's."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "sizes", [{"M": 1, "K": 4096, "N": 50257}, {"B": 32, "M": 64, "K": 128, "N": 64}]
)
def test_shipped_dataflows_leave_mappings_for_everyday_operators(
    path: Path, sizes: dict[str, int]
) -> None:
    values = yaml.safe_load(path.read_text())
    assert values.pop("_target_") == "spaces.mappings.dataflow.Dataflow"
    assert values["name"] == path.stem
    space = MappingSpace(matmul("m", sizes), EDGE, Dataflow(**values))
    assert space.size > 100
    batch = space.decode(space.sample(50, np.random.default_rng(0)))
    lanes = np.where(batch.loop_kind > 0, batch.loop_trip, 1).prod(axis=1)
    assert (lanes >= 1).all()
    if path.stem == "weight_stationary":
        assert (batch.keep_at[:, 1, 2] >= 0).all()
        assert (lanes >= 128).all()


def test_minimum_tile_is_capped_by_the_rank() -> None:
    hardware = Hardware("h", (Level("DRAM"), Level("RF")))
    dataflow = Dataflow(minimum_tile={"RF": {"K": 64}}, keep={"RF": ["W"]})
    space = MappingSpace(matmul("m", {"M": 1, "K": 8, "N": 4}), hardware, dataflow)
    batch = space.decode(space.sample(50, np.random.default_rng(0)))
    start = space.tables.layout.block_start[1]
    inner = np.where(batch.loop_rank == 1, batch.loop_trip, 1)[:, start:].prod(axis=1)
    assert (inner == 8).all()
