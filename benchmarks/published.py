"""Published figures of the literature, reproduced by shipped designs: value, ours, deviation.

    python benchmarks/published.py

Prints one row per point of Sparseloop's Fig. 1 (energy, cycles) and of its tensor-core validation
(cycle ratios of the paper's model and of the hardware it models). docs/fidelity.md explains every
deviation above 8 %. The last line is a JSON summary.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hydra.utils import instantiate
from omegaconf import OmegaConf

from evaluators.reference.published_designs import DSTC_HARDWARE, dstc_ratio, fig1_design
from spaces.hardware import Hardware

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"


def tensor_core() -> Hardware:
    """The shipped preset."""
    hardware = instantiate(OmegaConf.load(DSTC_HARDWARE), _convert_="all")
    assert isinstance(hardware, Hardware)
    return hardware


def fig1_rows() -> list[dict[str, Any]]:
    """Cycles and energy of both designs at every density of Fig. 1."""
    published = json.loads((GOLDEN / "published_fig1.json").read_text())["published"]
    rows = []
    for point in published:
        for name in ("bitmask", "coordinate_list"):
            design = fig1_design(name, point["density_label"])
            for quantity, ours in (("cycles", design.cycles), ("energy_pj", design.energy_pj)):
                rows.append(
                    _row(
                        f"fig1 {name} d={point['density_label']}",
                        quantity,
                        point[name][quantity],
                        ours,
                    )
                )
    return rows


def dstc_rows() -> list[dict[str, Any]]:
    """Cycle ratios against the paper's model and against the hardware it models."""
    hardware = tensor_core()
    published = json.loads((GOLDEN / "published_dstc.json").read_text())["published"]
    rows = []
    for point in published:
        ours = dstc_ratio(hardware, point["dA"], point["dB"])
        name = f"dstc dA={point['dA']} dB={point['dB']}"
        if point["model_ratio_plotted"] is not None:
            rows.append(_row(name, "ratio, model", point["model_ratio_plotted"], ours))
        rows.append(_row(name, "ratio, hardware", point["baseline_ratio_to_dense"], ours))
    return rows


def _row(case: str, quantity: str, published: float, ours: float) -> dict[str, Any]:
    return {
        "case": case,
        "quantity": quantity,
        "published": published,
        "ours": ours,
        "deviation": ours / published - 1.0,
    }


def main() -> int:
    """Print the table and the summary."""
    rows = fig1_rows() + dstc_rows()
    print(f"{'case':28} {'quantity':16} {'published':>14} {'ours':>14} {'deviation':>10}")
    for row in rows:
        print(
            f"{row['case']:28} {row['quantity']:16} {row['published']:14.6g} {row['ours']:14.6g} "
            f"{100 * row['deviation']:9.2f}%"
        )
    worst = {
        quantity: max(abs(r["deviation"]) for r in rows if r["quantity"] == quantity)
        for quantity in dict.fromkeys(row["quantity"] for row in rows)
    }
    above = [r["case"] + ", " + r["quantity"] for r in rows if abs(r["deviation"]) > 0.08]
    print(json.dumps({"rows": len(rows), "worst": worst, "above_8_percent": above}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
