"""Shapes of Monarch factors: published counts, rules, and what must be refused."""

import pytest

from spaces.cim.monarch_shape import SHAPE_RULES, MonarchShape, default_block, monarch_shape


@pytest.mark.parametrize("size", [1024, 4096])
def test_square_reduction_is_half_the_root(size: int) -> None:
    shape = monarch_shape("padded", size, size)
    assert shape.reduction == size**0.5 / 2
    assert shape.parameters == 2 * size**1.5


@pytest.mark.parametrize(
    ("rule", "reduction", "tiles"),
    [("padded", 8.0, 1), ("trimmed", 12.8, 1), ("tiled", 16.0, 4), ("rectangular", 25.6, 1)],
)
def test_feed_forward_rules(rule: str, reduction: float, tiles: int) -> None:
    for in_features, out_features in ((1024, 4096), (4096, 1024)):
        shape = monarch_shape(rule, in_features, out_features)
        assert shape.reduction == pytest.approx(reduction)
        assert shape.tiles == tiles


def test_coarse_blocks_have_higher_rank() -> None:
    shape = monarch_shape("padded", 1024, 1024, block=64)
    assert (shape.in_blocks, shape.in_width, shape.rank) == (16, 64, 4)
    assert shape.reduction == 8.0


def test_four_blocks_match_the_layer_of_the_literature() -> None:
    """nblocks = 4 on 1024 x 1024: factors (4, 256, 256), half the parameters."""
    shape = monarch_shape("rectangular", 1024, 1024, block=256)
    first, second = shape.factors
    assert (first.blocks, first.rows, first.columns) == (4, 256, 256)
    assert (second.blocks, second.rows, second.columns) == (4, 256, 256)
    assert shape.rank == 64


@pytest.mark.parametrize("rule", SHAPE_RULES)
@pytest.mark.parametrize("sizes", [(7, 5), (64, 64), (384, 1536), (4096, 11008)])
def test_every_rule_covers_the_matrix(rule: str, sizes: tuple[int, int]) -> None:
    shape = monarch_shape(rule, *sizes)
    assert shape.padded_in >= sizes[0]
    assert shape.padded_out >= sizes[1]
    assert shape.parameters == shape.tiles * sum(factor.parameters for factor in shape.factors)


@pytest.mark.parametrize("size", [1, 2, 5, 1023, 1024, 1025])
def test_default_block_is_the_smallest_power_of_two(size: int) -> None:
    block = default_block(size)
    assert block & (block - 1) == 0
    assert block**2 >= size
    assert block == 1 or (block // 2) ** 2 < size


class TestRefused:
    def test_block_below_the_root(self) -> None:
        with pytest.raises(
            ValueError, match=r"block size must be at least sqrt\(n\) = 32 .* got 16"
        ):
            monarch_shape("padded", 1024, 1024, block=16)

    @pytest.mark.parametrize(
        ("rule", "block", "message"),
        [
            ("padded", 96, "must divide 4096, got 96: choose 64, 128, 256, or 0"),
            ("trimmed", 96, "must divide 4096, got 96: choose 64, 128, 256, or 0"),
            ("rectangular", 48, "must divide 1024, got 48: choose 32, 64, 128, or 0"),
            ("tiled", 64, r"must divide 1024, got 64 \(tiles of 4096\): choose 8, 16, 32, or 0"),
        ],
    )
    def test_block_that_does_not_divide(self, rule: str, block: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            monarch_shape(rule, 1024, 4096, block)

    def test_a_fitting_block_is_what_the_message_names(self) -> None:
        for rule, block in (("padded", 128), ("rectangular", 32), ("tiled", 32), ("tiled", 16)):
            assert monarch_shape(rule, 1024, 4096, block).tiles >= 1

    def test_unknown_rule(self) -> None:
        with pytest.raises(ValueError, match=r"rule must be one of padded, .* got 'square'"):
            monarch_shape("square", 64, 64)

    def test_negative_block(self) -> None:
        with pytest.raises(ValueError, match=r"block must be >= 1, or 0 .* got -1"):
            monarch_shape("tiled", 64, 64, block=-1)

    def test_tiles_that_do_not_cover(self) -> None:
        with pytest.raises(ValueError, match="must cover the matrix, got 4 x 4 for 5 x 4"):
            MonarchShape(4, 5, 2, 2, 2, 2)
