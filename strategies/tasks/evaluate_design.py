"""`task=evaluate design=FILE`: what an explicit design costs, and where every number comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from strategies.reporting.terminal import Rows
from strategies.tasks.instantiate import instantiate
from strategies.tasks.user_errors import UserError


def run(config: DictConfig) -> None:
    """Price the design and print it, as tables or (`quiet=true`) as JSON."""
    if not config.design:
        raise UserError("design: name a design file, for example design=mine.yaml")
    account = instantiate(config.pricing, "pricing", path=str(config.design))
    if config.quiet:
        print(json.dumps(account))
    else:
        print_account(account)
    if config.picture:
        write_roofline(account, str(config.picture))


def write_roofline(account: Mapping[str, Any], path: str) -> None:
    """Draw the design under its roofline; the ending of `path` chooses PNG, PDF or SVG."""
    from strategies.reporting.figures import roofline_figure

    figure = roofline_figure(account["roofline"], f"Roofline of {account['operator']}")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"picture: {path!r} cannot be written: {error}") from None


def print_account(account: Mapping[str, Any]) -> None:
    """Loop nest, traffic and energy per level and tensor, bounds, totals, definitions."""
    from strategies.reporting.terminal import output_console, print_table

    console = output_console()
    console.print(account["nest"], markup=False, highlight=False)
    print_table(console, "Traffic and energy", traffic_rows(account))
    print_table(console, "Dense accesses [words]", access_rows(account))
    print_table(console, "Latency bounds", bound_rows(account))
    print_table(console, "Compute units", [account["compute"]])
    print_table(console, "Totals", [account["totals"]])
    broken = {name: value for name, value in account["violations"].items() if value > 0}
    if broken:
        print_table(console, "Violated (share over the limit)", [broken])
    roofline = account["roofline"]
    console.print(
        f"roofline: {roofline['macs_per_cycle']:.4g} MACs/cycle of a roof of "
        f"{roofline['roof_macs_per_cycle']:.4g} at {roofline['intensity_macs_per_byte']:.4g} "
        f"MACs/byte; bottleneck: {account['bottleneck']}"
    )
    for name, meaning in account["definitions"].items():
        console.print(f"  {name}: {meaning}", style="dim", highlight=False)


def traffic_rows(account: Mapping[str, Any]) -> Rows:
    """One row per level and tensor: format, tile, bits, energy."""
    return [
        {
            "level": level,
            "tensor": tensor,
            "format": entry["format"],
            "tile_elements": entry["tile_elements"],
            "fetches": entry["fetches"],
            "data_read_bits": entry["data_read_bits"],
            "data_written_bits": entry["data_written_bits"],
            "metadata_bits": entry["metadata_read_bits"] + entry["metadata_written_bits"],
            "resident_bits": entry["resident_bits"],
            "data_pj": entry["energy_pj"]["data"],
            "metadata_pj": entry["energy_pj"]["metadata"],
            "total_pj": entry["energy_pj"]["total"],
        }
        for level, content in account["levels"].items()
        for tensor, entry in content["tensors"].items()
    ]


def access_rows(account: Mapping[str, Any]) -> Rows:
    """One row per level and tensor: dense words by kind of access."""
    return [
        {"level": level, "tensor": tensor, **entry["accesses"]}
        for level, content in account["levels"].items()
        for tensor, entry in content["tensors"].items()
    ]


def bound_rows(account: Mapping[str, Any]) -> Rows:
    """One row per level: instances in use, capacity in use, cycles its ports need."""
    rows = [
        {
            "level": level,
            "instances": content["instances"],
            "used": content["instances_used"],
            "resident_bits": content["resident_bits"],
            "capacity_bits": content["capacity_bits"],
            "bound_cycles": content["bound_cycles"],
            "energy_pj": content["energy_pj"],
        }
        for level, content in account["levels"].items()
    ]
    compute = account["compute"]
    return [
        *rows,
        {
            "level": "compute",
            "instances": None,
            "used": None,
            "resident_bits": None,
            "capacity_bits": None,
            "bound_cycles": compute["bound_cycles"],
            "energy_pj": compute["energy_pj"],
        },
    ]
