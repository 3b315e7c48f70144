"""What one layer of a projection costs on one machine, with its weights there or streamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PartPrice:
    """Prices of m (knobs, kind of part, placement) triples; every attribute has shape (m,).

    All parallel matrices of one layer together, all tokens of the run.

    Attributes:
        resident_ns, resident_pj: With the weights in place.
        streamed_ns, streamed_pj: With the weights read from off-chip memory, that included.
        streamed_bits: What is read from off-chip memory then.
        written_cells: Cells programmed when streamed.
        need: Capacity that residence takes, in the unit of the machine's capacity.
        excess: How far the form is from possible on this machine; possible when <= 0.
    """

    resident_ns: Floats
    resident_pj: Floats
    streamed_ns: Floats
    streamed_pj: Floats
    streamed_bits: Floats
    written_cells: Floats
    need: Floats
    excess: Floats

    def take(self, rows: Ints) -> PartPrice:
        """Some of the prices, in the order of `rows`."""
        return PartPrice(*(getattr(self, field.name)[rows] for field in fields(self)))


COLUMNS = tuple(field.name for field in fields(PartPrice))

PriceTriples = Callable[[Ints, Ints, Ints], PartPrice]
"""(knobs, kind, placement), each of shape (m,) -> prices of these triples."""


class PriceMemory:
    """Prices worked out when first asked for, and kept.

    Args:
        shape: Settings of the knobs, kinds of parts, placements.
        price: Prices triples that are not known yet.
    """

    def __init__(self, shape: tuple[int, int, int], price: PriceTriples) -> None:
        self._price = price
        self._known = np.zeros(shape, dtype=bool)
        self._table = np.zeros((len(COLUMNS), *shape))

    def at(self, knobs: Ints, kind: Ints, placement: Ints) -> PartPrice:
        """Prices of m triples."""
        missing = np.flatnonzero(~self._known[knobs, kind, placement])
        if len(missing):
            triples = np.stack([knobs[missing], kind[missing], placement[missing]], axis=1)
            triple = tuple(np.unique(triples, axis=0).T)
            found = self._price(*triple)
            for row, name in enumerate(COLUMNS):
                self._table[row][triple] = getattr(found, name)
            self._known[triple] = True
        return PartPrice(*self._table[:, knobs, kind, placement])
