"""The exact search against literal enumeration of every mapping, on random small problems.

    python benchmarks/exact_against_brute_force.py [PROBLEMS [FIRST_SEED]]

Operators (matrix products, batched, grouped, convolutions with halos), two to four levels, zeros,
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
from tests.strategies.small_problems import (
    SmallProblem,
    random_deep_problem,
    random_even_problem,
    random_problem,
)


def examine(seed: int) -> tuple[SmallProblem, int, list[str]]:
    """One problem of the whole mapspace, every fifth on four levels, every fifth of the even
    mapspace: valid mappings, faults.
    """
    even = seed % 5 == 4
    draw = {3: random_deep_problem, 4: random_even_problem}.get(seed % 5, random_problem)
    problem = draw(seed)
    costs = all_costs(problem.accelerator, problem.sizes, even)
    terms = problem.accelerator.cost_terms()
    mapspace = "even" if even else "uneven"
    if terms.stationarity == "implicit" and not even:
        mapspace = "uneven_runs"
    faults = []
    for objective in ("energy", "latency", "edp", "pareto"):
        found = exact_search(terms, objective, mapspace, padding=problem.sizes)
        faults += [f"{objective}: {text}" for text in differences(problem, found, costs)]
    return problem, len(costs[0]), faults


def main(problems: int, first: int) -> int:
    seen: Counter[str] = Counter()
    mappings, differing, began = 0, 0, perf_counter()
    for seed in range(first, first + problems):
        problem, count, faults = examine(seed)
        mappings += count
        differing += bool(faults)
        seen.update(problem.features)
        seen["no valid mapping"] += not count
        for fault in faults:
            print(f"seed {seed}, {fault} ({', '.join(sorted(problem.features))})", flush=True)
    for name, count in sorted(seen.items()):
        print(f"{name:18} {count:5}")
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
    return 1 if differing else 0


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [500, 0][len(given) :])))
