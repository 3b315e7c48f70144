from __future__ import annotations

import pytest

from spaces.hardware import Hardware, Level
from spaces.mappings.nest_text import describe_mapping, loop_nest_text, nest_items, read_nest_items
from spaces.workloads.workload import matmul

OPERATOR = matmul("m", {"M": 1, "K": 64, "N": 30})
HARDWARE = Hardware(
    "h",
    (
        Level("DRAM", fan_out={"X": 2}),
        Level("GLB", fan_out={"X": 4, "Y": 2}),
        Level("RF"),
    ),
)
ITEMS = [
    "DRAM keeps A, W, Z",
    "for K in 4",
    "spatial DRAM.X: N in 2",
    "GLB keeps W, Z",
    "for N in 4",
    "spatial GLB.X: N in 4",
    "spatial Y: K in 2",
    "RF keeps A, W, Z",
    "for K in 8",
]


def test_items_round_trip() -> None:
    mapping = read_nest_items(ITEMS, OPERATOR, HARDWARE)
    assert nest_items(OPERATOR, HARDWARE, mapping) == ITEMS
    assert mapping.keep_at.tolist() == [[[0, -1, 5], [0, 2, 5], [0, 2, 5]]]
    assert mapping.loop_kind.tolist() == [[0, 1, 0, 2, 3, 0]]


def test_a_listing_shows_tiles_clipped_to_the_tensor_and_formats() -> None:
    mapping = read_nest_items(ITEMS, OPERATOR, HARDWARE)
    mapping.format_id[0, 1, 0] = 1
    text = loop_nest_text(OPERATOR, HARDWARE, mapping, 0, {"W": ["None", "B(K,N)"]})
    assert text == "\n".join(
        [
            "DRAM keeps A 1x64, W 64x30 as B(K,N), Z 1x30",
            "for K in 4",
            "  spatial DRAM.X: N in 2",
            "    GLB keeps W 16x16, Z 1x16",
            "    for N in 4",
            "      spatial GLB.X: N in 4",
            "        spatial Y: K in 2",
            "          RF keeps A 1x8, W 8x1, Z 1x1",
            "          for K in 8",
        ]
    )


def test_a_description_says_the_padding_and_the_lanes() -> None:
    described = describe_mapping(OPERATOR, HARDWARE, read_nest_items(ITEMS, OPERATOR, HARDWARE))
    assert described["padding"] == {"N": {"size": 30, "padded": 32, "loss": 32 / 30 - 1}}
    assert described["lanes"] == {
        "DRAM.X": {"used": 2, "size": 2},
        "GLB.X": {"used": 4, "size": 4},
        "GLB.Y": {"used": 2, "size": 2},
    }


def test_unquoted_yaml_and_loose_spelling_read() -> None:
    loose: list[object] = [
        "DRAM  keeps A W Z",
        "for K in 64",
        {"spatial DRAM.X": "N in 2"},
        "for N in 15",
    ]
    assert nest_items(OPERATOR, HARDWARE, read_nest_items(loose, OPERATOR, HARDWARE)) == [
        "DRAM keeps A, W, Z",
        "for K in 64",
        "spatial DRAM.X: N in 2",
        "for N in 15",
    ]


def changed(position: int, *items: str) -> list[str]:
    return [*ITEMS[:position], *items, *ITEMS[position + 1 :]]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (changed(1, "for J in 4"), r"nest\[1\]: no rank 'J'; valid: M, K, N"),
        (changed(1, "for K in 0"), r"nest\[1\]: the trip count must be >= 1, got 0"),
        (changed(1, "loop K 4"), r"nest\[1\]: must read 'LEVEL keeps TENSORS'.*got 'loop K 4'"),
        (changed(3, "GBL keeps W"), r"nest\[3\]: no level 'GBL'; did you mean 'GLB'"),
        (changed(3, "GLB keeps V"), r"nest\[3\]: no tensor 'V'"),
        (changed(3, "GLB keeps W W"), r"nest\[3\]: GLB keeps W twice"),
        (
            changed(6, "spatial Z: K in 2"),
            r"nest\[6\]: no fan-out axis 'Z'; valid: DRAM.X, GLB.X, Y",
        ),
        (
            changed(1, "for K in 2"),
            r"nest: the factors of rank K must multiply to 64 \(padded: to less than 128\), "
            r"got 2 x 2 x 8 = 32",
        ),
        (changed(1, "for K in 8"), r"rank K must multiply to 64 .*got 8 x 2 x 8 = 128"),
        (
            changed(0, "DRAM keeps A, W"),
            r"nest: DRAM, the outermost level, must keep Z above every",
        ),
        (
            changed(7, "RF keeps A, W, Z", "GLB keeps A"),
            r"nest\[8\]: GLB must keep A before RF does",
        ),
        (
            [*ITEMS[:3], *ITEMS[4:7], "GLB keeps W, Z", *ITEMS[7:]],
            r"nest: GLB must keep W above the spatial loops over GLB.X",
        ),
        (
            [*ITEMS[:5], "RF keeps A, W, Z", *ITEMS[5:7], *ITEMS[8:]],
            r"nest: RF must keep A below the spatial loops over GLB.X",
        ),
    ],
)
def test_errors_name_the_item_the_rule_and_the_value(items: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_nest_items(items, OPERATOR, HARDWARE)
    assert "\n" not in str(error.value)


def test_a_nest_has_a_largest_length() -> None:
    items = ["DRAM keeps A, W, Z", *["for M in 1"] * 126, "for K in 64", "for N in 30"]
    with pytest.raises(ValueError, match="must have at most 127 loops, got 128"):
        read_nest_items(items, OPERATOR, HARDWARE)
