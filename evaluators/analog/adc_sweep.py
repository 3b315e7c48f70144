"""ADCs per array and their resolution: where SparseMap overtakes DenseMap.

A DenseMap step converts few columns with few bits, but there are many steps; SparseMap converts all
columns once. More ADCs help SparseMap more. Where they cross depends on the reading of DenseMap, on
how conversion time grows with bits, and on the settling time, so all three stand in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.analog.mapping_comparison import CimComparison
from evaluators.evaluation import Evaluation
from spaces.space import Columns

READINGS: dict[str, dict[str, Any]] = {
    "A": {"mapping": "dense_a"},
    "A, 3 bits assumed": {"mapping": "dense_a", "adc_bits": 3},
    "A', 8 rows per step": {"mapping": "dense_a", "sub_steps": 4},
    "B": {"mapping": "dense_b"},
}
"""Readings of DenseMap, as columns."""


@dataclass(frozen=True)
class AdcSweep:
    """A comparison whose report is about ADCs.

    Attributes:
        pricing: Prices the combinations.
        adcs_per_array: Swept in the report.
        laws: ADC laws in the report, by name.
    """

    pricing: CimComparison
    adcs_per_array: tuple[int, ...] = (4, 8, 16, 32)
    laws: tuple[str, ...] = ("survey_ramp", "sar_28nm")

    def evaluate(self, designs: Columns) -> Evaluation:
        """As the comparison."""
        return self.pricing.evaluate(designs)

    def explain(self, design: Columns) -> Mapping[str, Any]:
        """Metrics of the design, and the sweep of every reading and law."""
        metrics = self.pricing.evaluate(design).metrics
        return {
            "metrics": {name: float(values[0]) for name, values in metrics.items()},
            "tables": {
                "SparseMap over DenseMap, token latency (above 1: DenseMap wins)": self.table()
            },
        }

    def table(self) -> list[dict[str, Any]]:
        """Per law and reading: the latency ratio at every number of ADCs, and the crossover."""
        settle = self.pricing.evaluator.technology.constants.settle_ns
        rows = []
        for law in self.laws:
            for reading, columns in READINGS.items():
                ratios = [self.ratio(law, columns, adcs) for adcs in self.adcs_per_array]
                rows.append(
                    {
                        "adc law": law,
                        "settle_ns": settle,
                        "reading": reading,
                        **{
                            f"{adcs} ADCs": round(ratio, 3)
                            for adcs, ratio in zip(self.adcs_per_array, ratios, strict=True)
                        },
                        "SparseMap wins from": self._first_win(ratios),
                    }
                )
        return rows

    def ratio(self, law: str, reading: Mapping[str, Any], adcs: int) -> float:
        """Token latency of SparseMap over that of a reading of DenseMap."""
        common = {"adc": law, "adcs_per_array": adcs}
        sparse = self._latency({**common, "mapping": "sparse"})
        return sparse / self._latency({**common, **reading})

    def _latency(self, chosen: Mapping[str, Any]) -> float:
        columns = {name: np.array([value], dtype=object) for name, value in chosen.items()}
        return float(self.pricing.evaluate(columns).metrics["token_latency_ns"][0])

    def _first_win(self, ratios: list[float]) -> str:
        wins = [a for a, ratio in zip(self.adcs_per_array, ratios, strict=True) if ratio < 1]
        return f"{wins[0]} ADCs" if wins else "never"
