"""The space contract for every implementation: add a line to `SPACES`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spaces.cim.digital_cim import DigitalCimSpace
from spaces.cim.mapping import CimChoices, CimMappingSpace
from spaces.cim.model import CimModel, ProjectionSite
from spaces.formats.format_space import FormatSpace
from spaces.parameter_space import ParameterSpace
from spaces.product_space import ProductSpace
from spaces.space import Space
from spaces.sparsity.nm_sparsity import NMSpace, candidate_patterns
from tests.contracts.mapping_spaces import MAPPING_SPACES
from tests.contracts.space_contract import SpaceContract
from tests.evaluators.codesign.small_chip import small_space

NUMBERS = {"x": {"low": 0, "high": 10, "step": 5}, "k": {"choices": ["a", "b", 1, True, None]}}
CONTINUOUS = {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "n": {"low": 1, "high": 64}}

SPACES: dict[str, Callable[[], Space]] = {
    "numbers": lambda: ParameterSpace(NUMBERS),
    "continuous": lambda: ParameterSpace(CONTINUOUS),
    "product": lambda: ProductSpace(
        {
            "left": ParameterSpace(NUMBERS),
            "right": ProductSpace(
                {"deep": ParameterSpace({"y": {"low": 0.0, "high": 1, "step": 0.25}})}
            ),
        }
    ),
    "product_continuous": lambda: ProductSpace(
        {"a": ParameterSpace(NUMBERS), "b": ParameterSpace(CONTINUOUS)}
    ),
}

SPACES["nm_sparsity"] = lambda: NMSpace(
    ("q", "k", "v", "o"), candidate_patterns((2, 4, 8)), frozenset({"o"})
)
SPACES["digital_cim"] = lambda: DigitalCimSpace(
    {
        "architecture": ("flexcim_ideal", "dense"),
        "sub_macros": (2, 4),
        "rows": (32,),
        "columns": (32,),
        "bits_per_cycle": (1, 2, 4),
        "macros": (16,),
    },
    NMSpace(("a", "b"), candidate_patterns((2, 4))),
)
SPACES["formats"] = lambda: FormatSpace({"K": 4, "N": 6}, 3, run_bits=(2, 3))
SPACES["formats_of_a_weight"] = lambda: FormatSpace({"K": 4096, "N": 11008}, 4)
SPACES["cim_mapping"] = lambda: CimMappingSpace(
    CimModel("two", (ProjectionSite("a", 64, 64, 3), ProjectionSite("b", 64, 256, stage=1))),
    CimChoices(mapping=("linear", "sparse", "dense_a"), block=(0, 32), adcs_per_array=(4, 8)),
)
SPACES["chip"] = small_space
SPACES["chip_of_one_machine"] = lambda: small_space(machines=["digital"])
SPACES.update(MAPPING_SPACES)


class TestSpaces(SpaceContract):
    @pytest.fixture(scope="class", params=list(SPACES))
    def space(self, request: pytest.FixtureRequest) -> Space:
        return SPACES[request.param]()
