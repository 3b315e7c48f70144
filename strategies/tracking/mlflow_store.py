"""Opens an MLflow store: checks that it can be reached, makes its schema once, tunes SQLite.

Nothing here prints or raises a text that contains the password of a URI.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from strategies.passwords import redacted, scrubbed

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_S = 5.0
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_SCHEMES = ["sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks", "uc", "file"]
"""Of the URIs that MLflow tracks to, folders apart; `databricks-uc` counts as `databricks`."""

_SCHEMA_LOCK = 7_366_112
"""Key of the PostgreSQL advisory lock; any number that all processes agree on."""
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a study talks to nobody but the store it was given
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a dead server is noticed in seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else a line, and a request, per run
}


class TrackingError(ValueError):
    """The tracking store cannot be used; the message says why and what helps."""


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI, None for any other store.

    >>> sqlite_path("sqlite:///runs/mlflow.db")
    PosixPath('runs/mlflow.db')
    """
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def check_store(uri: str) -> None:
    """Raise TrackingError if the store cannot be reached; takes milliseconds, imports nothing.

    A server is asked for a connection, a SQLite file's folder is made.
    """
    path = sqlite_path(uri)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrackingError(f"tracking.uri: cannot make {path.parent}: {error}") from None
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise TrackingError(f"tracking.uri: {path} cannot be written")
        return
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0].split("-")[0]
    if scheme and scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise TrackingError(
            f"tracking.uri: must begin with {known} or name a folder, got {redacted(uri)}"
        )
    if parts.hostname and scheme in _DEFAULT_PORTS:
        address = (parts.hostname, parts.port or _DEFAULT_PORTS[scheme])
        try:
            socket.create_connection(address, timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise TrackingError(
                f"tracking.uri: the server {redacted(uri)} does not answer "
                f"({error.strerror or error}); start it, or use tracking=local or tracking=none"
            ) from None


def open_store(uri: str) -> MlflowClient:
    """A client of the store; its schema is made by one process at a time.

    Raises:
        TrackingError: If the store cannot be opened.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path = sqlite_path(uri)
    try:
        if uri.startswith("postgresql"):
            return _open_postgres(uri)
        if path is None:
            return MlflowClient(tracking_uri=uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open_sqlite(uri, path)
    except Exception as error:
        raise TrackingError(
            f"tracking.uri: cannot open {redacted(uri)}: {scrubbed(error, uri)}"
        ) from error


def _open_postgres(uri: str) -> MlflowClient:
    """Open a PostgreSQL store under a lock of its server: one process makes the tables."""
    from mlflow import MlflowClient
    from sqlalchemy import create_engine, text

    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_SCHEMA_LOCK})"))
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
    finally:
        engine.dispose()  # closing the connection releases the lock
    return client


def _open_sqlite(uri: str, path: Path) -> MlflowClient:
    """Open a SQLite store under a lock and let every connection write ahead."""
    from filelock import FileLock
    from mlflow import MlflowClient
    from sqlalchemy import event

    with FileLock(f"{path}.lock"):
        if not path.exists():
            _make_sqlite(path)
        client = MlflowClient(tracking_uri=uri)
        engine = client._tracking_client.store.engine
        if not event.contains(engine, "connect", _tune_sqlite):
            event.listen(engine, "connect", _tune_sqlite)
            engine.dispose()  # connections made so far are not tuned
        client.search_experiments(max_results=1)
    return client


def _make_sqlite(path: Path) -> None:
    """Make the tables in a file beside the store's: a process killed meanwhile leaves no half of
    them behind, which no later one could complete.
    """
    from mlflow import MlflowClient

    fresh = path.with_name(f"{path.name}.new")
    for left in (fresh, Path(f"{fresh}-journal")):
        left.unlink(missing_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{fresh}")
    client.search_experiments(max_results=1)
    client._tracking_client.store.engine.dispose()
    fresh.replace(path)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Per connection: concurrent readers, one fsync per checkpoint, patience with other writers."""
    cursor = connection.cursor()
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def ensure_experiment(
    client: MlflowClient, uri: str, name: str, artifacts: str | None = None
) -> str:
    """The experiment's identifier; it is made when it does not exist.

    Artifacts of a SQLite store lie beside its file, those of another database in the folder
    `artifacts`, those of a server where the server says.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = sqlite_path(uri)
        if path is not None:
            artifacts = str(path.parent / "artifacts")
        folder = (
            None if _is_server(uri) or artifacts is None else Path(artifacts).resolve().as_uri()
        )
        tags = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI on the runs
        with contextlib.suppress(MlflowException):  # another process has just made it
            return client.create_experiment(name, artifact_location=folder, tags=tags)
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking.experiment: {name!r} was deleted in the store; restore it or choose "
            f"another name"
        )
    return str(found.experiment_id)


def ui_address(uri: str) -> str:
    """Where the MLflow UI of this store is, once started."""
    if _is_server(uri):
        return redacted(uri).rstrip("/")
    return "http://127.0.0.1:5000"


def ui_command(uri: str) -> str | None:
    """The command that starts the UI on the local machine; None when a server runs it already."""
    if _is_server(uri):
        return None
    path = sqlite_path(uri)
    shown = f"sqlite:///{path.resolve()}" if path else redacted(uri)
    return f"mlflow ui --backend-store-uri {shown} --host 127.0.0.1 --port 5000"


def ui_link(uri: str, experiment_id: str) -> str:
    """The experiment's runs, sorted by creation: the one order in which trials nest."""
    view = "searchFilter=&orderByKey=attributes.start_time&orderByAsc=false&startTime=ALL"
    return f"{ui_address(uri)}/#/experiments/{experiment_id}/runs?{view}&lifecycleFilter=Active"


def _is_server(uri: str) -> bool:
    """True when the store is an MLflow server, spoken to by HTTP."""
    return urlsplit(uri).scheme in ("http", "https")
