"""What is kept out of a process."""

import importlib
import subprocess
import sys

import pytest

from strategies.tuning.memory import left_out


def test_a_package_left_out_cannot_be_imported_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with left_out("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").__name__ == "colorsys"
    with left_out("colorsys"):
        assert importlib.import_module("colorsys").__name__ == "colorsys"


def test_importances_do_not_load_scikit_learn() -> None:
    code = (
        "import sys; from strategies.tuning.memory import left_out\n"
        "with left_out('sklearn'): import optuna.importance\n"
        "assert optuna.importance.PedAnovaImportanceEvaluator\n"
        "assert not any(name.startswith('sklearn') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
