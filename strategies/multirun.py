"""The name that the studies of one `python run.py -m` share."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode


def sweep_name(given: str | None) -> str | None:
    """The given name, else that of the multirun this process is a job of, else None."""
    if given:
        return str(given)
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(str(HydraConfig.get().sweep.dir)).name
