"""N:M masks against brute force; shared pairs against exhaustive search; SparseGPT's error."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.accuracy.pruning import nm_mask, retained, shared_pair_mask, sparsegpt
from evaluators.digital.flexcim_tiles import MacroGeometry, compress_tiles
from spaces.sparsity.nm_sparsity import NMPattern, candidate_patterns

RNG = np.random.default_rng(0)
SCORES = RNG.random((12, 32)).astype(np.float32)


@pytest.mark.parametrize("pattern", candidate_patterns((2, 4, 8)), ids=str)
def test_masks_keep_the_largest_of_every_group(pattern: NMPattern) -> None:
    mask = nm_mask(SCORES, pattern)
    for row, kept in zip(SCORES, mask, strict=True):
        for start in range(0, len(row), pattern.m):
            group = row[start : start + pattern.m]
            expected = set(np.argsort(-group)[: pattern.n].tolist())
            assert set(np.flatnonzero(kept[start : start + pattern.m]).tolist()) == expected


def test_retained_equals_the_masked_sum() -> None:
    patterns = candidate_patterns()
    for pattern, value in zip(patterns, retained(SCORES, patterns), strict=True):
        assert value == pytest.approx(float(SCORES[nm_mask(SCORES, pattern)].sum()), rel=1e-5)
    assert np.isnan(retained(SCORES[:, :12], [NMPattern(3, 8)]))[0]


def best_shared(scores: NDArray[np.float32], kept: int) -> float:
    """Largest retained score of one group over every multiset of pairs used at most twice."""
    pairs = scores.reshape(len(scores), -1, 2)
    best = 0.0
    for chosen in combinations_with_replacement(range(pairs.shape[1]), kept):
        uses = np.bincount(chosen, minlength=pairs.shape[1])
        if uses.max() <= 2:
            ranked = np.sort(pairs, axis=2)[:, :, ::-1]
            total = sum(ranked[:, p, : uses[p]].sum() for p in range(pairs.shape[1]))
            best = max(best, float(total))
    return best


@pytest.mark.parametrize("text", ["1:2", "2:4", "4:8", "1:4", "2:8", "3:8", "1:8"])
def test_shared_pairs_are_the_exhaustive_optimum_and_run_on_a_macro(text: str) -> None:
    pattern, channels = NMPattern.parse(text), 4
    mask = shared_pair_mask(SCORES, pattern, channels)
    for start in range(0, len(SCORES), channels):
        for group in range(0, SCORES.shape[1], pattern.m):
            part = (slice(start, start + channels), slice(group, group + pattern.m))
            assert SCORES[part][mask[part]].sum() == pytest.approx(
                best_shared(SCORES[part], pattern.n), rel=1e-5
            )
    weights = RNG.integers(-8, 8, SCORES.T.shape)
    geometry = MacroGeometry(sub_macros=4, rows=4, columns=channels)
    assert compress_tiles(weights, mask.T, pattern, geometry, "shared")


def test_shared_pairs_keep_less_than_free_masks() -> None:
    for pattern in (NMPattern(2, 4), NMPattern(2, 8)):
        free = SCORES[nm_mask(SCORES, pattern)].sum()
        assert SCORES[shared_pair_mask(SCORES, pattern, 4)].sum() < free
        alone = SCORES[shared_pair_mask(SCORES, pattern, 1)].sum()
        assert alone == pytest.approx(free, rel=1e-5)


def test_sparsegpt_beats_masking_on_correlated_inputs() -> None:
    mixing = RNG.standard_normal((32, 32)) * 0.3 + np.eye(32)
    inputs = RNG.standard_normal((400, 32)) @ mixing
    weights = RNG.standard_normal((16, 32)).astype(np.float32)
    pattern = NMPattern(2, 4)
    updated, mask = sparsegpt(weights, inputs.T @ inputs, pattern)
    assert (mask.reshape(16, -1, 4).sum(axis=2) == 2).all()
    assert (updated[~mask] == 0).all()
    norms = np.sqrt((inputs**2).sum(axis=0)).astype(np.float32)
    wanda = weights * nm_mask(np.abs(weights) * norms, pattern)
    exact = inputs @ weights.T

    def error(other: NDArray[np.float32]) -> float:
        return float(np.linalg.norm(exact - inputs @ other.T))

    assert error(updated) < 0.9 * error(wanda)


def test_sparsegpt_leaves_uncorrelated_inputs_alone() -> None:
    weights = RNG.standard_normal((4, 8)).astype(np.float32)
    updated, mask = sparsegpt(weights, np.eye(8), NMPattern(2, 4))
    np.testing.assert_array_equal(mask, nm_mask(np.abs(weights), NMPattern(2, 4)))
    np.testing.assert_allclose(updated, weights * mask, rtol=1e-6)


def test_a_dead_input_is_dropped() -> None:
    weights = np.ones((2, 4), dtype=np.float32)
    hessian = np.diag([1.0, 0.0, 1.0, 1.0])
    updated, _ = sparsegpt(weights, hessian, NMPattern(3, 4))
    assert updated[:, 1].tolist() == [0.0, 0.0]


def test_sizes_must_be_divisible() -> None:
    with pytest.raises(ValueError, match="input size 32 is not divisible by M = 5 of 2:5"):
        nm_mask(SCORES, NMPattern(2, 5))
    with pytest.raises(ValueError, match="shared pairs need an even M, got 1:3"):
        shared_pair_mask(SCORES[:, :30], NMPattern(1, 3), 4)
