"""Fidelity: the model against a reference tool's results, one row per case.

    python benchmarks/fidelity.py tests/golden/sparseloop_matmul.json.gz
    python benchmarks/fidelity.py tests/golden/accelforge_mappings.json --accounting codec

FILE follows the Sparseloop or the AccelForge schema (README of the golden data). Every row shows
the largest relative deviation of dense counts, sparse data counts, metadata units, cycles and
energy; a row passes when dense counts are exact, data and metadata within 1 % (or two units),
cycles and energy within 0.5 %. The last line is a JSON summary. The `codec` accounting need not
meet the bar on compressed cases: docs/fidelity.md says where and why the reference differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evaluators.accelerator.traffic import STATIONARITIES
from evaluators.reference.golden_cases import read_golden
from evaluators.reference.golden_comparison import ACCOUNTINGS, Deviation, compare

COLUMNS = ("dense", "data", "metadata", "cycles", "energy")


def row(deviation: Deviation) -> str:
    """One table line."""
    values = [getattr(deviation, column) for column in COLUMNS]
    cells = "  ".join("       -" if np.isnan(v) else f"{100 * v:7.3f}%" for v in values)
    verdict = "pass" if deviation.within() else "FAIL"
    flags = f"  [{'; '.join(deviation.flags)}]" if deviation.flags else ""
    return f"{verdict}  {cells}  {deviation.name}{flags}"


def summary(deviations: Sequence[Deviation]) -> dict[str, object]:
    """Counts and the worst unflagged deviation of each column."""
    clean = [deviation for deviation in deviations if not deviation.flags]
    worst = {}
    for column in COLUMNS:
        values = [getattr(deviation, column) for deviation in clean]
        known = [value for value in values if not np.isnan(value)]
        worst[column] = max(known, default=None)
    return {
        "cases": len(deviations),
        "unflagged": len(clean),
        "unflagged_passed": sum(deviation.within() for deviation in clean),
        "dense_exact": sum(deviation.dense == 0.0 for deviation in deviations),
        "worst_unflagged": worst,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the summary; 0 when every unflagged case passes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--convention", choices=STATIONARITIES, help="default: the file's own")
    parser.add_argument("--accounting", choices=ACCOUNTINGS, default="sparseloop")
    options = parser.parse_args(arguments)
    try:
        cases = read_golden(options.file)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("      " + "  ".join(f"{column:>8}" for column in COLUMNS) + "  case")
    deviations = []
    for case in cases:
        deviations.append(compare(case, options.accounting, options.convention))
        print(row(deviations[-1]))
    result = summary(deviations)
    result |= {"file": options.file.name, "accounting": options.accounting}
    print(json.dumps(result))
    return 0 if result["unflagged_passed"] == result["unflagged"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
