"""Scaling constants of a recorded study: where they are found, and whether the winner changes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from strategies.objective import Objective
from strategies.tasks import sensitivity, study
from strategies.tasks.sensitivity import Outcome, scaled, sensitivity_tables
from strategies.tasks.user_errors import CONFIG_DIR
from tests.strategies.small_study import small_config

RECORDED = OmegaConf.create(
    {
        "technology": {"values": {"dram": 1.0}},
        "space": {"hardware": {"clock": "1GHz", "name": "edge"}},
        "evaluator": {
            "model": {"technology": {"values": {}}, "hardware": {"clock": "1GHz", "name": "edge"}}
        },
    }
)


def test_a_constant_is_scaled_everywhere_a_price_reads_it() -> None:
    changed = scaled(RECORDED, "hardware.clock", 2.0, {})
    assert changed.evaluator.model.hardware.clock == "2GHz"
    assert changed.space.hardware.clock == "2GHz"
    assert RECORDED.evaluator.model.hardware.clock == "1GHz"


def test_a_constant_that_no_file_states_starts_from_its_own_value() -> None:
    changed = scaled(RECORDED, "technology.values.dram", 0.5, {"dram": 8.0})
    assert changed.evaluator.model.technology["values"].dram == 4.0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("technolgy.values.dram", r"uses no 'technolgy'.*did you mean 'technology'"),
        ("technology.values.drm", r"is no constant of this study.*did you mean 'dram'"),
        ("hardware.name", r"'edge' is no number, it cannot be scaled"),
        ("hardware", r"the study uses no 'hardware'"),
    ],
)
def test_mistakes_are_named(key, message) -> None:
    with pytest.raises(ValueError, match=message):
        scaled(RECORDED, key, 2.0, {"dram": 8.0})


@pytest.mark.parametrize("factors", ["[]", "[0]", "[-2]", "[twice]"])
def test_factors_must_be_positive_numbers(tmp_path, factors) -> None:
    study.run(small_config(tmp_path, "name=mine", "budget.trials=2"))
    config = small_config(tmp_path, "study=mine", f"sensitivity.factors={factors}")
    with pytest.raises(ValueError, match="each must be a number > 0"):
        sensitivity.run(config)


def test_a_study_that_uses_no_technology_says_so(tmp_path) -> None:
    study.run(small_config(tmp_path, "name=mine", "budget.trials=2"))
    with pytest.raises(ValueError, match="the study uses no 'technology'"):
        sensitivity.run(small_config(tmp_path, "study=mine"))


def test_the_winner_changes_when_another_design_becomes_better() -> None:
    base = Outcome("", 1.0, np.array([[2.0], [3.0]]))
    dear = Outcome("dram", 2.0, np.array([[4.0], [3.5]]))
    (rows,) = sensitivity_tables([base, dear], ["a", "b"], [Objective("energy_pj")]).values()
    assert [(row["winner"], row["changed"]) for row in rows] == [("a", False), ("b", True)]
    assert rows[1]["energy_pj of the winner"] == 3.5
    assert rows[1]["of a"] == 4.0
    assert rows[1]["against recorded"] == 1.75


def test_a_maximised_objective_keeps_its_sign() -> None:
    outcome = Outcome("", 1.0, np.array([[-2.0], [-3.0]]))
    (rows,) = sensitivity_tables([outcome], ["a", "b"], [Objective("rate", "maximize")]).values()
    assert (rows[0]["winner"], rows[0]["rate of the winner"]) == ("b", 3.0)


def gemm(folder: Path, *overrides: str) -> DictConfig:
    words = ["workload=gemm", "workload.M=16", "workload.K=32", "workload.N=16", "quiet=true"]
    words += ["strategy=random", "budget.trials=3", "tracking=none", f"out_dir={folder}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("config", [*words, *overrides])


def test_a_real_accelerator_under_dearer_memory(tmp_path, capsys) -> None:
    study.run(gemm(tmp_path, "name=mine"))
    capsys.readouterr()
    keys = "sensitivity.keys=[technology.values.dram_pj_per_bit, hardware.clock]"
    sensitivity.run(gemm(tmp_path, "study=mine", keys))
    out = json.loads(capsys.readouterr().out)
    rows = out["tables"]["Best energy_pj"]
    ratio = {(row["constant"], row["factor"]): row["against recorded"] for row in rows}
    assert ratio[("as recorded", 1.0)] == 1.0
    assert 0.5 < ratio[("technology: dram_pj_per_bit", 0.5)] < 1.0
    assert 1.0 < ratio[("technology: dram_pj_per_bit", 2.0)] < 2.0
    for name in ("figures/tornado.png", "tables/best_energy_pj.csv", "report.html"):
        assert (Path(out["artifacts"]) / name).stat().st_size > 0
