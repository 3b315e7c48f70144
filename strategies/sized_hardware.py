"""Hardware sizes beside the shared decisions: a trial is an accelerator, mapped at its best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators.evaluation import Evaluation
from spaces.hardware import Hardware
from spaces.hardware_sizes import resized
from strategies.nested_search import NestedSearch, decision_rows
from strategies.separable_model import InnerSearch, SeparableModel
from strategies.tuning.batches import concatenate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("energy_pj", "latency_s", "edp_j_s", "area_mm2", "average_power_w")
"""Of the table that sets a design beside the hardware as configured."""


class SizedHardware:
    """Evaluator over hardware sizes and formats; the best mapping of every operator is inside.

    Designs are those of a product space: `hardware` (see `spaces.hardware_sizes.resized`) and
    `formats` (the shared decisions of `NestedSearch`). Equal hardware is built and searched once.

    Args:
        hardware: Whose sizes are replaced.
        model: Makes the model of one hardware.
        search: Finds the best mapping of one part.
    """

    def __init__(
        self, hardware: Hardware, model: Callable[..., SeparableModel], search: InnerSearch
    ) -> None:
        self.hardware = hardware
        self.model = model
        self.search = search
        self._nested: dict[tuple[tuple[str, Any], ...], NestedSearch] = {}

    def evaluate(self, designs: Mapping[str, Mapping[str, Any]]) -> Evaluation:
        """Total costs of n accelerators."""
        formats = decision_rows(designs["formats"])
        return concatenate(
            [
                self._on(sizes).evaluate(_one(row))
                for sizes, row in zip(decision_rows(designs["hardware"]), formats, strict=True)
            ]
        )

    def explain(self, design: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """The model's own account of one accelerator."""
        (sizes,) = decision_rows(design["hardware"])
        return self._on(sizes).explain(design["formats"])

    def pictures(
        self, design: Mapping[str, Mapping[str, Any]]
    ) -> Mapping[str, Callable[[], Figure]]:
        """Of one accelerator: the energy-latency front of its mappings."""
        (sizes,) = decision_rows(design["hardware"])
        return self._on(sizes).pictures(design["formats"])

    def comparison(
        self, design: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, list[dict[str, Any]]]:
        """The design beside the same formats on the hardware as configured."""
        (sizes,) = decision_rows(design["hardware"])
        cases = {"this design": sizes, f"{self.hardware.name} as configured": {}}
        rows = []
        for name, chosen in cases.items():
            metrics = self._on(chosen).evaluate(design["formats"]).metrics
            rows.append({"hardware": name, **{m: float(metrics[m][0]) for m in METRICS}})
        return {"Beside the hardware as configured": rows}

    def _on(self, sizes: Mapping[str, Any]) -> NestedSearch:
        """The search on the hardware of these sizes."""
        key = tuple(sorted(sizes.items()))
        if key not in self._nested:
            hardware = resized(self.hardware, sizes)
            self._nested[key] = NestedSearch(self.model(hardware=hardware), self.search)
        return self._nested[key]


def _one(row: Mapping[str, Any]) -> dict[str, Any]:
    """One set of decisions as a batch of one."""
    return {name: np.array([value]) for name, value in row.items()}
