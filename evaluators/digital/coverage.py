"""How an N:M layer runs on a digital compute-in-memory machine: covering pattern and reach.

A machine runs a mask natively only if its multiplexers can gather it. Otherwise the mask is padded
with zeros to a pattern that the machine has (1:4 runs as 2:4 on a fixed 2:4 engine), in the worst
case to dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from evaluators.digital.adders import FloatArray
from spaces.cim.digital_cim import ARCHITECTURES, PARTITIONED, Architecture, MacroBatch
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern

_FIXED: dict[Architecture, tuple[NMPattern, ...]] = {
    Architecture.DENSE: (),
    Architecture.SDP_LIKE: (),
    Architecture.ONE_OF_TWO: (NMPattern(1, 2),),
    Architecture.TWO_OF_FOUR: (NMPattern(2, 4),),
    Architecture.TENSOR_CORE: (NMPattern(2, 4),),
    Architecture.VEGETA_LIKE: (NMPattern(1, 4), NMPattern(2, 4)),
}


def native_patterns(architecture: Architecture, sub_macros: int) -> tuple[NMPattern, ...]:
    """Patterns a machine gathers in hardware, dense last.

    Flexible machines take every N:M with M a power of two up to 2P (a group is M/2 pairs, one
    multiplexer input each).

    >>> [str(p) for p in native_patterns(Architecture.FLEXCIM_IDEAL, 1)]
    ['1:2', '1:1']
    """
    if architecture in _FIXED:
        return (*_FIXED[architecture], DENSE_PATTERN)
    sizes = [2**k for k in range(1, int(log2(2 * sub_macros)) + 1)]
    return (*(NMPattern(n, m) for m in sizes for n in range(1, m)), DENSE_PATTERN)


def slots_per_group(architecture: Architecture, sub_macros: int, kept: int) -> float:
    """Weight cells, times 1/P of a row, that a group with `kept` weights takes up [cells/P].

    On partitioned machines the kept weights of a group share a row index, so that floor(P/N)
    groups fit side by side in a row, or one group takes ceil(N/P) rows; a monolithic macro wastes
    nothing.

    >>> slots_per_group(Architecture.FLEXCIM_IDEAL, 4, 3)  # one group per row of 4
    4.0
    """
    if architecture not in PARTITIONED:
        return float(kept)
    if kept <= sub_macros:
        return sub_macros / (sub_macros // kept)
    return float(sub_macros * ceil(kept / sub_macros))


@lru_cache(maxsize=4096)
def covering_pattern(architecture: Architecture, sub_macros: int, pattern: NMPattern) -> NMPattern:
    """The native pattern with the least room per weight that every mask of `pattern` fits.

    >>> str(covering_pattern(Architecture.TWO_OF_FOUR, 4, NMPattern(4, 8)))  # does not fit 2:4
    '1:1'
    >>> str(covering_pattern(Architecture.FLEXCIM_IDEAL, 4, NMPattern(2, 16)))
    '2:8'
    """
    fitting = [p for p in native_patterns(architecture, sub_macros) if pattern.fits(p)]
    return min(
        fitting,
        key=lambda p: (slots_per_group(architecture, sub_macros, p.n) / p.m, p.density, p.m),
    )


@dataclass(frozen=True)
class Coverage:
    """How each of n machines runs each of q patterns; arrays of shape (n, q).

    Attributes:
        kept, group: N and M of the covering pattern.
        reach: Reduction elements that one tile covers, K_cov.
        passes: Times a tile is processed per input vector (serial pair selects), >= 1.
    """

    kept: FloatArray
    group: FloatArray
    reach: FloatArray
    passes: FloatArray

    @property
    def density(self) -> FloatArray:
        """Stored weights per dense weight."""
        return self.kept / self.group


def coverage(machines: MacroBatch, patterns: Sequence[NMPattern]) -> Coverage:
    """Covering pattern, reach and passes of every machine and pattern.

    With R rows and P sub-macros::

        reach = M R floor(P/N)      (N <= P)      M floor(R / ceil(N/P))  (N > P)   partitioned
        reach = M floor(R P / N)                                                    monolithic

    Args:
        machines: n machines.
        patterns: q patterns.
    """
    keys = np.stack([machines.architecture, machines.sub_macros], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    kept, group = _covers(unique, patterns)
    kept, group = kept[inverse], group[inverse]
    p, rows = machines.sub_macros[:, None], machines.rows[:, None]
    beside = rows * (p // np.minimum(kept, p))
    stacked = rows // -(-kept // p)
    partitioned = np.isin(machines.architecture, [ARCHITECTURES.index(a) for a in PARTITIONED])
    groups = np.where(kept <= p, beside, stacked)
    groups = np.where(partitioned[:, None], groups, rows * p // kept)
    return Coverage(
        kept=kept.astype(np.float64),
        group=group.astype(np.float64),
        reach=np.maximum(groups * group, 1).astype(np.float64),
        passes=_serial_passes(machines, kept, group),
    )


def _covers(
    keys: NDArray[np.int64], patterns: Sequence[NMPattern]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """N and M of the covering pattern per (architecture, P) and pattern, shape (keys, q)."""
    covers = [
        [covering_pattern(ARCHITECTURES[int(code)], int(p), pattern) for pattern in patterns]
        for code, p in keys
    ]
    kept = np.array([[c.n for c in row] for row in covers], dtype=np.int64)
    return kept, np.array([[c.m for c in row] for row in covers], dtype=np.int64)


def _serial_passes(
    machines: MacroBatch, kept: NDArray[np.int64], group: NDArray[np.int64]
) -> FloatArray:
    """One pass per column where serial selects are needed: more than one pair, not all kept."""
    serial = machines.architecture == ARCHITECTURES.index(Architecture.FLEXCIM_SERIAL)
    needed = serial[:, None] & (group > 2) & (kept < group)
    return np.where(needed, machines.columns[:, None], 1).astype(np.float64)
