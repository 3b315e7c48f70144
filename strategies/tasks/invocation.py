"""What the user typed, and where the files of a study lie."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from strategies.passwords import without_passwords

TRIALS_FILE = "trials.sqlite"
CONFIG_FILE = "config.yaml"
ARTIFACTS = "artifacts"
FAILED_JOBS = "failed_jobs.txt"
"""In the folder of a sweep: a line per job that failed."""

CHOICE_CHARACTERS, NAME_CHARACTERS = 40, 100
"""Of a choice, and of all of them, in the name of a study; the seed is never cut off."""

HOW_TO_RUN = frozenset(
    {
        "task",
        "resume",
        "out_dir",
        "workers",
        "engine",
        "tracking",
        "report",
        "quiet",
        "sweep",
        "foreign",
    }
)
"""Keys that say how a study is run; the others say what it is."""


def default_name(overrides: Sequence[str], seed: int) -> str:
    """Choices that differ, and the seed, in letters that need no quoting anywhere.

    >>> default_name(["+experiment=llama_decode", "hardware=cloud", "tracking=none"], 3)
    'llama_decode-hardware_cloud-seed_3'
    >>> default_name(["workload.path=/models/tiny/config.json"], 0)
    'workload.path_config.json-seed_0'
    """
    parts: list[str] = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "experiment":
            parts.insert(0, value)
        elif key.split(".")[0] not in HOW_TO_RUN | {"seed", "name"}:
            parts.append(f"{key}={Path(value).name or value}"[:CHOICE_CHARACTERS])
    text = f"{'-'.join(parts or ['study'])[:NAME_CHARACTERS]}-seed={seed}"
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)


def flags_first(words: Sequence[str]) -> list[str]:
    """The command line with flags before overrides: Hydra refuses flags between overrides.

    >>> flags_first(["+experiment=mine", "--config-dir", "docs/examples", "seed=1"])
    ['--config-dir', 'docs/examples', '+experiment=mine', 'seed=1']
    """
    return sorted(words, key=lambda word: "=" in word and not word.startswith("-"))


def task_overrides() -> list[str]:
    """What the user wrote, as Hydra read it and without passwords; empty outside Hydra."""
    from hydra.core.hydra_config import HydraConfig

    given = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    words: list[str] = without_passwords(given)
    return words


def chosen_options() -> dict[str, str]:
    """Group -> chosen option, of the groups that are ours; empty outside Hydra."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    choices = HydraConfig.get().runtime.choices
    return {str(k): str(v) for k, v in choices.items() if not str(k).startswith("hydra")}


def command_line() -> str:
    """The command that runs this study again."""
    flags = sys.argv[1:]
    own = [w for f, v in pairwise(flags) if f in ("--config-dir", "-cd") for w in (f, v)]
    words = [shlex.quote(word) for word in (*own, *task_overrides())]
    return " ".join(["python", Path(sys.argv[0]).name, *words])


def sweep_name(given: str | None) -> str | None:
    """The given name, else that of the multirun this process is a job of, else None."""
    if given:
        return str(given)
    from hydra.core.hydra_config import HydraConfig

    return Path(str(HydraConfig.get().sweep.dir)).name if _in_multirun() else None


def sweep_job() -> tuple[str, Path] | None:
    """Number and differing choices of this job of a multirun, and where its failure is noted."""
    from hydra.core.hydra_config import HydraConfig

    if not _in_multirun():
        return None
    own = HydraConfig.get()
    label = f"{own.job.num} ({own.job.override_dirname})"
    return without_passwords(label), Path(str(own.sweep.dir)) / FAILED_JOBS


def _in_multirun() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and bool(HydraConfig.get().mode == RunMode.MULTIRUN)
