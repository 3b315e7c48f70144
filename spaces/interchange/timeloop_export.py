"""A design as Timeloop v0.4 files: architecture, problem, mapping, sparse optimisations, ERT.

After writing, the files are read back. Every field of the design that does not come back as it was
is named, and kept in `cosearch_rest.yml`, which Timeloop does not read and our import does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spaces.formats.compression_format import Format
from spaces.interchange.timeloop_architecture import architecture_to_data, energy_table_to_data
from spaces.interchange.timeloop_import import REST_FILE, import_timeloop
from spaces.interchange.timeloop_mapping import mapping_to_data, nest_blocks
from spaces.interchange.timeloop_problem import problem_to_data
from spaces.interchange.timeloop_sparse import Nest, formats_to_data, rules_to_data, sparse_to_data
from spaces.interchange.timeloop_yaml import dump
from spaces.interchange.unsaid import unsaid
from spaces.mappings.design_file import Design, design_to_data

FILES = {
    "architecture": "arch.yaml",
    "problem": "problem.yaml",
    "mapping": "mapping.yaml",
    "sparse_optimizations": "sparse_opt.yaml",
    "ERT": "ERT.yaml",
}
"""Section -> file of an export."""


def timeloop_documents(design: Design) -> dict[str, Any]:
    """Section -> content, in the words of version 0.4.

    Raises:
        ValueError: If a level keeps its tensors at different depths.
    """
    blocks = nest_blocks(design.operator, design.hardware, design.mapping)
    nest = Nest(design.operator, design.hardware, blocks)
    skipping = design.evaluator.get("skipping", {})
    return {
        "architecture": architecture_to_data(design.hardware, design.precision.activation),
        "problem": problem_to_data(design.operator, design.densities),
        "mapping": mapping_to_data(design.operator, design.hardware, blocks),
        "sparse_optimizations": sparse_to_data(
            formats_to_data(nest, chosen_formats(design)),
            rules_to_data(skipping.get("rules", ())),
            skipping.get("compute", "none"),
        ),
        "ERT": energy_table_to_data(design.hardware),
    }


def chosen_formats(design: Design) -> dict[str, dict[str, Format]]:
    """Tensor -> level -> format, of the levels that keep a compressed copy."""
    chosen: dict[str, dict[str, Format]] = {}
    for t, tensor in enumerate(design.operator.tensors):
        for index, level in enumerate(design.hardware.levels):
            number = int(design.mapping.format_id[0, t, index])
            if number:
                chosen.setdefault(tensor.name, {})[level.name] = design.formats[tensor.name][number]
    return chosen


def export_timeloop(design: Design, folder: str | Path) -> dict[str, str]:
    """Write a design as v0.4 files and return what they cannot say: field -> its value as text.

    Args:
        design: One design; energies that its hardware leaves to a technology are not written.
        folder: Created; files of the names in `FILES` are replaced.

    Raises:
        ValueError: If a level keeps its tensors at different depths, or the folder cannot be made.
    """
    target = Path(folder)
    documents = timeloop_documents(design)
    target.mkdir(parents=True, exist_ok=True)
    for section, name in FILES.items():
        (target / name).write_text(dump({section: documents[section]}), encoding="utf-8")
    back = import_timeloop([target / name for name in FILES.values()]).design
    assert back is not None
    rest = dict(unsaid(design_to_data(design), design_to_data(back)))
    text = "# What Timeloop v0.4 has no words for; read back by our import only.\n"
    (target / REST_FILE).write_text(text + dump({"cosearch_rest": rest}), encoding="utf-8")
    return rest
