"""A real PostgreSQL server of a test's own: made, started and thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ACCOUNTS = ("postgres", "nobody")
"""Accounts that may run the server when the tests run as root, which PostgreSQL refuses."""


def postgres_folder() -> Path | None:
    """Where `initdb` and `postgres` are, None when the server is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


def server_account() -> str | None:
    """Account that the server runs under; None = that of the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ACCOUNTS if name in known)


@contextmanager
def postgres_server(binaries: Path) -> Iterator[str]:
    """A running server on a free local port; yields the URL of its database `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    account = server_account()
    if account is not None:
        shutil.chown(folder, account)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "tester"]
    subprocess.run(
        [*initdb, "--no-sync"],
        user=account,
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=120,
    )
    control = [str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w", "-t", "60"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -F"
    start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(
        start, user=account, cwd=folder, stdout=subprocess.DEVNULL, check=True, timeout=90
    )
    try:
        yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*control, "-m", "immediate", "stop"],
            user=account,
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=90,
        )
        shutil.rmtree(folder, ignore_errors=True)
