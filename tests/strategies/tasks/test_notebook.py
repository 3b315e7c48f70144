"""The tutorial notebook runs, and the notebook's objects are what they say."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from strategies.tasks.notebook import Study, compose, price, run_study

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def test_tutorial_notebook_runs() -> None:
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png", "text/plain"} <= kinds
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("studies")
    words = ["+experiment=operator_mapping", "budget.trials=24", "tracking=none"]
    return run_study(compose([*words, f"out_dir={folder}"]))


def test_study_gives_frames_designs_and_plots(study: Study) -> None:
    assert len(study.trials) == 24
    best = study.best
    assert best is not None
    column = f"metric/{study.result.goal.metrics[0]}"
    names = [name for name in study.trials.columns if name.endswith(column.split("/")[1])]
    assert names
    assert set(study.front.index) <= set(study.trials.index)
    assert "keeps" in best._repr_html_()
    assert f"trial {best.number}" in repr(best)
    assert "24" in str(sum(study.result.counts.values()))
    with pytest.raises(ValueError, match="did you mean 'convergence'"):
        study.plot("convergenc")
    assert study.plot("convergence").figure.axes


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ValueError, match="hardwar") as caught:
        compose(["hardwar=edge"])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        price("none.yaml")
