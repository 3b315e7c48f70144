"""Packing of chunks: optimal in arrays and waiting, and still exact after repacking."""

from collections.abc import Sequence

import numpy as np
import pytest

from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.execution import execute, timing_of
from evaluators.analog.schedule import schedule
from evaluators.analog.technology import technology
from spaces.cim.legality import check_legal
from spaces.cim.mapping import CimChoices, CimDesigns, one_design
from spaces.cim.model import CimModel, ProjectionSite
from spaces.cim.packing import (
    arrays_used,
    exact_packing,
    fewest_arrays,
    first_fit,
    per_group,
    pool,
    round_robin,
    waiting,
)
from tests.evaluators.analog.test_execution import worst_error

SIZES = [([4, 4, 4, 4], 8), ([12, 4, 12, 4], 8), ([3, 5, 7], 4), ([1], 3), ([9, 2, 2, 2], 5)]


@pytest.mark.parametrize(("sizes", "capacity"), SIZES)
def test_round_robin_is_optimal(sizes: Sequence[int], capacity: int) -> None:
    packed, best = round_robin(sizes, capacity), exact_packing(sizes, capacity)
    assert arrays_used(packed) == arrays_used(best) == fewest_arrays(sizes, capacity)
    assert waiting(packed) == waiting(best)


@pytest.mark.parametrize("packer", [per_group, first_fit, round_robin, exact_packing])
@pytest.mark.parametrize(("sizes", "capacity"), SIZES)
def test_no_array_overflows(packer: object, sizes: Sequence[int], capacity: int) -> None:
    packing = packer(sizes, capacity)  # type: ignore[operator]
    assert [len(arrays) for arrays in packing] == list(sizes)
    assert np.bincount(np.concatenate(packing)).max() <= capacity


def test_first_fit_waits_longer_than_round_robin() -> None:
    assert waiting(first_fit([8, 8], 8)) == 16
    assert waiting(round_robin([8, 8], 8)) == 8


def layer_design(packing: str, sub_steps: int = 1) -> CimDesigns:
    sites = (
        ProjectionSite("qkv", 64, 64, 3, 1, 0),
        ProjectionSite("o", 64, 64, 1, 1, 1),
        ProjectionSite("up", 64, 256, 1, 1, 2),
    )
    choices = CimChoices(
        mapping=("dense_a",), array_size=(64,), packing=(packing,), sub_steps=(sub_steps,)
    )
    return one_design(CimModel("layer", sites), choices)


@pytest.mark.parametrize("sub_steps", [1, 4])
@pytest.mark.parametrize("packer", [round_robin, first_fit, per_group])
def test_pooled_arrays_still_compute_the_product(packer: object, sub_steps: int) -> None:
    design = layer_design("per_factor", sub_steps)
    evaluator = AnalogCim(technology("pcm"))
    placement, _ = execute(evaluator, design)
    pooled = pool(placement, (0, 1, 2), packer)  # type: ignore[arg-type]
    check_legal(pooled)
    stream = schedule(pooled, timing_of(evaluator, design))
    assert worst_error(pooled, stream) < 1e-12
    if packer is round_robin:
        assert pooled.arrays < placement.arrays
        assert pooled.utilisation > placement.utilisation
        filled = schedule(pool(placement, (0, 1, 2), first_fit), timing_of(evaluator, design))
        assert stream.makespan_ns <= filled.makespan_ns * (1 + 1e-12)


def test_pooling_closes_the_gap_of_half_filled_arrays() -> None:
    """Attention factors fill half an array of 64 each; pooled they fill all but the last."""
    placement, _ = execute(AnalogCim(technology("pcm")), layer_design("per_factor"))
    pooled = pool(placement, (0, 1))
    attention = pooled.table["array"][pooled.table["site"] < 2]
    assert len(np.unique(attention)) == 1


class TestRefused:
    def test_empty_group(self) -> None:
        with pytest.raises(ValueError, match="capacity >= 1 and groups of >= 1 chunk"):
            round_robin([0, 3], 4)

    def test_too_large_for_the_exact_packing(self) -> None:
        with pytest.raises(ValueError, match=r"up to 200 .* got 6000"):
            exact_packing([5] * 60, 3)

    def test_linear_site(self) -> None:
        model = CimModel("one", (ProjectionSite("a", 64, 64),))
        design = one_design(model, CimChoices(mapping=("linear",), array_size=(64,)))
        placement, _ = execute(AnalogCim(technology("pcm")), design)
        with pytest.raises(ValueError, match="site 'a': linear sites have no chunks"):
            pool(placement, (0,))
