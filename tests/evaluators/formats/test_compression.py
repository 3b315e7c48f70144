"""Closed-form sizes against real encodings, published values and the entropy bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evaluators.formats.codec import cut_tiles, encode
from evaluators.formats.compression import code_formats, entropy_bound_bits, tile_bits
from evaluators.formats.format_breakdown import format_bits, register_custom
from evaluators.sparsity.density import density_model
from evaluators.sparsity.mask_sampling import sample_mask
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.sparsity.sparsity import DensitySpec

KN = ("K", "N")
EDGE = 960

SPECS = [
    *[DensitySpec("hypergeometric", d) for d in (0.01, 0.05, 0.1, 0.3, 0.5, 0.9)],
    DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
    DensitySpec("n_m", 0.25, {"n": 1, "m": 4, "dimension": "N"}),
    DensitySpec("n_m", 0.25, {"n": 2, "m": 8, "dimension": "K"}),
    DensitySpec("n_m", 0.125, {"n": 1, "m": 8, "dimension": "N"}),
    DensitySpec("n_m", 0.0625, {"n": 1, "m": 16, "dimension": "K"}),
    DensitySpec("banded", 0.1, {"half_bandwidth": 25}),
]

PATTERNS = [
    "None",
    "B(K,N)",
    "CP(K,N)",
    "RLE(K,N,r=4)",
    "RLE(N,K,r=3)",
    "UOP(K)-CP(N)",
    "UOP(N)-CP(K)",
    "CP(K)-CP(N)",
    "None(K)-RLE(N,r=3)",
    "UOP(N)-RLE(K,r=2)",
    "B(K,N)-B(N:8)",
    "B(K)-B(N)-B(K:4,N:4)",
    "B(N)-B(K)-B(N:4)",
    "CP(K)-RLE(N)-B(N:4)",
    "RLE(K,r=1)-B(N)-CP(K:4)",
    "UOP(K)-CP(N)-None(K:4,N:4)",
    "UOP(K,N)-CP(K:8,N:8)",
    "RLE(K,N,r=2)-RLE(N:8,r=1)",
    "CP(K,N)-UOP(K:4)-CP(N:8)",
    "B(K)-UOP(N)-B(K:8)-None(N:4)",
    "B(N)-RLE(K,r=2)",
    "UOP(K)-B(N)-None(K:2)",
    "None(K,N)-B(K:8)-CP(N:16)",
]

TILES = [(32, 64), (24, 40)]


def drawn_tiles(spec: DensitySpec, tile: tuple[int, int], draws: int) -> np.ndarray:
    rng = np.random.default_rng(20)
    masks = [cut_tiles(sample_mask(spec, KN, (EDGE, EDGE), rng), tile) for _ in range(draws)]
    return np.concatenate(masks).astype(np.uint64)


def deviations(
    spec: DensitySpec, tile: tuple[int, int], draws: int, patterns: Sequence[str] = PATTERNS
) -> dict[str, float]:
    """Closed form over codec mean, less 1, of every pattern."""
    model = density_model(spec, KN, (EDGE, EDGE))
    tiles = drawn_tiles(spec, tile, draws)
    formats = [parse_format(text, KN) for text in patterns]
    ids = np.arange(len(formats))
    extents = np.tile(tile, (len(formats), 1))
    metadata, payload = tile_bits(code_formats(formats, KN), ids, extents, model.code, 8)
    real = [encode(tiles, fmt, KN, 8).total_bits / len(tiles) for fmt in formats]
    return dict(zip(patterns, (metadata + payload) / real - 1, strict=True))


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.model}-{s.density}-{s.parameters}")
@pytest.mark.parametrize("tile", TILES)
def test_closed_form_is_the_mean_of_real_encodings(
    spec: DensitySpec, tile: tuple[int, int]
) -> None:
    draws = 4 if spec.density < 0.03 else 1
    off = {text: d for text, d in deviations(spec, tile, draws).items() if abs(d) > 0.005}
    assert off == {}


@pytest.mark.parametrize(
    ("spec", "noise"),
    [
        (DensitySpec("block", 0.2, {"block": {"K": 4, "N": 4}}), 0.01),
        (DensitySpec("dead_columns", 0.3, {"dimension": "K", "dead": 0.5}), 0.02),
    ],
    ids=["block", "dead_columns"],
)
def test_structures_follow_their_encodings(spec: DensitySpec, noise: float) -> None:
    # a draw holds few independent blocks, and fewer rows
    for text, deviation in deviations(spec, (32, 64), 3).items():
        assert abs(deviation) < noise, text


PADDED = ["B(K,N)-RLE(K:8,N:4,r=2)", "RLE(K,N,r=2)-B(N:8)", "RLE(N,K,r=3)-B(K:8)"]


@pytest.mark.parametrize("spec", SPECS[1:5] + SPECS[6:10], ids=lambda s: f"{s.model}-{s.density}")
def test_runs_go_through_the_padding_of_cut_fibers(spec: DensitySpec) -> None:
    for text, deviation in deviations(spec, (20, 15), 2, PADDED).items():
        assert abs(deviation) < 0.005, text


def test_the_grid_is_large_enough() -> None:
    assert len(SPECS) * len(TILES) * len(PATTERNS) >= 300


@pytest.mark.parametrize("density", [0.01, 0.1, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("word_bits", [4, 8, 16])
def test_no_format_is_below_the_entropy_bound(density: float, word_bits: int) -> None:
    model = density_model(DensitySpec("bernoulli", density), KN, (4096, 4096))
    runs = [f"RLE(K,N,r={bits})" for bits in range(1, 13)]
    formats = [parse_format(text, KN) for text in [*PATTERNS, *runs]]
    tiles = [(4096, 4096), (64, 32), (5, 9), (1, 1)]
    for tile in tiles:
        metadata, payload = tile_bits(
            code_formats(formats, KN),
            np.arange(len(formats)),
            np.tile(tile, (len(formats), 1)),
            model.code,
            word_bits,
        )
        bound = float(entropy_bound_bits(tile[0] * tile[1], density, word_bits))
        assert (metadata + payload >= bound * (1 - 1e-9)).all()


@pytest.mark.parametrize("spec", SPECS[2:8], ids=lambda s: f"{s.model}-{s.density}")
@pytest.mark.parametrize("tile", [(32, 64), (7, 13), (1, 64), (16, 1), (1, 1)])
def test_breakdown_and_kernel_give_the_same_totals(
    spec: DensitySpec, tile: tuple[int, int]
) -> None:
    model = density_model(spec, KN, (EDGE, EDGE))
    for text in PATTERNS:
        fmt = parse_format(text, KN)
        metadata, payload = tile_bits(
            code_formats([fmt], KN), np.array([0]), np.array([tile]), model.code, 8
        )
        walked = format_bits(fmt, dict(zip(KN, tile, strict=True)), model, 8)
        assert walked.metadata_bits == pytest.approx(metadata[0], rel=1e-12, abs=1e-9)
        assert walked.payload_bits == pytest.approx(payload[0], rel=1e-12)


def test_published_metadata_of_a_weight() -> None:
    # 12-bit coordinates, 25-bit offsets at 4096 x 4096 and d = .1: 1.206 b/element; COO 2.4
    model = density_model(DensitySpec("bernoulli", 0.1), KN, (4096, 4096))
    table = code_formats([parse_format("csr", KN), parse_format("coo", KN)], KN)
    metadata, payload = tile_bits(
        table, np.array([0, 1]), np.array([[4096, 4096]] * 2), model.code, 8
    )
    np.testing.assert_allclose(metadata / 4096**2, [1.206, 2.4], atol=5e-4)
    np.testing.assert_allclose(payload / 4096**2, 0.8)


@pytest.mark.parametrize(
    ("density", "text", "bits"),
    [
        (0.5, "B(K)-None(N)", 5.0),
        (0.2, "B(K)-B(K:4)", 2.440),
        (0.1, "RLE(K,r=5)", 1.346),
        (0.1, "B(K)-B(K:4)", 1.394),
        (0.05, "RLE(K,r=6)", 0.727),
        (0.05, "B(K)-B(K:4)-B(K:4)", 0.788),
        (0.02, "RLE(K,r=8)", 0.322),
        (0.02, "B(K)-B(K:4)-B(K:4)", 0.369),
    ],
)
def test_published_optima_per_element(density: float, text: str, bits: float) -> None:
    model = density_model(DensitySpec("bernoulli", density), KN, (2**20, 1))
    fmt = parse_format(text, KN if "N" in text else ("K",))
    table = code_formats([fmt], KN)
    metadata, payload = tile_bits(table, np.array([0]), np.array([[2**20, 1]]), model.code, 8)
    assert (metadata[0] + payload[0]) / 2**20 == pytest.approx(bits, abs=6e-4)


def test_run_lengths_agree_under_both_random_models() -> None:
    # the summed and the closed expectation of escapes must meet for a large tensor
    extents = np.array([[1, size] for size in (7, 64, 1000, 60_000)])
    table = code_formats([parse_format(f"RLE(K,N,r={r})", KN) for r in (1, 3, 6)], KN)
    for density in (0.001, 0.05, 0.7):
        sums = []
        for name, edge in (("bernoulli", 4096), ("hypergeometric", 1000)):
            model = density_model(DensitySpec(name, density), KN, (edge, edge))
            rows = np.arange(3).repeat(4)
            sums.append(tile_bits(table, rows, np.tile(extents, (3, 1)), model.code, 8)[1])
        np.testing.assert_allclose(sums[0], sums[1], rtol=0.003)


def test_a_custom_level_uses_the_registered_callable() -> None:
    register_custom("one_hot", lambda fibers, count, nonempty: (fibers * count, nonempty))
    fmt = parse_format("Custom(K,N,f=one_hot)", KN)
    model = density_model(DensitySpec("bernoulli", 0.25), KN, (64, 64))
    bits = format_bits(fmt, {"K": 8, "N": 8}, model, 8)
    assert (bits.metadata_bits, bits.payload_bits) == (64, pytest.approx(128))
    with pytest.raises(ValueError, match="a Custom level has no compiled form"):
        code_formats([fmt], KN)
    with pytest.raises(ValueError, match="no callable 'other' is registered, known: one_hot"):
        format_bits(parse_format("Custom(K,N,f=other)", KN), {"K": 8, "N": 8}, model, 8)


def test_uncompressed_is_one_word_per_element() -> None:
    model = density_model(DensitySpec("bernoulli", 0.25), KN, (64, 64))
    metadata, payload = tile_bits(
        code_formats([UNCOMPRESSED], KN), np.array([0]), np.array([[5, 7]]), model.code, 6
    )
    assert (metadata[0], payload[0]) == (0, 5 * 7 * 6)


def test_errors_name_the_dimension() -> None:
    with pytest.raises(ValueError, match="no dimension 'K', the tensor has M"):
        code_formats([parse_format("B(K)", ["K"])], ["M"])
