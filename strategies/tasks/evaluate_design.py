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
    """Loop nest, traffic and energy per level and tensor, bounds, totals; definitions below each
    table."""
    from strategies.reporting.terminal import output_console, print_table

    console = output_console()
    definitions = account["definitions"]
    console.print(account["nest"], markup=False, highlight=False)
    for rank, row in account["padding"].items():
        text = f"{rank} = {row['size']} is padded to {row['padded']}: {row['loss']:.2%} more work"
        console.print(text, highlight=False)
    broken = {name: value for name, value in account["violations"].items() if value > 0}
    tables: dict[str, Rows] = {
        "Traffic": traffic_rows(account),
        "Energy": energy_rows(account),
        "Dense accesses [words]": access_rows(account),
        "Latency bounds": bound_rows(account),
        "Compute units": [account["compute"]],
        "Totals": [account["totals"]],
        "Violated (share over the limit)": [broken] if broken else [],
    }
    explained: set[str] = set()
    for title, rows in tables.items():
        print_table(console, title, rows)
        for name in rows[0] if rows else ():
            if name in definitions and name not in explained:
                explained.add(name)
                console.print(f"  {name}: {definitions[name]}", style="dim", highlight=False)
    roofline = account["roofline"]
    console.print(
        f"roofline: {roofline['macs_per_cycle']:.4g} MACs/cycle of a roof of "
        f"{roofline['roof_macs_per_cycle']:.4g} at {roofline['intensity_macs_per_byte']:.4g} "
        f"MACs/byte; bottleneck: {account['bottleneck']}"
    )
    for name in ("intensity_macs_per_byte", "macs_per_cycle"):
        console.print(f"  {name}: {definitions[name]}", style="dim", highlight=False)


def traffic_rows(account: Mapping[str, Any]) -> Rows:
    """One row per level and tensor: format, tile, bits."""
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
            "gated_bits": entry["gated_bits"],
            "resident_bits": entry["resident_bits"],
        }
        for level, content in account["levels"].items()
        for tensor, entry in content["tensors"].items()
    ]


def energy_rows(account: Mapping[str, Any]) -> Rows:
    """One row per level and tensor: energy by what it is spent on."""
    return [
        {"level": level, "tensor": tensor}
        | {f"{part}_pj": energy for part, energy in entry["energy_pj"].items()}
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
    """One row per level, decoder and the compute units: cycles they need; instances, capacity."""
    binding = account["bottleneck"]
    levels = {**account["levels"], "compute": account["compute"]}
    known = ("instances", "instances_used", "resident_bits", "capacity_bits", "energy_pj")
    rows = []
    for name, cycles in account["bounds_cycles"].items():
        values = {key: levels.get(name, {}).get(key) for key in known}
        rows.append(
            {
                "level": name,
                "instances": values["instances"],
                "used": values["instances_used"],
                "resident_bits": values["resident_bits"],
                "capacity_bits": values["capacity_bits"],
                "energy_pj": values["energy_pj"],
                "bound_cycles": cycles,
                "binds": "<- bottleneck" if name == binding else "",
            }
        )
    return rows
