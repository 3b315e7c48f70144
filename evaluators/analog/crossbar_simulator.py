"""A machine that executes command streams on programmed arrays and computes y = Wx.

It knows nothing of mappings: it loads inputs by address, drives the rows of cell blocks, sums the
bitlines of everything that is programmed there, converts, and stores by address. A wrong address,
a stray cell or a missing partial sum is a wrong number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.monarch import MonarchMatrix
from evaluators.analog.commands import CommandStream, Opcode
from evaluators.analog.numerics import IDEAL, Nonidealities, bitline_sums
from spaces.cim.placement import Placement

Array = NDArray[np.float64]
Weight = MonarchMatrix | Array
Weights = Mapping[tuple[int, int, int], Weight]
"""(site, layer, matrix) -> Monarch matrix, or dense weight of shape (out, in) on a linear site."""

Inputs = Mapping[tuple[int, int], Array]
"""(site, layer) -> inputs of shape (batch, in_features); parallel matrices share them."""


def program(placement: Placement, weights: Weights) -> Array:
    """Write all weights into the cells: shape (arrays, m, m).

    Raises:
        ValueError: If a matrix is missing, or dense where the placement needs Monarch factors.
    """
    size = placement.array_size
    cells = np.zeros((placement.arrays, size, size))
    table = placement.table
    for entry in range(len(placement)):
        key = (int(table["site"][entry]), int(table["layer"][entry]), int(table["matrix"][entry]))
        if key not in weights:
            raise ValueError(f"weights: matrix {key} (site, layer, matrix) is missing")
        where = np.ix_(placement.rows_of(entry), placement.columns_of(entry))
        cells[table["array"][entry]][where] = _block(placement, weights[key], entry)
    return cells


def _block(placement: Placement, weight: Weight, entry: int) -> Array:
    """The part of a factor's block that one cell block stores, shape (rows, columns)."""
    row = {name: int(column[entry]) for name, column in placement.table.items()}
    if isinstance(weight, MonarchMatrix):
        factor = weight.second if row["factor"] else weight.first
        block = factor[row["tile_row"], row["tile_column"], row["block"]].T
    else:
        block = np.asarray(weight, dtype=np.float64).T
    if isinstance(weight, MonarchMatrix) == (placement.shapes[row["site"]] is None):
        name = placement.model.sites[row["site"]].name
        raise ValueError(f"site {name!r}: weights must be dense when linear, Monarch otherwise")
    rows = slice(row["row_offset"], row["row_offset"] + row["row_count"])
    columns = slice(row["column_offset"], row["column_offset"] + row["column_count"])
    return np.asarray(block[rows, columns])


@dataclass
class _Buffers:
    """Input, middle and output vectors of every matrix, as (batch, addresses)."""

    placement: Placement
    inputs: Inputs
    batch: int
    middle: dict[tuple[int, int, int], Array] = field(default_factory=dict)
    output: dict[tuple[int, int, int], Array] = field(default_factory=dict)
    padded: dict[tuple[int, int], Array] = field(default_factory=dict)

    def source(self, key: tuple[int, int, int], factor: int) -> Array:
        """The vector that a stage reads."""
        if factor:
            return self.middle[key]
        if key[:2] not in self.padded:
            self.padded[key[:2]] = self._pad(key)
        return self.padded[key[:2]]

    def _pad(self, key: tuple[int, int, int]) -> Array:
        site, layer, _ = key
        if (site, layer) not in self.inputs:
            raise ValueError(f"inputs: ({site}, {layer}) (site, layer) is missing")
        shape = self.placement.shapes[site]
        width = self.placement.model.sites[site].in_features
        padded = np.zeros((self.batch, width if shape is None else shape.padded_in))
        padded[:, :width] = self.inputs[site, layer]
        return padded

    def target(self, key: tuple[int, int, int], factor: int) -> Array:
        """The vector that a stage writes."""
        shape = self.placement.shapes[key[0]]
        if shape is not None and factor == 0:
            size = shape.middle * shape.tiles
            return self.middle.setdefault(key, np.zeros((self.batch, size)))
        width = self.placement.model.sites[key[0]].out_features
        size = width if shape is None else shape.padded_out
        return self.output.setdefault(key, np.zeros((self.batch, size)))

    def permute(self, key: tuple[int, int, int]) -> None:
        """Explicit middle permutation: stage-1 order (e, k, j) to stage-2 order (k, e, j)."""
        shape = self.placement.shapes[key[0]]
        assert shape is not None
        axes = (self.batch, shape.tiles, shape.in_blocks, shape.out_blocks, shape.rank)
        moved = self.middle[key].reshape(axes).transpose(0, 1, 3, 2, 4)
        self.middle[key] = np.ascontiguousarray(moved).reshape(self.batch, -1)


@dataclass
class _Machine:
    """Registers of the arrays while a stream runs."""

    placement: Placement
    stream: CommandStream
    cells: Array
    buffers: _Buffers
    effects: Nonidealities
    loaded: dict[int, list[tuple[NDArray[np.int64], Array]]] = field(default_factory=dict)
    driven: dict[int, tuple[NDArray[np.int64], Array]] = field(default_factory=dict)
    converted: dict[int, dict[int, Array]] = field(default_factory=dict)

    def run(self) -> None:
        """Execute every command in order."""
        actions = {
            Opcode.LOAD_IN: self._load,
            Opcode.MVM: self._drive,
            Opcode.ADC: self._convert,
            Opcode.STORE: self._store,
            Opcode.ACC: self._accumulate,
            Opcode.PERMUTE: self._permute,
        }
        opcodes = self.stream.columns["opcode"]
        wanted = np.flatnonzero(np.isin(opcodes, [int(opcode) for opcode in actions]))
        names = tuple(self.stream.columns)
        rows = zip(*(self.stream.columns[name][wanted].tolist() for name in names), strict=True)
        for row in rows:
            command = dict(zip(names, row, strict=True))
            actions[Opcode(command["opcode"])](command)

    @staticmethod
    def _key(command: Mapping[str, int]) -> tuple[int, int, int]:
        return command["site"], command["layer"], command["matrix"]

    @staticmethod
    def _addresses(command: Mapping[str, int]) -> NDArray[np.int64]:
        i = command["offset"] + np.arange(command["count"])
        return command["base"] + i // command["inner"] * command["outer"] + i % command["inner"]

    def _entry(self, position: int) -> int:
        return int(self.stream.firing[position])

    def _load(self, command: Mapping[str, int]) -> None:
        source = self.buffers.source(self._key(command), command["factor"])
        rows = self.placement.rows_of(self._entry(command["entry"]))
        loaded = self.loaded.setdefault(command["array"], [])
        loaded.append((rows, source[:, self._addresses(command)]))

    def _drive(self, command: Mapping[str, int]) -> None:
        parts = self.loaded.pop(command["array"])
        rows = np.concatenate([rows for rows, _ in parts])
        self.driven[command["array"]] = rows, np.concatenate([v for _, v in parts], axis=1)

    def _convert(self, command: Mapping[str, int]) -> None:
        array = command["array"]
        rows, values = self.driven[array]
        positions = range(command["entry"], command["entry"] + command["entries"])
        columns = [self.placement.columns_of(self._entry(position)) for position in positions]
        cells = self.cells[array][np.ix_(rows, np.concatenate(columns))]
        sums = bitline_sums(values, cells, command["bits"], self.effects)
        edges = np.cumsum([len(part) for part in columns])[:-1]
        split = np.split(sums, edges, axis=1)
        self.converted[array] = dict(zip(positions, split, strict=True))

    def _store(self, command: Mapping[str, int]) -> None:
        target = self.buffers.target(self._key(command), command["factor"])
        results = self.converted[command["array"]][command["entry"]]
        target[:, self._addresses(command)] = results

    def _accumulate(self, command: Mapping[str, int]) -> None:
        target = self.buffers.target(self._key(command), command["factor"])
        results = self.converted[command["array"]][command["entry"]]
        target[:, self._addresses(command)] += results

    def _permute(self, command: Mapping[str, int]) -> None:
        self.buffers.permute(self._key(command))


def simulate(
    placement: Placement,
    stream: CommandStream,
    weights: Weights,
    inputs: Inputs,
    effects: Nonidealities = IDEAL,
) -> dict[tuple[int, int, int], Array]:
    """Execute a stream: (site, layer, matrix) -> outputs of shape (batch, out_features).

    Every site gets its own inputs, so that each projection can be checked on its own.

    Args:
        placement: Where the weights lie.
        stream: Commands of `schedule(placement, ...)`.
        weights: Matrices to program.
        inputs: Vectors to feed.
        effects: Quantisation and noise; `IDEAL` = float64 arithmetic.
    """
    batch = len(next(iter(inputs.values())))
    cells = effects.programmed(program(placement, weights))
    buffers = _Buffers(placement, inputs, batch)
    _Machine(placement, stream, cells, buffers, effects).run()
    sites = placement.model.sites
    return {key: y[:, : sites[key[0]].out_features] for key, y in buffers.output.items()}
