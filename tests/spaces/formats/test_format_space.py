"""The format space: its formula, canonical designs, neighbourhood."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.formats.compression_format import canonical
from spaces.formats.format_batch import batch_of, concatenate_formats
from spaces.formats.format_grammar import NAMED, named_format, parse_format
from spaces.formats.format_space import FormatSpace


@pytest.mark.parametrize(
    ("sizes", "levels"),
    [({"K": 4, "N": 6}, 3), ({"K": 12, "N": 1}, 3), ({"K": 8, "N": 3}, 2), ({"K": 1}, 2),
     ({"B": 2, "K": 3, "N": 2}, 3), ({"K": 6}, 4)],
)  # fmt: skip
def test_enumeration_has_no_duplicates_and_meets_the_formula(
    sizes: dict[str, int], levels: int
) -> None:
    space = FormatSpace(sizes, levels, run_bits=(2, 3))
    texts = [text for batch in space.batches(500) for text in space.to_json(batch)]
    assert len(texts) == len(set(texts)) == space.size
    for text in texts[:: max(1, len(texts) // 100)]:
        fmt = parse_format(text, list(sizes))
        assert str(canonical(fmt, sizes)) == text


def test_size_of_a_tiny_space_counted_by_hand() -> None:
    # one level on K: None, B, CP; two levels 2 x 2: no None-None, no UOP innermost, and UOP above
    # B or CP only: (None,B) (None,CP) (B|CP, None|B|CP) (UOP,B) (UOP,CP) = 2 + 6 + 2
    space = FormatSpace({"K": 4}, 2, primitives=("None", "B", "CP", "UOP"))
    assert space.size == 3 + 10


def test_size_of_a_weight_is_known_without_enumeration() -> None:
    space = FormatSpace({"K": 4096, "N": 4096}, 3, run_bits=(0,))
    assert space.chains(3) == 91**2 - 3 * 13**2 + 3
    assert space.size == 679_609


def test_every_design_is_canonical_whatever_the_point() -> None:
    space = FormatSpace({"K": 24, "N": 10}, 4)
    batch = space.decode(space.sample(300, np.random.default_rng(0)))
    sizes = {"K": 24, "N": 10}
    for index in range(len(batch)):
        fmt = batch.format(index)
        assert canonical(fmt, sizes) == fmt
        assert parse_format(str(fmt), ["K", "N"]) == fmt


def test_neighbours_are_distinct_and_mutual() -> None:
    space = FormatSpace({"K": 8, "N": 4}, 3, run_bits=(2, 3))
    start = batch_of([parse_format("B(K:2)-RLE(N,r=2)-CP(K:4)", ["K", "N"])], space.sizes)
    near = space.neighbours(space.decode(space.encode(start)), 0)
    texts = space.to_json(near)
    assert len(texts) == len(set(texts)) > 10
    assert "B(K:2)-RLE(N,r=2)-CP(K:4)" not in texts
    assert "B(K:2)-RLE(N,r=3)-CP(K:4)" in texts
    assert "B(K:4)-RLE(N,r=2)-CP(K:2)" in texts


def test_known_formats_are_members() -> None:
    sizes = {"K": 64, "N": 64}
    space = FormatSpace(sizes, 3, run_bits=(5,))
    for name in NAMED:
        batch = batch_of([named_format(name, list(sizes))], sizes)
        again = space.decode(space.encode(concatenate_formats([batch, space_widest(space)])))
        assert str(again.format(0)) == str(batch.format(0))


def space_widest(space: FormatSpace) -> object:
    return next(iter(space.batches(1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primitives": ("B",)}, "primitives must include None"),
        ({"primitives": ("None", "bb")}, "unknown key 'bb'; did you mean 'B'"),
        ({"max_levels": 0}, "max_levels must be >= 1, got 0"),
    ],
)
def test_errors_name_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FormatSpace({"K": 4}, **change)


def test_from_json_refuses_what_is_not_in_the_space() -> None:
    space = FormatSpace({"K": 8, "N": 8}, 2)
    with pytest.raises(ValueError, match="sizes of K multiply to 6, the dimension has 8"):
        space.from_json(["B(K:2)-B(K:3)-B(N)"])
    with pytest.raises(ValueError, match="at most 2 levels, got 3"):
        space.from_json(["B(K:2)-B(K:4)-B(N)"])
