"""How fast the engine ranks the formats of a 4096 x 4096 weight, on one core.

    python benchmarks/format_search.py [--repeats 5]

Rows: every format of three levels priced and ranked; the ten best of four levels by pruned search.
Process time, medians, compiled code warm. The last line is a JSON summary.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluators.formats.format_cost import FormatCost, TileUse
from spaces.formats.format_space import FormatSpace
from spaces.sparsity.sparsity import DensitySpec
from strategies.formats.format_engine import RankedFormats, open_runs, rank_formats, search_formats

SIZES = {"K": 4096, "N": 4096}
USES = (
    TileUse("DRAM", (128, 256), 512.0, 8.0),
    TileUse("GLB", (16, 16), 65536.0, 0.3),
)
SPECS = [
    DensitySpec("bernoulli", 0.1),
    DensitySpec("hypergeometric", 0.3),
    DensitySpec("n_m", 0.25, {"n": 2, "m": 8, "dimension": "K"}),
    DensitySpec("block", 0.2, {"block": {"K": 16, "N": 16}}),
]
BARS_S = {3: 0.5, 4: 5.0}


def timed(
    run: Callable[[FormatCost], RankedFormats], spec: DensitySpec, repeats: int
) -> tuple[float, RankedFormats]:
    """Median process time of a search on fresh evaluators, and its result."""
    seconds = []
    for _ in range(repeats):
        cost = FormatCost(SIZES, spec, 8, USES)
        start = time.process_time()
        ranked = run(cost)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), ranked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    three, four = open_runs(FormatSpace(SIZES, 3)), open_runs(FormatSpace(SIZES, 4))
    rank_formats(
        open_runs(FormatSpace({"K": 8, "N": 8}, 2)), FormatCost({"K": 8, "N": 8}, SPECS[0], 8)
    )
    search_formats(FormatSpace({"K": 8, "N": 8}, 3), FormatCost({"K": 8, "N": 8}, SPECS[0], 8))
    results = []
    print(f"{'zeros':18}{'levels':>7}{'formats':>13}{'priced':>10}{'seconds':>9}{'bar':>6}  best")
    for spec in SPECS:
        for levels, space, run in (
            (3, three, lambda cost: rank_formats(three, cost, 10)),
            (4, four, lambda cost: search_formats(four, cost, 10)),
        ):
            seconds, ranked = timed(run, spec, repeats)
            results.append((levels, seconds))
            print(
                f"{spec.model:18}{levels:7}{space.size:13,}{ranked.considered:10,}{seconds:9.3f}"
                f"{BARS_S[levels]:6.1f}  {ranked.best}"
            )
    worst = {levels: max(s for n, s in results if n == levels) for levels in BARS_S}
    print(json.dumps({
        "benchmark": "format_search",
        "three_levels_exhaustive_s": round(worst[3], 3),
        "four_levels_pruned_s": round(worst[4], 3),
        "formats": {"3": three.size, "4": four.size},
        "passed": all(worst[levels] <= bar for levels, bar in BARS_S.items()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
