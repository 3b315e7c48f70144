"""Comparing recorded studies: what differs, bests, common reference, energy, and every mistake."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from strategies.reporting.comparison_figures import MAX_STEPS, waterfall_steps
from strategies.tasks import compare, study
from strategies.tasks.recorded_study import open_subject
from strategies.tasks.user_errors import CONFIG_DIR
from tests.strategies.small_study import small_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of the small problem that differ in their seed and their number of trials."""
    where = tmp_path_factory.mktemp("compare")
    study.run(small_config(where, "name=few", "budget.trials=4"))
    study.run(small_config(where, "name=all", "strategy=exhaustive"))
    return where


def compared(capsys, folder: Path, *overrides: str) -> dict:
    capsys.readouterr()
    compare.run(small_config(folder, *overrides))
    return json.loads(capsys.readouterr().out)


def test_bests_fronts_and_configuration_are_side_by_side(folder, capsys) -> None:
    out = compared(capsys, folder, "compare=[few,all]")
    best = {row["quantity"]: row for row in out["tables"]["Best of every objective"]}
    assert best["minimize energy_pj"]["all"] == 24.0  # x = 5, kind = a: 4 * 5 + (5 - 7)**2
    assert best["trials"] == {"quantity": "trials", "few": 4.0, "all": 20.0, "last / first": 5.0}
    keys = [row["key"] for row in out["tables"]["What differs in the configuration"]]
    assert "strategy._target_" in keys
    assert not {"name", "out_dir", "seed", "evaluator.path"} & set(keys)


def test_the_larger_front_has_the_whole_volume(folder, capsys) -> None:
    out = compared(capsys, folder, "compare=[few,all]")
    best = {row["quantity"]: row for row in out["tables"]["Best of every objective"]}
    volumes = best["hypervolume (common reference)"]
    assert volumes["all"] == pytest.approx(1.0)
    assert 0 < volumes["few"] < 1


def test_tables_figures_and_an_offline_page_are_written(folder, capsys) -> None:
    out = compared(capsys, folder, "compare=[few,all]")
    where = Path(out["artifacts"])
    assert (where / "figures" / "fronts.png").stat().st_size > 10_000
    assert (where / "tables" / "best_of_every_objective.tex").is_file()
    page = (where / "report.html").read_text()
    assert "few against all" in page
    assert "Pareto fronts" in page


def test_two_trials_of_one_study_are_compared_as_designs(folder, capsys) -> None:
    out = compared(capsys, folder, "compare=[all:0,all:19]")
    rows = {row["what"]: row for row in out["tables"]["The chosen designs"]}
    assert (rows["trial"]["all:0"], rows["trial"]["all:19"]) == (0, 19)
    assert (rows["x"]["all:0"], rows["x"]["all:19"]) == (0, 9)
    assert rows["latency_cycles"] == {"what": "latency_cycles", "all:0": 20.0, "all:19": 11.0}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[few]", r"compare: needs at least 2 studies, got \['few'\]; write compare=\[a,b\]"),
        ("[few,al]", r"no study 'al' in .*did you mean 'all'"),
        ("[few,few]", r"every study must be named once"),
        ("[few,all:20]", r"all:20: study 'all' has trials 0 to 19"),
    ],
)
def test_mistakes_are_named(folder, names, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare.run(small_config(folder, f"compare={names}"))


def test_studies_without_a_shared_objective_are_refused(folder) -> None:
    study.run(small_config(folder, "name=energy", "objective.metrics=[energy_pj]"))
    study.run(small_config(folder, "name=latency", "objective.metrics=[latency_cycles]"))
    with pytest.raises(ValueError, match="share no objective"):
        compare.run(small_config(folder, "compare=[energy,latency]"))


def test_waterfall_steps_add_up_and_gather_the_small_ones() -> None:
    first = {f"part {i}": float(i) for i in range(30)}
    last = {f"part {i}": float(2 * i) for i in range(30)}
    steps = waterfall_steps(first, last, ("a", "b"))
    assert len(steps) == MAX_STEPS + 3
    assert steps[0][1] + sum(value for _, value in steps[1:-1]) == pytest.approx(steps[-1][1])
    assert steps[1] == ("part 29", 29.0)


def test_energy_of_accelerators_is_broken_down(tmp_path, capsys) -> None:
    gemm = ["workload=gemm", "workload.M=16", "workload.K=32", "workload.N=16", "quiet=true"]
    common = [*gemm, "strategy=random", "budget.trials=2", "tracking=none", f"out_dir={tmp_path}"]
    for hardware in ("edge", "cloud"):
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config = compose("config", [*common, f"hardware={hardware}", f"name={hardware}"])
        study.run(config)
    capsys.readouterr()
    config.compare = ["edge", "cloud"]
    config.name = None
    compare.run(config)
    out = json.loads(capsys.readouterr().out)
    rows = out["tables"]["Energy of the chosen designs (pJ)"]
    chosen = open_subject("cloud", tmp_path).trial
    assert sum(row["cloud"] for row in rows) == pytest.approx(chosen.metrics["energy_pj"], rel=1e-6)
    assert (Path(out["artifacts"]) / "figures" / "energy_waterfall_1.png").is_file()
    keys = [row["key"] for row in out["tables"]["What differs in the configuration"]]
    assert "hardware.clock" in keys
    assert "evaluator.model.hardware.clock" not in keys
