"""`task=evaluate` as a user runs it: tables, JSON, the roofline, one line for a bad picture."""

import json
from pathlib import Path

from strategies.tasks.evaluate_design import access_rows, energy_rows, traffic_rows
from tests.test_run import run

DESIGN = "design=docs/examples/decode_design.yaml"


def test_json_and_tables_say_the_same() -> None:
    account = json.loads(run("task=evaluate", DESIGN, "quiet=true").stdout)
    printed = run("task=evaluate", DESIGN).stdout
    assert f"bottleneck: {account['bottleneck']}" in printed
    assert account["nest"].splitlines()[0] in printed
    tables = (traffic_rows(account), energy_rows(account), access_rows(account))
    for rows in (*tables, [account["totals"]]):
        for name in set(rows[0]) - {"level", "tensor", "format"}:
            assert f"  {name}: {account['definitions'][name][:20]}" in printed
    energy = sum(level["energy_pj"] for level in account["levels"].values())
    total = energy + account["compute"]["energy_pj"] + account["static_energy_pj"]
    assert abs(total - account["totals"]["energy_pj"]) < 1e-9 * total


def test_the_roofline_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "roofline.png"
    assert run("task=evaluate", DESIGN, "quiet=true", f"picture={picture}").returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    result = run("task=evaluate", DESIGN, "quiet=true", f"picture={tmp_path}/roofline.xyz")
    assert result.returncode != 0
    assert "picture:" in result.stderr
