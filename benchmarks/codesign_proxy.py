"""The fidelity proxy of the co-design study against measured fidelity, on a real model.

    HF_HUB_OFFLINE=1 python benchmarks/codesign_proxy.py
    HF_HUB_OFFLINE=1 python benchmarks/codesign_proxy.py --write     # renews proxy_points.json

Every form alone on all layers, and random mixtures of forms, dense layers among them. One table,
rank correlations of the measured loss with the proxy (from the model's own weights and activations)
and with the synthetic one (independent Gaussian weights), and one JSON line.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from evaluators.accuracy.model_statistics import Calibration
from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.codesign.fidelity_proxy import POINTS_FILE, rank_correlation
from evaluators.codesign.proxy_measurement import ProxyMeasurement
from spaces.codesign.placement import Placement
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern

FORMS = (
    Placement("spatial"),
    *(Placement("spatial", NMPattern.parse(text)) for text in ("4:8", "2:4", "2:8", "1:4", "1:8")),
    *(Placement("spatial", DENSE_PATTERN, "", "rectangular", block) for block in (0, 64, 128)),
    Placement("analog", mapping="linear"),
)
MIXTURES = 20
COMMAND = "HF_HUB_OFFLINE=1 python benchmarks/codesign_proxy.py --write"


def measurement() -> ProxyMeasurement:
    """The default model and text."""
    return ProxyMeasurement(
        NMFidelity(calibration=Calibration(sequences=64, length=64), held_out_texts=60)
    )


def assignments(layers: tuple[str, ...]) -> dict[str, dict[str, Placement]]:
    """Every form alone, then mixtures: each of a few forms, with random shares."""
    named = {f"all {form}": dict.fromkeys(layers, form) for form in FORMS}
    rng = np.random.default_rng(0)
    for index in range(MIXTURES):
        shares = rng.dirichlet(np.full(len(FORMS), 0.3))
        chosen = rng.choice(len(FORMS), size=len(layers), p=shares)
        named[f"mixture {index}"] = {
            layer: FORMS[form] for layer, form in zip(layers, chosen, strict=True)
        }
    return named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the recorded points")
    arguments = parser.parse_args()
    measured = measurement()
    points = []
    print(f"{'assignment':34} {'proxy':>8} {'synthetic':>10} {'similarity':>11} {'agreement':>10}")
    for name, assignment in assignments(measured.layers).items():
        point = measured.point(name, assignment)
        points.append(point)
        print(
            f"{name:34} {point['proxy']:8.4f} {point['synthetic_proxy']:10.4f} "
            f"{point['embedding_similarity']:11.4f} {point['neighbour_agreement']:10.4f}"
        )
    correlations = {
        name: {
            metric: rank_correlation(points, name, metric)
            for metric in ("neighbour_agreement", "embedding_similarity")
        }
        for name in ("proxy", "synthetic_proxy")
    }
    fidelity = measured.fidelity
    record = {
        "model": fidelity.streamed.folder.name,
        "text": fidelity.texts.source,
        "command": COMMAND,
        "correlations": correlations,
        "points": points,
    }
    print(json.dumps({"benchmark": "codesign_proxy", "points": len(points), **correlations}))
    if arguments.write:
        POINTS_FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
