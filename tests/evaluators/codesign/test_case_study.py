"""Every number of docs/case_study.md, priced again from the stored designs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from evaluators.codesign.chip_evaluator import ChipEvaluator
from strategies.codesign.machine_fronts import MachineFronts
from strategies.tasks.instantiate import build_problem

ROOT = Path(__file__).resolve().parents[3]
RECORD: dict[str, Any] = json.loads((ROOT / "docs/examples/case_study.json").read_text())
PAGE = (ROOT / "docs/case_study.md").read_text()
OBJECTIVES = ("energy_mj_per_token", "latency_ms", "area_mm2", "fidelity_proxy_loss")


@pytest.fixture(scope="module")
def chips() -> ChipEvaluator:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        study = build_problem(compose("config", ["+experiment=llama_codesign"])).evaluator
    return study.evaluator  # type: ignore[attr-defined,no-any-return]


def row(name: str, metrics: dict[str, float]) -> str:
    return " | ".join([f"| {name}", *(f"{value:.4g}" for value in metrics.values())]) + " |"


def test_every_design_costs_what_was_recorded(chips: ChipEvaluator) -> None:
    designs = chips.space.from_json([entry["design"] for entry in RECORD["designs"]])
    found = chips.evaluate(designs)
    assert found.feasible.all()
    for index, entry in enumerate(RECORD["designs"]):
        for name, value in entry["metrics"].items():
            assert found.metrics[name][index] == pytest.approx(value, rel=1e-9), entry["name"]


def test_every_change_costs_what_was_recorded(chips: ChipEvaluator) -> None:
    designs = chips.space.from_json([entry["design"] for entry in RECORD["designs"]])
    chips.evaluate(designs)
    stored = [(v["changed"], v["to"]) for v in RECORD["designs"][0]["variants"]]
    every = [*chips.convention_variants(), *chips.constant_variants()]
    variants = [variant for variant in every if (variant.what, variant.value) in stored]
    assert len(variants) == len(stored)
    for position, variant in enumerate(variants):
        found = variant.evaluator.evaluate(designs)
        for index, entry in enumerate(RECORD["designs"]):
            recorded = entry["variants"][position]
            assert (recorded["changed"], recorded["to"]) == (variant.what, variant.value)
            assert recorded["fits"] == bool(found.feasible[index])
            for name, value in recorded["metrics"].items():
                assert found.metrics[name][index] == pytest.approx(value, rel=1e-9), variant


def test_the_page_shows_the_recorded_designs() -> None:
    for entry in RECORD["designs"]:
        assert row(entry["name"], entry["metrics"]) in PAGE, entry["name"]


def test_the_fronts_are_those_of_the_stored_chips(chips: ChipEvaluator) -> None:
    """Every feasible chip of the study is stored; the table of fronts follows from their prices."""
    stored = pd.read_csv(ROOT / "docs/examples/case_study_chips.csv.gz")
    columns = {name: stored[name].to_numpy() for name in stored.columns}
    found = chips.evaluate(chips.space.decode(columns))
    assert found.feasible.all()
    fronts = MachineFronts(found, OBJECTIVES)
    joint = fronts.hypervolumes["joint"]
    assert all(volume <= joint for volume in fronts.hypervolumes.values())
    for values, recorded in zip(fronts.rows(), RECORD["fronts"], strict=True):
        assert values["weights held by"] == recorded["weights held by"]
        numbers = {name: value for name, value in recorded.items() if name != "weights held by"}
        assert {name: values[name] for name in numbers} == pytest.approx(numbers, rel=1e-9)
        cells = [
            values["weights held by"],
            *(str(values[key]) for key in ("chips", "front", "of these on the joint front")),
            *(f"{values[f'least {name}']:.4g}" for name in OBJECTIVES[:2]),
            f"{values['hypervolume / joint']:.4f}",
        ]
        assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_shows_recorded_changes_only() -> None:
    """Rows of the tables of changes are `| design | change | ...` with recorded numbers."""
    recorded = {
        row(f"{entry['name']} | {variant['changed']} {variant['to']}", variant["metrics"])
        for entry in RECORD["designs"]
        for variant in entry["variants"]
    }
    shown = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 10]
    assert shown
    for line in shown[2:]:
        assert line in recorded, line
