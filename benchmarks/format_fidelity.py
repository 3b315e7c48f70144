"""Three views of the size of an encoded tile: closed form, real encodings, the reference's formula.

    python benchmarks/format_fidelity.py [--rows 40] [--words 8]

Every row is one (density model, pattern with its allocation, tile shape): bits per tile of the
closed form, the mean of real encodings of all tiles of a drawn tensor, and Sparseloop's per-rank
formula with the same field widths. The codec decides. The last column says which side is off by
more than 0.5 % and why. The last line is a JSON summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evaluators.formats.codec import cut_tiles, encode
from evaluators.formats.compression import entropy_bound_bits
from evaluators.formats.compression_core import ceil_log2
from evaluators.formats.format_breakdown import format_bits
from evaluators.sparsity.density import density_model
from evaluators.sparsity.density_model import DensityModel
from evaluators.sparsity.mask_sampling import sample_mask
from spaces.formats.compression_format import COMPRESSED, Format, Primitive, resolve_sizes
from spaces.formats.format_grammar import parse_format
from spaces.sparsity.sparsity import DensitySpec

NAMES = ("K", "N")
EDGE = 960
TOLERANCE = 0.005
TILES = ((32, 64), (24, 40), (60, 16), (30, 20))
EXACT = ("hypergeometric", "n_m", "banded")
"""Models whose mean encoding one draw shows to the tolerance; blocks and dead rows come in few
independent pieces, so their rows also hold the noise of the draws."""

SPECS = [
    *[DensitySpec("hypergeometric", d) for d in (0.01, 0.05, 0.1, 0.2, 0.5, 0.9)],
    DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
    DensitySpec("n_m", 0.25, {"n": 1, "m": 4, "dimension": "N"}),
    DensitySpec("n_m", 0.25, {"n": 2, "m": 8, "dimension": "K"}),
    DensitySpec("n_m", 0.0625, {"n": 1, "m": 16, "dimension": "K"}),
    DensitySpec("banded", 0.1, {"half_bandwidth": 25}),
    DensitySpec("block", 0.2, {"block": {"K": 4, "N": 4}}),
    DensitySpec("dead_columns", 0.3, {"dimension": "K", "dead": 0.5}),
]

PATTERNS = [
    "B(K,N)", "CP(K,N)", "RLE(K,N,r=4)", "RLE(K,N,r=6)", "UOP(K)-CP(N)", "UOP(N)-CP(K)",
    "CP(K)-CP(N)", "UOP(K)-B(N)", "None(K)-RLE(N,r=3)", "UOP(K)-RLE(N,r=2)", "B(K)-B(N)",
    "B(K,N)-B(N:8)", "B(K)-B(N)-B(K:4,N:4)", "CP(K)-B(N)-B(N:4)", "CP(K,N)-None(K:4,N:4)",
    "UOP(K)-CP(N)-None(K:4,N:4)", "RLE(K,N,r=3)-B(N:8)", "B(K)-RLE(N,r=2)-CP(N:4)",
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One comparison, bits per tile."""

    case: str
    pattern: str
    tile: str
    closed: float
    codec: float
    reference: float
    bound: float
    verdict: str


def reference_bits(
    fmt: Format, extents: dict[str, int], density: DensityModel, word_bits: float
) -> float:
    """Sparseloop's per-rank occupancy and its data words (tile x density)."""
    sizes = [dict(level) for level in resolve_sizes(fmt, extents)]
    outer_fibers, bits, stored = 1.0, 0.0, 1.0
    for index, (lvl, parts) in enumerate(zip(fmt.levels, sizes, strict=True)):
        shape = prod(parts.values())
        here = 1.0 - _empty(sizes[index:], density, list(extents)) if index else 1.0
        below = 1.0 - _empty(sizes[index + 1 :], density, list(extents))
        fibers, filled = outer_fibers * here, ceil(shape * below - 1e-9)
        outer_fibers *= shape
        if lvl.primitive is Primitive.CP:
            bits += fibers * filled * ceil_log2(shape)
        elif lvl.primitive is Primitive.RLE:
            bits += fibers * shape * below * (lvl.width_bits or ceil_log2(shape))
        elif lvl.primitive is Primitive.B:
            bits += fibers * shape
        elif lvl.primitive is Primitive.UOP:
            bits += fibers * (shape + 1) * ceil_log2(_reach(fmt, sizes, index) + 1)
        stored = fibers * shape * (below if lvl.primitive in COMPRESSED else 1.0)
    if fmt.levels[-1].primitive in COMPRESSED:
        stored = prod(extents.values()) * density.density
    return bits + stored * word_bits


def _empty(levels: list[dict[str, int]], density: DensityModel, names: list[str]) -> float:
    box = [prod(level.get(name, 1) for level in levels) for name in names]
    return float(density.p_empty(np.array([box]))[0])


def _reach(fmt: Format, sizes: list[dict[str, int]], index: int) -> int:
    reach = 1
    for lvl, parts in zip(fmt.levels[index:], sizes[index:], strict=True):
        reach *= prod(parts.values())
        if lvl.primitive in COMPRESSED:
            break
    return reach


def verdict(fmt: Format, closed: float, codec: float, reference: float) -> str:
    """Which side is off by more than the tolerance, and the rule of the reference behind it."""
    texts = []
    if abs(closed / codec - 1) > TOLERANCE:
        texts.append("closed form")
    if abs(reference / codec - 1) > TOLERANCE:
        texts.append(f"reference: {_reason(fmt, reference > codec)}")
    return "; ".join(texts) or "agree"


def _reason(fmt: Format, above: bool) -> str:
    primitives = [lvl.primitive for lvl in fmt.levels]
    uncounted = any(
        primitive in (Primitive.CP, Primitive.RLE)
        and (index == 0 or primitives[index - 1] is not Primitive.UOP)
        for index, primitive in enumerate(primitives)
    )
    if above:
        return "ceil per fiber" if Primitive.CP in primitives else "empty fibers counted twice"
    if Primitive.RLE in primitives:
        return "no run overflow, no count per fiber" if uncounted else "no run overflow"
    return "no count per fiber" if uncounted else "expectations multiplied"


def compare(spec: DensitySpec, tile: tuple[int, int], word_bits: int) -> list[Row]:
    """All patterns on the tiles of one drawn tensor."""
    rng = np.random.default_rng(11)
    model = density_model(spec, NAMES, (EDGE, EDGE))
    draws = 1 if spec.model in EXACT and spec.density > 0.03 else 4
    masks = [cut_tiles(sample_mask(spec, NAMES, (EDGE, EDGE), rng), tile) for _ in range(draws)]
    tiles = np.concatenate(masks).astype(np.uint64)
    extents = dict(zip(NAMES, tile, strict=True))
    bound = float(entropy_bound_bits(prod(tile), model.density, word_bits))
    rows = []
    for text in PATTERNS:
        fmt = parse_format(text, NAMES)
        codec = encode(tiles, fmt, NAMES, word_bits).total_bits / len(tiles)
        closed = format_bits(fmt, extents, model, word_bits).total_bits
        reference = reference_bits(fmt, extents, model, word_bits)
        label = f"{spec.model} {model.density:g}"
        shape = "x".join(map(str, tile))
        why = verdict(fmt, closed, codec, reference)
        rows.append(Row(label, text, shape, closed, codec, reference, bound, why))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40, help="rows printed, evenly spread")
    parser.add_argument("--words", type=int, default=8, help="payload bits per element")
    options = parser.parse_args()
    rows = [r for spec in SPECS for tile in TILES for r in compare(spec, tile, options.words)]
    print(f"{'zeros':22}{'format':28}{'tile':8}{'closed':>10}{'codec':>10}{'reference':>11}  off")
    for row in rows[:: max(1, len(rows) // options.rows) | 1]:
        print(
            f"{row.case:22}{row.pattern:28}{row.tile:8}{row.closed:10.1f}{row.codec:10.1f}"
            f"{row.reference:11.1f}  {row.verdict}"
        )
    closed = np.array([row.closed / row.codec - 1 for row in rows])
    exact = np.array([row.case.startswith(EXACT) for row in rows])
    reference = np.array([row.reference / row.codec - 1 for row in rows])
    random = [r for r in rows if r.case.startswith("hyper")]
    reasons = Counter(row.verdict for row in rows)
    print(json.dumps({
        "benchmark": "format_fidelity",
        "combinations": len(rows),
        "random_n_m_banded": int(exact.sum()),
        "of_these_closed_within_0.5_percent": int((np.abs(closed[exact]) <= TOLERANCE).sum()),
        "of_these_closed_worst_percent": round(100 * float(np.abs(closed[exact]).max()), 3),
        "closed_within_0.5_percent": int((np.abs(closed) <= TOLERANCE).sum()),
        "closed_worst_percent": round(100 * float(np.abs(closed).max()), 3),
        "reference_within_0.5_percent": int((np.abs(reference) <= TOLERANCE).sum()),
        "reference_worst_percent": round(100 * float(np.abs(reference).max()), 1),
        "random_rows_below_entropy_bound": sum(r.closed < r.bound * 0.999 for r in random),
        "verdicts": dict(reasons.most_common()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
