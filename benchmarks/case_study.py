"""The designs of docs/case_study.md: picked from a recorded study, priced under every convention.

    python run.py +experiment=llama_codesign name=case_study
    python benchmarks/case_study.py outputs/case_study --write

Prints the tables of the page in Markdown and one JSON line; `--write` renews
docs/examples/case_study.json and case_study_chips.csv.gz, which a test prices again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from evaluators.evaluation import Evaluation
from strategies.codesign.machine_fronts import MACHINES, MachineFronts
from strategies.tasks.recorded_study import study_in

FILE = Path(__file__).parents[1] / "docs" / "examples" / "case_study.json"
CHIPS = FILE.with_name("case_study_chips.csv.gz")
"""Every feasible chip of the study, one row of parameters each: what the fronts are drawn from."""

COMMAND = "python run.py +experiment=llama_codesign name=case_study"
SHOWN = (
    "energy_mj_per_token",
    "latency_ms",
    "area_mm2",
    "fidelity_proxy_loss",
    "offchip_gb",
    "resident_share",
    "edp_mj_ms",
)
ACCEPTED, LOSSLESS = 0.2, 1e-3
CHANGES = (
    ("weights on chip", "always"),
    ("pair select", "flexcim_ideal"),
    ("pair select", "flexcim_serial"),
    ("ADC law", "survey_ramp"),
    ("off-chip bandwidth", "x 10"),
    ("leakage", "x 0"),
    ("analog cell_um2", "0.1 um2"),
)
"""Conventions and constants that the page switches; the report of a study has all of them."""


def picks(metrics: dict[str, np.ndarray], classes: np.ndarray) -> dict[str, int]:
    """Name -> row of a chip worth showing."""
    accepted = metrics["fidelity_proxy_loss"] <= ACCEPTED
    exact = metrics["fidelity_proxy_loss"] <= LOSSLESS
    wanted = {
        f"{name}: least energy x latency": ("edp_mj_ms", accepted & (classes == name))
        for name in ("spatial", "digital", "analog", "mixed")
    }
    wanted |= {
        "least energy": ("energy_mj_per_token", accepted),
        "least latency": ("latency_ms", accepted),
        "least energy, all but lossless": ("energy_mj_per_token", exact),
        "least latency, all but lossless": ("latency_ms", exact),
        "least latency at any loss": ("latency_ms", accepted | True),
    }
    return {
        name: int(np.flatnonzero(among)[np.argmin(metrics[metric][among])])
        for name, (metric, among) in wanted.items()
        if among.any()
    }


def shown(metrics: Any, row: int) -> dict[str, float]:
    return {name: float(metrics[name][row]) for name in SHOWN}


def table_row(name: str, values: dict[str, float]) -> str:
    """One Markdown row, as the page has it."""
    return " | ".join([f"| {name}", *(f"{values[key]:.4g}" for key in SHOWN)]) + " |"


def front_row(values: dict[str, Any]) -> str:
    """One Markdown row of the table of fronts, as the page has it."""
    cells = [
        values["weights held by"],
        *(str(values[key]) for key in ("chips", "front", "of these on the joint front")),
        *(f"{values[f'least {key}']:.4g}" for key in SHOWN[:2]),
        f"{values['hypervolume / joint']:.4f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of the recorded study")
    parser.add_argument("--write", action="store_true", help="renew docs/examples/case_study.json")
    arguments = parser.parse_args()
    study = study_in(arguments.study)
    space, chips = study.problem.space, cast(Any, study.problem.evaluator).evaluator
    feasible = np.flatnonzero(np.isfinite(study.result.losses).all(axis=1))
    columns = study.result.reader.trials([int(number) for number in feasible]).columns
    names = (*SHOWN, *(f"{machine}_share" for machine in MACHINES))
    recorded = {name: study.result.reader.values(f"metric/{name}")[feasible] for name in names}
    fronts = MachineFronts(Evaluation(recorded), study.problem.goal.metrics)
    chosen = picks(recorded, fronts.classes)
    picked = space.decode(columns).take(np.array(list(chosen.values())))
    own = chips.evaluate(picked).metrics
    every = [*chips.convention_variants(), *chips.constant_variants()]
    variants = [variant for variant in every if (variant.what, variant.value) in CHANGES]
    priced = [(variant, variant.evaluator.evaluate(picked)) for variant in variants]
    record: dict[str, Any] = {
        "command": COMMAND,
        "trials": study.result.n_trials,
        "fronts": fronts.rows(),
        "designs": [
            {
                "name": name,
                "trial": int(feasible[row]),
                "design": space.to_json(picked)[index],
                "metrics": shown(own, index),
                "variants": [
                    {
                        "changed": variant.what,
                        "to": variant.value,
                        "fits": bool(found.feasible[index]),
                        "metrics": shown(found.metrics, index),
                    }
                    for variant, found in priced
                ],
            }
            for index, (name, row) in enumerate(chosen.items())
        ],
    }
    for design in record["designs"]:
        print(table_row(design["name"], design["metrics"]))
        for variant in design["variants"]:
            print("   ", table_row(f"{variant['changed']} {variant['to']}", variant["metrics"]))
    for row in record["fronts"]:
        print(front_row(row))
    print(json.dumps({"benchmark": "case_study", "designs": len(record["designs"])}))
    if arguments.write:
        FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        pd.DataFrame(dict(columns)).to_csv(CHIPS, index=False)


if __name__ == "__main__":
    main()
