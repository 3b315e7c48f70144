"""Every malformed mapping gets one line that names the design, the field and the rule."""

from dataclasses import replace

import numpy as np
import pytest

from evaluators.accelerator.mapping_check import check_mappings
from spaces.hardware import Hardware, Level
from spaces.workloads.workload import matmul
from tests.evaluators.accelerator.test_traffic import nest

HARDWARE = Hardware("two", (Level("DRAM"), Level("GLB", fan_out={"X": 4}), Level("RF")))
OPERATOR = matmul("x", {"M": 2, "K": 4, "N": 4})
LOOPS = [(0, 2, 0), (1, 4, 0), (2, 4, 1)]
KEEP = [(0, 0, 3), (0, 1, 3), (0, 2, -1)]


def check(loops=LOOPS, keep=KEEP, formats=1):
    check_mappings(OPERATOR, HARDWARE, nest(loops, keep), formats)


def test_a_good_mapping_passes():
    check()


@pytest.mark.parametrize(
    ("loops", "keep", "text"),
    [
        (
            [(3, 2, 0), *LOOPS[1:]],
            KEEP,
            r"loop_rank\[0\] must index one of the ranks M, K, N, got 3",
        ),
        ([(0, 0, 0), *LOOPS[1:]], KEEP, r"loop_trip\[0\] must be >= 1, got 0"),
        ([*LOOPS[:2], (2, 4, 2)], KEEP, r"loop_kind\[2\] must be 0 \(temporal\) or 1..1, got 2"),
        (
            [*LOOPS[:2], (2, 3, 1)],
            KEEP,
            "factors of rank N must multiply to at least its size 4, got 3",
        ),
        (LOOPS, [(1, 1, 3), *KEEP[1:]], "keep_at of A at DRAM must be 0 .* got 1"),
        (LOOPS, [(0, 2, 1), *KEEP[1:]], "keep_at of A must not decrease inwards, got .0, 2, 1."),
        (LOOPS, [(0, 0, 4), *KEEP[1:]], r"keep_at of A at RF must be -1..3, got 4"),
        (LOOPS, [(0, 0, 2), *KEEP[1:]], "spatial loop N at position 2 on axis X must stand below"),
    ],
)
def test_malformed_mappings_are_named(loops, keep, text):
    with pytest.raises(ValueError, match="mapping 0 of 'x': .*" + text):
        check(loops, keep)


def test_unknown_format_is_named():
    mapping = nest(LOOPS, KEEP)
    mapping.format_id[0, 1, 2] = 3
    with pytest.raises(ValueError, match=r"format_id of W at RF must be 0\.\.1, got 3"):
        check_mappings(OPERATOR, HARDWARE, mapping, 2)


def test_wrong_shapes_are_named():
    mapping = nest(LOOPS, KEEP)
    with pytest.raises(
        ValueError, match=r"keep_at must have shape .* = \(1, 3, 3\), got \(1, 3, 2\)"
    ):
        check_mappings(OPERATOR, HARDWARE, replace(mapping, keep_at=mapping.keep_at[:, :, :2]))
    with pytest.raises(ValueError, match="loop_trip must have the shape of loop_rank"):
        check_mappings(OPERATOR, HARDWARE, replace(mapping, loop_trip=np.ones((1, 4), np.int64)))
