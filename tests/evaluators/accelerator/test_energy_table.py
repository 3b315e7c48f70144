"""Energy tables: what is used, unused and missing, and that rows change prices."""

from pathlib import Path

import pytest

from evaluators.accelerator.energy_table import check_table, technology_from_table
from evaluators.accelerator.technology import level_cost
from spaces.hardware import Hardware, Level
from spaces.interchange.energy_reference_table import read_energy_rows
from spaces.interchange.timeloop_yaml import Notes

HARDWARE = Hardware("two", (Level("DRAM", "dram"), Level("GLB", capacity_bits=8192, access_bits=64,
                                                        read_energy_pj=3.0)))  # fmt: skip
CSV = "component,action,pJ\nDRAM,read,500\nGLB,read,7\nGLB,write,9\nNoC,hop,1\nMAC,compute,0.5\n"
ERT = """
ERT:
  version: 0.4
  tables:
    - name: system.DRAM[1..1]
      actions: [{name: read, arguments: {}, energy: 500.0}, {name: leak, energy: 0.0}]
    - name: system.GLB[1..1]
      actions: [{name: update, energy: 8.0}, {name: write, energy: 9.0}]
"""


def test_csv_rows_are_used_unused_or_missing(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(CSV)
    check = check_table(read_energy_rows(tmp_path / "e.csv", Notes()), HARDWARE)
    assert check.used == ("DRAM.read", "GLB.write", "MAC.compute")
    assert check.unused == {
        "GLB.read": "GLB states its read energy itself",
        "NoC.hop": "the hardware has no NoC",
    }
    assert "DRAM.write" in check.missing
    assert "MAC.gated" in check.missing
    assert "GLB.read" not in check.missing
    assert len(check.lines()) == len(check.used) + len(check.unused) + len(check.missing)


def test_ert_prices_accesses(tmp_path: Path) -> None:
    (tmp_path / "ert.yaml").write_text(ERT)
    technology = technology_from_table(str(tmp_path / "ert.yaml"))
    dram = level_cost(technology, HARDWARE.levels[0], 28.0)
    glb = level_cost(technology, HARDWARE.levels[1], 28.0)
    assert (dram.read_pj, dram.write_pj) == (500.0, 500.0)
    assert (glb.read_pj, glb.write_pj) == (3.0, 9.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("pJ", "pj"), r"e.csv:1: pJ: column is missing; did you mean 'pj'"),
        (CSV.replace("500", "much"), r"e.csv:2: pJ: must be a number, got 'much'"),
        (CSV.replace(",9", ",-9"), r"e.csv:4: pJ: must be >= 0"),
        (CSV + "GLB,read,8\n", r"e.csv:7: action: 'read' stands twice"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        technology_from_table(str(tmp_path / "e.csv"))
