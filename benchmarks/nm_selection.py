"""N:M selection methods on a real model: measured fidelity, paired over calibration seeds.

    HF_HUB_OFFLINE=1 python benchmarks/nm_selection.py
    HF_HUB_OFFLINE=1 python benchmarks/nm_selection.py --model FOLDER --text FILE
    python benchmarks/nm_selection.py --solver

One table per metric (mean over seeds, gain over uniform with its standard error, paired), the bar
(retained saliency no worse than OWL's N:M, and that no worse than uniform, by more than one
standard error), the solver's certificate and CPU time on 80 layers, and one JSON line. All methods
meet the same true sparsity; uniform and OWL use M = 8, the others choose among 2, 4, 8 and 16,
`retained_saliency_m8` among 8 only. A seed draws the calibration sequences and the layers on which
uniform rounds down. `owl_tuned` searches its settings on calibration text, `owl` has them fixed.
Ctrl-C ends the run early; the tables then cover the seeds that are complete. `--solver` leaves the
model out.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import product

import numpy as np

from evaluators.accuracy.model_statistics import Calibration
from evaluators.accuracy.nm_fidelity import NMFidelity
from spaces.sparsity.nm_sparsity import candidate_patterns
from strategies.nm.integer_program import NMProgram, solve
from strategies.nm.method_comparison import MethodComparison
from strategies.nm.method_study import SelectedFidelity

METHODS = (
    "uniform",
    "owl",
    "owl_tuned",
    "flow_corrected",
    "retained_saliency",
    "retained_energy",
    "retained_saliency_m8",
)
BARS = (
    ("retained_saliency", "owl_tuned"),
    ("retained_saliency", "owl"),
    ("owl_tuned", "uniform"),
    ("owl", "uniform"),
)
"""(method, what it must be no worse than)."""

SPARSITIES = (0.5, 0.6, 0.7, 0.8)
SOLVED_LAYERS, SOLVED_PROGRAMS = 80, 5


def solver_seconds() -> dict[str, float]:
    """CPU time of 80 layers x all candidates, over targets and random layers; all certified?"""
    patterns = candidate_patterns()
    density = np.array([pattern.density for pattern in patterns])
    bonus = np.array([0.0 if pattern.is_dense else 1 - 1 / pattern.m for pattern in patterns])
    taken, certified = [], True
    for seed, target in product(range(SOLVED_PROGRAMS), SPARSITIES):
        rng = np.random.default_rng(seed)
        power = rng.uniform(0.3, 0.6, (SOLVED_LAYERS, 1)) - 0.1 * bonus
        weight = rng.choice([1.0e6, 2.0e6, 4.0e6], SOLVED_LAYERS)
        names = tuple(f"layer.{index}" for index in range(SOLVED_LAYERS))
        cost = -(weight / weight.sum())[:, None] * density[None, :] ** power
        ends = frozenset({names[0], names[-1]})
        program = NMProgram(names, patterns, cost, weight, target, 0.001, ends)
        start = time.process_time()
        certified &= solve(program).certified
        taken.append(time.process_time() - start)
    return {
        "layers": SOLVED_LAYERS,
        "candidates": len(patterns),
        "programs": len(taken),
        "median_cpu_s": float(np.median(taken[1:])),
        "slowest_cpu_s": float(np.max(taken[1:])),
        "certified": bool(certified),
    }


def measured(options: argparse.Namespace) -> MethodComparison:
    """Every method at every sparsity, seed after seed, printed row by row."""
    fidelity = NMFidelity(
        model=options.model,
        text=options.text,
        granularity=options.granularity,
        calibration=replace(Calibration(), sequences=128),
        held_out_texts=options.held_out,
    )
    study = SelectedFidelity(fidelity, options.tolerance)
    complete = 0
    try:
        for seed in range(options.seeds):
            measure_seed(study, seed)
            complete += 1
    except KeyboardInterrupt:
        print(f"ended early: {complete} of {options.seeds} seeds are complete")
    rows = {key: row for key, row in study.methods.rows.items() if key[2] < complete}
    return MethodComparison(rows)


def measure_seed(study: SelectedFidelity, seed: int) -> None:
    """Every method at every sparsity."""
    for target, method in product(SPARSITIES, METHODS):
        design = {"method": method, "target_sparsity": target, "calibration_seed": seed}
        found = study.evaluate({name: np.array([value]) for name, value in design.items()})
        row = {name: round(float(values[0]), 4) for name, values in found.metrics.items()}
        print(seed, target, method, row, found.failures.get(0, ""), flush=True)


def print_metric(found: MethodComparison, metric: str) -> dict[str, object]:
    """Means, gains over uniform, the bar and the compression in one metric."""
    print(f"\n{metric}: mean (gain over uniform +- standard error)")
    print(f"{'method':22}" + "".join(f"{s:>30.0%}" for s in found.targets))
    result: dict[str, object] = {}
    for method in found.methods:
        cells = []
        for target in found.targets:
            mean, gain = (
                found.mean(method, target, metric),
                found.gain(method, "uniform", target, metric),
            )
            cells.append(f"{mean:.4g} ({gain.mean:+.3g} +- {gain.standard_error:.2g})")
            result[f"{metric}/{method}/{target}"] = [mean, gain.mean, gain.standard_error]
        print(f"{method:22}" + "".join(f"{cell:>30}" for cell in cells))
    for better, worse in BARS:
        for target in found.targets:
            gain = found.gain(better, worse, target, metric)
            verdict = "holds" if gain.no_worse else "MISSED"
            print(
                f"{better} no worse than {worse} at {target:.0%}: {gain.mean:+.3g} "
                f"+- {gain.standard_error:.2g}  {verdict}"
            )
            result[f"{metric}/{better}-{worse}/{target}"] = [gain.mean, gain.standard_error]
    ratios = [found.compression("retained_saliency", t, metric) for t in found.targets]
    shown = ", ".join(
        f"{target:.0%} " + (f"{ratio:.2f}x" if ratio == ratio else "beyond uniform's range")
        for target, ratio in zip(found.targets, ratios, strict=True)
    )
    print(f"fewer weights than uniform at equal fidelity (FLOW claims 1.14x): {shown}")
    return {**result, f"{metric}/compression_at_equal_fidelity": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="model folder; default: all-MiniLM-L6-v2")
    parser.add_argument("--text", default=None, help="text file; default: Python's reference")
    parser.add_argument("--granularity", default="layer", help="block, layer or projection")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--tolerance", type=float, default=0.002)
    parser.add_argument("--solver", action="store_true", help="only the solver, no model")
    options = parser.parse_args()
    result: dict[str, object] = {"granularity": options.granularity}
    if not options.solver:
        found = measured(options)
        result["seeds"] = len(found.seeds("uniform", SPARSITIES[0]))
        for metric in (m for m in found.fidelity_metrics if m != "fidelity_loss"):
            result |= print_metric(found, metric)
    solver = solver_seconds()
    print(f"\nsolver: {json.dumps(solver)}")
    print(json.dumps({**result, "solver": solver}))


if __name__ == "__main__":
    main()
