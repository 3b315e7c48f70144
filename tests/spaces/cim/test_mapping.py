"""The space of mappings: canonical sites, sizes, JSON, and what must be refused."""

import numpy as np
import pytest

from spaces.cim.mapping import (
    CimChoices,
    CimMappingSpace,
    cim_mapping_space,
    one_design,
)
from spaces.cim.model import CimModel, ProjectionSite

MODEL = CimModel("two", (ProjectionSite("a", 64, 64), ProjectionSite("b", 64, 256, stage=1)))


def test_linear_sites_have_no_rule_and_no_block() -> None:
    choices = CimChoices(mapping=("linear", "sparse"), rule=("padded", "tiled"), block=(0, 32))
    space = CimMappingSpace(MODEL, choices)
    assert space.size == 2 * (1 + 4) ** 2
    columns = next(space.enumerate())
    assert (
        len(np.unique(np.array(list(zip(*columns.values(), strict=True)), dtype=str), axis=0)) == 50
    )
    design = space.decode({name: values[:1] for name, values in columns.items()})
    assert "a.rule" not in space.describe(design, 0)


def test_records_may_leave_choices_out() -> None:
    space = cim_mapping_space(MODEL, {"mapping": ["linear", "sparse"], "adc_bits": 0})
    designs = space.from_json([{"b.mapping": "sparse"}, {}])
    assert designs.values(0)["a.mapping"] == "linear"
    assert designs.values(0)["b.mapping"] == "sparse"
    assert space.from_json(space.to_json(designs)).values(1) == designs.values(1)


class TestRefused:
    def test_unknown_choice_names_and_values(self) -> None:
        with pytest.raises(ValueError, match=r"space\.choices: unknown key 'mappings'"):
            cim_mapping_space(MODEL, {"mappings": ["linear"]})
        with pytest.raises(ValueError, match=r"choices\.mapping: unknown key 'dense'"):
            CimChoices(mapping=("dense",))
        with pytest.raises(ValueError, match="choices: adcs_per_array must be >= 1, got 0"):
            CimChoices(adcs_per_array=(0,))
        with pytest.raises(ValueError, match="choices: block must have at least one value"):
            CimChoices(block=())

        with pytest.raises(ValueError, match="choices: adc_bits must be <= 20, got 25"):
            CimChoices(adc_bits=(25,))

    def test_blocks_and_arrays_that_fit_nothing(self) -> None:
        with pytest.raises(ValueError, match="block 48 fits no matrix: block size must divide 64"):
            cim_mapping_space(MODEL, {"block": [48]})
        with pytest.raises(ValueError, match="array_size 4 is smaller than every block, the small"):
            cim_mapping_space(MODEL, {"mapping": "sparse", "array_size": 4})
        assert cim_mapping_space(MODEL, {"mapping": ["linear", "sparse"], "array_size": 4}).size

    def test_unknown_parameter(self) -> None:
        with pytest.raises(ValueError, match=r"design: unknown key 'c\.mapping'"):
            CimMappingSpace(MODEL).from_json([{"c.mapping": "linear"}])

    def test_mapping_list(self) -> None:
        with pytest.raises(ValueError, match="mapping must name 2 sites, got 1 names"):
            one_design(MODEL, CimChoices(), ("linear",))
        with pytest.raises(ValueError, match="mapping must be one of linear, got 'sparse'"):
            one_design(MODEL, CimChoices(mapping=("linear",)), ("linear", "sparse"))
