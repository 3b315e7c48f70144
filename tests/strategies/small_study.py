"""A small real study from configuration, for tests of what is done with recorded studies."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from strategies.tasks.user_errors import CONFIG_DIR

COST = """
def evaluate(x, kind):
    dram = 4.0 * x + (kind == 'b')
    return {'energy_pj': dram + (x - 7) ** 2, 'latency_cycles': 20.0 - x}
"""


def small_config(folder: Path, *overrides: str) -> DictConfig:
    """20 random trials of two parameters and two opposed objectives, below `folder`/out."""
    cost = folder / "cost.py"
    if not cost.exists():
        cost.write_text(COST)
    base = [
        "space=parameters",
        "space.definitions={x: {low: 0, high: 9}, kind: {choices: [a, b]}}",
        "evaluator=function",
        f"evaluator.path={cost}",
        "strategy=random",
        "strategy.batch_size=5",
        "budget.trials=20",
        "tracking=none",
        "quiet=true",
        f"out_dir={folder}/out",
    ]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("config", overrides=[*base, *overrides])
