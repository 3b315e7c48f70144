"""`task=import from=timeloop|accelforge|zigzag`: other tools' files become ours.

python run.py task=import from=timeloop files=[arch.yaml,problem.yaml,map.yaml] to=mine
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from spaces.hardware import Hardware
from spaces.hardware_file import write_hardware
from spaces.interchange.accelforge_import import import_accelforge, read_accelforge
from spaces.interchange.timeloop_import import Imported, import_timeloop
from spaces.interchange.timeloop_yaml import Notes
from spaces.interchange.zigzag_import import import_zigzag
from spaces.mappings.dataflow_file import write_dataflow
from spaces.mappings.design_file import write_design
from spaces.validation import nearest
from spaces.workloads.workload_file import write_workload
from strategies.tasks.user_errors import UserError


def run(config: DictConfig) -> None:
    """Read the files, write what they hold under `to`, and say what was not taken over."""
    source = str(config["from"])
    if source not in SOURCES:
        raise UserError(f"from: no such tool {source!r}{nearest(source, SOURCES)}")
    files = (
        OmegaConf.to_container(config.files) if OmegaConf.is_list(config.files) else config.files
    )
    paths = [str(path) for path in (files if isinstance(files, list) else [files]) if path]
    if not paths:
        raise UserError("files: name the files to read, for example files=[arch.yaml,map.yaml]")
    folder = Path(str(config.to or f"imported_{source}"))
    written, notes = SOURCES[source](paths, folder)
    for note in notes:
        print(f"warning: {note}")
    for path in written:
        print(f"wrote {path}")


def _timeloop(paths: list[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    imported = import_timeloop(paths)
    return write_imported(imported, folder), imported.notes


def write_imported(imported: Imported, folder: Path) -> list[Path]:
    """Write a design, and hardware, workload and dataflow by themselves; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def file(kind: str) -> Path:
        written.append(folder / f"{kind}.yaml")
        return written[-1]

    if imported.design is not None:
        write_design(file("design"), imported.design)
    if imported.hardware is not None:
        write_hardware(file("hardware"), imported.hardware)
    if imported.operator is not None:
        write_workload(file("workload"), imported.operator.name, [imported.operator])
    if imported.dataflow is not None:
        write_dataflow(file("dataflow"), imported.dataflow)
    if not written:
        raise UserError("files: hold no architecture, problem or mapping")
    return written


def _accelforge(paths: list[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in paths:
        for name in read_accelforge(path).get("mappings", {}):
            written.append(folder / f"{name}.yaml")
            write_design(written[-1], import_accelforge(path, name))
    if not written:
        raise UserError("files: hold no mappings")
    return written, ()


def _zigzag(paths: list[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    notes = Notes()
    written = []
    for path in paths:
        read = import_zigzag(path, notes)
        folder.mkdir(parents=True, exist_ok=True)
        written.append(folder / f"{Path(path).stem}.yaml")
        if isinstance(read, Hardware):
            write_hardware(written[-1], read)
        else:
            write_workload(written[-1], Path(path).stem, read)
    return written, tuple(notes.lines)


Importer = Callable[[list[str], Path], tuple[list[Path], tuple[str, ...]]]
"""Paths and folder -> files written and notes."""

SOURCES: Mapping[str, Importer] = {
    "timeloop": _timeloop,
    "accelforge": _accelforge,
    "zigzag": _zigzag,
}
"""Tool -> what reads its files."""
