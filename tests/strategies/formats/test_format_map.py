"""The map of winners: values that are known."""

from __future__ import annotations

import pytest

from evaluators.formats.format_cost import FormatCost
from spaces.formats.format_space import FormatSpace
from spaces.sparsity.sparsity import DensitySpec
from strategies.formats.format_map import MapCase, format_map

SIZES = {"K": 256, "N": 256}


def test_map_finds_what_is_known() -> None:
    block = DensitySpec("block", 0.1, {"block": {"K": 16, "N": 16}})
    cases = [
        MapCase("random", d, 8, FormatCost(SIZES, DensitySpec("bernoulli", d), 8))
        for d in (0.5, 0.1)
    ]
    cases.append(MapCase("block 16x16", 0.1, 8, FormatCost(SIZES, block, 8)))
    cells = format_map(cases, FormatSpace(SIZES, 3), FormatSpace(SIZES, 1))
    half, tenth, blocks = cells
    assert half["bits_per_element"] == pytest.approx(5.0)
    assert half["saving"] == pytest.approx(0.0)
    assert str(tenth["pattern"]) == "RLE"
    assert tenth["saving"] == pytest.approx(0.0, abs=0.002)
    assert float(blocks["saving"]) > 0.25
