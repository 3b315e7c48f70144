"""`task=export to=timeloop|accelforge design=FILE`: a design as another tool's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from omegaconf import DictConfig

from spaces.interchange.accelforge_export import export_accelforge
from spaces.interchange.timeloop_export import FILES, export_timeloop
from spaces.mappings.design_file import Design, read_design
from spaces.validation import nearest
from strategies.tasks.instantiate import instantiate
from strategies.tasks.user_errors import UserError


def run(config: DictConfig) -> None:
    """Write the files and name every field of the design that they cannot say."""
    tool = str(config.to or "timeloop")
    if tool not in TOOLS:
        raise UserError(f"to: no such tool {tool!r}{nearest(tool, TOOLS)}")
    if not config.design:
        raise UserError("design: name a design file, for example design=mine.yaml")
    path = Path(str(config.design))
    design = instantiate(config.exporting, "exporting", design=read_design(path))
    written, rest = TOOLS[tool](design, Path(str(config.out_dir)) / f"{path.stem}_{tool}")
    for file in written:
        print(f"wrote {file}")
    for field, value in rest.items():
        print(f"{tool} cannot say {field}: {value}")


def _timeloop(design: Design, target: Path) -> tuple[list[Path], dict[str, str]]:
    rest = export_timeloop(design, target)
    return [target / name for name in FILES.values()], rest


def _accelforge(design: Design, target: Path) -> tuple[list[Path], dict[str, str]]:
    file = target.with_suffix(".json")
    return [file], export_accelforge(design, file)


TOOLS: Mapping[str, Callable[[Design, Path], tuple[list[Path], dict[str, str]]]] = {
    "timeloop": _timeloop,
    "accelforge": _accelforge,
}
"""Tool -> what writes a design for it and returns the files and what they cannot say."""
