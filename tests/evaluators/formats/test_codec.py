"""The codec: decode(encode(x)) == x for every primitive, pattern and density."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.formats.codec import cut_tiles, decode, encode
from spaces.formats.compression_format import Format, FormatLevel, Primitive
from spaces.formats.format_grammar import NAMED, named_format, parse_format

KN = ("K", "N")
PRIMITIVES = [Primitive.NONE, Primitive.B, Primitive.CP, Primitive.RLE, Primitive.UOP]


@st.composite
def any_format(draw: st.DrawFn) -> Format:
    """Any pattern of up to six levels, splits that need not divide the tile."""
    waiting = {
        name: [None, *draw(st.lists(st.integers(1, 6), max_size=2))] for name in ("K", "N", "P")
    }
    levels = []
    while any(waiting.values()):
        names = [name for name, sizes in waiting.items() if sizes]
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        sizes = tuple(waiting[name].pop(0) for name in chosen)
        primitive = draw(st.sampled_from(PRIMITIVES))
        run = draw(st.one_of(st.none(), st.integers(1, 4))) if primitive == "RLE" else None
        levels.append(FormatLevel(primitive, tuple(chosen), sizes, run))
    return Format(tuple(levels))


@settings(max_examples=300, deadline=None)
@given(
    any_format(),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 13), st.integers(1, 5)),
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.9, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_decoding_gives_back_what_was_encoded(
    fmt: Format, shape: tuple[int, int, int, int], density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(1, 2**8, shape, dtype=np.uint64) * (rng.random(shape) < density)
    encoded = encode(words, fmt, ("K", "N", "P"), 8)
    np.testing.assert_array_equal(decode(encoded), words)
    stored = -(-encoded.total_bits // 8)
    assert len(encoded.packed()) == stored


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_known_formats_round_trip(name: str, density: float) -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(1, 2**16, (4, 24, 40), dtype=np.uint64) * (
        rng.random((4, 24, 40)) < density
    )
    encoded = encode(words, named_format(name, KN), KN, 16)
    np.testing.assert_array_equal(decode(encoded), words)


def test_bits_counted_by_hand() -> None:
    tile = np.array([[[0, 5, 0, 0], [0, 0, 0, 0], [7, 0, 0, 9]]])
    # B: 12 positions; CSR: 4 offsets of 4 bits, 3 columns of 2; COO: 3 x 4 and a count of 4
    for text, metadata in [
        ("B(K,N)", 12),
        ("UOP(K)-CP(N)", 4 * 4 + 3 * 2),
        ("CP(K,N)", 4 + 3 * 4),
        ("B(K)-B(N)", 3 + 2 * 4),
        ("CP(K)-CP(N)", 2 + 2 * 2 + 2 * 3 + 3 * 2),
    ]:
        encoded = encode(tile, parse_format(text, KN), KN, 8)
        assert (encoded.metadata_bits, encoded.payload_bits) == (metadata, 24), text


def test_a_long_gap_takes_escapes_with_null_children() -> None:
    tile = np.array([[0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]])
    encoded = encode(tile, parse_format("RLE(K,r=2)", ["K"]), ["K"], 8)
    # nine zeros = two escapes of four positions, then run 1; zeros at the end are not coded
    assert encoded.payload_bits == 3 * 8
    assert encoded.metadata_bits == 5 + 3 * 2
    assert encoded.streams[0].fields.tolist() == [1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CP(K,N,w=3)", "does not fit into 3 bits"),
        ("UOP(K,w=0)-CP(N)", "does not fit into 0 bits"),
        ("Custom(K,N,f=mine)", "is Custom, it has no encoder"),
    ],
)
def test_what_cannot_be_encoded_says_why(text: str, message: str) -> None:
    tile = np.full((1, 4, 4), 200)
    with pytest.raises(ValueError, match=message):
        encode(tile, parse_format(text, KN), KN, 8)


def test_a_word_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match="the value 256 does not fit into 8 bits"):
        encode(np.array([[256]]), parse_format("B(K)", ["K"]), ["K"], 8)


def test_cut_tiles_covers_the_array_once() -> None:
    array = np.arange(1, 1 + 5 * 7).reshape(5, 7)
    tiles = cut_tiles(array, (2, 4))
    assert tiles.shape == (6, 2, 4)
    assert tiles.sum() == array.sum()
    np.testing.assert_array_equal(tiles[0], array[:2, :4])
    assert prod(tiles.shape) == 6 * 8
