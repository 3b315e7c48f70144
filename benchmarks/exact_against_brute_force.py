"""The exact search against literal enumeration of every mapping, on random small problems.

    python benchmarks/exact_against_brute_force.py [PROBLEMS [FIRST_SEED]]

Operators (matrix products, batched, grouped, convolutions with halos), two and three levels, zeros,
formats, bypass, both stationarities, padding and binding bandwidths are drawn at random; the oracle
is `tests/strategies/mapping_oracle.py`, which shares no code with the search. Energy, latency, EDP
and the front are compared, every result is priced again. The exit status is 1 if any differs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from strategies.exact.exact_search import exact_search
from tests.strategies.comparison import differences
from tests.strategies.mapping_oracle import all_costs
from tests.strategies.small_problems import random_problem


def main(problems: int, first: int) -> int:
    seen: Counter[str] = Counter()
    faults: list[str] = []
    mappings, began = 0, perf_counter()
    for seed in range(first, first + problems):
        problem = random_problem(seed)
        costs = all_costs(problem.accelerator, problem.sizes)
        terms = problem.accelerator.cost_terms()
        mapspace = "uneven_runs" if terms.stationarity == "implicit" else "uneven"
        for objective in ("energy", "latency", "edp", "pareto"):
            found = exact_search(terms, objective, mapspace, padding=problem.sizes)
            faults += [
                f"seed {seed}, {objective}: {text}" for text in differences(problem, found, costs)
            ]
        mappings += len(costs[0])
        seen.update(problem.features)
        seen["no valid mapping"] += not len(costs[0])
        for fault in faults[-4:]:
            if fault.startswith(f"seed {seed},"):
                print(f"{fault} ({', '.join(sorted(problem.features))})", flush=True)
    for name, count in sorted(seen.items()):
        print(f"{name:18} {count:5}")
    differing = len({fault.split(",")[0] for fault in faults})
    print(f"{problems - differing} of {problems} equal, {mappings} valid mappings priced")
    summary = {
        "benchmark": "exact_against_brute_force",
        "problems": problems,
        "equal": problems - differing,
        "mappings": mappings,
        "features": dict(seen),
        "seconds": perf_counter() - began,
    }
    print(json.dumps(summary))
    return 1 if faults else 0


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [500, 0][len(given) :])))
