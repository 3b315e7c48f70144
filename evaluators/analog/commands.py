"""Commands of an in-memory accelerator, stored by column, with a listing and JSON.

One command is one row. Addresses are two-level affine maps, which is all that the permutations of
a Monarch product need: value i of a command has the address::

    base + (i // inner) * outer + i % inner,      i = offset .. offset + count - 1

so a permutation costs nothing while buffers are addressed by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Opcode(IntEnum):
    """What a command does; at equal start times lower codes execute first.

    Results of a step are stored before the next step begins, hence the analog commands come last.
    """

    SHIFT_ADD = 0
    STORE = 1
    ACC = 2
    COMM = 3
    PERMUTE = 4
    BARRIER = 5
    MHA = 6
    DPU = 7
    LOAD_IN = 8
    MVM = 9
    ADC = 10


FIELDS: dict[str, type] = {
    "opcode": np.uint8,
    "array": np.int32,  # -1 = a digital unit
    "entry": np.int32,  # first cell block of the placement, in firing order
    "entries": np.int32,  # cell blocks that fire together
    "site": np.int16,
    "layer": np.int16,
    "matrix": np.int16,
    "factor": np.int8,
    "step": np.int32,  # time step within the stage
    "count": np.int64,  # rows driven, columns converted, values moved
    "base": np.int64,
    "offset": np.int32,
    "inner": np.int32,
    "outer": np.int32,
    "rounds": np.int32,  # conversions one after another per ADC
    "bits": np.int8,
    "start_ns": np.float64,
    "duration_ns": np.float64,
}
"""Columns of a command stream."""


@dataclass(frozen=True)
class CommandStream:
    """Commands in order of execution.

    Attributes:
        columns: Name of `FIELDS` -> shape (commands,).
        firing: Cell blocks of the placement in firing order; `entry` counts in it.
        site_names: For the listing.
        slices: Input slices x weight planes of every conversion.
    """

    columns: Mapping[str, NDArray[Any]]
    firing: NDArray[np.int64]
    site_names: tuple[str, ...]
    slices: tuple[int, int] = (1, 1)

    def __len__(self) -> int:
        return len(self.columns["opcode"])

    @property
    def makespan_ns(self) -> float:
        """End of the last command."""
        return float((self.columns["start_ns"] + self.columns["duration_ns"]).max())

    def where(self, opcode: Opcode) -> NDArray[np.intp]:
        """Positions of the commands of one kind."""
        return np.flatnonzero(self.columns["opcode"] == opcode)

    def listing(self, first: int = 0, commands: int = 40) -> str:
        """Readable text of a range of commands, one per line, beginning with the time in ns."""
        last = min(first + commands, len(self))
        lines = [self._line(index) for index in range(first, last)]
        if last < len(self):
            lines.append(f"... {len(self) - last} more commands")
        return "\n".join(lines)

    def _line(self, index: int) -> str:
        row = {name: column[index].item() for name, column in self.columns.items()}
        opcode = Opcode(row["opcode"])
        unit = f"array {row['array']}" if row["array"] >= 0 else "digital"
        where = f"{self.site_names[row['site']]}[{row['layer']}].{row['matrix']}"
        return (
            f"{row['start_ns']:10.1f} {opcode.name:9} {unit:10} {where} "
            f"factor {row['factor'] + 1} step {row['step']}: {self._operands(opcode, row)}"
        ).rstrip()

    @staticmethod
    def _operands(opcode: Opcode, row: Mapping[str, Any]) -> str:
        if opcode in (Opcode.LOAD_IN, Opcode.STORE, Opcode.ACC):
            return f"{row['count']} values at {_address(row)}"
        if opcode is Opcode.ADC:
            return f"{row['count']} columns, {row['bits']} bits, {row['rounds']} rounds"
        if opcode is Opcode.MVM:
            return f"{row['count']} rows"
        return f"{row['count']} values" if row["count"] else ""

    def records(self) -> Iterator[dict[str, Any]]:
        """One JSON-serialisable dict per command."""
        for index in range(len(self)):
            record = {name: column[index].item() for name, column in self.columns.items()}
            yield {**record, "opcode": Opcode(record["opcode"]).name}

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """Everything by column, JSON-serialisable; `most` keeps the first commands only."""
        return {
            "commands": len(self),
            "site_names": list(self.site_names),
            "slices": list(self.slices),
            "firing": self.firing.tolist(),
            "columns": {name: column[:most].tolist() for name, column in self.columns.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CommandStream:
        """The inverse of `to_json`; `ValueError` names a missing field."""
        for name in ("columns", "firing", "site_names", "slices"):
            if name not in record:
                raise ValueError(f"command stream: field {name!r} is missing")
        missing = FIELDS.keys() - record["columns"].keys()
        if missing:
            raise ValueError(f"command stream: column {min(missing)!r} is missing")
        columns: dict[str, NDArray[Any]] = {
            name: np.array(record["columns"][name], dtype=kind) for name, kind in FIELDS.items()
        }
        firing = np.array(record["firing"], dtype=np.int64)
        names, slices = tuple(record["site_names"]), tuple(record["slices"])
        return cls(columns, firing, names, (int(slices[0]), int(slices[1])))


def _address(row: Mapping[str, Any]) -> str:
    """First address, and how the next ones follow."""
    inner, outer, offset = row["inner"], row["outer"], row["offset"]
    first = row["base"] + offset // inner * outer + offset % inner
    return f"{first} +{outer} each" if inner == 1 else f"{first} +{outer} each {inner}"


@dataclass(frozen=True)
class CommandCounts:
    """Work of one token on the whole model, the currency of every price.

    Attributes:
        steps: MVM commands.
        drives: Row activations, once per input slice.
        conversions: ADC conversions, once per input slice and weight plane.
        cells_read: Programmed cells that took part, per slice and plane.
        shift_adds: Additions that combine slices and planes.
        accumulates: Additions of partial sums.
        buffer_reads, buffer_writes: Values.
        moved: Values that leave arrays.
        permuted: Values moved by explicit permutations.
    """

    steps: float
    drives: float
    conversions: float
    cells_read: float
    shift_adds: float
    accumulates: float
    buffer_reads: float
    buffer_writes: float
    moved: float
    permuted: float


def count_commands(stream: CommandStream, cells: NDArray[np.int64]) -> CommandCounts:
    """Count what a stream does.

    Args:
        stream: Commands.
        cells: Programmed cells of every cell block, in placement order.
    """
    count = stream.columns["count"]
    inputs, planes = stream.slices

    def total(opcode: Opcode) -> int:
        return int(count[stream.where(opcode)].sum())

    fired = stream.where(Opcode.MVM)
    ordered = np.concatenate([[0], np.cumsum(cells[stream.firing])])
    first, number = stream.columns["entry"][fired], stream.columns["entries"][fired]
    cells_read = int((ordered[first + number] - ordered[first]).sum())
    loads, outputs = total(Opcode.LOAD_IN), total(Opcode.ADC)
    added, stored = total(Opcode.ACC), total(Opcode.STORE)
    return CommandCounts(
        steps=len(fired),
        drives=loads * inputs,
        conversions=outputs * inputs * planes,
        cells_read=cells_read * inputs * planes,
        shift_adds=total(Opcode.SHIFT_ADD),
        accumulates=added,
        buffer_reads=loads + added,
        buffer_writes=stored + added,
        moved=total(Opcode.COMM),
        permuted=total(Opcode.PERMUTE),
    )
