"""Sizes of language models that do not divide a 16-wide axis fill it padded, with the loss told."""

import json
from pathlib import Path

import numpy as np
import pytest

from spaces.hardware_config import build_hardware
from spaces.mappings.design_file import Design, write_design
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.mapping_space import MappingSpace
from spaces.workloads.workload import matmul
from tests.test_run import run

HARDWARE = build_hardware(
    "wide", {"DRAM": {"kind": "dram", "fan_out": {"X": 16}}, "RF": {"capacity": "64KiB"}}
)


def filling(size: int) -> tuple[Design, float]:
    """The design with the least padding that spreads N over all 16 lanes, and its padding."""
    operator = matmul("m", {"M": 1, "K": 8, "N": size})
    space = MappingSpace(operator, HARDWARE)
    batch = space.decode(space.sample(400, np.random.default_rng(0)))
    on_axis = np.where((batch.loop_kind == 1) & (batch.loop_rank == 2), batch.loop_trip, 1)
    trips = np.where(batch.loop_rank == 2, batch.loop_trip, 1).prod(axis=1)
    padded = np.where(on_axis.prod(axis=1) == 16, trips, np.iinfo(np.int64).max)
    best: MappingBatch = batch.take(np.array([int(padded.argmin())]))
    return Design(operator, HARDWARE, best), padded.min() / size - 1.0


@pytest.mark.parametrize(("size", "padded"), [(11008, 11008), (50257, 50272), (50272, 50272)])
def test_awkward_sizes_fill_the_axis(size: int, padded: int) -> None:
    assert filling(size)[1] == padded / size - 1.0


def test_the_loss_is_shown(tmp_path: Path) -> None:
    write_design(tmp_path / "d.yaml", filling(50257)[0])
    shown = run("task=evaluate", f"design={tmp_path}/d.yaml").stdout
    assert "N = 50257 is padded to 50272: 0.03% more work" in shown
    account = json.loads(run("task=evaluate", f"design={tmp_path}/d.yaml", "quiet=true").stdout)
    assert account["padding"]["N"]["padded"] == 50272
