"""Offers of formats: every shipped one resolves for any tensor."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from spaces.formats.compression_format import UNCOMPRESSED, canonical
from spaces.formats.offered_formats import FormatOffer, hierarchical_offer, hierarchical_texts

SHIPPED = sorted((Path(__file__).parents[3] / "conf" / "format").glob("*.yaml"))
TENSORS = [{"K": 4096, "N": 11008}, {"M": 1, "K": 4096}, {"B": 32, "M": 1, "K": 128}, {"K": 50257}]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("sizes", TENSORS, ids=str)
def test_shipped_offers_are_canonical_and_distinct(path: Path, sizes: dict[str, int]) -> None:
    values = yaml.safe_load(path.read_text())
    module, _, name = values.pop("_target_").rpartition(".")
    formats = getattr(import_module(module), name)(**values).formats(sizes)
    assert formats[0] == UNCOMPRESSED
    assert len({str(fmt) for fmt in formats}) == len(formats)
    for fmt in formats:
        assert canonical(fmt, sizes) == fmt


def test_the_everyday_offers_are_shipped() -> None:
    names = {path.stem for path in SHIPPED}
    flat = {"none", "bitmap", "rle", "csr", "coo", "two_level_bitmap", "flat_all"}
    assert flat | {"hierarchical_2", "hierarchical_3", "hierarchical_4"} <= names


def test_hierarchical_texts_by_hand() -> None:
    assert hierarchical_texts(3, ["B", "None"], [4, 16], []) == (
        "B(*)-B(last:4)-B(last:4)",
        "B(*)-B(last:4)-None(last:4)",
        "B(*)-None(last:4)-B(last:4)",
    )


def test_offers_grow_with_levels() -> None:
    two, three = hierarchical_offer(2), hierarchical_offer(3)
    assert set(two.texts) < set(three.texts)


def test_errors_name_the_field() -> None:
    with pytest.raises(ValueError, match="levels must be >= 1, got 0"):
        hierarchical_offer(0)
    with pytest.raises(ValueError, match="inner_sizes must divide one another"):
        hierarchical_offer(2, inner_sizes=(4, 6))
    with pytest.raises(ValueError, match="did you mean 'bitmap'"):
        FormatOffer(["bitmpa"]).formats({"K": 4})
