"""The password of a PostgreSQL store appears nowhere: not printed, recorded, tracked or bundled."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from strategies.tasks.user_errors import CONFIG_DIR
from tests.strategies.postgres_server import postgres_folder, postgres_server

ROOT = CONFIG_DIR.parent
SECRET = "S3cretW0rd"
STUDY = ["--config-dir", "docs/examples", "+experiment=my_study", "budget.trials=3"]


def run(out: Path, *words: str, uri: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run.py", *words, f"out_dir={out}"],
        cwd=ROOT,
        env={**os.environ, "TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_password_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path) -> None:
    uri = f"postgresql+psycopg2://me:{SECRET}@127.0.0.1/runs"
    done = run(tmp_path, "-m", *STUDY, f"tracking.uri={uri}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: tracking.uri: must not hold a password")
    assert SECRET not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    binaries = postgres_folder()
    assert binaries is not None
    with postgres_server(binaries) as url:
        yield url


@pytest.mark.postgres
@pytest.mark.skipif(postgres_folder() is None, reason="PostgreSQL is not installed")
def test_a_password_from_the_environment_is_written_nowhere(server: str, tmp_path: Path) -> None:
    uri = server.replace("tester@", f"tester:{SECRET}@")
    tracked = "tracking.uri=${oc.env:TRACKING_URI}"
    outputs = [
        run(tmp_path, "-m", *STUDY, tracked, "seed=0", "sweep=both", "name=mine", uri=uri),
        run(tmp_path, "resume=mine", "budget.trials=5", tracked, uri=uri),
    ]
    assert [done.returncode for done in outputs] == [0] * len(outputs), outputs
    gone = run(tmp_path, *STUDY, tracked, "name=gone", uri=uri.replace("/postgres", "/none"))
    assert 'database "none" does not exist' in gone.stderr
    down = run(tmp_path, *STUDY, tracked, "name=down", uri=uri.replace("127.0.0.1", "127.0.0.2"))
    assert down.returncode == 2
    for done in (*outputs, gone, down):
        assert SECRET not in done.stdout + done.stderr
    assert tracked_trials(server) == 5
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "mine" / "config.yaml" in files
    assert tmp_path / "sweeps" / "both" / "report.html" in files
    assert [str(path) for path in files if SECRET.encode() in content(path)] == []


def content(path: Path) -> bytes:
    """The bytes of a file, those of its members where it is an archive."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def tracked_trials(url: str) -> int:
    """Trials in the store, after a look at every row of every table of it."""
    engine = create_engine(url)
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).fetchall()
            assert SECRET not in str(rows), table
        trials = "SELECT count(*) FROM tags WHERE key = 'role' AND value = 'trial'"
        return int(connection.execute(text(trials)).scalar_one())
