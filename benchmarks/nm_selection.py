"""N:M selection methods on a real model: measured fidelity, paired over calibration seeds.

    HF_HUB_OFFLINE=1 python benchmarks/nm_selection.py
    HF_HUB_OFFLINE=1 python benchmarks/nm_selection.py --model FOLDER --text FILE

One table per metric (mean over seeds, difference to uniform with its standard error, paired), the
solver's certificate and time, and one JSON line. All methods meet the same true sparsity; uniform
and OWL use M = 8, the others choose among 2, 4, 8 and 16, `retained_saliency_m8` among 8 only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evaluators.accuracy.model_statistics import Calibration
from evaluators.accuracy.nm_fidelity import NMFidelity
from spaces.sparsity.nm_sparsity import DENSE_PATTERN
from spaces.sparsity.nm_statistics import NMStatistics
from strategies.nm.integer_program import NMSelection
from strategies.nm.selection import SelectionTask, select

METHODS = (
    "uniform",
    "owl",
    "flow_corrected",
    "retained_saliency",
    "retained_energy",
    "retained_saliency_m8",
)
SPARSITIES = (0.5, 0.6, 0.7, 0.8)
SMALLER_IS_BETTER = frozenset({"perplexity", "fidelity_loss"})


def chosen(method: str, statistics: NMStatistics, target: float, tolerance: float) -> NMSelection:
    name = method.removesuffix("_m8")
    if name != method:
        eight = [p for p in statistics.patterns if p.m == 8]
        statistics = statistics.offering([*eight, DENSE_PATTERN])
    return select(name, SelectionTask(statistics, target, tolerance))


def measured(
    fidelity: NMFidelity, seeds: int, tolerance: float
) -> tuple[dict[tuple[str, float], list[dict[str, float]]], float, bool]:
    """Metrics per (method, sparsity), one per seed; slowest solve [s]; all certified?"""
    rows: dict[tuple[str, float], list[dict[str, float]]] = {}
    slowest, certified = 0.0, True
    for seed in range(seeds):
        statistics = fidelity.statistics(seed)
        for target in SPARSITIES:
            for method in METHODS:
                start = time.perf_counter()
                selection = chosen(method, statistics, target, tolerance)
                slowest = max(slowest, time.perf_counter() - start)
                certified &= selection.certified
                metrics = fidelity.measure(selection.assignment, seed)
                row = {**metrics, "sparsity": selection.sparsity}
                rows.setdefault((method, target), []).append(row)
                print(seed, target, method, {k: round(v, 4) for k, v in row.items()}, flush=True)
    return rows, slowest, certified


def paired(
    rows: Mapping[tuple[str, float], list[dict[str, float]]],
    metric: str,
    pair: tuple[str, str],
    target: float,
) -> tuple[float, float]:
    """Mean gain of the first method over the second (positive = better) and its standard error."""
    first, second = (np.array([r[metric] for r in rows[(m, target)]]) for m in pair)
    gain = second - first if metric in SMALLER_IS_BETTER else first - second
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


def equal_fidelity_compression(
    rows: Mapping[tuple[str, float], list[dict[str, float]]], metric: str, method: str
) -> list[float]:
    """Density of uniform over the method's density at the method's fidelity, where it is inside."""
    sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
    level = [sign * np.mean([r[metric] for r in rows[("uniform", s)]]) for s in SPARSITIES]
    ratios = []
    for target in SPARSITIES:
        value = sign * float(np.mean([r[metric] for r in rows[(method, target)]]))
        if level[-1] <= value <= level[0]:
            same = np.interp(value, level[::-1], [1.0 - s for s in SPARSITIES[::-1]])
            ratios.append(float(same / (1.0 - target)))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="model folder; default: all-MiniLM-L6-v2")
    parser.add_argument("--text", default=None, help="text file; default: Python's reference")
    parser.add_argument("--granularity", default="layer", help="block, layer or projection")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--tolerance", type=float, default=0.002)
    options = parser.parse_args()
    fidelity = NMFidelity(
        model=options.model,
        text=options.text,
        granularity=options.granularity,
        calibration=replace(Calibration(), sequences=128),
        held_out_texts=options.held_out,
    )
    rows, slowest, certified = measured(fidelity, options.seeds, options.tolerance)
    report(rows, slowest, certified, options)


def report(
    rows: Mapping[tuple[str, float], list[dict[str, float]]],
    slowest: float,
    certified: bool,
    options: argparse.Namespace,
) -> None:
    metrics = [m for m in rows[("uniform", 0.5)][0] if m not in ("sparsity", "fidelity_loss")]
    result: dict[str, object] = {"granularity": options.granularity, "seeds": options.seeds}
    for metric in metrics:
        print(f"\n{metric}: mean (gain over uniform +- standard error)")
        print(f"{'method':22}" + "".join(f"{s:>26.0%}" for s in SPARSITIES))
        for method in METHODS:
            cells = []
            for target in SPARSITIES:
                mean = float(np.mean([r[metric] for r in rows[(method, target)]]))
                gain, error = paired(rows, metric, (method, "uniform"), target)
                cells.append(f"{mean:.4f} ({gain:+.4f} +- {error:.4f})")
                result[f"{metric}/{method}/{target}"] = [mean, gain, error]
            print(f"{method:22}" + "".join(f"{cell:>26}" for cell in cells))
        for target in SPARSITIES:
            gain, error = paired(rows, metric, ("retained_saliency", "owl"), target)
            print(f"retained_saliency over owl at {target:.0%}: {gain:+.4f} +- {error:.4f}")
            result[f"{metric}/retained_saliency-owl/{target}"] = [gain, error]
        ratios = equal_fidelity_compression(rows, metric, "retained_saliency")
        print("compression at uniform's fidelity:", ", ".join(f"{r:.2f}x" for r in ratios))
        result[f"{metric}/compression_at_equal_fidelity"] = ratios
    print(f"\nsolver: slowest {slowest:.2f} s, all proven optimal: {certified}")
    result |= {"slowest_solve_s": slowest, "certified": certified}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
