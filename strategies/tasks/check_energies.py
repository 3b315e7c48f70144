"""`task=energies technology=energy_table technology.path=FILE`: used, unused and missing rows."""

from __future__ import annotations

import json
from dataclasses import asdict

from omegaconf import DictConfig

from strategies.tasks.instantiate import instantiate
from strategies.tasks.user_errors import UserError


def run(config: DictConfig) -> None:
    """Print what becomes of every row of the energy table on the chosen hardware."""
    if "path" not in config.technology:
        raise UserError(
            "technology: name an energy table, technology=energy_table technology.path=FILE"
        )
    check = instantiate(
        config.energy_check,
        "energy_check",
        path=str(config.technology.path),
        compute=str(config.technology.compute),
        hardware=instantiate(config.hardware, "hardware"),
    )
    print(json.dumps(asdict(check)) if config.quiet else "\n".join(check.lines()))
