"""Timeloop and Sparseloop files (v0.2 to v0.4) as our design, hardware, workload and dataflow.

A folder or a list of files is read as one set of top-level keys: `architecture`, `problem`,
`mapping`, `sparse_optimizations`, `ERT`, `ART`, `constraints`. Files that our own export wrote come
with `cosearch_rest.yml`: what Timeloop has no words for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spaces.hardware import Hardware
from spaces.interchange.energy_reference_table import area_rows, energy_rows
from spaces.interchange.timeloop_architecture import ReadArchitecture, read_architecture
from spaces.interchange.timeloop_mapping import blocks_to_mapping, read_constraints, read_mapping
from spaces.interchange.timeloop_problem import read_problem
from spaces.interchange.timeloop_sparse import Nest, format_ids, read_sparse
from spaces.interchange.timeloop_yaml import Node, Notes, TimeloopError, demand, read_documents
from spaces.mappings.dataflow import Dataflow
from spaces.mappings.design_file import Design, design_from_data, design_to_data
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Operator, Precision

REST_FILE = "cosearch_rest.yml"
"""Beside exported files: dotted field of the design -> value that Timeloop cannot say."""

SECTIONS = ("architecture", "problem", "mapping", "sparse_optimizations", "ERT", "ART",
            "constraints", "cosearch_rest")  # fmt: skip
"""Top-level keys with a meaning; others are noted."""


@dataclass(frozen=True)
class Imported:
    """What another tool's files say, as far as they say it.

    Attributes:
        hardware, operator: None where the files lack them.
        densities: Tensor -> zeros.
        design: With a mapping, everything together.
        dataflow: Constraints on mappings.
        areas_um2: Component -> area, of an ART.
        notes: What was not taken at its word: older spellings, keys left out, defaults assumed.
    """

    hardware: Hardware | None = None
    operator: Operator | None = None
    densities: Mapping[str, DensitySpec] = field(default_factory=dict)
    design: Design | None = None
    dataflow: Dataflow | None = None
    areas_um2: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def import_timeloop(paths: Sequence[str | Path]) -> Imported:
    """Read Timeloop files or folders of them.

    Raises:
        TimeloopError: One line with file, line, key, rule and the nearest valid key.
    """
    notes = Notes()
    document = read_documents([Path(path) for path in paths], notes)
    for key in document:
        if key not in SECTIONS:
            notes.add(f"{document[key].place() if isinstance(document[key], Node) else key}: "
                      f"section {key!r} is not used")  # fmt: skip
    try:
        return _imported(document, notes)
    except TimeloopError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise TimeloopError(f"{document.file}: {reason}") from None


def _imported(document: Node, notes: Notes) -> Imported:
    result = Imported()
    architecture: ReadArchitecture | None = None
    if "architecture" in document:
        rows = energy_rows(document["ERT"], notes) if "ERT" in document else {}
        architecture = read_architecture(document["architecture"], rows, notes)
        result = replace(result, hardware=architecture.hardware)
    if "problem" in document:
        operator, densities = read_problem(document["problem"], notes)
        result = replace(result, operator=operator, densities=densities)
    if architecture is not None and result.operator is not None:
        if "constraints" in document:
            section = document["constraints"]
            flow = read_constraints(section, result.operator, architecture.hardware, notes)
            result = replace(result, dataflow=flow)
        if "mapping" in document:
            design = _design(document, result, architecture, notes)
            result = replace(
                result, design=design, hardware=design.hardware, operator=design.operator
            )
    elif "mapping" in document:
        raise TimeloopError("mapping: needs an architecture and a problem beside it")
    if "ART" in document:
        result = replace(result, areas_um2=area_rows(document["ART"]))
    return replace(result, notes=tuple(notes.lines))


def _design(
    document: Node, parts: Imported, architecture: ReadArchitecture, notes: Notes
) -> Design:
    operator, hardware = parts.operator, parts.hardware
    assert operator is not None
    assert hardware is not None
    section = document["mapping"]
    directives = demand(section, "nodes") if isinstance(section, Mapping) else section
    blocks = read_mapping(directives, operator, hardware, notes)
    mapping = blocks_to_mapping(blocks, operator, hardware)
    evaluator: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    if "sparse_optimizations" in document:
        names = (architecture.compute, architecture.metadata_bits)
        sparse = read_sparse(
            document["sparse_optimizations"], Nest(operator, hardware, blocks), names, notes
        )
        tables, ids = format_ids(operator, hardware, sparse.formats)
        mapping = replace(mapping, format_id=ids)
        evaluator = {"skipping": dict(sparse.skipping)} if sparse.skipping else {}
    bits = min(architecture.word_bits[0], 64)
    design = Design(
        operator=operator,
        hardware=hardware,
        mapping=mapping,
        formats=tables,
        densities=parts.densities,
        precision=Precision(bits, bits, bits, bits),
        evaluator=evaluator,
    )
    if "cosearch_rest" in document:
        return restored(design, document["cosearch_rest"])
    return design


def restored(design: Design, rest: Mapping[str, Any]) -> Design:
    """The design with what an export could not say put back; values are YAML texts."""
    data = design_to_data(design)
    for path, text in rest.items():
        *parents, last = path.split("/")
        section = data
        for name in parents:
            section = section.setdefault(name, {})
        if text == "absent":
            section.pop(last, None)
        else:
            section[last] = yaml.safe_load(text)
    return design_from_data(data)
