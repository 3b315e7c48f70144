"""Hardware sizes as decisions: the same costs as the same hardware configured by hand."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from spaces.hardware_config import build_hardware
from spaces.hardware_sizes import resized
from strategies.tasks.instantiate import build_problem
from strategies.tasks.user_errors import CONFIG_DIR
from tests.contracts.test_evaluators import SMALL

SIZES = {"GLB.capacity": "64KiB", "RF.capacity": "128B", "GLB.X": 4, "GLB.Y": 8}
BY_HAND = [
    "hardware.levels.GLB.capacity=64KiB",
    "hardware.levels.RF.capacity=128B",
    "hardware.levels.GLB.fan_out={X: 4, Y: 8}",
]


def problem(*overrides: str):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        words = ["+experiment=pareto_energy_latency", *SMALL, *overrides]
        return build_problem(compose("config", words))


def test_a_size_in_the_space_is_a_size_in_the_file() -> None:
    formats = {"weight_format_1": ["bitmap"], "mapping_goal": ["energy"]}
    free = problem()
    columns = {f"hardware.{name}": np.array([value]) for name, value in SIZES.items()}
    columns |= {f"formats.{name}": np.array(value) for name, value in formats.items()}
    found = free.evaluator.evaluate(free.space.decode(columns)).metrics
    by_hand = problem("evaluator=sparse_model", "+evaluator.search.mapspace=even", *BY_HAND)
    wanted = by_hand.evaluator.evaluate({k: np.array(v) for k, v in formats.items()}).metrics
    assert {k: v[0] for k, v in found.items()} == pytest.approx(
        {k: v[0] for k, v in wanted.items()}
    )


def test_the_comparison_shows_the_hardware_as_configured() -> None:
    free = problem()
    design = free.space.decode(free.space.sample(1, np.random.default_rng(0)))
    (rows,) = free.evaluator.comparison(design).values()
    assert [row["hardware"] for row in rows] == ["this design", "edge as configured"]
    own = free.evaluator.evaluate(design).metrics
    assert rows[0]["area_mm2"] == own["area_mm2"][0] != rows[1]["area_mm2"]


def test_an_unknown_size_is_named() -> None:
    hardware = build_hardware("edge", {"GLB": {"capacity": "512KiB", "fan_out": {"X": 16}}})
    with pytest.raises(
        ValueError, match="hardware size: must be one of GLB, got 'GBL'; did you mean"
    ):
        resized(hardware, {"GBL.capacity": "1KiB"})
    with pytest.raises(ValueError, match="hardware size of GLB"):
        resized(hardware, {"GLB.Z": 4})
