"""What few-bit converters do: exact where they should be, clipped where they must be."""

import numpy as np
import pytest

from evaluators.accuracy.monarch import MonarchMatrix, project
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.crossbar_simulator import simulate
from evaluators.analog.execution import execute
from evaluators.analog.numerics import (
    IDEAL,
    Nonidealities,
    bitline_sums,
    convert,
    digit,
    quantise,
)
from evaluators.analog.technology import technology
from spaces.cim.mapping import CimChoices, one_design
from spaces.cim.model import CimModel, ProjectionSite


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def test_ideal_is_plain_arithmetic(rng: np.random.Generator) -> None:
    values, cells = rng.standard_normal((3, 8)), rng.standard_normal((8, 4))
    assert np.array_equal(bitline_sums(values, cells, 5, IDEAL), values @ cells)


def test_digits_recompose_the_integers() -> None:
    values = np.arange(-255.0, 256.0)
    for bits in (1, 2, 4, 8):
        parts = [digit(values, i, bits) * 2.0 ** (i * bits) for i in range(8 // bits)]
        assert np.array_equal(sum(parts), values)


def test_exact_converter_gives_the_quantised_product(rng: np.random.Generator) -> None:
    values, cells = rng.standard_normal((3, 16)), rng.standard_normal((16, 4))
    (x, x_step), (w, w_step) = quantise(values, 4), quantise(cells, 6)
    exact = bitline_sums(values, cells, 1, Nonidealities(weight_bits=6, input_bits=4))
    assert np.allclose(exact, x @ w * x_step * w_step)
    wide = Nonidealities(weight_bits=6, cell_bits=2, input_bits=4, dac_bits=2, adc_bits=12)
    assert np.allclose(bitline_sums(values, cells, 1, wide), exact)


def test_one_bit_slices_lose_only_the_all_ones_sum() -> None:
    """Eight rows and 3 bits reach 7: only the sum 8 is clipped."""
    assert convert(np.array([7.0, 8.0, -8.0]), 3, 8, "unit").tolist() == [7.0, 7.0, -7.0]
    assert convert(np.array([8.0, 1.0]), 3, 8, "full").tolist() == pytest.approx([8.0, 8 / 7])


def relative_error(effects: Nonidealities, mapping: str, sub_steps: int = 1) -> float:
    """Error of a 64 x 64 Monarch product on the machine, against exact arithmetic."""
    rng = np.random.default_rng(11)
    model = CimModel("one", (ProjectionSite("a", 64, 64),))
    choices = CimChoices(
        mapping=(mapping,), packing=("spread",), array_size=(64,), sub_steps=(sub_steps,)
    )
    placement, stream = execute(AnalogCim(technology("pcm")), one_design(model, choices))
    weight = rng.standard_normal((64, 64))
    shape = placement.shapes[0]
    matrix = weight if shape is None else project(weight, shape).matrix
    inputs = rng.standard_normal((16, 64))
    expected = matrix.apply(inputs) if isinstance(matrix, MonarchMatrix) else inputs @ matrix.T
    outputs = simulate(placement, stream, {(0, 0, 0): matrix}, {(0, 0): inputs}, effects)[0, 0, 0]
    return float(np.linalg.norm(outputs - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("mapping", ["sparse", "dense_a", "dense_b"])
def test_bits_by_rows_suffice_only_for_one_bit_slices(mapping: str) -> None:
    """The rule bits = log2(rows) holds for 1-bit inputs and cells and fails for whole values."""
    sliced = Nonidealities(weight_bits=8, cell_bits=1, input_bits=8, dac_bits=1, adc_bits=0)
    whole = Nonidealities(
        weight_bits=8, cell_bits=8, input_bits=8, dac_bits=8, adc_bits=0, adc_range="full"
    )
    clipped = Nonidealities(weight_bits=8, cell_bits=8, input_bits=8, dac_bits=8, adc_bits=0)
    assert relative_error(sliced, mapping) < 0.03
    assert relative_error(whole, mapping) > 0.08
    assert relative_error(clipped, mapping) > 0.99


def test_more_adc_bits_help_whole_values() -> None:
    errors = [
        relative_error(Nonidealities(8, 8, 8, 8, adc_bits=bits, adc_range="full"), "sparse")
        for bits in (3, 5, 8)
    ]
    assert errors[0] > 2 * errors[1] > 8 * errors[2]


def test_weight_noise_grows_with_its_deviation() -> None:
    quiet, loud = (
        relative_error(Nonidealities(weight_noise=sigma), "dense_a") for sigma in (0.02, 0.06)
    )
    assert 0.01 < quiet < loud < 0.5


def test_noise_is_determined_by_its_seed(rng: np.random.Generator) -> None:
    cells = rng.standard_normal((2, 8, 8))
    first, again = (Nonidealities(weight_noise=0.1, seed=4).programmed(cells) for _ in range(2))
    other = Nonidealities(weight_noise=0.1, seed=5).programmed(cells)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_free_cells_stay_free() -> None:
    cells = np.zeros((1, 4, 4))
    cells[0, 0, 0] = 1.0
    noisy = Nonidealities(weight_noise=0.1).programmed(cells)
    assert np.count_nonzero(noisy) == 1


class TestRefused:
    def test_range(self) -> None:
        with pytest.raises(ValueError, match="adc_range must be unit or full, got 'half'"):
            Nonidealities(adc_range="half")

    def test_converter_of_exact_values(self) -> None:
        with pytest.raises(ValueError, match="adc_bits needs weight_bits and input_bits"):
            Nonidealities(adc_bits=5)

    def test_slices(self) -> None:
        with pytest.raises(ValueError, match="cell_bits and dac_bits must be >= 1"):
            Nonidealities(cell_bits=0)
