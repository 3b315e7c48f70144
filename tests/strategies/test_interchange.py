"""Tasks that read and write other tools' files, and their results beside ours."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from spaces.interchange.accelforge_import import import_accelforge
from spaces.mappings.design_file import read_design, write_design
from strategies.reporting.foreign_results import read_foreign
from strategies.tasks import check_energies, export_design, import_design, show_workload, study
from strategies.tasks.instantiate import instantiate
from strategies.tasks.notebook import compose
from strategies.tasks.study import check_foreign
from strategies.tasks.user_errors import UserError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "accelforge_mappings.json"
STATS = """
Summary Stats
-------------
GFLOPs (@1GHz): 32.00
Utilization: 12.50%
Cycles: 2048
Energy: 1.25 uJ
EDP(J*cycle): 2.56e-03
Area: 0.00 mm^2
"""


def test_a_design_goes_out_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "mine.yaml"
    write_design(path, import_accelforge(GOLDEN, "t01_tiny_os"))
    exporting = {"_target_": "evaluators.accelerator.stated_energies.with_stated_energies"}
    config = {"to": "timeloop", "design": str(path), "out_dir": str(tmp_path)}
    export_design.run(OmegaConf.create(config | {"exporting": exporting}))
    assert "timeloop cannot say conventions/stationarity: explicit" in capsys.readouterr().out
    back = {"from": "timeloop", "files": [str(tmp_path / "mine_timeloop")], "to": str(tmp_path)}
    import_design.run(OmegaConf.create(back))
    assert "design.yaml" in capsys.readouterr().out
    design = read_design(tmp_path / "design.yaml")
    assert design.stationarity == "explicit"
    assert (tmp_path / "hardware.yaml").is_file()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'timeloop'"):
        import_design.run(OmegaConf.create({"from": "timelop", "files": ["x"], "to": None}))
    with pytest.raises(UserError, match="files: name the files"):
        import_design.run(OmegaConf.create({"from": "timeloop", "files": None, "to": None}))
    with pytest.raises(UserError, match="design: name a design file"):
        export_design.run(OmegaConf.create({"to": "timeloop", "design": None}))


def test_workload_says_what_is_left_out(capsys: pytest.CaptureFixture) -> None:
    workload = {
        "_target_": "spaces.workloads.language_model.language_model",
        "shape": {
            "_target_": "spaces.workloads.transformer.TransformerShape",
            "name": "small", "hidden": 8, "heads": 2, "feed_forward": 16, "vocabulary": 10,
            "decoder_layers": 3,
        },
        "context": 5,
    }  # fmt: skip
    show_workload.run(OmegaConf.create({"workload": workload, "quiet": True}))
    shown = json.loads(capsys.readouterr().out)
    counts = {row["not modelled"]: row["operations"] for row in shown["left_out"]}
    assert counts == {
        "softmax": 5 * 3 * 2 * 5,
        "norm": 4 * 2 * 3 * 8,
        "activation_function": 3 * 16,
    }
    assert 0 < shown["totals"]["share not modelled"] < 1


def test_foreign_results(tmp_path: Path) -> None:
    (tmp_path / "map.stats.txt").write_text(STATS)
    assert read_foreign(tmp_path / "map.stats.txt") == {
        "map.stats.txt": {
            "utilization": 0.125,
            "latency_cycles": 2048.0,
            "energy_pj": 1.25e6,
            "area_mm2": 0.0,
            "edp_pj_cycles": 1.25e6 * 2048,
        }
    }
    (tmp_path / "paper.csv").write_text("name,metric,value\nchip,energy_pj,5\n")
    assert read_foreign(tmp_path / "paper.csv") == {"chip": {"energy_pj": 5.0}}
    (tmp_path / "paper.csv").write_text("name,metric,value\nchip,energy_pj,five\n")
    with pytest.raises(UserError, match=r"paper.csv:2: value: must be a number"):
        read_foreign(tmp_path / "paper.csv")


def test_foreign_results_stand_beside_the_study_in_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "paper.csv").write_text(
        "name,metric,value\ntheir <chip>,energy_pj,5e9\ntheir <chip>,throughput,7\n"
    )
    words = ["+experiment=operator_mapping", "strategy=random", "budget.trials=12", "quiet=true"]
    here = [f"foreign=[{tmp_path}/paper.csv]", f"out_dir={tmp_path}", "name=s", "tracking=none"]
    study.run(compose([*words, *here]))
    table = json.loads(capsys.readouterr().out)["tables"]["Other results"]
    ours, theirs = table
    assert (ours["result"], theirs["result"]) == ("this study", "their <chip>")
    assert theirs["energy_pj: ours / this"] == ours["energy_pj"] / 5e9
    assert (theirs["latency_cycles"], theirs["not compared"]) == (None, "throughput")
    report = (tmp_path / "s" / "artifacts" / "report.html").read_text()
    assert "Other results" in report
    assert "their &lt;chip&gt;" in report


def test_foreign_files_are_checked_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="foreign: no such file"):
        check_foreign([str(tmp_path / "none.csv")])
    check_foreign([])


def test_energy_tables_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = tmp_path / "e.csv"
    table.write_text("component,action,pJ\nGLB,read,4.5\nRF,leak,1\nL2,read,3\nMAC,compute,0.4\n")
    config = {
        "quiet": True,
        "technology": {"path": str(table), "compute": "MAC"},
        "energy_check": {"_target_": "evaluators.accelerator.energy_table.check_energy_file"},
        "hardware": {
            "_target_": "spaces.hardware_config.build_hardware",
            "name": "small",
            "levels": {"DRAM": {"kind": "dram", "read_energy": "9pJ"}, "GLB": {}},
        },
    }
    check_energies.run(OmegaConf.create(config))
    shown = json.loads(capsys.readouterr().out)
    assert shown["used"] == ["GLB.read", "MAC.compute"]
    assert shown["unused"] == {
        "RF.leak": "the hardware has no RF",
        "L2.read": "the hardware has no L2",
    }
    assert "GLB.write" in shown["missing"]
    assert "DRAM.read" not in shown["missing"]
    with pytest.raises(UserError, match="technology: name an energy table"):
        check_energies.run(OmegaConf.create(config | {"technology": {}}))


def test_imported_files_are_options_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_design(tmp_path / "mine.yaml", import_accelforge(GOLDEN, "t01_tiny_os"))
    exporting = {"_target_": "evaluators.accelerator.stated_energies.with_stated_energies"}
    config = {"design": str(tmp_path / "mine.yaml"), "out_dir": str(tmp_path), "to": None}
    export_design.run(OmegaConf.create(config | {"exporting": exporting}))
    files = [str(tmp_path / "mine_timeloop")]
    import_design.run(OmegaConf.create({"from": "timeloop", "files": files, "to": str(tmp_path)}))
    capsys.readouterr()
    composed = compose(
        [
            "workload=file", f"workload.path={tmp_path}/workload.yaml", "hardware=file",
            f"hardware.path={tmp_path}/hardware.yaml", "quiet=true",
        ]
    )  # fmt: skip
    design = read_design(tmp_path / "design.yaml")
    assert instantiate(composed.hardware, "hardware") == design.hardware
    assert instantiate(composed.workload, "workload").operators == (design.operator,)
    show_workload.run(composed)
    assert json.loads(capsys.readouterr().out)["totals"]["MACs"] == design.operator.macs
