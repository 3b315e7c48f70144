"""Calibration and held-out text: Python's own language reference, or the user's file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TextSplit:
    """Texts that do not overlap.

    Attributes:
        calibration: For activation norms.
        held_out: For fidelity only.
        source: What the text is.
    """

    calibration: tuple[str, ...]
    held_out: tuple[str, ...]
    source: str


def python_reference_text() -> TextSplit:
    """The language reference that every Python ships for `help()` (pydoc_data.topics).

    Topics in alphabetical order alternate between the two sides. Repeated underlines and indents
    are shortened to one character.
    """
    from pydoc_data.topics import topics

    texts = [_plain(topics[name]) for name in sorted(topics)]
    return TextSplit(
        tuple(texts[0::2]), tuple(texts[1::2]), "Python language reference (pydoc_data.topics)"
    )


def file_text(path: Path) -> TextSplit:
    """A text file, split at its middle: first half calibration, second half held out.

    Raises:
        ValueError: If the file is missing or empty.
    """
    if not path.is_file():
        raise ValueError(f"text file {path}: does not exist")
    text = _plain(path.read_text(encoding="utf-8"))
    if not text:
        raise ValueError(f"text file {path}: is empty")
    middle = len(text) // 2
    return TextSplit((text[:middle],), (text[middle:],), path.name)


def evenly_spaced(windows: NDArray[np.int64], count: int, text: str) -> NDArray[np.int64]:
    """Some of a text's token windows, from its first to its last, shape (count, length).

    Args:
        windows: Shape (windows, length).
        count: How many.
        text: What the text is, for the message.

    Raises:
        ValueError: If there are fewer.
    """
    if len(windows) < count:
        raise ValueError(
            f"{text} too short: {len(windows)} windows of {windows.shape[1]} tokens, {count} are "
            "needed; give more text or ask for fewer"
        )
    return windows[np.linspace(0, len(windows) - 1, count).astype(np.intp)]


def _plain(text: str) -> str:
    """Runs of white space and of rules collapsed."""
    return re.sub(r"\s+", " ", re.sub(r"([=*\-~^\"])\1{3,}", r"\1", text)).strip()
