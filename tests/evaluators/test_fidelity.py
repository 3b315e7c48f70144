"""The bars of fidelity on the golden files, and the script that reports them."""

import json
from pathlib import Path

import pytest

from benchmarks.fidelity import main
from evaluators.reference.golden_cases import read_golden
from evaluators.reference.golden_comparison import compare

GOLDEN = Path(__file__).parents[1] / "golden"
SPARSELOOP = GOLDEN / "sparseloop_matmul.json.gz"
ACCELFORGE = GOLDEN / "accelforge_mappings.json"


@pytest.fixture(scope="module")
def sparseloop_cases():
    return read_golden(SPARSELOOP)


def test_unflagged_cases_meet_the_bar_under_the_references_accounting(sparseloop_cases):
    deviations = [compare(case, "sparseloop") for case in sparseloop_cases]
    unflagged = [deviation for deviation in deviations if not deviation.flags]
    assert len(unflagged) == 71
    assert [deviation.name for deviation in unflagged if not deviation.within()] == []
    assert max(deviation.energy for deviation in unflagged) < 2e-4


def test_gating_cases_agree_although_flagged(sparseloop_cases):
    """The flag names the reference's behaviour; its own accounting reproduces it."""
    gated = [case for case in sparseloop_cases if any("gating" in flag for flag in case.flags)]
    assert len(gated) == 9
    assert all(compare(case, "sparseloop").within() for case in gated)


def test_other_flagged_cases_are_where_the_reference_is_wrong(sparseloop_cases):
    broken = [case for case in sparseloop_cases if case.flags and "gating" not in case.flags[0]]
    assert len(broken) == 9
    assert not any(compare(case, "sparseloop").within() for case in broken)


def test_uncompressed_cases_agree_under_the_codec_too(sparseloop_cases):
    plain = [c for c in sparseloop_cases if not c.raw["formats"] and not c.flags]
    assert len(plain) >= 6
    for case in plain:
        deviation = compare(case, "codec")
        assert deviation.within(), deviation
        assert deviation.energy <= 1e-3


def test_codec_changes_only_metadata_where_nothing_is_skipped(sparseloop_cases):
    """Bitmaps and coordinate lists hold the same non-zeros; only the layout of metadata differs."""
    for case in sparseloop_cases:
        if not case.flags and case.name.split("_")[3] in ("B", "CP", "BB") and not case.raw["saf"]:
            deviation = compare(case, "codec")
            assert deviation.data == 0.0
            assert deviation.energy < 0.05


def test_accelforge_cases_agree_in_counts_cycles_and_energy():
    for case in read_golden(ACCELFORGE):
        deviation = compare(case, "codec")
        assert (deviation.dense, deviation.cycles) == (0.0, 0.0)
        assert deviation.energy < 1e-7


def test_script_prints_a_row_per_case_and_a_summary(capsys):
    assert main([str(ACCELFORGE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    summary = json.loads(lines[-1])
    assert summary["cases"] == summary["unflagged_passed"] == summary["dense_exact"] == 10


def test_script_takes_the_convention(capsys):
    assert main([str(ACCELFORGE), "--convention", "implicit"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dense_exact"] < 10


def test_script_names_a_missing_or_foreign_file(tmp_path, capsys):
    assert main([str(tmp_path / "none.json")]) == 2
    (tmp_path / "other.json").write_text("{}")
    assert main([str(tmp_path / "other.json")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "no such file" in errors[0]
    assert "needs `cases` (Sparseloop) or `mappings` (AccelForge)" in errors[1]
