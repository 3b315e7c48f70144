"""Which windows of the calibration text are for statistics, and which for choosing settings."""

import numpy as np
import pytest

from evaluators.accuracy.model_statistics import Calibration

WINDOWS = np.arange(40 * 8).reshape(40, 8)


@pytest.mark.parametrize("seed", [0, 1])
def test_spare_windows_are_not_those_that_were_drawn(seed: int) -> None:
    calibration = Calibration(sequences=25, length=8, seed=seed)
    drawn = {int(row[0]) for row in calibration.draw(WINDOWS)}
    left = {int(row[0]) for row in calibration.spare(WINDOWS, 15)}
    assert len(drawn) == 25
    assert drawn | left == set(WINDOWS[:, 0].tolist())
    few = [int(row[0]) for row in calibration.spare(WINDOWS, 4)]
    assert few == sorted(few)
    assert {min(left), max(left)} <= set(few) <= left


def test_seeds_draw_different_windows() -> None:
    first, second = (Calibration(sequences=20, seed=s).draw(WINDOWS) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_bad_settings_and_short_text_are_named() -> None:
    calibration = Calibration(sequences=25, length=8)
    with pytest.raises(
        ValueError, match="beside 25 drawn sequences too short: 15 windows of 8 tokens, 16 are"
    ):
        calibration.spare(WINDOWS, 16)
    with pytest.raises(ValueError, match="outlier_threshold and thresholds must be > 0, got 5"):
        Calibration(thresholds=(3.0, 0.0))
