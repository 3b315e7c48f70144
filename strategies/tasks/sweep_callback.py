"""What happens after the last job of a `python run.py -m`.

A job that fails does not keep the others from running; the sweep then ends with status 2.

Hydra loads this file at every start, so it imports nothing heavy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from strategies.tasks.invocation import FAILED_JOBS


class SummariseSweep(Callback):  # type: ignore[misc]  # Hydra has no types
    """Hydra callback: a summary of the studies of a multirun once all have ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the summary, then say which jobs failed.

        Raises:
            SystemExit: With status 2 when any job failed.
        """
        from strategies.tasks.user_errors import EXIT_USER_ERROR

        folder = Path(str(config.hydra.sweep.dir))
        if config.task == "study":
            self._summarise(str(config.sweep or folder.name), config)
        failures = folder / FAILED_JOBS
        if failures.is_file():
            lines = failures.read_text(encoding="utf-8").splitlines()
            print(f"sweep: {len(lines)} failed:", *lines, sep="\n  ", file=sys.stderr)
            raise SystemExit(EXIT_USER_ERROR)

    @staticmethod
    def _summarise(name: str, config: DictConfig) -> None:
        """Trouble with the summary is one line and leaves the studies as they are."""
        from strategies.tasks.sweep import summarise
        from strategies.tasks.user_errors import describe_error

        try:
            summarise(name, config)
        except Exception as error:
            print(f"sweep {name}: no summary: {describe_error(error)}", file=sys.stderr)
