"""N:M patterns and the space of one pattern per layer."""

from itertools import combinations

import numpy as np
import pytest

from spaces.sparsity.nm_sparsity import NMBatch, NMPattern, NMSpace, candidate_patterns

LAYERS = ("a", "b", "c")


def masks(pattern: NMPattern, length: int) -> list[frozenset[int]]:
    """Every mask of `length` positions that keeps exactly N of each M."""
    found: list[frozenset[int]] = [frozenset()]
    for start in range(0, length, pattern.m):
        groups = combinations(range(start, start + pattern.m), pattern.n)
        found = [old | set(new) for new in groups for old in found]
    return found


@pytest.mark.parametrize("first", ["1:2", "1:4", "2:4", "3:4", "1:8", "2:8", "4:8", "1:1"])
@pytest.mark.parametrize("second", ["1:2", "1:4", "2:4", "3:4", "2:8", "3:8", "4:8", "1:1"])
def test_fits_equals_the_enumeration_of_all_masks(first: str, second: str) -> None:
    pattern, other = NMPattern.parse(first), NMPattern.parse(second)
    fits = all(
        all(sum(i in mask for i in range(s, s + other.m)) <= other.n for s in range(0, 8, other.m))
        for mask in masks(pattern, 8)
    )
    assert pattern.fits(other) == fits


def test_storage_of_the_reference_table() -> None:
    bits = [NMPattern.parse(t).stored_bits_per_weight(8) for t in ("1:2", "4:8", "1:4", "2:8")]
    assert bits == [4.5, 5.5, 2.5, 2.75]
    assert NMPattern(8, 16).mask_bits_per_weight() == 0.875


def test_candidates_are_sorted_and_dense_comes_once() -> None:
    patterns = candidate_patterns((2, 4, 8))
    densities = [pattern.density for pattern in patterns]
    assert densities == sorted(densities)
    assert sum(pattern.is_dense for pattern in patterns) == 1
    assert len(patterns) == 1 + 3 + 7 + 1


def test_forced_dense_layers_are_no_parameters() -> None:
    space = NMSpace(LAYERS, candidate_patterns((2, 4)), frozenset({"a"}))
    assert list(space.parameters) == ["nm.b", "nm.c"]
    assert space.size == 25
    designs = space.decode(space.sample(9, np.random.default_rng(0)))
    assert (designs.density[:, 0] == 1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("2-4", "written like 2:4"), ("4:2", "needs 1 <= N <= M, got 4:2"), ("x:4", "got 'x:4'")],
)
def test_malformed_patterns(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NMPattern.parse(text)


def test_malformed_spaces() -> None:
    with pytest.raises(ValueError, match="forced_dense names unknown layers: z"):
        NMSpace(LAYERS, candidate_patterns(), frozenset({"z"}))
    with pytest.raises(ValueError, match="forced_dense needs a dense candidate"):
        NMSpace(LAYERS, (NMPattern(1, 2),), frozenset({"a"}))
    with pytest.raises(ValueError, match="group size M must be >= 2, got 1"):
        candidate_patterns((1,))
    with pytest.raises(ValueError, match=r"no N:M pattern has M in \[2\] and N in \[4\]"):
        candidate_patterns((2,), kept=(4,))
    with pytest.raises(ValueError, match="choice must index the 1 candidate patterns"):
        NMBatch(("a",), (NMPattern(1, 2),), np.array([[1]]))
    space = NMSpace(LAYERS, candidate_patterns((2,)))
    with pytest.raises(ValueError, match="layer 'b': pattern must be one of 1:2, 1:1, got 2:4"):
        space.from_json([{"a": "1:2", "b": "2:4", "c": "1:1"}])
