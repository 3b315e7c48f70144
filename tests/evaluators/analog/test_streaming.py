"""Streamed weights against AccelForge's evaluation of a 128 x 128 bit-serial analog array."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.analog.streaming import StreamedProjection, StreamingArray, stream_projection

GOLDEN = json.loads(
    (Path(__file__).parent.parent.parent / "golden" / "analog_cim_accelforge.json").read_text()
)


@pytest.fixture
def array() -> StreamingArray:
    given = GOLDEN["params"]
    return StreamingArray(
        array_size=given["rows"],
        input_slices=given["input_slices"],
        dac_pj=given["DAC_pJ_per_input_value_per_slice"],
        adc_pj=given["ADC_pJ_per_convert"],
        cell_read_pj=given["cell_read_pJ_per_MAC_per_slice"],
        cell_write_pj=given["cell_write_pJ_per_weight"],
        buffer_pj=given["GLB"],
        dram_pj=given["DRAM"],
        buffer_words_per_cycle=given["GLB_words_per_cycle"],
        dram_words_per_cycle=given["DRAM_words_per_cycle"],
    )


def streamed(array: StreamingArray, case: dict[str, Any]) -> StreamedProjection:
    return stream_projection(array, case["dims"]["M"], case["dims"]["K"], case["dims"]["N"])


@pytest.mark.parametrize("name", ["tiny", "decode1"])
class TestAgainstAccelForge:
    def test_energy_of_every_component(self, array: StreamingArray, name: str) -> None:
        case = GOLDEN[name]
        ours = streamed(array, case).energy_pj
        for component, energy in ours.items():
            assert energy == pytest.approx(case["energy_by"][component], rel=0.01), component

    def test_total_energy(self, array: StreamingArray, name: str) -> None:
        case = GOLDEN[name]
        assert sum(streamed(array, case).energy_pj.values()) == pytest.approx(
            case["energy_pJ"], rel=0.01
        )

    def test_cycles_are_exact(self, array: StreamingArray, name: str) -> None:
        case = GOLDEN[name]
        ours = streamed(array, case)
        assert ours.latency_cycles == case["latency_cycles"]
        assert ours.cycles == {
            "array": case["latency_by"]["MAC"],
            "GLB": case["latency_by"]["GLB"],
            "DRAM": case["latency_by"]["DRAM"],
        }

    def test_actions_are_exact(self, array: StreamingArray, name: str) -> None:
        theirs, ours = GOLDEN[name]["actions"], streamed(array, GOLDEN[name]).actions
        assert ours["dac"] == theirs["DAC/I/read"]
        assert ours["adc"] == theirs["ADC/O/read"]
        assert ours["buffer_read"] == theirs["GLB/I/read"] + theirs["GLB/O/read"]
        assert ours["buffer_write"] == theirs["GLB/I/write"] + theirs["GLB/O/write"]
        assert ours["dram_read"] == theirs["DRAM/I/read"] + theirs["DRAM/W/read"]
        assert ours["dram_write"] == theirs["DRAM/O/write"]


def test_more_arrays_shorten_only_the_analog_part(array: StreamingArray) -> None:
    one = stream_projection(array, 1, 512, 512)
    four = stream_projection(StreamingArray(**{**vars(array), "arrays": 4}), 1, 512, 512)
    assert four.cycles["array"] == one.cycles["array"] / 4
    assert four.energy_pj == one.energy_pj


def test_array_size_must_be_positive(array: StreamingArray) -> None:
    with pytest.raises(ValueError, match="array_size must be >= 1, got 0"):
        StreamingArray(**{**vars(array), "array_size": 0})
