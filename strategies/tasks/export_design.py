"""`task=export to=timeloop design=FILE`: a design as another tool's files."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from spaces.interchange.timeloop_export import FILES, export_timeloop
from spaces.mappings.design_file import read_design
from spaces.validation import nearest
from strategies.tasks.instantiate import instantiate
from strategies.tasks.user_errors import UserError

TOOLS = ("timeloop",)
"""Tools that designs can be written for."""


def run(config: DictConfig) -> None:
    """Write the files and name every field of the design that they cannot say."""
    tool = str(config.to or "timeloop")
    if tool not in TOOLS:
        raise UserError(f"to: no such tool {tool!r}{nearest(tool, TOOLS)}")
    if not config.design:
        raise UserError("design: name a design file, for example design=mine.yaml")
    path = Path(str(config.design))
    design = instantiate(config.exporting, "exporting", design=read_design(path))
    folder = Path(str(config.out_dir)) / f"{path.stem}_{tool}"
    rest = export_timeloop(design, folder)
    for name in FILES.values():
        print(f"wrote {folder / name}")
    for field, value in rest.items():
        print(f"{tool} cannot say {field}: {value}")
