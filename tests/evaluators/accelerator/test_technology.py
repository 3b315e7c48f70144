"""The laws against the published points they are fitted to; precedence of stated energies."""

from dataclasses import replace

import pytest

from evaluators.accelerator.technology import (
    CONSTANTS,
    Technology,
    compute_energy_pj,
    hardware_area_mm2,
    leakage_pj_per_cycle,
    level_cost,
    storage_access_pj,
)
from spaces.hardware import ComputeUnit, Hardware, Level

KIB = 8 * 1024
LAWS = Technology()


@pytest.mark.parametrize(
    ("kind", "capacity_bits", "access_bits", "published_pj", "tolerance"),
    [
        ("sram", 8 * KIB, 64, 10.0, 0.001),  # Horowitz 2014
        ("sram", 32 * KIB, 64, 20.0, 0.05),  # Horowitz 2014
        ("sram", 1024 * KIB, 64, 100.0, 0.01),  # Horowitz 2014
        ("sram", 128 * KIB, 64, 32.3, 0.20),  # Sparseloop artifact
        ("sram", 512 * KIB, 256, 140.1, 0.50),  # Sparseloop artifact
        ("sram", 2 * KIB, 16, 1.97, 0.10),  # Sparseloop artifact
        ("register_file", 24 * 8, 16, 0.197, 0.01),  # Sparseloop artifact
        ("register_file", 48 * 8, 16, 0.253, 0.10),  # Sparseloop artifact
        ("register_file", 448 * 8, 16, 0.71, 0.01),  # Sparseloop artifact
        ("dram", float("inf"), 64, 512.0, 0.0),  # Sparseloop artifact
        ("hbm2", float("inf"), 64, 249.6, 0.0),  # Sparseloop artifact
    ],
)
def test_storage_laws_meet_published_points(
    kind, capacity_bits, access_bits, published_pj, tolerance
):
    energy = storage_access_pj(LAWS, kind, capacity_bits, access_bits)
    assert energy == pytest.approx(published_pj, rel=tolerance + 1e-12)


def test_bigger_and_wider_memories_cost_more_per_access_but_less_per_bit():
    narrow = storage_access_pj(LAWS, "sram", 64 * KIB, 64)
    wide = storage_access_pj(LAWS, "sram", 64 * KIB, 256)
    assert narrow < wide < 4 * narrow
    assert storage_access_pj(LAWS, "sram", 128 * KIB, 64) > narrow


def test_mac_energy_follows_the_operand_widths():
    hardware = Hardware("x", (Level("RF"),), technology_nm=45)
    assert compute_energy_pj(LAWS, hardware, (8, 8), 32)[0] == pytest.approx(0.3)
    assert compute_energy_pj(LAWS, hardware, (32, 32), 32)[0] == pytest.approx(3.3)
    assert compute_energy_pj(LAWS, hardware, (4, 8), 32)[0] == pytest.approx(0.2)
    at_7nm = compute_energy_pj(LAWS, replace(hardware, technology_nm=7), (8, 8), 0)[0]
    assert at_7nm == pytest.approx(0.07, rel=0.01)


def test_stated_energies_win_over_the_table_and_the_table_over_the_laws():
    level = Level("GLB", "sram", capacity_bits=64 * KIB)
    table = Technology(energy_table={"GLB": {"read": 3.0, "write": 4.0}})
    assert level_cost(table, level, 28).read_pj == 3.0
    assert level_cost(table, replace(level, read_energy_pj=2.0), 28).read_pj == 2.0
    assert level_cost(table, level, 28).write_pj == 4.0
    assert level_cost(LAWS, level, 28).read_pj not in (2.0, 3.0)


def test_metadata_defaults_to_the_data_s_energy_per_bit():
    level = Level("GLB", read_energy_pj=8.0, write_energy_pj=4.0, access_bits=64)
    narrow = replace(level, metadata_access_bits=16)
    cost = level_cost(LAWS, narrow, 28)
    assert (cost.metadata_read_pj, cost.metadata_write_pj) == (2.0, 1.0)
    stated = level_cost(LAWS, replace(narrow, metadata_energy_pj=0.5), 28)
    assert (stated.metadata_read_pj, stated.metadata_write_pj) == (0.5, 0.5)


def test_area_counts_every_instance_and_leakage_follows_it():
    hardware = Hardware(
        "x",
        (
            Level("DRAM", "dram"),
            Level("GLB", "sram", capacity_bits=1e6, fan_out={"X": 4}),
            Level("RF", "register_file", capacity_bits=1e3),
        ),
        ComputeUnit(),
        technology_nm=45,
    )
    expected_um2 = 1e6 * 0.5 + 4 * 1e3 * 1.28 + 4 * 1239.5 * 64 / 256
    area = hardware_area_mm2(LAWS, hardware, (8, 8))
    assert area == pytest.approx(expected_um2 * 1e-6)
    assert leakage_pj_per_cycle(LAWS, hardware, area) == pytest.approx(10.0 * area)


def test_every_constant_has_a_unit_and_a_source():
    for name, constant in CONSTANTS.items():
        assert constant.unit, name
        assert len(constant.source) > 20, name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"values": {"sram": 1.0}}, "technology.values has no constant 'sram'; known: sram_pj"),
        ({"values": {"sram_pj": -1.0}}, "technology.values.sram_pj must be >= 0, got -1.0"),
        (
            {"energy_table": {"GLB": {"raed": 1.0}}},
            "energy_table.GLB.raed: actions are read, write",
        ),
        ({"energy_table": {"MAC": {"read": 1.0}}}, "energy_table.MAC.read: actions are compute"),
        ({"energy_table": {"MAC": {"compute": -2.0}}}, "MAC.compute must be >= 0 pJ, got -2.0"),
    ],
)
def test_bad_tables_are_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        Technology(**arguments)


def test_an_unbounded_sram_has_no_law():
    with pytest.raises(ValueError, match="capacity of a sram must be finite"):
        storage_access_pj(LAWS, "sram", float("inf"), 64)
