"""What happens after the last study of a `python run.py -m`.

Hydra loads this file at every start, so it imports nothing heavy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SummariseSweep(Callback):  # type: ignore[misc]  # Hydra has no types
    """Hydra callback: a summary of the studies of a multirun once all have ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the summary; trouble is one line and leaves the studies as they are."""
        if config.task != "study":
            return
        from strategies.tasks.sweep import summarise
        from strategies.tasks.user_errors import describe_error

        name = config.sweep or Path(str(config.hydra.sweep.dir)).name
        try:
            summarise(str(name), config)
        except Exception as error:
            print(f"sweep {name}: no summary: {describe_error(error)}", file=sys.stderr)
