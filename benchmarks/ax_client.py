"""Drives Ax over a pipe; for an interpreter that has `ax-platform` installed.

First line of stdin: `{"parameters": {name: {"low", "high"} or {"choices"}}, "metrics": [...],
"constraints": [...], "trials": n, "seed": s}`. Then, n times: prints one JSON line of parameters
and reads one JSON line of metric values. Metrics are minimised, constraints feasible when <= 0.
Nothing of this project is imported.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any


def main() -> None:
    warnings.filterwarnings("ignore")
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    logging.disable()
    request = json.loads(sys.stdin.readline())

    def parameter(name: str, given: dict[str, Any]) -> Any:
        if "choices" not in given:
            bounds = (given["low"], given["high"])
            return RangeParameterConfig(name=name, parameter_type="int", bounds=bounds)
        kind = type(given["choices"][0]).__name__
        return ChoiceParameterConfig(name=name, parameter_type=kind, values=given["choices"])

    client = Client(random_seed=request["seed"])
    given = {f"p{i}": (name, what) for i, (name, what) in enumerate(request["parameters"].items())}
    client.configure_experiment([parameter(key, what) for key, (_, what) in given.items()])
    client.configure_optimization(
        objective=", ".join(f"-{name}" for name in request["metrics"]),
        outcome_constraints=[f"{name} <= 0.0" for name in request["constraints"]],
    )
    for _ in range(request["trials"]):
        ((index, values),) = client.get_next_trials(max_trials=1).items()
        print(json.dumps({given[key][0]: value for key, value in values.items()}), flush=True)
        client.complete_trial(index, raw_data=json.loads(sys.stdin.readline()))


if __name__ == "__main__":
    main()
