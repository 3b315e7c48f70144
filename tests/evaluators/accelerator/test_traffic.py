"""Dense counts by hand, and every count of the golden files."""

from pathlib import Path

import numpy as np
import pytest

from evaluators.accelerator.traffic import Access, access_counts
from evaluators.reference.golden_cases import read_golden
from evaluators.reference.golden_comparison import dense_deviation
from spaces.hardware import Hardware, Level
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass, matmul

GOLDEN = Path(__file__).parents[2] / "golden"
TWO_LEVELS = Hardware("two", (Level("DRAM"), Level("GLB", fan_out={"X": 4})))


def nest(loops, keep):
    """A batch of one from (rank index, trip, kind) loops and positions of shape (T, L)."""
    ranks, trips, kinds = (np.array([column]) for column in zip(*loops, strict=True))
    keep_at = np.array([keep], dtype=np.int8)
    return MappingBatch(
        ranks.astype(np.int8),
        trips.astype(np.int64),
        kinds.astype(np.int8),
        keep_at,
        np.zeros_like(keep_at, dtype=np.int16),
    )


@pytest.mark.parametrize("file", ["sparseloop_matmul.json.gz", "accelforge_mappings.json"])
def test_dense_counts_of_every_golden_case_are_exact(file):
    assert all(dense_deviation(case) == 0.0 for case in read_golden(GOLDEN / file))


def test_unchanged_tile_is_not_fetched_again_under_implicit_stationarity():
    """W[K,N] does not depend on M: the M loop directly above its tile is free."""
    operator = matmul("x", {"M": 3, "K": 2, "N": 2})
    mapping = nest([(1, 2, 0), (0, 3, 0), (2, 2, 0)], [(0, 2), (0, 2), (0, 2)])
    read = {
        convention: access_counts(operator, TWO_LEVELS, mapping, convention).words[
            0, 1, 0, Access.READ
        ]
        for convention in ("implicit", "explicit")
    }
    assert read == {"implicit": 4, "explicit": 12}


def test_output_first_visits_fetch_nothing():
    """K outside M*N tiles: each of 2 passes drains 6 words, the second one reads them back."""
    operator = matmul("x", {"M": 3, "K": 2, "N": 2})
    mapping = nest([(1, 2, 0), (0, 3, 0), (2, 2, 0)], [(0, 1), (0, 1), (0, 2)])
    words = access_counts(operator, TWO_LEVELS, mapping).words[0, 2]
    assert words[0, Access.DRAIN_WRITE] == 12
    assert words[0, Access.REFETCH_READ] == 6
    assert words[1, Access.FILL] == 6
    assert words[1, Access.DRAIN_READ] == 12
    assert words[1, Access.ACCUMULATE_WRITE] == 12
    assert words[1, Access.ACCUMULATE_READ] == 6


def test_spatial_loops_multicast_and_reduce():
    """4 units along N share A's words; 4 units along K reduce Z before it is written."""
    operator = matmul("x", {"M": 2, "K": 4, "N": 4})
    over_n = nest([(0, 2, 0), (1, 4, 0), (2, 4, 1)], [(0, 0), (0, 0), (0, 0)])
    over_k = nest([(0, 2, 0), (2, 4, 0), (1, 4, 1)], [(0, 0), (0, 0), (0, 0)])
    assert access_counts(operator, TWO_LEVELS, over_n).words[0, 0, 1, Access.READ] == 8
    assert access_counts(operator, TWO_LEVELS, over_k).words[0, 2, 1, Access.ACCUMULATE_WRITE] == 8


def test_affine_tile_has_a_halo():
    """Input height of 3 outputs, stride 2, filter 3: 2*(3-1) + 3 = 7 rows."""
    height = Dimension((("P", 2), ("R", 1)))
    operator = Operator(
        "conv",
        {"P": 6, "R": 3},
        (
            Tensor("I", (height,), TensorClass.ACTIVATION),
            Tensor("F", (Dimension((("R", 1),)),), TensorClass.WEIGHT),
            Tensor("O", (Dimension((("P", 1),)),), TensorClass.OUTPUT),
        ),
    )
    mapping = nest([(0, 2, 0), (0, 3, 0), (1, 3, 0)], [(0, 1), (0, 1), (0, 1)])
    counts = access_counts(operator, TWO_LEVELS, mapping)
    assert counts.extents[0, 0, 1, 0] == 7
    assert counts.words[0, 0, 0, Access.READ] == 14


def test_padding_is_executed_but_tiles_are_clipped():
    operator = matmul("x", {"M": 1, "K": 5, "N": 1})
    mapping = nest([(1, 2, 0), (1, 3, 0)], [(0, 1), (0, 0), (0, 1)])
    counts = access_counts(operator, TWO_LEVELS, mapping)
    assert counts.macs[0] == 6
    assert counts.extents[0, 1, 1, 0] == 5


def test_unknown_convention_is_refused():
    operator = matmul("x", {"M": 1, "K": 1, "N": 1})
    mapping = nest([(0, 1, 0)], [(0, 0), (0, 0), (0, 0)])
    with pytest.raises(ValueError, match="stationarity must be implicit or explicit, got 'lazy'"):
        access_counts(operator, TWO_LEVELS, mapping, "lazy")
