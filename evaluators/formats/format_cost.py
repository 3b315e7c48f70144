"""What the formats of one tensor cost: bits, energy, residency and words moved, in batches.

The tensor is used as tiles: each `TileUse` says how often a stand-alone encoded tile of some
extents crosses a boundary, what a bit costs there and how many such tiles stay resident. A format's
energy is a sum over the uses, so it is the sum of a few closed-form sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.decoder import NO_DECODER, Decoder
from evaluators.evaluation import Evaluation
from evaluators.formats.compression import entropy_bound_bits
from evaluators.formats.format_breakdown import format_bits
from evaluators.formats.format_kernel import (
    FIBER_COUNT,
    FIBER_METADATA,
    FIBER_PAYLOAD,
    FIBERS,
    MEMO_SLOTS,
    METADATA,
    PAYLOAD,
    SPAN,
    priced_formats,
)
from evaluators.sparsity.density import density_model
from evaluators.sparsity.density_model import DensityModel, padded_boxes
from spaces.formats.compression_format import Format
from spaces.formats.format_batch import PRIMITIVES, FormatBatch, batch_of
from spaces.sparsity.sparsity import DensitySpec

FloatArray = NDArray[np.float64]

RUN_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12)
"""Run widths tried for an RLE level that gives none."""


@dataclass(frozen=True)
class TileUse:
    """One kind of tile in use.

    Attributes:
        level: Name of the storage level that holds the tiles.
        extents: Of one stand-alone tile, in the tensor's dimension order.
        moves: Tiles moved across the level's inner boundary in one run.
        energy_pj_per_bit: Cost of moving one encoded bit.
        resident: Tiles held at the level at once.
    """

    level: str
    extents: tuple[int, ...]
    moves: float = 1.0
    energy_pj_per_bit: float = 1.0
    resident: float = 1.0


@dataclass(frozen=True)
class FormatCost:
    """Evaluator of `FormatBatch`es of one tensor.

    Attributes:
        sizes: Dimension name -> size.
        density: How the tensor's zeros are distributed.
        word_bits: Payload bits per element.
        uses: Tiles in use; empty = the whole tensor, moved once at 1 pJ per bit.
        decoder: Energy of decoding per element and level.
        run_bits: Widths tried where a format leaves them open.
    """

    sizes: Mapping[str, int]
    density: DensitySpec
    word_bits: float = 8.0
    uses: Sequence[TileUse] = ()
    decoder: Decoder = NO_DECODER
    run_bits: Sequence[int] = RUN_BITS

    def __post_init__(self) -> None:
        if not self.word_bits > 0:
            raise ValueError(f"format cost word_bits must be > 0, got {self.word_bits}")
        for use in self.uses:
            if len(use.extents) != len(self.sizes):
                raise ValueError(
                    f"format cost: a tile of {use.level} has {len(use.extents)} extents, the "
                    f"tensor has dimensions {', '.join(self.sizes)}"
                )

    @cached_property
    def model(self) -> DensityModel:
        """The density model of the tensor."""
        return density_model(self.density, tuple(self.sizes), tuple(self.sizes.values()))

    @cached_property
    def tiles(self) -> tuple[TileUse, ...]:
        """The tiles in use, at least one."""
        return tuple(self.uses) or (TileUse("whole", tuple(self.sizes.values())),)

    @cached_property
    def _boxes(self) -> NDArray[np.int64]:
        return padded_boxes(np.array([use.extents for use in self.tiles]))

    @cached_property
    def _weights(self) -> FloatArray:
        """Energy per bit of each use over one run."""
        weights = [use.moves * use.energy_pj_per_bit for use in self.tiles]
        return np.array(weights if any(weights) else [1.0] * len(weights))

    def evaluate(self, designs: FormatBatch) -> Evaluation:
        """Price n formats.

        Metrics: `energy_pj`, `bits` (all residents), `metadata_bits`, `payload_bits`,
        `bits_per_element`, `entropy_gap` (bits over the bound of independent zeros, less 1), and
        per level `resident_bits/LEVEL` and `words_moved/LEVEL`.
        """
        states, _ = self._priced(designs, whole=True)
        held = np.array([use.resident for use in self.tiles])
        metadata_bits = states[:, :, METADATA] + states[:, :, FIBER_METADATA]
        metadata_bits += states[:, :, FIBER_COUNT]
        payload_bits = states[:, :, PAYLOAD] + states[:, :, FIBER_PAYLOAD]
        metadata, payload = metadata_bits @ held, payload_bits @ held
        total = metadata_bits + payload_bits
        elements = float(self._boxes.prod(axis=1) @ held)
        bound = float(entropy_bound_bits(elements, self.model.density, self.word_bits))
        metrics = {
            "energy_pj": total @ self._weights + self._decoding(designs.primitive),
            "bits": metadata + payload,
            "metadata_bits": metadata,
            "payload_bits": payload,
            "bits_per_element": (metadata + payload) / max(elements, 1.0),
            "entropy_gap": (metadata + payload) / bound - 1.0 if bound else np.inf * metadata,
        }
        return Evaluation({**metrics, **self._by_level(total)})

    def _by_level(self, total: FloatArray) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for place, use in enumerate(self.tiles):
            for name, factor in (
                (f"resident_bits/{use.level}", use.resident),
                (f"words_moved/{use.level}", use.moves / self.word_bits),
            ):
                found[name] = found.get(name, np.zeros(len(total))) + factor * total[:, place]
        return found

    def _decoding(self, primitive: NDArray[np.int8]) -> FloatArray:
        """Decoder energy, shape (n,): elements decoded in one run times pJ of the levels."""
        prices = np.array([self.decoder.pj_per_element.get(str(p), 0.0) for p in PRIMITIVES])
        per_element = np.where(primitive >= 0, prices[np.maximum(primitive, 0)], 0.0).sum(axis=1)
        moved = sum(prod(use.extents) * use.moves for use in self.tiles)
        return np.asarray(per_element * moved, dtype=np.float64)

    def _priced(self, designs: FormatBatch, whole: bool) -> tuple[FloatArray, NDArray[np.int8]]:
        missing = [(0, 0), (0, 0), (0, 4 - designs.sizes.shape[2])]
        widths = np.bincount(designs.run_bits.ravel(), minlength=1)
        given = set(np.flatnonzero(widths).tolist()) - {0}
        candidates = tuple(sorted({*self.run_bits, *given}))
        arrays = (
            np.ascontiguousarray(designs.primitive),
            np.ascontiguousarray(designs.run_bits),
            np.pad(designs.sizes, missing, constant_values=1),
        )
        fields = np.array(candidates, dtype=np.int64)
        tensor = (self.model.code, float(self.word_bits), self._weights, fields)
        return priced_formats(arrays, self._boxes, tensor, self._memo(candidates), whole)

    def _memo(self, candidates: tuple[int, ...]) -> tuple[NDArray[np.int64], FloatArray]:
        """Expected entries already computed, for these run widths."""
        if candidates not in self._memos:
            shape = (len(self.tiles), MEMO_SLOTS)
            free = np.full((*shape, 2), -1, dtype=np.int64)
            self._memos[candidates] = free, np.empty((*shape, len(candidates) + 1))
        return self._memos[candidates]

    @cached_property
    def _memos(self) -> dict[tuple[int, ...], tuple[NDArray[np.int64], FloatArray]]:
        return {}

    def settled(self, designs: FormatBatch) -> FormatBatch:
        """The formats with the run bits that `evaluate` chose where they were open."""
        _, runs = self._priced(designs, whole=True)
        return FormatBatch(designs.dimensions, designs.primitive, runs, designs.sizes)

    def growth_features(self, partial: FormatBatch) -> FloatArray:
        """Features of inner parts of formats, shape (n, q), none of which may grow for free.

        Of two parts that cover the same sub-tensor, one whose features are all at most those of
        the other costs no more under any outer levels. First the energy that is certain, under an
        offset level and under any other: what is settled, and what the fibers that are not empty
        add (every outer level stores these at least); then per use the bits each outer fiber adds,
        without and with its count, and the reach of offsets.
        """
        states, _ = self._priced(partial, whole=False)
        bare = states[:, :, FIBER_METADATA] + states[:, :, FIBER_PAYLOAD]
        counted = bare + states[:, :, FIBER_COUNT]
        settled = states[:, :, METADATA] + states[:, :, PAYLOAD]
        certain = settled + bare * states[:, :, FIBERS]
        with_counts = settled + counted * states[:, :, FIBERS]
        energy = np.column_stack([certain @ self._weights, with_counts @ self._weights])
        energy += self._decoding(partial.primitive)[:, None]
        return np.concatenate([energy, bare, counted, states[:, :, SPAN]], axis=1)

    def explain(self, design: FormatBatch) -> Mapping[str, Any]:
        """Level-by-level contents of one format for every tile in use."""
        fmt = self.settled(design).format(0)
        tiles = [self._explained(fmt, use) for use in self.tiles]
        return {"format": str(fmt), "word_bits": self.word_bits, "tiles": tiles}

    def _explained(self, fmt: Format, use: TileUse) -> Mapping[str, Any]:
        extents = dict(zip(self.sizes, use.extents, strict=True))
        found = format_bits(fmt, extents, self.model, self.word_bits)
        return {
            "level": use.level,
            "extents": extents,
            "metadata_bits": found.metadata_bits,
            "payload_bits": found.payload_bits,
            "moves": use.moves,
            "energy_pj": found.total_bits * use.moves * use.energy_pj_per_bit,
            "levels": [
                {
                    "level": lvl.text,
                    "fibers": lvl.fibers,
                    "entries": lvl.entries,
                    "metadata_bits": lvl.metadata_bits,
                }
                for lvl in found.levels
            ],
        }

    def evaluate_formats(self, formats: Sequence[Format]) -> Evaluation:
        """Price formats given one by one; sizes that do not divide are rounded up."""
        return self.evaluate(batch_of(formats, self.sizes))
