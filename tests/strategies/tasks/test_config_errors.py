"""Mistakes in configuration files of the user's own: file, line, key, rule, nearest key."""

from pathlib import Path

import pytest

from tests.test_run import ROOT, run

EDGE = (ROOT / "conf" / "hardware" / "edge.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("capacity: 512KiB", "capasity: 512KiB", "unknown key 'capasity'; did you mean 'capacity'"),
        ("levels:", "levles:", "has no argument 'levles'; did you mean 'levels'?"),
        ("kind: sram,", "kind: flash,", "kind must be one of dram, hbm2, sram, register_file, got"),
    ],
)
def test_the_line_of_a_file_of_ones_own(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EDGE
    file = tmp_path / "hardware" / "mychip.yaml"
    file.parent.mkdir()
    file.write_text(EDGE.replace(old, new, 1))
    line = EDGE[: EDGE.index(old)].count("\n") + 1
    result = run("--config-dir", str(tmp_path), "hardware=mychip", "tracking=none")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file}:{line}: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_the_command_line_says_is_in_no_file() -> None:
    result = run("hardware.levels.GLB.kind=flash", "tracking=none")
    assert result.stderr.startswith("error: hardware.levels.GLB: level GLB: kind must be one of")
