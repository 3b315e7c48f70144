"""The folders' import directions, and what the command line may not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "spaces": {"spaces"},
    "evaluators": {"spaces", "evaluators"},
    "strategies": {"spaces", "strategies", "evaluators.evaluation"},
}
HEAVY = {
    "mlflow",
    "torch",
    "ray",
    "pandas",
    "plotly",
    "matplotlib",
    "numba",
    "scipy",
    "optuna",
    "pymoo",
}


def imported_modules(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def source_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ALLOWED)
def test_import_directions(folder: str) -> None:
    ours = ("spaces", "evaluators", "strategies", "run")
    for path in source_files(folder):
        for name in imported_modules(path):
            if name.split(".")[0] not in ours or name == "evaluators":
                continue
            assert any(
                name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[folder]
            ), f"{path.relative_to(ROOT)} imports {name}"


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for folder in ALLOWED:
        for path in source_files(folder):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            graph[module] = set(imported_modules(path))
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join((*trail, module))}"
        if module in done:
            return
        for name in graph[module] & graph.keys():
            if name != module:
                visit(name, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_utils_modules() -> None:
    for folder in ALLOWED:
        for path in source_files(folder):
            assert not {"utils", "helpers", "manager"} & set(path.stem.split("_")), path


def test_kernels_are_compiled_in_one_place() -> None:
    """Elsewhere numba would keep machine code of other files' older sources."""
    for folder in ALLOWED:
        for path in source_files(folder):
            if path != ROOT / "spaces" / "compiled.py":
                names = imported_modules(path)
                assert not [name for name in names if name.split(".")[0] == "numba"], path


def test_command_line_loads_nothing_heavy() -> None:
    code = f"import run, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
