"""Spaces of chips: parts of a model, placements, and what a user can get wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spaces.codesign.chip_space import ChipSpace, chip_space
from spaces.codesign.projections import projection_parts
from spaces.workloads.language_model import language_model
from spaces.workloads.transformer import TransformerShape
from spaces.workloads.workload import Workload

TINY = TransformerShape("tiny", 64, 2, 128, 96, decoder_layers=5, gated=True, tied_embeddings=False)
KNOBS: dict[str, dict[str, Any]] = {
    "spatial": {"array": {"choices": [8, 16]}},
    "digital": {"macros": {"choices": [4, 8, 16]}},
    "analog": {"arrays": {"low": 1, "high": 4}},
}


def model() -> Workload:
    return language_model(TINY, "decode", 1, 16)


def space(**changes: Any) -> ChipSpace:
    analog = {"mapping": ["linear", "sparse"], "rule": ["rectangular"], "block": [0]}
    return chip_space(
        model(), **{"knobs": KNOBS, "patterns": ["2:4"], "analog": analog, "groups": 2, **changes}
    )


def test_groups_cover_every_layer_once() -> None:
    parts = projection_parts(model(), 2)
    down = [part for part in parts if part.projection == "down_proj"]
    assert [part.name for part in down] == ["down_proj[0-1]", "down_proj[2-4]"]
    assert sum(part.weights for part in parts) == model().matmul_parameters
    assert [part.parallel for part in parts if part.projection == "gate_up_proj"] == [2, 2]


def test_placements_come_from_the_machines_own_spaces() -> None:
    assert [str(placement) for placement in space().placements] == [
        "spatial dense",
        "spatial 2:4",
        "spatial monarch rectangular/0",
        "digital dense",
        "digital 2:4",
        "analog linear",
        "analog sparse rectangular/0",
    ]


def test_size_counts_idle_knobs_once() -> None:
    few = space(machines=["spatial", "digital"], groups=1)
    parts = len(few.parts)
    spatial, digital = 3**parts, 2**parts
    mixed = 5**parts - spatial - digital
    assert few.size == 2 * spatial + 2 * 3 * (digital + mixed)


def test_knobs_of_idle_machines_are_forgotten() -> None:
    columns = dict(space().sample(50, np.random.default_rng(0)))
    for part in space().parts:
        columns[part.name] = np.full(50, "spatial dense", dtype=object)
    chips = space().decode(columns)
    assert set(chips.knobs["digital"]) == {0}
    assert set(chips.knobs["analog"]) == {0}
    assert set(chips.knobs["spatial"]) == {0, 1}
    assert set(space().describe(chips, 0)) == {"placement", "spatial"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 6}, "space.groups must be <= 5"),
        ({"machines": ["optical"]}, "space.machines: must be one of spatial, digital, analog"),
        ({"patterns": ["2:3"]}, "M of 2:3 must divide the 64 inputs of q_proj"),
        ({"knobs": {"spatial": KNOBS["spatial"]}}, "space.knobs.analog: is missing|digital"),
        (
            {"knobs": {**KNOBS, "analog": {"arrays": {"low": 0.1, "high": 1.0}}}},
            "space.knobs.analog.arrays: must be finite",
        ),
        ({"analog": {"mapping": ["linear"], "block": [0], "ring": [1]}}, "unknown key 'ring'"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space(**changes)


def test_a_record_must_name_placements_and_knobs_of_the_space() -> None:
    (record,) = space().to_json(space().decode(space().sample(1, np.random.default_rng(1))))
    first = space().parts[0].name
    with pytest.raises(ValueError, match="must be one of spatial dense"):
        space().from_json([{**record, "placement": {**record["placement"], first: "cpu"}}])
    with pytest.raises(ValueError, match="must be a setting of the space's knobs"):
        space().from_json([{**record, "spatial": {"array": 9}}])
