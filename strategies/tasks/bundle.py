"""`task=bundle study=NAME`: one zip with everything that says what a study was and found.

Inside: `config.yaml`, `trials.sqlite`, `artifacts/`, the files that the configuration names under
`inputs/`, `versions.json` and `manifest.json` with the SHA-256 of every member. Passwords of URIs
are left out. `task=reproduce study=FILE.zip` re-prices what is inside.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sqlite3
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf

from strategies.passwords import redacted
from strategies.tasks.invocation import ARTIFACTS, CONFIG_FILE, TRIALS_FILE
from strategies.tasks.recorded_study import RecordedStudy, open_study, references
from strategies.tasks.user_errors import UserError
from strategies.tracking.child_runs import flattened

MANIFEST = "manifest.json"
VERSIONS = "versions.json"
INPUTS = "inputs"
PACKAGES = ("cosearch", "numpy", "scipy", "numba", "optuna", "cmaes", "pymoo", "hydra-core")
"""Packages whose version can change a number."""

MAX_BYTES = 4 << 30
"""Unpacked size at which a bundle is refused."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


def run(config: DictConfig) -> None:
    """Write the bundle beside the study's record and say where it is."""
    (name,) = references(config.study, "study", at_least=1)[:1]
    study = open_study(name, Path(str(config.out_dir)))
    path = write_bundle(study, study.folder / f"{study.name}.zip")
    size_mib = path.stat().st_size / 2**20
    if config.quiet:
        print(json.dumps({"bundle": str(path), "size_mib": size_mib}))
    else:
        print(f"bundle: {path} ({size_mib:.1f} MiB)")
        print(f"check it: python run.py task=reproduce study={path}")


def write_bundle(study: RecordedStudy, path: Path) -> Path:
    """Zip a study; equal studies give equal bytes."""
    with TemporaryDirectory() as scratch:
        members = _members(study, Path(scratch))
        manifest = {
            "study": study.name,
            "inputs": _inputs(study.config),
            "sha256": {name: file_sha256(file) for name, file in members.items()},
        }
        partial = path.with_suffix(".part")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=2).encode())
            for name, file in members.items():
                _add(archive, name, file.read_bytes())
    partial.replace(path)
    return path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _members(study: RecordedStudy, scratch: Path) -> dict[str, Path]:
    """Name in the bundle -> file; the record, configuration and versions are made in `scratch`."""
    public = redacted(OmegaConf.to_yaml(study.config))
    (scratch / CONFIG_FILE).write_text(public, encoding="utf-8")
    (scratch / VERSIONS).write_text(json.dumps(versions(study), indent=2), encoding="utf-8")
    _copy_record(study.folder / TRIALS_FILE, scratch / TRIALS_FILE)
    members = {name: scratch / name for name in (CONFIG_FILE, VERSIONS, TRIALS_FILE)}
    artifacts = sorted(p for p in (study.folder / ARTIFACTS).rglob("*") if p.is_file())
    members |= {str(path.relative_to(study.folder)): path for path in artifacts}
    return members | {f"{INPUTS}/{i}": Path(p) for i, p in enumerate(_inputs(study.config))}


def _copy_record(source: Path, target: Path) -> None:
    """A consistent copy of the record in one file, without passwords, even while it is written."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(target)) as writer,
    ):
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode=DELETE")
        (config,) = writer.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()
        with writer:
            writer.execute("UPDATE meta SET value = ? WHERE key = 'config'", (redacted(config),))


def versions(study: RecordedStudy) -> dict[str, str]:
    """Versions on which the study's numbers may depend."""
    found = {"model": study.result.reader.meta.model_version, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "platform": platform.platform()}


def _inputs(config: DictConfig) -> list[str]:
    """Files that values of the configuration name, as they are written there."""
    leaves: list[Any] = [value for _, value in flattened(OmegaConf.to_container(config))]
    texts = dict.fromkeys(value for value in leaves if isinstance(value, str) and len(value) < 4096)
    return [text for text in texts if "\n" not in text and Path(text).is_file()]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the contents of a bundle, checked against its manifest.

    Raises:
        UserError: If it is no bundle, a member was changed, or an input file that the study used
            is missing here or differs.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                    raise UserError(f"study: {path} unpacks to more than {MAX_BYTES} bytes")
                archive.extractall(folder)
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            check_manifest(folder, manifest)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"study: {path} is not a bundle ({error})") from None
        yield folder


def check_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise UserError unless members and input files are the recorded ones."""
    digests: Mapping[str, str] = manifest["sha256"]
    for name, digest in digests.items():
        if not (folder / name).is_file() or file_sha256(folder / name) != digest:
            raise UserError(f"study: {name} in the bundle is not what was bundled")
    for index, name in enumerate(manifest["inputs"]):
        kept = f"{INPUTS}/{index}"
        if not Path(name).is_file():
            raise UserError(
                f"study: it reads {name}, which is not here; {kept} in the bundle is it"
            )
        if file_sha256(Path(name)) != digests[kept]:
            raise UserError(f"study: {name} has changed; {kept} in the bundle is what it read")
