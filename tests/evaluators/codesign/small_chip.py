"""A model of two projections on a chip whose every design and mapping can be enumerated."""

from __future__ import annotations

from functools import partial
from typing import Any

from evaluators.accelerator.intersection import build_optimization
from evaluators.analog.technology import technology
from evaluators.codesign.boundary import Boundary
from evaluators.codesign.chip_evaluator import ChipEvaluator
from spaces.codesign.chip_space import ChipSpace, chip_space
from spaces.hardware import Hardware, Level
from spaces.workloads.language_model import layered
from spaces.workloads.workload import TensorClass, Workload, matmul
from strategies.exact.exact_search import exact_search
from strategies.nested_search import NestedSearch

HARDWARE = Hardware(
    "small",
    (
        Level("DRAM", kind="dram"),
        Level(
            "GLB",
            capacity_bits=2048,
            read_bits_per_cycle=64,
            write_bits_per_cycle=64,
            fan_out={"X": 2},
        ),
        Level(
            "RF",
            kind="register_file",
            capacity_bits=256,
            access_bits=16,
            must_keep=frozenset({TensorClass.WEIGHT, TensorClass.ACTIVATION}),
        ),
    ),
)
WORKLOAD = Workload(
    "two projections",
    (
        layered(matmul("up_proj", {"M": 1, "K": 4, "N": 4}), layers=3),
        layered(matmul("down_proj", {"M": 1, "K": 4, "N": 2}), layers=3, calls=2),
    ),
)
KNOBS: dict[str, dict[str, Any]] = {
    "spatial": {"array": {"choices": [1, 2]}, "weight_format": {"choices": ["none"]}},
    "digital": {"columns": {"choices": [2, 4]}, "macros": {"choices": [1, 8]}},
    "analog": {"adcs_per_array": {"choices": [1, 4]}, "arrays": {"choices": [4, 256]}},
}


def small_space(**changes: Any) -> ChipSpace:
    analog = {"mapping": ["linear", "sparse"], "rule": ["padded"], "block": [0]}
    given = {"groups": 1, "patterns": ["2:4"], "analog": analog, **changes}
    return chip_space(WORKLOAD, KNOBS, **given)


def small_chip(space: ChipSpace | None = None, **boundary: Any) -> ChipEvaluator:
    rules = [{"level": "innermost", "target": "A", "leaders": ["W"], "kind": "skipping"}]
    return ChipEvaluator(
        space or small_space(),
        Boundary(WORKLOAD, **{"memory_bandwidth": "4GB/s", **boundary}),
        {
            "hardware": HARDWARE,
            "search": partial(NestedSearch, search=exact_search),
            "optimization": build_optimization(rules, "skipping"),
        },
        {
            "fixed": {
                "architecture": "flexcim_ideal",
                "sub_macros": 2,
                "rows": 2,
                "bits_per_cycle": 1,
            }
        },
        {
            "technology": technology("reram", adc="sar_28nm"),
            "native_nm": 32.0,
            "fixed": {"array_size": 4, "packing": "per_factor"},
        },
    )
