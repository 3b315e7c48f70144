"""Hard fit of compressed tiles: capacity at a quantile of the tile's non-zeros.

The expected size fits on average; a buffer that must never overflow, or rarely, is judged at the
number of non-zeros that a tile does not exceed with a chosen confidence. Payload grows with it, and
so do coordinates and runs; bitmaps and offsets do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.accelerator_model import AcceleratorModel
from evaluators.accelerator.traffic import access_counts
from evaluators.evaluation import FloatArray
from evaluators.formats.compression import tile_bits
from spaces.formats.compression_format import Format, Primitive
from spaces.mappings.loop_nest import MappingBatch

_LISTED = (Primitive.CP, Primitive.RLE)
"""Primitives whose metadata grows with the number of non-zeros."""


def quantile_excess_bits(
    model: AcceleratorModel, designs: MappingBatch, confidence: float
) -> FloatArray:
    """Bits that every level's copies need beyond their expectation, shape (n, L).

    Args:
        model: The accelerator.
        designs: n mappings.
        confidence: 0.5 = the expectation, 1 = the largest possible tile.
    """
    counts = access_counts(model.operator, model.hardware, designs, model.stationarity)
    n, _, levels = designs.keep_at.shape
    excess = np.zeros((n, levels))
    for t in range(len(model.operator.tensors) - 1):
        child = np.zeros((n, 4), dtype=np.int64)
        for level in range(levels - 1, -1, -1):
            kept = designs.keep_at[:, t, level] >= 0
            own = counts.extents[:, t, level]
            child = np.where(kept[:, None] & (child == 0), own, child)
            coded = kept & (designs.format_id[:, t, level] != 0)
            if coded.any():
                tiles = own[coded], child[coded]
                ids = designs.format_id[coded, t, level]
                excess[coded, level] += _tensor_excess(model, t, ids, tiles, confidence)
            child = np.where(kept[:, None], own, child)
    return excess


def _tensor_excess(
    model: AcceleratorModel,
    t: int,
    format_id: NDArray[np.int16],
    tiles: tuple[NDArray[np.int64], NDArray[np.int64]],
    confidence: float,
) -> FloatArray:
    own, child = tiles
    density = model.density_models[t]
    name = model.operator.tensors[t].name
    coding = model.model_tables[1]
    mean = density.expected_nonzeros(own)
    more = density.occupancy_quantile(own, confidence) / np.maximum(mean, 1e-300) - 1.0
    ids = format_id.astype(np.int64)
    metadata, payload = tile_bits(coding[0][t], ids, child, coding[1][t], model.word_bits[t])
    listed = np.array([_is_listed(fmt) for fmt in model.formats_of(name)])[ids]
    count = own.prod(axis=1) / child.prod(axis=1)
    result: FloatArray = np.maximum(more, 0.0) * count * (payload + np.where(listed, metadata, 0.0))
    return result


def _is_listed(fmt: Format) -> bool:
    return any(level.primitive in _LISTED for level in fmt.levels)
