"""Density models against counting, published values, and their own limits."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest

from evaluators.sparsity.density import density_model
from evaluators.sparsity.density_core import hypergeometric_empty
from evaluators.sparsity.density_model import DensityModel
from evaluators.sparsity.mask_density import MaskDensity
from evaluators.sparsity.mask_sampling import sample_mask
from spaces.sparsity.sparsity import DensitySpec

KN = ("K", "N")


def build(model: str, density: float = 1.0, **parameters: object) -> DensityModel:
    return density_model(DensitySpec(model, density, parameters), KN, (240, 240))


SPECS = [
    DensitySpec("dense"),
    DensitySpec("bernoulli", 0.1),
    DensitySpec("hypergeometric", 0.1),
    DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
    DensitySpec("n_m", 0.25, {"n": 2, "m": 8, "dimension": "N"}),
    DensitySpec("block", 0.2, {"block": {"K": 4, "N": 6}}),
    DensitySpec("banded", 0.06, {"half_bandwidth": 7}),
    DensitySpec("dead_columns", 0.2, {"dimension": "N", "dead": 0.5}),
]


def test_published_hypergeometric_value() -> None:
    model = density_model(DensitySpec("hypergeometric", 0.3), ["K"], [10])
    assert model.p_empty(np.array([[4]]))[0] == pytest.approx(1 / 6, rel=1e-12)


@pytest.mark.parametrize("total", [40, 1000, 20_000])
@pytest.mark.parametrize("share", [0.0005, 0.03, 0.4, 0.97])
def test_hypergeometric_is_the_ratio_of_binomials(total: int, share: float) -> None:
    nonzeros = max(1, int(share * total))
    for drawn in {1, 2, 15, 16, 17, 18, total // 7, total - nonzeros - 3, total - nonzeros}:
        if 1 <= drawn <= total - nonzeros:
            exact = float(Fraction(comb(total - nonzeros, drawn), comb(total, drawn)))
            found = hypergeometric_empty(float(total), float(nonzeros), float(drawn))
            assert found == pytest.approx(exact, rel=1e-9, abs=1e-300)


def test_hypergeometric_is_stable_at_a_billion_elements() -> None:
    total, nonzeros = 1e9, 1e6
    for drawn in (1.0, 17.0, 1000.0, 1e5):
        exponent = sum(
            np.log1p(-nonzeros / (total - index)) for index in range(int(min(drawn, 1000)))
        )
        if drawn <= 1000:
            found = hypergeometric_empty(total, nonzeros, drawn)
            assert 1 - found == pytest.approx(-np.expm1(exponent), rel=1e-9)
    assert hypergeometric_empty(total, nonzeros, 1e9 - 1e6 + 1) == 0.0


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.model)
def test_empty_share_agrees_with_counting(spec: DensitySpec) -> None:
    model = density_model(spec, KN, (240, 240))
    extents = np.array([[1, 1], [2, 3], [4, 4], [5, 4], [6, 8], [12, 16], [10, 30], [1, 24]])
    rng = np.random.default_rng(3)
    draws = [MaskDensity(sample_mask(spec, KN, (240, 240), rng)) for _ in range(40)]
    counted = np.mean([draw.p_empty(extents) for draw in draws], axis=0)
    np.testing.assert_allclose(model.p_empty(extents), counted, atol=0.012)
    assert model.density == pytest.approx(np.mean([draw.density for draw in draws]), abs=0.004)


def test_n_m_knows_alignment() -> None:
    model = build("n_m", n=2, m=4, dimension="K")
    boxes = np.array([[1, 1], [2, 1], [3, 1], [4, 1], [1, 3], [2, 2]])
    aligned = model.p_empty(boxes)
    # three neighbours start at every phase; within one block one of them is kept
    np.testing.assert_allclose(aligned, [1 / 2, 1 / 6, 1 / 24, 0, 1 / 8, 1 / 36])
    loose = model.p_empty(np.array([[2, 1]]), steps=np.array([[1, 1]]))[0]
    assert loose == pytest.approx((1 / 6 * 3 + 1 / 4) / 4)


def test_fixed_structured_formula() -> None:
    model = build("fixed_structured", 0.1)
    np.testing.assert_allclose(model.p_empty(np.array([[2, 2], [5, 2], [9, 9]])), [0.6, 0.0, 0.0])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.model)
def test_probabilities_fall_as_tiles_grow(spec: DensitySpec) -> None:
    model = density_model(spec, KN, (240, 240))
    sizes = np.array([[2**power, 2**power] for power in range(7)])
    empty = model.p_empty(sizes)
    assert ((empty >= 0) & (empty <= 1)).all()
    assert (np.diff(empty) <= 1e-12).all()


@pytest.mark.parametrize("model", ["bernoulli", "hypergeometric", "n_m"])
def test_occupancy_quantile_covers_the_asked_share(model: str) -> None:
    spec = DensitySpec(model, 0.25, {"n": 1, "m": 4, "dimension": "K"})
    analytic = density_model(spec, KN, (240, 240))
    real = MaskDensity(sample_mask(spec, KN, (240, 240), np.random.default_rng(0)))
    for extents in ([[12, 12]], [[6, 20]]):
        box = np.array(extents)
        for confidence in (0.9, 0.99):
            limit = analytic.occupancy_quantile(box, confidence)[0]
            assert (real.counter.nonzeros((*extents[0], 1, 1)) <= limit).mean() >= confidence - 0.02
            assert limit <= box.prod()
        assert analytic.occupancy_quantile(box, 0.5)[0] == pytest.approx(box.prod() * 0.25)


def test_aligned_n_m_occupancy_is_certain() -> None:
    model = build("n_m", n=1, m=4, dimension="K")
    assert model.occupancy_quantile(np.array([[8, 5]]), 1.0)[0] == 10


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DensitySpec("n_m", 0.5, {"n": 2}), "parameter 'm' is missing"),
        (DensitySpec("n_m", 0.5, {"n": 5, "m": 4, "dimension": "K"}), "needs 0 <= n <= m"),
        (
            DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "Q"}),
            "dimension: must be one of K, N, got 'Q'",
        ),
        (DensitySpec("block", 0.5, {"block": {"K": 0}}), "edges must be >= 1"),
        (DensitySpec("dead_columns", 0.8, {"dimension": "K", "dead": 0.5}), "density <= 1 - dead"),
        (DensitySpec("mask"), "give parameters 'array', or 'file' and 'tensor'"),
        (DensitySpec("mask", 1, {"file": "/nowhere", "tensor": "w"}), "no file /nowhere"),
    ],
)
def test_errors_name_the_rule(spec: DensitySpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_model(spec, KN, (240, 240))


def test_mask_counts_real_tiles_and_its_table_is_exact_on_rungs() -> None:
    mask = np.zeros((12, 20), dtype=bool)
    mask[0, 0] = mask[7, 13] = True
    model = density_model(DensitySpec("mask", 1, {"array": mask}), KN, (12, 20))
    assert model.density == pytest.approx(2 / 240)
    boxes = np.array([[1, 1], [6, 10], [12, 5], [3, 20]])
    np.testing.assert_allclose(model.p_empty(boxes), [238 / 240, 0.5, 0.5, 0.5])
    coded = DensityModel.p_empty(model, boxes)
    np.testing.assert_allclose(coded, model.p_empty(boxes))
    assert model.occupancy_quantile(np.array([[6, 10]]), 1.0)[0] == 1


@pytest.mark.llm  # the file is written with the safetensors library
def test_mask_reads_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"layer.weight": weight}, tmp_path / "w.safetensors")
    place = {"file": str(tmp_path / "w.safetensors"), "tensor": "layer.weight"}
    model = density_model(DensitySpec("mask", 1, place), ("N", "K"), (3, 4))
    assert model.density == pytest.approx(11 / 12)
    turned = DensitySpec("mask", 1, {**place, "transpose": True})
    assert density_model(turned, KN, (4, 3)).density == pytest.approx(11 / 12)
    with pytest.raises(ValueError, match="it is transposed"):
        density_model(DensitySpec("mask", 1, place), KN, (4, 3))
    with pytest.raises(ValueError, match=r"no tensor 'x', the first: layer\.weight"):
        density_model(DensitySpec("mask", 1, {**place, "tensor": "x"}), KN, (3, 4))
