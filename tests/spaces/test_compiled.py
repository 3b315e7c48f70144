"""Machine code on disk is that of the sources as they are now, of inlined kernels too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spaces.compiled import machine_code_folder, sources_digest

ROOT = Path(__file__).resolve().parents[2]

OUTER = """
from spaces.compiled import compiled
from kernels.inner import price

@compiled
def cost(count: int) -> int:
    return count * price(count)
"""

INNER = """
from spaces.compiled import compiled
from kernels import constants

PRICE = constants.PRICE

@compiled
def price(count: int) -> int:
    return PRICE + count
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    folder = tmp_path / "kernels"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "constants": "PRICE = 10\n",
        "inner": INNER,
        "outer": OUTER,
        "stranger": "PRICE = 99\n",
    }.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def cost_of_two(kernels: Path, **variables: str) -> int:
    """Price in a fresh process that may use the machine code on disk."""
    code = "from kernels.outer import cost; print(cost(2))"
    paths = os.pathsep.join((str(kernels.parent), str(ROOT)))
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


def machine_code(folder: Path) -> list[Path]:
    """Folders that hold the machine code of the outer module."""
    return sorted({path.parent.parent for path in folder.rglob("outer.cost-*.nbc")})


def test_edit_of_an_inlined_kernel_is_compiled_in(kernels: Path) -> None:
    assert cost_of_two(kernels) == 2 * (10 + 2)
    before = machine_code(kernels)
    (kernels / "inner.py").write_text(INNER.replace("PRICE + count", "PRICE - count"))
    assert cost_of_two(kernels) == 2 * (10 - 2)
    after = machine_code(kernels)
    assert len(before) == len(after) == 1  # the older folder is gone
    assert before != after


def test_machine_code_goes_where_numba_is_told(kernels: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert cost_of_two(kernels, NUMBA_CACHE_DIR=str(elsewhere)) == 24
    assert machine_code(elsewhere)
    assert not machine_code(kernels)


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("outer", True), ("inner", True), ("constants", True), ("stranger", False)],
)
def test_digest_covers_what_a_kernel_imports(kernels: Path, edited: str, changes: bool) -> None:
    from spaces import compiled

    outer = kernels / "outer.py"
    before = sources_digest(outer)
    file = kernels / f"{edited}.py"
    file.write_text(file.read_text() + "# edited\n")
    compiled._source.cache_clear()  # a process reads every source once
    compiled._imports.cache_clear()
    assert (sources_digest(outer) != before) == changes


def test_code_that_may_not_be_written_uses_the_user_cache(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernels / "__pycache__").write_text("a file where the folder would be")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = machine_code_folder(kernels / "outer.py")
    assert folder.parent.is_relative_to(tmp_path / "cache")
