"""Published results of block-diagonal language models on in-memory arrays, as data.

de Lima, Dietrich, Castrillon, Khan, arXiv 2510.11192. Only the abstract was available to us; the
other numbers come from secondary notes (`docs/block_diagonal_cim.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRatio:
    """One published number and which of ours stands beside it.

    Attributes:
        name: Readable.
        published: As printed, for example "1.74x" or "87 %".
        ours: Mapping, packing, and metric of `CimComparison`.
        derivable: True when it follows from shapes alone; False when it needs constants that were
            not published, so that ours is only as good as the assumptions.
        as_fraction: Show 1 - 1/ratio (a saving in per cent) instead of the ratio.
    """

    name: str
    published: str
    ours: tuple[str, str, str]
    derivable: bool
    as_fraction: bool = False

    def value_of(self, metrics: Mapping[str, float]) -> float:
        """Our value from a row of metrics."""
        value = metrics[self.ours[2]]
        return 1 - 1 / value if self.as_fraction else value


def compare_published() -> tuple[PublishedRatio, ...]:
    """All published ratios, derivable ones first."""
    dense, packed = ("dense_a", "per_factor"), ("dense_a", "spread")
    sparse = ("sparse", "spread")
    return (
        PublishedRatio("arrays saved, DenseMap", "87 %", (*dense, "array_saving"), True, True),
        PublishedRatio(
            "arrays saved, SparseMap", "about 50 %", (*sparse, "array_saving"), True, True
        ),
        PublishedRatio("utilisation, DenseMap", "78.8 %", (*dense, "utilisation"), True),
        PublishedRatio(
            "utilisation, SparseMap",
            "a third of DenseMap's or less",
            (*sparse, "utilisation"),
            True,
        ),
        PublishedRatio(
            "memory footprint", "> 4x; 6.7x model size", (*sparse, "memory_saving"), True
        ),
        PublishedRatio("FLOPs", "> 4x; 5.7x for BERT-large", (*sparse, "flop_saving"), True),
        PublishedRatio("speed-up, SparseMap", "1.59x", (*sparse, "latency_speedup"), False),
        PublishedRatio("speed-up, DenseMap A", "1.73x", (*packed, "latency_speedup"), False),
        PublishedRatio(
            "speed-up, DenseMap B", "1.73x", ("dense_b", "spread", "latency_speedup"), False
        ),
        PublishedRatio("energy, DenseMap A", "1.74x", (*packed, "energy_saving"), False),
        PublishedRatio(
            "energy, DenseMap B", "1.74x", ("dense_b", "spread", "energy_saving"), False
        ),
        PublishedRatio("area, DenseMap", "> 4x", (*dense, "area_saving"), False),
    )
