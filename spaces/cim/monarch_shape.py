"""Shapes of Monarch factors: which two block-diagonal factors stand for a weight matrix.

A Monarch matrix maps x, read as a D x E row-major matrix, to y, read as A x K::

    u[e, k, j] = sum_d R[e, k*r + j, d] * x[d, e]          stage 1: E blocks of D inputs
    y[a, k]    = sum_(e, j) L[k, a, e*r + j] * u[e, k, j]  stage 2: K blocks of E*r inputs

so every slice W[(a, k), (d, e)] has rank r. The square case of the literature is D = E = A = K = b
= sqrt(n), r = 1 (Dao et al., arXiv 2204.00595); coarse blocks (nblocks < sqrt(n)) have r > 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt


@dataclass(frozen=True)
class BlockDiagonal:
    """One block-diagonal factor as an array sees it.

    Attributes:
        blocks: Number of blocks on the diagonal.
        rows: Inputs (wordlines) of a block.
        columns: Outputs (bitlines) of a block.
    """

    blocks: int
    rows: int
    columns: int

    @property
    def parameters(self) -> int:
        """Stored weights."""
        return self.blocks * self.rows * self.columns


@dataclass(frozen=True)
class MonarchShape:
    """A weight matrix (out_features x in_features) as a grid of equal Monarch tiles.

    Attributes:
        in_features, out_features: Of the dense matrix.
        in_blocks, in_width: E and D of one tile: the tile spans D*E inputs.
        out_blocks, out_width: K and A of one tile: the tile spans A*K outputs.
        rank: r, rank of every slice.
        in_tiles, out_tiles: Tiles along inputs and outputs.

    >>> square = padded_square(1024, 1024)
    >>> square.in_blocks, square.in_width, square.reduction
    (32, 32, 16.0)
    >>> padded_square(4096, 1024).reduction, rectangular(4096, 1024).reduction
    (8.0, 25.6)
    """

    in_features: int
    out_features: int
    in_blocks: int
    in_width: int
    out_blocks: int
    out_width: int
    rank: int = 1
    in_tiles: int = 1
    out_tiles: int = 1

    def __post_init__(self) -> None:
        if self.padded_in < self.in_features or self.padded_out < self.out_features:
            raise ValueError(
                f"Monarch tiles must cover the matrix, got {self.padded_out} x {self.padded_in} "
                f"for {self.out_features} x {self.in_features}"
            )

    @property
    def tiles(self) -> int:
        """Monarch matrices in the grid."""
        return self.in_tiles * self.out_tiles

    @property
    def tile_in(self) -> int:
        """Inputs of one tile, D*E."""
        return self.in_width * self.in_blocks

    @property
    def tile_out(self) -> int:
        """Outputs of one tile, A*K."""
        return self.out_width * self.out_blocks

    @property
    def padded_in(self) -> int:
        """Inputs of the grid, >= in_features."""
        return self.tile_in * self.in_tiles

    @property
    def padded_out(self) -> int:
        """Outputs of the grid, >= out_features."""
        return self.tile_out * self.out_tiles

    @property
    def middle(self) -> int:
        """Values between the two stages of one tile, E*K*r."""
        return self.in_blocks * self.out_blocks * self.rank

    @property
    def factors(self) -> tuple[BlockDiagonal, BlockDiagonal]:
        """Stage 1 (R) and stage 2 (L) of one tile."""
        first = BlockDiagonal(self.in_blocks, self.in_width, self.out_blocks * self.rank)
        second = BlockDiagonal(self.out_blocks, self.in_blocks * self.rank, self.out_width)
        return first, second

    @property
    def parameters(self) -> int:
        """Weights stored by all tiles, padding included."""
        return self.tiles * sum(factor.parameters for factor in self.factors)

    @property
    def reduction(self) -> float:
        """Dense weights over stored weights."""
        return self.in_features * self.out_features / self.parameters


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


def default_block(size: int) -> int:
    """Smallest power of two b with b*b >= size, so that b divides the usual arrays.

    >>> default_block(1024), default_block(4096), default_block(11008)
    (32, 64, 128)
    """
    return 1 << _ceil_div((size - 1).bit_length(), 2)


def _check_divides(size: int, block: int, power: int = 1) -> None:
    """`ValueError` that names fitting blocks unless block^power divides a size.

    Power 1: blocks of a square Monarch matrix, at least sqrt(size) wide; 2: edges of tiles.
    """
    if size % block**power == 0:
        return
    least = 1 if power == 2 else isqrt(size - 1) + 1
    fitting = [b for b in range(least, size + 1) if size % b**power == 0]
    nearest = sorted(sorted(fitting, key=lambda b: abs(b - block))[:3])
    tiles = f" (tiles of {block**power})" if power == 2 else ""
    raise ValueError(
        f"block size must divide {size}, got {block}{tiles}: choose "
        f"{', '.join(map(str, nearest))}, or 0 for the default of the rule, which pads"
    )


def _square_blocks(size: int, block: int) -> tuple[int, int]:
    """Blocks of a square Monarch matrix with blocks of this size, and the rank of its slices."""
    needed = _ceil_div(size, block)
    if needed > block:
        raise ValueError(
            f"block size must be at least sqrt(n) = {isqrt(size - 1) + 1} for n = {size}, got "
            f"{block}: choose a larger block or the rule 'tiled'"
        )
    blocks = next(count for count in range(needed, block + 1) if block % count == 0)
    return blocks, block // blocks


def padded_square(in_features: int, out_features: int, block: int = 0) -> MonarchShape:
    """Pad to one square Monarch matrix and keep the padding (reproduces the published counts).

    Args:
        in_features: Columns of the weight matrix.
        out_features: Rows of the weight matrix.
        block: Block size b >= sqrt(n) that divides the larger side n; 0 = its default, which pads.
            A coarser block than sqrt(n) gets slices of rank b / (n/b).
    """
    size = max(in_features, out_features)
    width = block or default_block(size)
    blocks, rank = _square_blocks(size, width)
    if block:
        _check_divides(size, block)
    return MonarchShape(in_features, out_features, blocks, width, blocks, width, rank)


def trimmed_square(in_features: int, out_features: int, block: int = 0) -> MonarchShape:
    """The padded Monarch matrix without the rows and columns that only ever meet padding.

    It is the same matrix as `padded_square`; only zeros that multiply zeros are left out.

    >>> trimmed_square(1024, 4096).reduction
    12.8
    """
    whole = padded_square(in_features, out_features, block)
    return MonarchShape(
        in_features,
        out_features,
        whole.in_blocks,
        _ceil_div(in_features, whole.in_blocks),
        whole.out_blocks,
        _ceil_div(out_features, whole.out_blocks),
        whole.rank,
    )


def tiled(in_features: int, out_features: int, block: int = 0) -> MonarchShape:
    """A grid of square b*b x b*b Monarch tiles; block 0 = the default of the smaller side, padded.

    >>> tiled(1024, 4096).tiles, tiled(1024, 4096).reduction
    (4, 16.0)
    """
    width = block or default_block(min(in_features, out_features))
    edge = width * width
    if block:
        _check_divides(in_features, block, 2)
        _check_divides(out_features, block, 2)
    return MonarchShape(
        in_features,
        out_features,
        width,
        width,
        width,
        width,
        in_tiles=_ceil_div(in_features, edge),
        out_tiles=_ceil_div(out_features, edge),
    )


def rectangular(in_features: int, out_features: int, block: int = 0) -> MonarchShape:
    """A true rectangular Monarch matrix: as many blocks on both sides, unequal widths.

    Args:
        in_features: Columns of the weight matrix.
        out_features: Rows of the weight matrix.
        block: Width of the blocks, a divisor of the smaller side; 0 = its default, which pads.
    """
    smaller = min(in_features, out_features)
    width = block or default_block(smaller)
    blocks, rank = _square_blocks(smaller, width)
    if block:
        _check_divides(smaller, block)
    return MonarchShape(
        in_features,
        out_features,
        blocks,
        _ceil_div(in_features, blocks),
        blocks,
        _ceil_div(out_features, blocks),
        rank,
    )


ShapeRule = Callable[[int, int, int], MonarchShape]
"""(in_features, out_features, block or 0) -> shape; `ValueError` when no such shape exists."""

SHAPE_RULES: dict[str, ShapeRule] = {
    "padded": padded_square,
    "trimmed": trimmed_square,
    "tiled": tiled,
    "rectangular": rectangular,
}
"""How a matrix that is not b^2 x b^2 becomes Monarch; the paper's own rule is not public."""


def monarch_shape(rule: str, in_features: int, out_features: int, block: int = 0) -> MonarchShape:
    """The shape under a named rule.

    Args:
        rule: Of `SHAPE_RULES`.
        in_features: Columns of the weight matrix.
        out_features: Rows of the weight matrix.
        block: Block size; 0 = the default of the rule, which pads what it does not divide.

    Raises:
        ValueError: For an unknown rule, or a block that is too small or does not divide the matrix.
    """
    if rule not in SHAPE_RULES:
        raise ValueError(f"rule must be one of {', '.join(SHAPE_RULES)}, got {rule!r}")
    if block < 0:
        raise ValueError(f"block must be >= 1, or 0 for the default of the rule, got {block}")
    return SHAPE_RULES[rule](in_features, out_features, block)
