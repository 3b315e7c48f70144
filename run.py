"""cosearch: co-design of sparse LLM accelerators, from the command line.

A space turns numbers into designs; an evaluator turns designs into costs; a strategy picks the
next numbers; the tuner writes everything down.

    python run.py +experiment=llama_decode
    python run.py task=list
"""

from __future__ import annotations

import sys
from importlib import import_module

import hydra
from omegaconf import DictConfig

from spaces.validation import nearest
from strategies.passwords import refuse_passwords
from strategies.tasks.invocation import flags_first, sweep_job
from strategies.tasks.user_errors import UserError, job_errors, one_line_errors

TASKS = {
    "study": "strategies.tasks.study",
    "dry_run": "strategies.tasks.dry_run",
    "list": "strategies.tasks.catalogue",
    "compare": "strategies.tasks.compare",
    "summarise": "strategies.tasks.sweep",
    "bundle": "strategies.tasks.bundle",
    "reproduce": "strategies.tasks.reproduce",
    "sensitivity": "strategies.tasks.sensitivity",
    "evaluate": "strategies.tasks.evaluate_design",
    "energies": "strategies.tasks.check_energies",
    "workload": "strategies.tasks.show_workload",
    "import": "strategies.tasks.import_design",
    "export": "strategies.tasks.export_design",
}
"""Task name -> module whose `run(config)` does it; imported only when asked for."""


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def run(config: DictConfig) -> float | None:
    """Compose the configuration and hand it to the task it names."""
    result: float | None = None
    job = sweep_job()
    with one_line_errors(sys.argv[1:]) if job is None else job_errors(*job, sys.argv[1:]):
        task = str(config.task)
        if task not in TASKS:
            raise UserError(f"task={task}: no such task{nearest(task, TASKS)}")
        result = import_module(TASKS[task]).run(config)
    return result


def main() -> None:
    """Entry point: a user's mistake ends in one line and a non-zero exit status."""
    with one_line_errors(sys.argv[1:]):
        refuse_passwords(sys.argv[1:])
        sys.argv[1:] = flags_first(sys.argv[1:])
        run()


if __name__ == "__main__":
    main()
