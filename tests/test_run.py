"""The command line as a user meets it: help, the list, and one line for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, out: Path | None = None) -> subprocess.CompletedProcess[str]:
    extra = [f"out_dir={out}"] if out else []
    return subprocess.run(
        [sys.executable, "run.py", *arguments, *extra],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_teaches_groups_and_keys() -> None:
    result = run("--help")
    assert result.returncode == 0
    for word in ("strategy:", "workload:", "python run.py +experiment=llama_decode", "task=list"):
        assert word in result.stdout


def test_list_shows_every_experiment() -> None:
    result = run("task=list")
    assert result.returncode == 0
    for path in (ROOT / "conf" / "experiment").glob("*.yaml"):
        assert path.stem in result.stdout


def test_the_users_own_function_is_tuned(tmp_path: Path) -> None:
    example = ["+experiment=my_study", "--config-dir", "docs/examples", "budget.trials=15"]
    result = run(*example, "tracking=none", out=tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Pareto front" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sed=1"], "sed: unknown key; did you mean 'seed'?"),
        (["workload.contxt=4"], "workload.contxt: unknown key; did you mean 'workload.context'?"),
        (["strategy=tpee"], "strategy=tpee: there is no file conf/strategy/tpee.yaml"),
        (["+experiment=llama_decod"], "did you mean 'llama_decode'?"),
        (["task=lst"], "task=lst: no such task; did you mean 'list'?"),
        (["budget.trials=0"], "budget.trials: must be a whole number >= 1, got 0"),
        (["budget.trials=many"], "budget.trials: must be a whole number >= 1, got 'many'"),
        (
            ["sparsity=random", "sparsity.weight.density=1.5"],
            "density must be between 0 and 1, got 1.5",
        ),
        (["evaluator._target_=subprocess.run"], "evaluator._target_: must begin with"),
        (["resume=nothing"], "resume: no study 'nothing'"),
        (["task=evaluate", "design=nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, message, tmp_path: Path) -> None:
    result = run(*arguments, out=tmp_path / "out")
    assert result.returncode != 0
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run("budget=smoke", "tracking=none", out=tmp_path / "file" / "out")
    assert result.returncode != 0
    assert "file" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_the_shell_completes_groups_and_options() -> None:
    line = "python run.py strategy=pymoo_n"
    result = subprocess.run(
        [sys.executable, "run.py", "-sc", "query=bash"],
        cwd=ROOT,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.split() == ["strategy=pymoo_nsga2", "strategy=pymoo_nsga3"]
