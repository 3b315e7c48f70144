"""Sweeps on other launchers: on Ray for real, on SLURM as far as a configuration can be tested."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from strategies.tasks.recorded_study import known_studies, study_in
from strategies.tasks.user_errors import CONFIG_DIR

ROOT = CONFIG_DIR.parent


@pytest.mark.ray
@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None
    if importlib.util.find_spec("hydra_plugins")
    else True,
    reason="the extra `ray` is not installed",
)
def test_a_sweep_on_ray_is_one_sweep(tmp_path: Path) -> None:
    words = ["-m", "--config-dir", "docs/examples", "hydra/launcher=ray", "+experiment=my_study"]
    words += [
        f"+hydra.launcher.ray.init.{key}" for key in ("num_cpus=2", "include_dashboard=false")
    ]
    words += [
        "budget.trials=10",
        "strategy=random",
        "seed=0,1",
        "quiet=true",
        f"out_dir={tmp_path}",
    ]
    done = subprocess.run(
        [sys.executable, "run.py", *words],
        cwd=ROOT,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    studies = [study_in(tmp_path / name) for name in known_studies(tmp_path)]
    assert [study.result.n_trials for study in studies] == [10, 10]
    (name,) = {str(study.config.sweep) for study in studies}
    printed = [line for line in done.stdout.splitlines() if line.startswith('{"tables"')]
    rows = json.loads(printed[-1])["tables"]["Studies of the sweep"]
    assert sorted(row["seed"] for row in rows) == ["0", "1"]
    assert (tmp_path / "sweeps" / name / "report.html").is_file()


SUBMITIT_KEYS = {
    "submitit_folder", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb",
    "nodes", "name", "stderr_to_stdout", "partition", "qos", "comment", "constraint", "exclude",
    "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu", "mem_per_cpu", "account",
    "signal_delay_s", "max_num_timeout", "additional_parameters", "array_parallelism", "setup",
}  # fmt: skip
"""Fields of `SlurmQueueConf` of hydra-submitit-launcher 1.2; each needs a value, null included."""


def test_the_slurm_launcher_has_exactly_the_plugins_fields() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", ["hydra/launcher=slurm"], return_hydra_config=True)
    launcher = dict(config.hydra.launcher)
    target = launcher.pop("_target_")
    assert target == "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert set(launcher) == SUBMITIT_KEYS


def test_the_sample_script_composes(tmp_path: Path) -> None:
    """The script runs against a stand-in for python that prints its arguments."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PARTITION": "short"}
    script = ["bash", str(ROOT / "docs" / "examples" / "slurm.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.split("\n")[2:-1]  # after run.py -m
    single = [word.split(",")[0] for word in words]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", single, return_hydra_config=True)
    assert config.hydra.launcher.partition == "short"
    assert config.tracking.experiment == "llama_decode"
    missing = {**environment}
    del missing["PARTITION"]
    refused = subprocess.run(script, env=missing, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "the queue to use" in refused.stderr
