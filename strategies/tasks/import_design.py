"""`task=import from=timeloop|accelforge|zigzag`: other tools' files become ours.

python run.py task=import from=timeloop files=[arch.yaml,problem.yaml,map.yaml] to=mine
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from spaces.interchange.accelforge_import import import_accelforge, read_accelforge
from spaces.interchange.timeloop_import import Imported, import_timeloop
from spaces.interchange.timeloop_yaml import Notes
from spaces.interchange.zigzag_import import zigzag_operators
from spaces.mappings.design_fields import hardware_to_data, operator_to_data
from spaces.mappings.design_file import Design, write_design
from spaces.validation import nearest
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
    written = []
    if imported.design is not None:
        written.append(_write_design(folder / "design.yaml", imported.design))
    if imported.hardware is not None:
        target = {"_target_": "spaces.hardware_config.build_hardware"}
        data = target | hardware_to_data(imported.hardware)
        written.append(_write(folder / "hardware.yaml", data))
    if imported.operator is not None:
        operator = {"operator": operator_to_data(imported.operator)}
        written.append(_write(folder / "workload.yaml", operator))
    if imported.dataflow is not None:
        flow = imported.dataflow
        fields = ("name", "spatial", "order", "keep", "bypass", "maximum_trip")
        plain = {name: getattr(flow, name) for name in fields}
        target = {"_target_": "spaces.mappings.dataflow.Dataflow"}
        data = target | {name: value for name, value in plain.items() if value}
        written.append(_write(folder / "dataflow.yaml", data))
    if not written:
        raise UserError("files: hold no architecture, problem or mapping")
    return written


def _write_design(path: Path, design: Design) -> Path:
    write_design(path, design)
    return path


def _write(path: Path, data: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(data), sort_keys=False), encoding="utf-8")
    return path


def _accelforge(paths: list[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in paths:
        for name in read_accelforge(path).get("mappings", {}):
            written.append(_write_design(folder / f"{name}.yaml", import_accelforge(path, name)))
    return written, ()


def _zigzag(paths: list[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    folder.mkdir(parents=True, exist_ok=True)
    written, notes = [], Notes()
    for path in paths:
        for operator in zigzag_operators(path, notes):
            data = {"operator": operator_to_data(operator)}
            written.append(_write(folder / f"{operator.name}.yaml", data))
    return written, tuple(notes.lines)


Importer = Callable[[list[str], Path], tuple[list[Path], tuple[str, ...]]]
"""Paths and folder -> files written and notes."""

SOURCES: Mapping[str, Importer] = {
    "timeloop": _timeloop,
    "accelforge": _accelforge,
    "zigzag": _zigzag,
}
"""Tool -> what reads its files."""
