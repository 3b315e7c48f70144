"""Formats: grammar, canonical form, allocation checks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.formats.compression_format import (
    UNCOMPRESSED,
    Format,
    FormatLevel,
    Primitive,
    canonical,
    check_allocation,
    level,
    portable,
    resolve_sizes,
)
from spaces.formats.format_grammar import NAMED, named_format, parse_format

KN = ("K", "N")
SIZES = {"K": 24, "N": 16}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none", "None"),
        ("bitmap", "B(K,N)"),
        ("rle", "RLE(K,N,r=5)"),
        ("csr", "UOP(K)-CP(N)"),
        ("CSC", "UOP(N)-CP(K)"),
        ("coo", "CP(K,N)"),
        ("bcsr", "UOP(K)-CP(N)-None(K:4,N:4)"),
        ("csb", "UOP(K,N)-CP(K:16,N:16)"),
        ("two_level_bitmap", "B(K,N)-B(N:16)"),
    ],
)
def test_known_names_resolve_against_dimension_names(name: str, text: str) -> None:
    assert str(parse_format(name, KN)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "format is empty"),
        ("BB(K)-B(N)", "unknown primitive 'BB' at position 0; did you mean 'B'"),
        ("B(K)-UOB(N)", "unknown primitive 'UOB' at position 5; did you mean 'UOP'"),
        ("B(K)CP(N)", "expected '-' between levels at position 4, got 'C'"),
        ("B(K)-", "expected a level such as B(K) at position 5, got 'the end'"),
        ("bitmp", "did you mean 'bitmap'"),
        ("B(M)-B(N)", "no dimension 'M', the tensor has K, N, *, first, rest, last"),
        ("B(K)", "dimension N is left out, add None(N)"),
        ("B(K)-B(K)-B(N)", "only the outermost level of K may leave its size out"),
        ("B(K,N,r=3)", "B has no field 'r', it takes none"),
        ("RLE(K,N,r=0)", "r must be 1..64 bits, got '0'"),
        ("B(K:0)-B(N)", "the size of K must be >= 1, got 0"),
        ("B(K K)-B(N)", "expected a dimension such as K or K:16, got 'K K'"),
        ("Custom(K,N)", "Custom needs f=NAME"),
    ],
)
def test_bad_text_gives_one_line_that_says_where_and_what(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"format") as caught:
        parse_format(text, KN)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_format_that_needs_two_dimensions_says_so() -> None:
    with pytest.raises(ValueError, match="needs a tensor of 2 dimensions"):
        named_format("csr", ["K"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B(K:256)-B(K:8)", "sizes of K multiply to 2048, the dimension has 4096"),
        ("B(K)-B(K:24)", "inner sizes of K multiply to 24, which does not divide 4096"),
    ],
)
def test_allocation_must_multiply_up(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_allocation(parse_format(text, ["K"]), {"K": 4096})


def test_allocation_names_unknown_dimensions() -> None:
    with pytest.raises(ValueError, match="no dimension 'M', the tensor has K"):
        check_allocation(Format((level("B", "M"),)), {"K": 8})


def test_sizes_resolve_outwards_and_pad_the_outermost() -> None:
    fmt = parse_format("B(K)-B(N)-B(K:4,N:16)", KN)
    assert resolve_sizes(fmt, {"K": 10, "N": 8}) == [{"K": 3}, {"N": 1}, {"K": 4, "N": 8}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("None(K)-None(N)", "None"),
        ("UOP(K)-None(N)", "None"),
        ("B(K)-UOP(N)", "B(K)-None(N)"),
        ("B(K)-None(N:4)-None(N:4)", None),
        ("B(K:24)-B(N:16)", "B(K)-B(N)"),
        ("B(K:1)-B(K:24)-B(N)", "B(K)-B(N)"),
        ("B(K)-B(K:6)-B(N)", "B(K:4)-B(K:6)-B(N)"),
        ("B(N)-None(K:4)-None(K:6)", "B(N)-None(K)"),
    ],
)
def test_canonical_form(text: str, expected: str | None) -> None:
    fmt = Format(tuple(_read(part) for part in text.split("-")))
    shown = str(canonical(fmt, SIZES))
    assert shown == ("B(K)-None(N)" if expected is None else expected)


def _read(text: str) -> FormatLevel:
    primitive, _, inside = text.partition("(")
    return level(primitive, *inside.rstrip(")").split(","))


@st.composite
def formats(draw: st.DrawFn) -> Format:
    """Formats whose splits divide K = 24 and N = 16."""
    splits = {
        "K": draw(st.sampled_from([(), (2,), (4,), (2, 3), (24,), (1,)])),
        "N": draw(st.sampled_from([(), (4,), (2, 4), (16,), (1, 2)])),
    }
    parts = [("K", None), *[("K", size) for size in splits["K"]]]
    other = [("N", None), *[("N", size) for size in splits["N"]]]
    levels = []
    while parts or other:
        source = parts if parts and (not other or draw(st.booleans())) else other
        name, size = source.pop(0)
        primitive = draw(st.sampled_from(["None", "B", "CP", "RLE", "UOP"]))
        width = draw(st.integers(1, 9)) if primitive == "RLE" else None
        levels.append(FormatLevel(Primitive(primitive), (name,), (size,), width))
    return Format(tuple(levels))


@settings(max_examples=200, deadline=None)
@given(formats())
def test_parse_of_print_is_the_format(fmt: Format) -> None:
    assert parse_format(str(fmt), KN) == fmt


@settings(max_examples=200, deadline=None)
@given(formats())
def test_canonical_is_idempotent_and_readable(fmt: Format) -> None:
    once = canonical(fmt, SIZES)
    assert canonical(once, SIZES) == once
    assert once == UNCOMPRESSED or canonical(parse_format(str(once), KN), SIZES) == once
    assert canonical(portable(once), SIZES) == once


def test_every_known_name_builds_on_three_dimensions() -> None:
    for name in NAMED:
        fmt = named_format(name, ("B", "K", "N"))
        assert fmt == UNCOMPRESSED or set(fmt.dimensions) == {"B", "K", "N"}
