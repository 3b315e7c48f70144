"""`task=workload`: the operators of the chosen workload, and what of it is not modelled."""

from __future__ import annotations

import json

from omegaconf import DictConfig

from strategies.reporting.terminal import Rows
from strategies.tasks.instantiate import instantiate


def run(config: DictConfig) -> None:
    """Print operators with their share of the MACs, totals, and the operations left out."""
    workload = instantiate(config.workload, "workload")
    operators: Rows = [
        {
            "operator": row["name"],
            "ranks": " ".join(f"{rank}={size}" for rank, size in row["ranks"].items()),
            "count": row["count"],
            "MACs": row["macs"] * row["count"],
            "share": row["share"],
        }
        for row in workload.describe()
    ]
    operations = sum(workload.left_out.values())
    total = operations + 2 * workload.macs
    left_out: Rows = [
        {"not modelled": kind, "operations": count, "share of all operations": count / total}
        for kind, count in workload.left_out.items()
    ]
    totals = {
        "workload": workload.name,
        "MACs": workload.macs,
        "parameters": workload.parameters,
        "share not modelled": workload.left_out_share if workload.left_out else None,
    }
    if config.quiet:
        print(json.dumps({"operators": operators, "left_out": left_out, "totals": totals}))
        return
    from strategies.reporting.terminal import output_console, print_table

    console = output_console()
    print_table(console, "Operators", operators)
    if left_out:
        print_table(console, "Not modelled", left_out)
    else:
        console.print("What this workload leaves out is not known: it lists products only.")
    print_table(console, "Totals", [totals])
