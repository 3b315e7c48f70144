"""A FlexCiM machine that really computes: integer products, cycle by cycle.

It runs compressed weights, in-cell metadata and pair selects through the pipeline of the macro and
counts cycles. It is the truth that `digital_cim` is checked against: results equal the dense
masked product exactly and cycles equal the analytical latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluators.digital.bill_of_material import Pipeline
from evaluators.digital.flexcim_tiles import (
    IDLE,
    BoolArray,
    FlexCimTile,
    IntArray,
    MacroGeometry,
    compress_tiles,
)
from spaces.cim.digital_cim import Architecture
from spaces.sparsity.nm_sparsity import NMPattern

SELECTS = {
    Architecture.FLEXCIM_IDEAL: "per_column",
    Architecture.FLEXCIM_SHARED: "shared",
    Architecture.FLEXCIM_SERIAL: "per_column",
    Architecture.FLEXCIM_IN_CELL_MUX: "per_column",
}
"""Pair selects that a machine can hold."""


@dataclass(frozen=True)
class FlexCimMachine:
    """Macros with their input width and pipeline.

    Attributes:
        geometry: Of one macro.
        architecture: One of the four FlexCiM variants.
        input_bits, bits_per_cycle: Two's complement inputs, this many bits per cycle.
        pipeline: Where the registers stand.
        macros: Macros in parallel.
        resident: Weights are in the cells already; else each tile is loaded, one column per cycle.
    """

    geometry: MacroGeometry
    architecture: Architecture = Architecture.FLEXCIM_IDEAL
    input_bits: int = 8
    bits_per_cycle: int = 1
    pipeline: Pipeline = Pipeline.PSUM
    macros: int = 1
    resident: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in SELECTS:
            names = ", ".join(SELECTS)
            raise ValueError(f"architecture must be one of {names}, got {self.architecture}")
        if self.input_bits % self.bits_per_cycle:
            raise ValueError(
                f"bits_per_cycle must divide input_bits = {self.input_bits}, got "
                f"{self.bits_per_cycle}"
            )


@dataclass(frozen=True)
class MacroRun:
    """Outcome of a product.

    Attributes:
        outputs: Exact integers, shape (T, Nout).
        cycles: From the first load or input to the last result, of the slowest macro.
        tiles: Macro loads.
    """

    outputs: IntArray
    cycles: int
    tiles: int


@dataclass
class _Packet:
    """What travels down the pipeline: a bit slice of one input vector, then its sums."""

    tile: FlexCimTile
    token: int
    plane: int
    enabled: BoolArray
    values: IntArray


def run_matmul(
    machine: FlexCimMachine,
    inputs: IntArray,
    weights: IntArray,
    mask: BoolArray,
    pattern: NMPattern,
) -> MacroRun:
    """Compute `inputs @ (weights * mask)` in the macros.

    Args:
        machine: The machine.
        inputs: Two's complement integers of `input_bits`, shape (T, K).
        weights: Integers, shape (K, Nout).
        mask: True where a weight is kept, shape (K, Nout).
        pattern: N:M of the mask.

    Raises:
        ValueError: If an input does not fit `input_bits`, or see `compress_tiles`.
    """
    low, high = -(2 ** (machine.input_bits - 1)), 2 ** (machine.input_bits - 1) - 1
    if inputs.size and not low <= inputs.min() <= inputs.max() <= high:
        raise ValueError(f"inputs must be within {low}..{high} for {machine.input_bits} bits")
    selects = SELECTS[machine.architecture]
    tiles = compress_tiles(weights, mask, pattern, machine.geometry, selects)
    group = 2 if pattern.is_dense else pattern.m
    grouped = inputs.reshape(len(inputs), -1, group // 2, 2)
    outputs = np.zeros((len(inputs), weights.shape[1]), dtype=np.int64)
    serial = machine.architecture is Architecture.FLEXCIM_SERIAL
    serial = serial and pattern.m > 2 and not pattern.is_dense
    cycles = 0
    for index in range(machine.macros):
        macro = _Macro(machine, grouped, outputs, serial)
        for tile in tiles[index :: machine.macros]:
            macro.process(tile)
        cycles = max(cycles, macro.drain())
    return MacroRun(outputs, cycles, len(tiles))


@dataclass
class _Macro:
    """One macro: pipeline registers, a cycle counter and the outputs it accumulates into."""

    machine: FlexCimMachine
    grouped: IntArray
    outputs: IntArray
    serial: bool
    cycles: int = 0
    registers: list[_Packet | None] = field(default_factory=list)
    stages: list[Callable[[_Packet], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stages = self._stages()
        self.registers = [None] * len(self.stages)

    def process(self, tile: FlexCimTile) -> None:
        """Load a tile unless it is resident, then pass every input vector through it."""
        if not self.machine.resident:
            for _ in range(self.machine.geometry.columns):
                self._step(None)
        for packet in self._packets(tile):
            self._step(packet)

    def drain(self) -> int:
        """Empty the pipeline; the number of cycles until the last result has left."""
        while any(register is not None for register in self.registers):
            self._step(None)
        return self.cycles

    def _step(self, packet: _Packet | None) -> None:
        """One clock cycle: every stage works on what stands before it, the last one commits."""
        moving = [packet, *self.registers[:-1]]
        for stage, content in zip(self.stages, moving, strict=True):
            if content is not None:
                stage(content)
        moving[-1] = None
        self.registers = moving
        self.cycles += 1

    def _packets(self, tile: FlexCimTile) -> Iterator[_Packet]:
        """Bit slices of every token, least significant first; serially once per column."""
        columns = self.machine.geometry.columns
        planes = self.machine.input_bits // self.machine.bits_per_cycle
        everything = np.ones(columns, dtype=bool)
        one_by_one = list(np.eye(columns, dtype=bool))
        for enabled in one_by_one if self.serial else [everything]:
            for token in range(len(self.grouped)):
                for plane in range(planes):
                    empty = np.zeros(0, dtype=np.int64)
                    yield _Packet(tile, token, plane, enabled, empty)

    def _stages(self) -> list[Callable[[_Packet], None]]:
        """The pipeline's stages; the number of stages is its depth."""
        rows = self.machine.geometry.rows.bit_length() - 1
        merges = self.machine.geometry.sub_macros.bit_length() - 1
        front = [self._select, self._multiply, *[self._add_rows] * rows]
        back = [*[self._merge] * merges, self._accumulate]
        if self.machine.pipeline == Pipeline.PSUM:
            return [_composed(front), _composed(back)]
        return [*front, _hold, _hold, *back]

    def _select(self, packet: _Packet) -> None:
        """Distribution unit and in-cell multiplexer: the bit slice every cell multiplies by."""
        tile = packet.tile
        groups = np.minimum(tile.first_group + tile.group, self.grouped.shape[1] - 1)
        pairs = self.grouped[packet.token][np.maximum(groups, 0)]
        lanes = np.take_along_axis(pairs, tile.pair[:, :, :, None], axis=2)
        chosen = np.take_along_axis(
            np.broadcast_to(lanes, (*tile.weights.shape, 2)), tile.lane[..., None], axis=3
        )[..., 0]
        packet.values = np.where((tile.group != IDLE)[:, :, None], self._slice(chosen, packet), 0)

    def _slice(self, values: IntArray, packet: _Packet) -> IntArray:
        """Bits `plane` of two's complement numbers; the top slice carries the sign."""
        width = self.machine.bits_per_cycle
        bits = (values >> (width * packet.plane)) & (2**width - 1)
        if (packet.plane + 1) * width == self.machine.input_bits:
            bits = bits - ((bits >> (width - 1)) << width)
        return np.asarray(bits, dtype=np.int64)

    def _multiply(self, packet: _Packet) -> None:
        packet.values = packet.values * packet.tile.weights * packet.enabled

    def _add_rows(self, packet: _Packet) -> None:
        """One level of every sub-macro's adder tree."""
        packet.values = packet.values[0::2] + packet.values[1::2]

    def _merge(self, packet: _Packet) -> None:
        """One level of the merging unit's tree over sub-macros."""
        packet.values = packet.values[:, 0::2] + packet.values[:, 1::2]

    def _accumulate(self, packet: _Packet) -> None:
        """Shift to the place value of the slice and add to the outputs."""
        chosen = packet.tile.outputs
        sums = packet.values[0, 0, : chosen.stop - chosen.start]
        self.outputs[packet.token, chosen] += sums << (self.machine.bits_per_cycle * packet.plane)


def _composed(stages: Sequence[Callable[[_Packet], None]]) -> Callable[[_Packet], None]:
    """Stages without registers between them."""

    def work(packet: _Packet) -> None:
        for stage in stages:
            stage(packet)

    return work


def _hold(packet: _Packet) -> None:
    """A register stage that only passes its packet on (partial-sum buffer, merge register)."""
