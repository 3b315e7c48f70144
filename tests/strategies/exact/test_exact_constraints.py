"""Dataflows in the exact search: honoured in what it finds, never better than free, or refused."""

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware import Hardware, Level
from spaces.mappings.dataflow import Dataflow, mapping_rules
from spaces.mappings.loop_nest import BYPASS
from spaces.workloads.workload import matmul
from strategies.exact.exact_search import exact_search

HARDWARE = Hardware(
    "small",
    (
        Level("DRAM", kind="dram", read_bits_per_cycle=64, shared_port=True),
        Level("GLB", capacity_bits=1 << 14, fan_out={"X": 4, "Y": 4}),
        Level("RF", kind="register_file", capacity_bits=1 << 9, access_bits=16),
    ),
)
OPERATOR = matmul("product", {"M": 16, "K": 32, "N": 16})
PART = SparseAccelerator(OPERATOR, HARDWARE)


def best(dataflow: Dataflow):
    rules = mapping_rules(dataflow, OPERATOR, HARDWARE)
    return exact_search(PART.cost_terms(), "energy", rules=rules)


@pytest.mark.parametrize(
    "dataflow",
    [
        Dataflow("axes", spatial={"X": ["N"], "Y": ["K"]}),
        Dataflow("busy", spatial={"X": ["N"]}, minimum_utilisation=1.0),
        Dataflow("kept", keep={"RF": ["weight", "activation", "output"]}),
        Dataflow("around", bypass={"GLB": ["weight"]}),
        Dataflow("tile", minimum_tile={"innermost": {"K": 4}}),
        Dataflow("resting", stationary={"innermost": "weight"}),
    ],
    ids=lambda flow: flow.name,
)
def test_a_dataflow_costs_at_least_what_freedom_does(dataflow: Dataflow) -> None:
    free = exact_search(PART.cost_terms(), "energy")
    found = best(dataflow)
    assert found.certified
    assert found.energy_pj[0] >= free.energy_pj[0] * (1 - 1e-12)
    priced = PART.evaluate(found.mappings)
    assert priced.feasible.all()
    assert priced.metrics["energy_pj"][0] == pytest.approx(found.energy_pj[0], rel=1e-9)


def test_only_allowed_ranks_are_unrolled_and_the_lanes_are_busy() -> None:
    found = best(Dataflow("f", spatial={"X": ["N"], "Y": ["K"]}, minimum_utilisation=1.0))
    mapping = found.mappings
    lanes = 1
    for rank, trip, kind in zip(
        mapping.loop_rank[0], mapping.loop_trip[0], mapping.loop_kind[0], strict=True
    ):
        if kind and trip > 1:
            axis = HARDWARE.axes[kind - 1][1]
            assert OPERATOR.rank_names[rank] == {"X": "N", "Y": "K"}[axis]
            lanes *= int(trip)
    assert lanes == 16


def test_placement_is_honoured() -> None:
    kept = best(Dataflow("k", keep={"GLB": ["weight"]}, bypass={"GLB": ["activation"]})).mappings
    names = [tensor.name for tensor in OPERATOR.tensors]
    assert kept.keep_at[0, names.index("W"), 1] != BYPASS
    assert kept.keep_at[0, names.index("A"), 1] == BYPASS


def test_a_stationary_tensor_heads_its_level() -> None:
    mapping = best(Dataflow("s", stationary={"innermost": "output"})).mappings
    positions = mapping.keep_at[0, :, 2]
    kept = positions[positions != BYPASS]
    assert positions[2] != BYPASS
    assert positions[2] == np.min(kept)


@pytest.mark.parametrize(
    ("dataflow", "message"),
    [
        (Dataflow("o", order={"GLB": ["M", "N", "K"]}), r"dataflow\.order: the exact search"),
        (Dataflow("t", maximum_trip={"GLB": {"M": 2}}), r"dataflow\.maximum_trip: the exact"),
        (Dataflow("s", stationary={"GLB": "weight"}), r"dataflow\.stationary: the exact"),
        (Dataflow("m", minimum_tile={"GLB": {"K": 4}}), r"dataflow\.minimum_tile: the exact"),
    ],
    ids=lambda value: value.name if isinstance(value, Dataflow) else "",
)
def test_what_it_cannot_honour_is_refused_by_name(dataflow: Dataflow, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best(dataflow)
