"""What a person sees: the report of a real study offline, and the MLflow UI on it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from strategies.tasks.user_errors import CONFIG_DIR
from strategies.tracking.mlflow_store import open_store, ui_command, ui_link
from tests.browser.chromium import Chromium, chromium_path

ROOT = CONFIG_DIR.parent
TRIALS = 8

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two small real studies, run as a user runs it."""
    folder = tmp_path_factory.mktemp("browser")
    words = ["-m", "--config-dir", "docs/examples", "+experiment=my_study", "seed=0,1"]
    words += ["name='study_${seed}'", f"budget.trials={TRIALS}", f"out_dir={folder}", "quiet=true"]
    command = [sys.executable, "run.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    executable = chromium_path()
    assert executable is not None
    with Chromium(executable) as chromium:
        yield chromium


def open_report(browser: Chromium, out: Path) -> None:
    browser.open(f"file://{out}/study_0/artifacts/report.html")
    browser.wait_for("document.readyState === 'complete' && document.querySelector('svg.main-svg')")


def test_the_report_draws_itself_without_a_network(browser, out) -> None:
    open_report(browser, out)
    assert [
        url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))
    ] == []
    assert browser.errors == []
    assert browser.run("document.title") == "study_0"
    for heading in ("Pareto front", "Convergence", "Designs"):
        assert heading in browser.text
    assert browser.run("document.querySelectorAll('svg.main-svg .scatterlayer .point').length") > 0


def test_hovering_a_point_shows_its_design(browser, out) -> None:
    open_report(browser, out)
    texts = browser.run(
        "[...document.querySelectorAll('.js-plotly-plot')].flatMap("
        "plot => plot.data.flatMap(trace => trace.text ?? []))"
    )
    assert any("trial" in text and "tile = " in text and "policy = " in text for text in texts)


def test_a_click_on_a_heading_sorts_its_table(browser, out) -> None:
    open_report(browser, out)
    rows = "[...document.querySelectorAll('table.sortable tbody tr')]"
    column = f"{rows}.map(row => +row.cells[0].dataset.value)"
    head = "document.querySelector('table.sortable th').click()"
    browser.run(head)
    ascending = browser.run(column)
    assert len(ascending) >= 2
    assert ascending == sorted(ascending)
    browser.run(head)
    assert browser.run(column) == sorted(ascending, reverse=True)


@pytest.fixture(scope="module")
def server(out: Path) -> Iterator[str]:
    """The MLflow UI by the very command that the study printed, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ui_command(f"sqlite:///{out}/mlflow.db")
    assert command is not None
    words = command.replace("--port 5000", f"--port {port} --workers 1").split()
    log = (out / "ui.log").open("w")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / words[0]), *words[1:]],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=20)
        log.close()


def wait_until_healthy(address: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the MLflow UI ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the MLflow UI did not start")


@pytest.fixture(scope="module")
def tracked(out: Path) -> tuple[str, dict[str, Any]]:
    """Identifier of the experiment, and the parent runs by name."""
    client = open_store(f"sqlite:///{out}/mlflow.db")
    experiment = client.get_experiment_by_name("cosearch")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.role = 'study'")
    return experiment.experiment_id, {run.info.run_name: run for run in runs}


def test_the_printed_link_lists_the_studies_with_their_trials_nested(
    browser, out, server, tracked, tmp_path
) -> None:
    experiment_id, _ = tracked
    link = ui_link(f"sqlite:///{out}/mlflow.db", experiment_id)
    browser.open(link.replace("http://127.0.0.1:5000", server))
    shown = browser.wait_for_text("study_0", "study_1", "Sort: Created")
    assert "trial 00000" not in shown
    assert f"{2 * TRIALS + 3} matching runs" in shown
    expander = "document.querySelector('[data-component-id*=\"runnamecellrenderer\"]')"
    browser.wait_for(expander)
    browser.run(f"{expander}.click()")
    browser.wait_for_text(*(f"trial {number:05d}" for number in range(TRIALS)))
    assert browser.screenshot(tmp_path / "runs.png").stat().st_size > 20_000


def test_the_parent_run_shows_its_parameters_metrics_and_tags(browser, server, tracked) -> None:
    experiment_id, runs = tracked
    run_id = runs["study_1"].info.run_id
    browser.open(f"{server}/#/experiments/{experiment_id}/runs/{run_id}")
    shown = browser.wait_for_text("study_1", "best/energy_pj", "search/trials", "set.seed")
    assert f"{runs['study_1'].data.metrics['best/energy_pj']:.4f}".rstrip("0")[:6] in shown
    assert "strategy" in shown


def test_two_studies_compare_under_equal_names(browser, server, tracked) -> None:
    experiment_id, runs = tracked
    ids = [runs[name].info.run_id for name in ("study_0", "study_1")]
    wanted = quote(str(ids).replace("'", '"')), quote(f'["{experiment_id}"]')
    browser.open(f"{server}/#/compare-runs?runs={wanted[0]}&experiments={wanted[1]}")
    shown = browser.wait_for_text("Comparing 2 Runs", "study_0", "study_1", "best/energy_pj")
    for name in ("best/latency_cycles", "search/hypervolume", "search/trials", "seed"):
        assert name in shown
