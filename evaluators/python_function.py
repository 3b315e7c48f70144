"""A user's own Python function as an evaluator, so that anything can be tuned.

The file is named on the command line or in a config by the person who runs the study; it is
imported as plain Python, so it can do whatever that person's own code can.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluation import Evaluation


def load_function(path: str, function: str) -> Callable[..., Any]:
    """The function of this name in the Python file at `path`.

    Raises:
        ValueError: When the file is missing, does not import, or has no such function.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"evaluator.path: {path!r} is not a file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"evaluator.path: {path!r} is not a Python file (ending .py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"evaluator.path: {path!r} does not import: {error!r}") from error
    found = getattr(module, function, None)
    if not callable(found):
        names = [name for name in vars(module) if callable(getattr(module, name))]
        raise ValueError(
            f"evaluator.function: {path!r} has no function {function!r}; it has {', '.join(names)}"
        )
    loaded: Callable[..., Any] = found
    return loaded


@dataclass(frozen=True)
class FunctionEvaluator:
    """Calls `function(**design)` once per design; it returns a mapping of metric -> number.

    An exception of the function is a failed design with its reason, not the end of the study.

    Attributes:
        path: Python file.
        function: Name of the function in it.

    Raises:
        ValueError: At once, when there is no such function.
    """

    path: str
    function: str = "evaluate"

    def __post_init__(self) -> None:
        load_function(self.path, self.function)

    @cached_property
    def _call(self) -> Callable[..., Mapping[str, float]]:
        return load_function(self.path, self.function)

    def evaluate(self, designs: Mapping[str, NDArray[Any]]) -> Evaluation:
        """Metrics of n designs, one call each."""
        n = len(next(iter(designs.values())))
        rows: list[Mapping[str, float]] = []
        failures: dict[int, str] = {}
        for index in range(n):
            try:
                rows.append(dict(self._call(**_design(designs, index))))
            except Exception as error:
                rows.append({})
                failures[index] = repr(error)
        names = dict.fromkeys(name for row in rows for name in row)
        metrics = {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}
        return Evaluation(metrics or {"failed": np.full(n, np.nan)}, failures=failures)

    def explain(self, design: Mapping[str, NDArray[Any]]) -> Mapping[str, Any]:
        """The metrics of one design; a function has no breakdown."""
        return dict(self._call(**_design(design, 0)))


def _design(designs: Mapping[str, NDArray[Any]], index: int) -> dict[str, Any]:
    return {
        name: values[index].item() if hasattr(values[index], "item") else values[index]
        for name, values in designs.items()
    }
