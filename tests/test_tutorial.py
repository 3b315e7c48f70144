"""Every command of the tutorial runs, in order, as it is written there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = re.compile(r"^python run\.py .*$", re.MULTILINE)


def commands() -> list[str]:
    return COMMAND.findall((ROOT / "docs" / "tutorial.md").read_text())


def test_the_tutorial_has_commands() -> None:
    assert len(commands()) >= 8


def test_every_command_of_the_tutorial_runs(tmp_path: Path) -> None:
    for command in commands():
        words = shlex.split(command)[2:]
        result = subprocess.run(
            [sys.executable, "run.py", *words, f"out_dir={tmp_path}", "tracking=none"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        assert result.stdout.strip(), command
