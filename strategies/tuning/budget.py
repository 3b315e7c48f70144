"""How long a study may search."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Limits of a study; whichever is reached first ends it.

    Attributes:
        trials: Trials in the whole study, those before a resume included; None = no limit.
        seconds: Search time in the whole study; None = no limit. A batch under way is finished.
        gap: Ends the study once a certifying strategy proves its best within this relative
            distance of the optimum; None = only a finished strategy ends it.
    """

    trials: int | None = None
    seconds: float | None = None
    gap: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that no study can respect."""
        trials, seconds, gap = self.trials, self.seconds, self.gap
        if trials is not None and (not _is_number(trials) or trials != int(trials) or trials < 1):
            raise ValueError(f"budget.trials: must be a whole number >= 1, got {trials!r}")
        if seconds is not None and not (_is_number(seconds) and 0 < seconds < math.inf):
            raise ValueError(f"budget.seconds: must be a finite number > 0, got {seconds!r}")
        if gap is not None and not (_is_number(gap) and 0 <= gap < 1):
            raise ValueError(f"budget.gap: must be in [0, 1), got {gap!r}")

    def remaining_trials(self, done: int, batch: int) -> int:
        """Trials the next batch may hold, at most `batch` and never negative.

        >>> Budget(trials=10).remaining_trials(done=8, batch=4)
        2
        """
        return batch if self.trials is None else max(0, min(batch, self.trials - done))

    def spent(self, done: int, elapsed_s: float, gap: float | None) -> str | None:
        """Why the study must end now ("trials", "seconds", "gap"), or None to go on."""
        if self.trials is not None and done >= self.trials:
            return "trials"
        if self.seconds is not None and elapsed_s >= self.seconds:
            return "seconds"
        if self.gap is not None and gap is not None and gap <= self.gap:
            return "gap"
        return None


def _is_number(value: object) -> bool:
    """A finite number; what a configuration holds may be anything."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
