"""A dense design as a document that `accelforge_import` reads: architecture, sizes, mapping nodes.

Unlike Timeloop, AccelForge places every tensor at a depth of its own, so uneven mappings go out as
they are. After writing, the file is read back; every field of the design that did not come back is
named.
"""

from __future__ import annotations

import json
from math import isinf
from pathlib import Path
from typing import Any

from spaces.hardware import Hardware, Level
from spaces.interchange.accelforge_import import import_accelforge
from spaces.interchange.unsaid import unsaid
from spaces.mappings.design_file import Design, design_to_data
from spaces.mappings.nest_text import nest_items


def accelforge_document(design: Design) -> dict[str, Any]:
    """The document: `spec` with one architecture, `mappings` with one entry.

    Raises:
        ValueError: If the fan-out is not one array of axes X and Y, or an energy is not stated.
    """
    bits = design.precision.activation
    archs = {design.hardware.name: _architecture(design.hardware, bits)}
    mapping = {
        "arch": design.hardware.name,
        "dims": dict(design.operator.ranks),
        "nodes": [_node(item) for item in _items(design)],
    }
    spec = {"word_bits": bits, "archs": archs}
    return {"spec": spec, "mappings": {design.operator.name: mapping}}


def export_accelforge(design: Design, path: str | Path) -> dict[str, str]:
    """Write a design and return what the file cannot say: field -> its value as text.

    Raises:
        ValueError: As `accelforge_document`.
    """
    document = accelforge_document(design)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    back = import_accelforge(path, design.operator.name)
    return dict(unsaid(design_to_data(design), design_to_data(back)))


def _items(design: Design) -> list[str]:
    return nest_items(design.operator, design.hardware, design.mapping)


def _node(item: str) -> list[Any]:
    """A node from an item of a nest, see `spaces.mappings.nest_text`."""
    words = item.replace(",", " ").replace(":", " ").split()
    if words[1] == "keeps":
        return ["S", words[0], words[2:]]
    if words[0] == "for":
        return ["T", words[1], int(words[3])]
    return ["P", words[1].rpartition(".")[2], words[2], int(words[4])]


def _architecture(hardware: Hardware, bits: int) -> dict[str, Any]:
    fanned = [level for level in hardware.levels if level.fan_out]
    if len(fanned) != 1 or not set(fanned[0].fan_out) <= {"X", "Y"}:
        axes = ", ".join(f"{hardware.levels[at].name}.{name}" for at, name, _ in hardware.axes)
        raise ValueError(f"hardware.levels: AccelForge takes one array of axes X and Y, got {axes}")
    array = {axis: fanned[0].fan_out.get(axis, 1) for axis in ("X", "Y")}
    return {
        "levels": [_level(level, bits) for level in hardware.levels],
        "pe_array": array | {"below_level": fanned[0].name},
        "mac": {
            "energy_pJ": _stated(hardware.compute.energy_pj, "compute.energy"),
            "ops_per_cycle_per_pe": hardware.compute.macs_per_cycle,
        },
    }


def _level(level: Level, bits: int) -> dict[str, Any]:
    words = bits / level.access_bits
    read = _stated(level.read_energy_pj, f"levels.{level.name}.read_energy")
    write = _stated(level.write_energy_pj, f"levels.{level.name}.write_energy")
    rate = level.read_bits_per_cycle
    return {
        "name": level.name,
        "size_bits": None if isinf(level.capacity_bits) else level.capacity_bits,
        "read_pJ_per_word": read * words,
        "write_pJ_per_word": write * words,
        "bandwidth_words_per_cycle": None if isinf(rate) else rate / bits,
    }


def _stated(energy: float | None, field: str) -> float:
    if energy is None:
        raise ValueError(f"hardware.{field}: must be stated, AccelForge has no technology laws")
    return energy
