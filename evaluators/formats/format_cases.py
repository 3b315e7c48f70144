"""One stored tensor under a named structure of zeros: prices formats, and knows its bound."""

from __future__ import annotations

from collections.abc import Mapping

from evaluators.accelerator.bounds import position_bits_per_element
from evaluators.formats.format_cost import FormatCost
from spaces.sparsity.structures import structured


def structured_matrix(
    structure: str, density: float, word_bits: float, sizes: Mapping[str, int]
) -> FormatCost:
    """A matrix, stored once as a whole.

    Args:
        structure: See `spaces.sparsity.structures.structured`.
        density: Fraction of non-zeros.
        word_bits: Payload bits per element.
        sizes: Dimension name -> size, two of them.

    Raises:
        ValueError: If it is no matrix, or the structure cannot have this density.
    """
    if len(sizes) != 2:
        raise ValueError(f"format map sizes must be of a matrix, got {', '.join(sizes)}")
    rows, columns = sizes
    return FormatCost(sizes, structured(structure, density, (rows, columns)), word_bits)


def entropy_bits_per_element(matrix: FormatCost) -> float:
    """Entropy of where the non-zeros are, given the structure, and their payload."""
    positions = position_bits_per_element(matrix.density, matrix.model)
    return positions + matrix.model.density * matrix.word_bits
