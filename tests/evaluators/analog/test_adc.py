"""ADC laws against the values printed in their sources."""

import numpy as np
import pytest

from evaluators.analog.adc import (
    ADC_LAWS,
    AdcTable,
    ConstantAdc,
    PumaAdc,
    RampAdc,
    Sar28,
    SurveyFit,
)

BITS = np.array([4, 5, 6, 7, 8])


@pytest.mark.parametrize(
    ("node", "energies", "ten_bits"),
    [
        (14, [0.195, 0.198, 0.225, 0.277, 0.362], 2.95),
        (22, [0.457, 0.463, 0.527, 0.649, 0.847], 6.89),
        (32, [0.924, 0.936, 1.065, 1.312, 1.714], 13.9),
    ],
)
def test_survey_energy(node: int, energies: list[float], ten_bits: float) -> None:
    law = SurveyFit(node_nm=node)
    assert law.cost(BITS).energy_pj == pytest.approx(energies, abs=6e-4)
    assert law.cost(np.array([10])).energy_pj[0] == pytest.approx(ten_bits, rel=4e-3)


def test_survey_area() -> None:
    area = SurveyFit(node_nm=32).cost(np.array([4, 5, 8])).area_um2
    assert area == pytest.approx([4964, 4984, 5972], abs=1)


def test_survey_is_held_below_four_bits_and_flagged() -> None:
    cost = SurveyFit().cost(np.array([3, 4]))
    assert cost.energy_pj[0] == cost.energy_pj[1]
    assert cost.valid.tolist() == [False, True]
    assert not SurveyFit(samples_per_s=2e10).cost(BITS).valid.any()


def test_sar() -> None:
    cost = Sar28().cost(np.array([3, 5, 8]))
    assert cost.energy_pj == pytest.approx([0.243, 0.406, 0.701], abs=6e-4)
    assert cost.time_ns == pytest.approx([6.9, 11.6, 18.5], abs=0.05)
    assert cost.area_um2[2] == pytest.approx(2085, abs=1)


def test_puma_is_isaac_at_eight_bits() -> None:
    cost = PumaAdc().cost(np.array([8]))
    assert cost.time_ns[0] * 128 == pytest.approx(100.0)
    assert cost.energy_pj[0] == pytest.approx(1.5625)


def test_table_takes_the_next_better_part() -> None:
    cost = AdcTable().cost(np.array([3, 4, 5, 6]))
    assert cost.valid.tolist() == [False, True, False, True]
    assert cost.energy_pj.tolist() == [0.7, 0.7, 1.26, 1.26]


def test_ramp_doubles_per_bit() -> None:
    cost = RampAdc().cost(np.array([3, 5, 8]))
    assert cost.time_ns == pytest.approx([2.4, 9.6, 76.8])


@pytest.mark.parametrize("name", ADC_LAWS)
def test_costs_never_fall_with_resolution(name: str) -> None:
    cost = ADC_LAWS[name].cost(np.arange(1, 11))
    assert (np.diff(cost.energy_pj) >= 0).all()
    if name != "table":  # its finer parts are also faster
        assert (np.diff(cost.time_ns) >= 0).all()
    assert (cost.energy_pj > 0).all()
    assert (cost.area_um2 > 0).all()


def test_constant() -> None:
    assert ConstantAdc(2.0, 1.0).cost(BITS).energy_pj.tolist() == [2.0] * 5


def test_bits_outside_every_law_and_outside_one() -> None:
    with pytest.raises(ValueError, match=r"adc bits must be in 1..20, got 0"):
        SurveyFit().cost(np.array([0]))
    assert SurveyFit().cost(np.array([3, 8])).valid.tolist() == [False, True]
    assert Sar28().cost(BITS).valid.all()
