"""The space of shared formats: canonical multisets, exact size."""

import numpy as np
import pytest

from spaces.formats.offered_formats import listed_offer
from spaces.formats.shared_formats import SharedFormatSpace

OFFER = {"weight": listed_offer(["bitmap", "rle"]), "activation": listed_offer(["none", "csr"])}
SPACE = SharedFormatSpace(OFFER, 2)


def rows(columns):
    return list(zip(*(columns[name].tolist() for name in SPACE.parameters), strict=True))


def test_size_is_the_number_of_distinct_designs() -> None:
    listed = [row for columns in SPACE.enumerate(7) for row in rows(SPACE.decode(columns))]
    assert len(listed) == len(set(listed)) == SPACE.size == 6 * 3 * 3


def test_decode_forgets_the_order_of_slots() -> None:
    sampled = SPACE.sample(500, np.random.default_rng(0))
    swapped = dict(sampled)
    swapped["weight_format_1"], swapped["weight_format_2"] = (
        sampled["weight_format_2"],
        sampled["weight_format_1"],
    )
    assert rows(SPACE.decode(sampled)) == rows(SPACE.decode(swapped))
    assert len(set(rows(SPACE.decode(sampled)))) == SPACE.size


def test_describe_lists_each_format_once() -> None:
    designs = SPACE.from_json(
        [
            {
                "weight_format_1": "rle",
                "weight_format_2": "rle",
                "activation_format_1": "csr",
                "activation_format_2": "none",
                "mapping_goal": "edp",
            }
        ]
    )
    assert SPACE.describe(designs, 0) == {
        "weight_formats": ["rle"],
        "activation_formats": ["none", "csr"],
        "mapping_goal": "edp",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((OFFER, 0), "space.slots must be >= 1, got 0"),
        ((OFFER, 1, ["speed"]), "space.goals: mapping goal must begin with what it minimises"),
        ((OFFER, 1, []), "space.goals must name at least one"),
    ],
)
def test_bad_arguments_are_named(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        SharedFormatSpace(*arguments)
