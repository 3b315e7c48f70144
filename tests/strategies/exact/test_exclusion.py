"""No valid mapping: the message names the rule and says by how much it is broken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware import Hardware, Level
from spaces.mappings.dataflow import Dataflow, mapping_rules
from spaces.workloads.workload import TensorClass, matmul
from strategies.exact.exact_search import exact_search

OPERATOR = matmul("product", {"M": 8, "K": 8, "N": 8})


def part(**changes: Any) -> SparseAccelerator:
    level = {
        "capacity_bits": 64,
        "access_bits": 8,
        "must_keep": frozenset({TensorClass.ACTIVATION, TensorClass.WEIGHT}),
    }
    levels = (
        Level("DRAM", "dram", fan_out={"X": 8}),
        Level("RF", "register_file", **{**level, **changes}),
    )
    return SparseAccelerator(OPERATOR, Hardware("small", levels))


def reason(accelerator: SparseAccelerator, **given: Any) -> str:
    found = exact_search(accelerator.cost_terms(), "energy", **given)
    assert found.mapping is None
    assert not found.certified
    assert found.gap == 0.0
    return found.reason


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({"capacity_bits": 12}, {}, "capacity of RF: the smallest tiles it must keep take 16"),
        ({}, {"minimum_tile": np.array([1, 8, 1])}, "minimum_tile: the least tiles that RF must"),
    ],
)
def test_the_broken_rule_and_the_excess_are_named(
    changes: Mapping[str, Any], given: Mapping[str, Any], message: str
) -> None:
    said = reason(part(**changes), **given)
    assert message in said
    need, room, over = (int(x) for x in re.findall(r"take (\d+) .* has (\d+) \((\d+)%", said)[0])
    assert over == round(100 * (need / room - 1))
    assert room == changes.get("capacity_bits", 64)


def test_lanes_that_no_tile_can_fill_are_named() -> None:
    crowded = part(fan_out={"Y": 8})
    rules = mapping_rules(
        Dataflow("busy", spatial={"Y": ["K"]}, minimum_utilisation=1.0),
        OPERATOR,
        crowded.hardware,
    )
    assert "minimum_utilisation 1: the tiles of RF that fill the lanes take 128 bits" in reason(
        crowded, rules=rules
    )
