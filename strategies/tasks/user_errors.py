"""Turns what went wrong into one clear line: field, rule, value, hint.

A user's mistake never shows a traceback unless `HYDRA_FULL_ERROR=1` asks for one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spaces.validation import FieldError, nearest

CONFIG_DIR = Path(__file__).resolve().parent.parent.parent / "conf"
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_SHOW_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


class UserError(ValueError):
    """A mistake in a file, a key or a value that the user gave."""


@contextmanager
def one_line_errors(arguments: Sequence[str]) -> Iterator[None]:
    """Print a user's error as one line on stderr and exit non-zero, without a traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_USER_ERROR) from None
    except Exception as error:
        if _SHOW_TRACEBACK:
            raise
        print(f"error: {describe_error(error, arguments)}", file=sys.stderr)
        raise SystemExit(EXIT_USER_ERROR) from None


@contextmanager
def job_errors(job: str, failures: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Tell a user's error in one job of a sweep and note it, so that the other jobs go on.

    Args:
        job: Number and differing choices of the job.
        failures: File that gets a line per failed job; the end of the sweep reads it.
        arguments: The command line.
    """
    try:
        yield
    except Exception as error:
        if _SHOW_TRACEBACK:
            raise
        line = f"job {job}: {describe_error(error, arguments)}"
        print(f"error: {line}", file=sys.stderr)
        failures.parent.mkdir(parents=True, exist_ok=True)
        with failures.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def describe_error(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """One line for any exception; Hydra's and OmegaConf's are rephrased with a near miss."""
    from hydra.errors import ConfigCompositionException, InstantiationException
    from hydra.errors import MissingConfigException as MissingConfig
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfig):
        return _missing_config(error)
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return describe_error(error.__cause__, arguments)
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException):
        return _bad_key(error, arguments)
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"file {error.filename!r} does not exist"
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename!r} cannot be written or read: permission denied"
    text = " ".join(str(error).split())
    if isinstance(error, FieldError):
        return f"{_config_place(error.field)}{text}"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _config_place(field: str) -> str:
    """`file:line: ` of a field that a file of a configuration group states; empty for others.

    The last group that the field names counts: `evaluator.model.hardware.levels` is what the group
    `hardware` says. What the command line says is in no file.
    """
    from hydra.core.hydra_config import HydraConfig

    from spaces.documents import found_line

    if not HydraConfig.initialized():
        return ""
    hydra, parts = HydraConfig.get(), field.split(".")
    choices = hydra.runtime.choices
    start = max((i for i, part in enumerate(parts) if part in choices), default=-1)
    group, key = parts[max(start, 0)], ".".join(parts[start + 1 :])
    stated = [word.partition("=")[0].lstrip("+") for word in hydra.overrides.task if "." in word]
    touched = [name for name in stated if name.startswith(f"{group}.")]
    whole = f"{group}.{key}"
    if start < 0 or any(whole.startswith(name) or name.startswith(whole) for name in touched):
        return ""
    for source in hydra.runtime.config_sources:
        file = Path(source.path) / group / f"{choices[group]}.yaml"
        if source.schema == "file" and file.is_file():
            line = found_line(file.read_text(encoding="utf-8"), key)
            return f"{file}:{line}: " if line else ""
    return ""


def _missing_config(error: BaseException) -> str:
    wanted = str(getattr(error, "missing_cfg_file", "") or "")
    options = [str(option) for option in getattr(error, "options", None) or ()]
    group, _, choice = wanted.replace(".yaml", "").rpartition("/")
    if not choice:
        return " ".join(str(error).split())
    where = f"{group}={choice}" if group else choice
    return f"{where}: there is no file conf/{group}/{choice}.yaml{nearest(choice, options)}"


def _bad_key(error: BaseException, arguments: Sequence[str]) -> str:
    texts = [str(error)] + ([str(error.__cause__)] if error.__cause__ else [])
    joined = "\n".join(texts)
    match = re.search(r"full_key: (\S+)", joined) or re.search(r"override '([^'=]+)", joined)
    if match is None or "is not in struct" not in joined:
        return " ".join(joined.split("\n")[0].split()) + _full_key(joined)
    key = match.group(1)
    return f"{key}: unknown key{nearest(key, _known_keys(key, arguments))}"


def _full_key(text: str) -> str:
    match = re.search(r"full_key: (\S+)", text)
    return f" (key {match.group(1)})" if match else ""


def _known_keys(bad_key: str, arguments: Sequence[str]) -> list[str]:
    """Dotted keys of the configuration that the other arguments compose."""
    from hydra import compose, initialize_config_dir

    others = [
        word
        for word in arguments
        if "=" in word and not word.startswith("-") and bad_key not in word.split("=")[0]
    ]
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return list(_flatten(compose(config_name="config", overrides=others)))
    except Exception:  # the other arguments are wrong too: no hint then
        return []


def _flatten(node: object, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    if isinstance(node, DictConfig):
        for key in node:
            dotted = f"{prefix}{key!s}"
            yield dotted
            yield from _flatten(node._get_node(key), f"{dotted}.")
