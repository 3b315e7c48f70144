"""Every named structure has the density it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.sparsity.density import density_model
from spaces.sparsity.structures import STRUCTURES, structured

SIZES = {"K": 64, "N": 64}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("density", [0.0625, 0.25, 0.75])
def test_density_is_kept(structure: str, density: float) -> None:
    spec = structured(structure, density, ("K", "N"))
    model = density_model(spec, list(SIZES), list(SIZES.values()))
    assert model.density == pytest.approx(density)
    assert float(model.p_empty(np.array([[1, 1]]))[0]) == pytest.approx(1 - density)


def test_a_density_that_no_pattern_has() -> None:
    with pytest.raises(ValueError, match=r"must be N/M .* got 0\.3$"):
        structured("n_m", 0.3, ("K", "N"))


def test_an_unknown_structure() -> None:
    with pytest.raises(ValueError, match="structure"):
        structured("stripes", 0.5, ("K", "N"))
