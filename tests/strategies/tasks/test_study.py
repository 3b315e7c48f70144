"""A study from configuration to artifacts, in this process: names, resuming, what is written."""

import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import DictConfig

from strategies.tasks import study
from strategies.tasks.user_errors import CONFIG_DIR

COST = """
def evaluate(x, kind):
    return {'energy_pj': (x - 3) ** 2 + (kind == 'b'), 'latency_cycles': x}
"""


@pytest.fixture
def configure(tmp_path: Path):
    (tmp_path / "cost.py").write_text(COST)

    def make(*overrides: str) -> DictConfig:
        base = [
            "space=parameters",
            "space.definitions={x: {low: 0, high: 9}, kind: {choices: [a, b]}}",
            "evaluator=function",
            f"evaluator.path={tmp_path}/cost.py",
            "strategy=random",
            "strategy.batch_size=5",
            "budget.trials=20",
            "tracking=none",
            "quiet=true",
            f"out_dir={tmp_path}/out",
            "name=mine",
        ]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose("config", overrides=[*base, *overrides])

    return make


def test_a_study_leaves_its_record_and_artifacts(configure, tmp_path, capsys) -> None:
    best = study.run(configure())
    folder = tmp_path / "out" / "mine"
    printed = json.loads(capsys.readouterr().out)
    summary = json.loads((folder / "artifacts" / "summary.json").read_text())
    assert printed["summary"] == summary
    assert summary["trials"] == 20
    assert best == summary["best"]["energy_pj"]
    for name in ("report.html", "trials.parquet", "designs/best_design.json"):
        assert (folder / "artifacts" / name).stat().st_size > 0
    assert (folder / "artifacts" / "figures" / "pareto_front.png").is_file()
    with zipfile.ZipFile(folder / "mine.zip") as bundle:
        assert {"config.yaml", "trials.sqlite", "artifacts/summary.json"} <= set(bundle.namelist())


def test_the_report_names_every_front_design_and_needs_no_network(configure, tmp_path) -> None:
    study.run(configure())
    page = (tmp_path / "out" / "mine" / "artifacts" / "report.html").read_text()
    assert "Pareto front" in page
    assert "mine" in page
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http" not in outside_scripts


def test_equal_seeds_find_the_same(configure, capsys) -> None:
    tables = []
    for name in ("one", "two"):
        study.run(configure(f"name={name}", "strategy=tpe", "strategy.batch_size=1", "seed=4"))
        tables.append(json.loads(capsys.readouterr().out)["tables"])
    assert tables[0] == tables[1]


def test_a_taken_name_is_refused(configure) -> None:
    study.run(configure())
    with pytest.raises(ValueError, match=r"a study 'mine' exists.*resume=mine"):
        study.run(configure())


def test_resuming_goes_on_to_the_new_budget(configure, tmp_path, monkeypatch, capsys) -> None:
    study.run(configure())
    monkeypatch.setattr(study, "task_overrides", lambda: ["resume=mine", "budget.trials=33"])
    study.run(configure("resume=mine", "budget.trials=33"))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["summary"]["trials"] == 33
    recorded = yaml.safe_load((tmp_path / "out" / "mine" / "config.yaml").read_text())
    assert recorded["budget"]["trials"] == 33
    assert recorded["resume"] is None


def test_resuming_a_spent_budget_says_so(configure, monkeypatch, capsys) -> None:
    study.run(configure())
    assert "note" not in capsys.readouterr().err
    monkeypatch.setattr(study, "task_overrides", lambda: ["resume=mine"])
    study.run(configure("resume=mine"))
    assert "no trial was added to the 20 recorded: give a larger budget.trials" in (
        capsys.readouterr().err
    )


def test_a_mistake_that_the_first_batch_shows_leaves_no_trace(configure, tmp_path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    wrong = configure("objective.metrics=[enrgy_pj]", "tracking=local", f"tracking.uri={uri}")
    with pytest.raises(ValueError, match="did you mean 'energy_pj'"):
        study.run(wrong)
    assert not (tmp_path / "out" / "mine").exists()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("cosearch")
    assert client.search_runs([experiment.experiment_id]) == []


def test_resuming_refuses_to_search_something_else(configure, monkeypatch) -> None:
    study.run(configure())
    monkeypatch.setattr(study, "task_overrides", lambda: ["resume=mine", "seed=9"])
    with pytest.raises(ValueError, match="resume: seed cannot change"):
        study.run(configure("resume=mine", "seed=9"))


def test_resuming_an_unknown_study_lists_the_known_ones(configure) -> None:
    study.run(configure())
    with pytest.raises(ValueError, match=r"resume: no study 'other'.*known: \['mine'\]"):
        study.prepare(configure("resume=other"))


def test_a_study_in_which_every_trial_fails_is_an_error_that_keeps_its_record(
    configure, tmp_path
) -> None:
    (tmp_path / "cost.py").write_text(
        "def evaluate(x, kind):\n    raise RuntimeError('no licence')"
    )
    with pytest.raises(ValueError, match=r"every trial failed, most often with: .*no licence"):
        study.run(configure())
    assert (tmp_path / "out" / "mine" / "trials.sqlite").is_file()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.trials=0", "budget.trials"),
        ("workers=0", "workers: must be a whole number >= 1, got 0"),
        ("seed=-1", "seed: must be a whole number >= 0, got -1"),
        ("objective.metrics=[speed]", "'speed' is no metric of the evaluator"),
        ("strategy._target_=os.system", "strategy._target_: must begin with"),
        ("evaluator.path=???", "^evaluator.path: needs a value, write evaluator.path=...$"),
        ("name=a/b", "name: must be a folder's name without a path, got 'a/b'"),
        ("evaluator.path=nowhere.py", "evaluator.path: 'nowhere.py' is not a file"),
        ("evaluator.function=cost", "has no function 'cost'; it has evaluate"),
    ],
)
def test_bad_values_are_named(configure, override, message) -> None:
    with pytest.raises(ValueError, match=message):
        study.run(configure(override))


def test_a_failing_function_fails_its_trials_only(configure, tmp_path, capsys) -> None:
    (tmp_path / "cost.py").write_text(COST.replace("return", "assert x != 4\n    return"))
    study.run(configure("strategy=exhaustive"))
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["failed"] == 2
    assert summary["feasible"] == 18


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "study-seed_0"),
        (["+experiment=e", "tracking=none", "seed=3"], "e-seed_0"),
        (
            ["+experiment=e", "hardware=cloud", "budget.trials=9"],
            "e-hardware_cloud-budget.trials_9-seed_0",
        ),
    ],
)
def test_names_say_what_differs(overrides, name) -> None:
    assert study.default_name(overrides, 0) == name


def test_a_long_name_keeps_its_seed() -> None:
    overrides = ["space.definitions={x: {low: 0, high: 9}}", *(f"key_{i}=value" for i in range(20))]
    names = [study.default_name(overrides, seed) for seed in (0, 1)]
    assert [name[-7:] for name in names] == ["-seed_0", "-seed_1"]
    assert max(map(len, names)) <= 120
