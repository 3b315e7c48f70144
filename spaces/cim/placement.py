"""Where every block of weights lies: arrays, diagonals, rows, columns, and when they fire.

A placement is a table with one row per *cell block*: a rectangle of one factor's block, stored on a
regular subset of rows and columns of one array and fired in one time slot. All mappings are such
tables, so that legality, scheduling and simulation never ask which mapping it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.cim.mapping import CimDesigns
from spaces.cim.model import CimModel, ProjectionSite
from spaces.cim.monarch_shape import MonarchShape, monarch_shape
from spaces.cim.placers import COLUMNS, PLACERS, PlacementJob

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """One design, placed.

    Attributes:
        model: What is mapped.
        array_size: Rows and columns of an array.
        arrays: Arrays used.
        shapes: Monarch shape of each site; None for a linear site.
        table: Column name of `COLUMNS` -> shape (cell blocks,).
    """

    model: CimModel
    array_size: int
    arrays: int
    shapes: tuple[MonarchShape | None, ...]
    table: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.table["array"])

    @property
    def utilisation(self) -> float:
        """Programmed cells over cells of the arrays in use."""
        cells = (self.table["row_count"] * self.table["column_count"]).sum()
        return float(cells) / (self.arrays * self.array_size**2)

    def rows_of(self, entry: int) -> Ints:
        """Wordlines of one cell block."""
        return self._line("row", entry)

    def columns_of(self, entry: int) -> Ints:
        """Bitlines of one cell block."""
        return self._line("column", entry)

    def _line(self, axis: str, entry: int) -> Ints:
        start, stride, count = (
            int(self.table[f"{axis}_{part}"][entry]) for part in ("start", "stride", "count")
        )
        return start + stride * np.arange(count)


def place(designs: CimDesigns, index: int) -> Placement:
    """Place one design of a batch.

    Raises:
        ValueError: If a block fits neither its matrix nor its array; says which and how large.
    """
    values = designs.values(index)
    size = values["array_size"]
    parts: list[dict[str, Ints]] = []
    shapes: list[MonarchShape | None] = []
    first = 0
    for position, site in enumerate(designs.model.sites):
        mapping = values[f"{site.name}.mapping"]
        shape = site_shape(site, values)
        shapes.append(shape)
        for factor in (0,) if shape is None else (0, 1):
            job = PlacementJob(
                position,
                site,
                shape,
                factor,
                size,
                values["sub_steps"],
                values["packing"] == "spread",
            )
            name = "dense_a" if mapping == "shared_a" and factor == 1 else mapping
            table, used = PLACERS[name](job)
            table["array"] = table["array"] + first
            first += used
            parts.append(table)
    merged = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    return Placement(designs.model, size, first, tuple(shapes), merged)


def site_shape(site: ProjectionSite, values: Mapping[str, Any]) -> MonarchShape | None:
    """Monarch shape of a site under a design's values; None when it is linear."""
    if values[f"{site.name}.mapping"] == "linear":
        return None
    rule, block = values[f"{site.name}.rule"], values[f"{site.name}.block"]
    return monarch_shape(rule, site.in_features, site.out_features, block)


def typical_arrays(placement: Placement, most: int = 4) -> list[int]:
    """The first array of each site, for pictures; of the first `most` sites."""
    _, first = np.unique(placement.table["site"], return_index=True)
    return [int(array) for array in np.unique(placement.table["array"][first[:most]])]


def with_table(placement: Placement, table: Mapping[str, Ints]) -> Placement:
    """The placement with another table, for example one that an own packer made."""
    return replace(placement, table=dict(table), arrays=int(table["array"].max()) + 1)
