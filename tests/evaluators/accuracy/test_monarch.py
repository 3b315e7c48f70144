"""Projection onto Monarch form against full SVDs, and the algebra of folding."""

import numpy as np
import pytest

from evaluators.accuracy.monarch import (
    fold_permutations,
    leading_triples,
    middle_permutation,
    project,
    residual,
)
from spaces.cim.monarch_shape import SHAPE_RULES, monarch_shape, padded_square

CASES = [(64, 64, 0), (64, 64, 16), (48, 100, 0), (128, 64, 16), (16, 64, 0)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("rule", SHAPE_RULES)
@pytest.mark.parametrize("case", CASES)
def test_reported_error_is_the_measured_one(
    rule: str, case: tuple[int, int, int], rng: np.random.Generator
) -> None:
    block = 8 if rule == "tiled" and case[2] else case[2]  # tiles of 8 * 8
    shape = monarch_shape(rule, *case[:2], block)
    weight = rng.standard_normal((case[1], case[0]))
    projection = project(weight, shape)
    assert projection.relative_error == pytest.approx(residual(weight, projection.matrix), abs=1e-9)


@pytest.mark.parametrize("rule", SHAPE_RULES)
def test_projection_is_idempotent(rule: str, rng: np.random.Generator) -> None:
    shape = monarch_shape(rule, 48, 100)
    once = project(rng.standard_normal((100, 48)), shape).matrix.dense()
    assert np.allclose(project(once, shape).matrix.dense(), once, atol=1e-10)


def test_lost_energy_is_the_tail_of_the_slices(rng: np.random.Generator) -> None:
    weight = rng.standard_normal((64, 64))
    slices = weight.reshape(8, 8, 8, 8).transpose(1, 3, 0, 2)
    tail = np.linalg.svd(slices, compute_uv=False)[..., 1:]
    expected = np.sqrt((tail**2).sum() / (weight**2).sum())
    assert project(weight, padded_square(64, 64)).relative_error == pytest.approx(expected)


def test_gaussian_weights_lose_most_of_their_norm(rng: np.random.Generator) -> None:
    errors = [
        project(rng.standard_normal((64, 64)), padded_square(64, 64)).relative_error
        for _ in range(5)
    ]
    assert np.mean(errors) == pytest.approx(0.78, abs=0.01)


def test_no_monarch_matrix_of_this_shape_is_nearer(rng: np.random.Generator) -> None:
    weight = rng.standard_normal((16, 16))
    best = project(weight, padded_square(16, 16))
    for _ in range(20):
        other = type(best.matrix)(
            best.matrix.shape,
            best.matrix.first + 0.01 * rng.standard_normal(best.matrix.first.shape),
            best.matrix.second + 0.01 * rng.standard_normal(best.matrix.second.shape),
        )
        assert residual(weight, other) > best.relative_error


@pytest.mark.parametrize("shape", [(5, 4, 9), (3, 9, 4), (2, 6, 6)])
def test_leading_triple_is_the_svd_s(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    slices = rng.standard_normal(shape)
    left, values, right = leading_triples(slices, 1)
    assert np.allclose(values[:, 0], np.linalg.svd(slices, compute_uv=False)[:, 0], rtol=1e-9)
    assert np.allclose(slices @ right.swapaxes(1, 2), left * values[:, None], atol=1e-5)


def test_equal_singular_values_and_zero_slices() -> None:
    slices = np.stack([np.eye(4), np.zeros((4, 4)), np.diag([2.0, 2.0, 1.0, 0.0])])
    _, values, _ = leading_triples(slices, 1)
    assert np.allclose(values[:, 0], [1.0, 0.0, 2.0])


def test_rank_above_the_slice_is_padded() -> None:
    left, values, right = leading_triples(np.ones((1, 2, 3)), 4)
    assert (left.shape, values.shape, right.shape) == ((1, 2, 4), (1, 4), (1, 4, 3))
    assert np.allclose((left * values[:, None]) @ right, 1.0)


@pytest.mark.parametrize("rule", ["padded", "rectangular", "trimmed"])
def test_folding_leaves_one_permutation(rule: str, rng: np.random.Generator) -> None:
    shape = monarch_shape(rule, 64, 128)
    matrix = project(rng.standard_normal((128, 64)), shape).matrix
    prp, plp = fold_permutations(matrix)
    product = plp @ prp[middle_permutation(shape)]
    assert np.allclose(product[:128, :64], matrix.dense(), atol=1e-12)


def test_middle_permutation_of_a_square_is_an_involution() -> None:
    p = middle_permutation(padded_square(64, 64))
    assert np.array_equal(p[p], np.arange(64))


def test_product_of_a_batch_is_the_dense_product(rng: np.random.Generator) -> None:
    shape = monarch_shape("tiled", 48, 100)
    matrix = project(rng.standard_normal((100, 48)), shape).matrix
    x = rng.standard_normal((5, 48))
    assert np.allclose(matrix.apply(x), x @ matrix.dense().T, atol=1e-12)


class TestRefused:
    def test_wrong_shape(self) -> None:
        with pytest.raises(ValueError, match=r"weight must have the shape \(64, 64\)"):
            project(np.zeros((64, 32)), padded_square(64, 64))

    def test_not_finite(self) -> None:
        with pytest.raises(ValueError, match="weight must be finite"):
            project(np.full((4, 4), np.nan), padded_square(4, 4))

    def test_folding_of_tiles(self, rng: np.random.Generator) -> None:
        matrix = project(rng.standard_normal((64, 16)), monarch_shape("tiled", 16, 64)).matrix
        with pytest.raises(ValueError, match="single Monarch tile, got 4"):
            fold_permutations(matrix)


def test_zero_matrix_projects_to_zero() -> None:
    assert project(np.zeros((16, 16)), padded_square(16, 16)).relative_error == 0.0
