"""Weights that do not stay: a matrix streamed from DRAM through arrays that are rewritten.

The linear mapping on one array (or a few), tile after tile, with a buffer for inputs and partial
sums. The counts of one token are those of `counts`; this file adds what rewriting and the
memories around the array cost. Everything overlaps perfectly, so the slowest component decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from evaluators.analog.counts import FactorBatch, StageCounts, stage_counts
from spaces.cim.mapping import MAPPINGS


@dataclass(frozen=True)
class StreamingArray:
    """An array and its memories with explicit constants.

    Attributes:
        array_size: Rows and columns of an array.
        input_slices: Slices of an input, one cycle each.
        dac_pj, adc_pj: Per row activation and per conversion, per slice.
        cell_read_pj: Per cell and slice.
        cell_write_pj: Per weight written.
        buffer_pj, dram_pj: Per word.
        buffer_words_per_cycle, dram_words_per_cycle: Ports shared by reads and writes.
        arrays: Arrays that work in parallel.
    """

    array_size: int
    input_slices: int
    dac_pj: float
    adc_pj: float
    cell_read_pj: float
    cell_write_pj: float
    buffer_pj: float
    dram_pj: float
    buffer_words_per_cycle: float
    dram_words_per_cycle: float
    arrays: int = 1

    def __post_init__(self) -> None:
        for name in ("array_size", "input_slices", "arrays"):
            if getattr(self, name) < 1:
                raise ValueError(f"streaming array: {name} must be >= 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class StreamedProjection:
    """Costs of one matrix product with streamed weights.

    Attributes:
        actions: Component and action -> count.
        energy_pj: Component -> energy.
        cycles: Component -> busy cycles.
    """

    actions: dict[str, int]
    energy_pj: dict[str, float]
    cycles: dict[str, float]

    @property
    def latency_cycles(self) -> float:
        """The slowest component."""
        return max(self.cycles.values())


def stream_projection(
    array: StreamingArray, tokens: int, in_features: int, out_features: int
) -> StreamedProjection:
    """Cost of `tokens` products with one weight matrix that is read from DRAM once.

    Inputs come from DRAM, results return there; each weight tile stays for all tokens, inputs are
    re-read from the buffer for every column tile, partial sums wait in the buffer.
    """
    counts = _linear_counts(array.array_size, in_features, out_features)
    drives, outputs = int(counts.drives[0]), int(counts.outputs[0])
    added, cells = int(counts.accumulates[0]), int(counts.cells_read[0])
    inputs, results = tokens * in_features, tokens * out_features
    actions = {
        "dac": tokens * drives * array.input_slices,
        "adc": tokens * outputs * array.input_slices,
        "cell_read": tokens * cells * array.input_slices,
        "cell_write": cells,
        "buffer_read": tokens * (drives + added) + results,
        "buffer_write": inputs + tokens * outputs,
        "dram_read": inputs + cells,
        "dram_write": results,
    }
    steps = ceil(int(counts.steps[0]) / array.arrays) * tokens * array.input_slices
    buffer_words = actions["buffer_read"] + actions["buffer_write"]
    dram_words = actions["dram_read"] + actions["dram_write"]
    energy = {
        "DAC": actions["dac"] * array.dac_pj,
        "ADC": actions["adc"] * array.adc_pj,
        "Cell": actions["cell_read"] * array.cell_read_pj + cells * array.cell_write_pj,
        "GLB": buffer_words * array.buffer_pj,
        "DRAM": dram_words * array.dram_pj,
    }
    cycles = {
        "array": float(steps),
        "GLB": buffer_words / array.buffer_words_per_cycle,
        "DRAM": dram_words / array.dram_words_per_cycle,
    }
    return StreamedProjection(actions, energy, cycles)


def _linear_counts(size: int, in_features: int, out_features: int) -> StageCounts:
    one = np.array([1])
    factor = FactorBatch(
        blocks=one,
        rows=np.array([in_features]),
        columns=np.array([out_features]),
        tiles=one,
        sums=one,
        parallel=one,
        layers=one,
        array_size=np.array([size]),
        sub_steps=one,
        spread=np.array([False]),
    )
    return stage_counts(np.array([MAPPINGS.index("linear")]), factor)
