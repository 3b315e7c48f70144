"""Quantities with units, hardware from plain values, and every preset that is shipped."""

from math import inf
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.hardware_config import build_hardware
from spaces.quantities import (
    bandwidth_bits_per_cycle,
    data_bits,
    energy_pj,
    frequency_hz,
    length_nm,
)
from spaces.workloads.workload import TensorClass

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("text", "bits"),
    [("512KiB", 2**22), ("1kB", 8000), ("64bit", 64), ("2 MiB", 2**24), ("16b", 16), (96, 96)],
)
def test_amounts_of_data(text, bits):
    assert data_bits(text) == bits


def test_bandwidth_per_second_needs_the_clock():
    assert bandwidth_bits_per_cycle("25.6GB/s", 1e9) == pytest.approx(204.8)
    assert bandwidth_bits_per_cycle("25.6GB/s", 2e8) == pytest.approx(1024)
    assert bandwidth_bits_per_cycle("64B/cycle", 2e8) == 512
    assert bandwidth_bits_per_cycle(None, 1e9) == inf


def test_other_quantities():
    assert frequency_hz("940MHz") == 9.4e8
    assert energy_pj("1.5nJ") == 1500
    assert length_nm("28nm") == 28
    assert length_nm(7) == 7


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (
            lambda: data_bits("big"),
            "capacity must be a number with a unit such as 512KiB, got 'big'",
        ),
        (lambda: data_bits("5 parsecs"), "must be an amount of data such as 512KiB or 64bit"),
        (lambda: frequency_hz("1Ghz"), "frequency must have one of the units Hz, kHz"),
        (lambda: bandwidth_bits_per_cycle("25GB", 1e9), "bandwidth must be data per s or cycle"),
    ],
)
def test_unreadable_quantities_are_named(read, text):
    with pytest.raises(ValueError, match=text):
        read()


def test_levels_from_plain_values():
    hardware = build_hardware(
        "mine",
        {
            "DRAM": {"kind": "dram", "bandwidth": "8GB/s", "port": "shared"},
            "GLB": {"capacity": "1KiB", "fan_out": {"X": 2, "Y": 3}, "must_keep": ["output"]},
            "RF": {"kind": "register_file", "capacity": "16B", "may_keep": ["weight", "kv"]},
        },
        {"macs_per_cycle": 2, "energy": "300fJ"},
        "500MHz",
    )
    assert hardware.instances == (1, 1, 6, 6)
    assert hardware.axes == ((1, "X", 2), (1, "Y", 3))
    assert hardware.levels[0].read_bits_per_cycle == hardware.levels[0].write_bits_per_cycle == 128
    assert hardware.levels[0].shared_port
    assert hardware.levels[1].must_keep == {TensorClass.OUTPUT}
    assert hardware.levels[2].may_keep == {TensorClass.WEIGHT, TensorClass.KV}
    assert hardware.compute == ComputeUnit(2.0, 0.3, None)


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        (
            {"GLB": {"capcity": "1KiB"}},
            "hardware.levels.GLB: unknown key 'capcity'; did you mean 'capacity'",
        ),
        ({"GLB": {"port": "both"}}, "hardware.levels.GLB.port: must be one of shared, separate"),
        ({"GLB": {"capacity": "0B"}}, "level GLB: capacity_bits must be > 0, got 0"),
        ({"GLB": {"kind": "flash"}}, "level GLB: kind must be one of dram, hbm2, sram"),
        ({"GLB": {"may_keep": ["weights"]}}, "GLB.may_keep: must be one of weight, activation"),
        ({"GLB": {"fan_out": {"X": 0}}}, "level GLB: fan-out X must be >= 1, got 0"),
        ({}, "hardware 'mine' must have at least one level"),
    ],
)
def test_bad_levels_are_named(levels, text):
    with pytest.raises(ValueError, match=text):
        build_hardware("mine", levels)


def test_duplicate_levels_are_refused():
    with pytest.raises(ValueError, match="level names must differ, got GLB, GLB"):
        Hardware("x", (Level("GLB"), Level("GLB")))


PRESETS = [path for path in (CONF / "hardware").glob("*.yaml") if path.stem != "file"]
"""`file` reads a file of the user's."""


@pytest.mark.parametrize("path", sorted(PRESETS), ids=lambda p: p.stem)
def test_shipped_presets_build_and_state_their_sources(path):
    hardware = instantiate(OmegaConf.load(path), _convert_="all")
    assert hardware.name == path.stem
    assert hardware.levels[0].kind in ("dram", "hbm2")
    assert path.read_text().startswith("# ")


SHIPPED = [path for path in (CONF / "technology").glob("*.yaml") if path.stem != "energy_table"]
"""`energy_table` reads a file of the user's; tests/evaluators has its own tests."""


@pytest.mark.parametrize("path", sorted(SHIPPED), ids=lambda p: p.stem)
def test_shipped_technologies_build(path):
    assert path.stem.endswith(instantiate(OmegaConf.load(path), _convert_="all").name)
