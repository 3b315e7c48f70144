"""Timeloop's `architecture` and `ERT` <-> our hardware.

Written: the node list of version 0.4, one container per fan-out axis. Read: that, and the subtree
form of versions 0.2 and 0.3, where instance ranges such as `PE[0..255]` tell the fan-outs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isinf
from typing import Any

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.interchange.energy_reference_table import (
    COMPUTE_ACTIONS,
    STORAGE_ACTIONS,
    EnergyRows,
    meant_actions,
)
from spaces.interchange.timeloop_yaml import Node, Notes, Tagged, TimeloopError, demand, fail
from spaces.validation import nearest

CLASS_OF_KIND = {"dram": "DRAM", "hbm2": "DRAM", "sram": "SRAM", "register_file": "regfile"}
"""Our storage kind -> component class of version 0.4."""

ATTRIBUTES = (
    "datawidth", "width", "depth", "sizeKB", "block_size", "cluster_size", "read_bandwidth",
    "write_bandwidth", "shared_bandwidth", "metadata_storage_width", "metadata_datawidth",
    "metadata_block_size", "metadata_storage_depth", "meshX", "meshY", "technology",
    "global_cycle_seconds", "type", "n_banks", "n_ports", "multiple_buffering", "instances",
)  # fmt: skip
"""Attributes with a meaning; others are noted and left out."""

_COMPUTE = re.compile(r"mac|compute|multipl|alu", re.IGNORECASE)
_REGISTER = re.compile(r"reg|_rf$|^rf$", re.IGNORECASE)
_INSTANCES = re.compile(r"^(.*?)\[(\d+)\.\.(\d+)\]$")
_DEFAULT_BITS = 8


@dataclass
class _Tree:
    """What a walk through an architecture collects, outermost first."""

    name: str = "timeloop"
    levels: list[Level] = field(default_factory=list)
    compute: str = ""
    word_bits: list[int] = field(default_factory=list)
    metadata_bits: list[int] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seen: int = 1

    def fan_out(self, name: str, size: int) -> None:
        """An axis that stands between the last storage and whatever comes next."""
        if size > 1:
            self.pending[name] = self.pending.get(name, 1) * size

    def close(self) -> None:
        """Give the pending axes to the last storage."""
        if not self.pending:
            return
        if not self.levels:
            raise TimeloopError("architecture: a fan-out must stand below the outermost storage")
        self.levels[-1] = replace(self.levels[-1], fan_out=dict(self.pending))
        self.pending = {}


@dataclass(frozen=True)
class ReadArchitecture:
    """Hardware as Timeloop describes it.

    Attributes:
        hardware: Levels, fan-outs, bandwidths, energies where a table gives them.
        compute: Name of the compute component.
        word_bits: Word width of each level, outermost first.
        metadata_bits: Default width of a metadata word of each level.
    """

    hardware: Hardware
    compute: str
    word_bits: tuple[int, ...]
    metadata_bits: tuple[int, ...]


def axis_container(hardware: Hardware, axis: int) -> str:
    """Name of the container that stands for a fan-out axis: the axis's, made unique.

    >>> axis_container(Hardware("x", (Level("GLB", fan_out={"X": 4}), Level("RF"))), 0)
    'X'
    """
    level, name, _ = hardware.axes[axis]
    taken = [other for _, other, _ in hardware.axes].count(name) > 1 or name in hardware.level_names
    return f"{hardware.levels[level].name}_{name}" if taken else name


def architecture_to_data(hardware: Hardware, word_bits: int) -> dict[str, Any]:
    """The `architecture` section of version 0.4; capacities are in words of `word_bits`."""
    top = {
        "name": hardware.name,
        "attributes": {
            "technology": f"{hardware.technology_nm:g}nm",
            "global_cycle_seconds": 1.0 / hardware.clock_hz,
        },
    }
    nodes: list[Any] = [Tagged("!Container", top)]
    for index, level in enumerate(hardware.levels):
        nodes.append(Tagged("!Component", _storage(level, word_bits)))
        for axis, (owner, _, size) in enumerate(hardware.axes):
            if owner == index:
                mesh = {"name": axis_container(hardware, axis), "spatial": {"meshX": size}}
                nodes.append(Tagged("!Container", mesh))
    nodes.append(
        Tagged(
            "!Component",
            {"name": "MAC", "class": "intmac", "attributes": {"datawidth": word_bits}},
        )
    )
    return {"version": "0.4", "nodes": nodes}


def _storage(level: Level, word_bits: int) -> dict[str, Any]:
    block = max(1, level.access_bits // word_bits)
    attributes: dict[str, Any] = {
        "datawidth": word_bits if level.access_bits >= word_bits else level.access_bits,
        "block_size": block,
        "width": level.access_bits,
    }
    if not isinf(level.capacity_bits):
        depth = level.capacity_bits / level.access_bits
        attributes["depth"] = int(depth) if depth == int(depth) else depth
    words = attributes["datawidth"]
    if level.shared_port and not isinf(level.read_bits_per_cycle):
        attributes["shared_bandwidth"] = level.read_bits_per_cycle / words
    else:
        for way in ("read", "write"):
            bits = getattr(level, f"{way}_bits_per_cycle")
            if not isinf(bits):
                attributes[f"{way}_bandwidth"] = bits / words
    if level.metadata_access_bits is not None:
        attributes["metadata_storage_width"] = level.metadata_access_bits
    return {"name": level.name, "class": CLASS_OF_KIND[level.kind], "attributes": attributes}


def energy_table_to_data(hardware: Hardware) -> dict[str, Any]:
    """The `ERT` section: the energies that the hardware itself states [pJ]."""
    tables = []
    for level in hardware.levels:
        actions = {
            "read": level.read_energy_pj,
            "write": level.write_energy_pj,
            "update": level.write_energy_pj,
            "gated_read": level.gated_energy_pj,
            "metadata_read": level.metadata_energy_pj,
            "metadata_write": level.metadata_write_energy_pj,
        }
        tables.append(_rows(f"{hardware.name}.{level.name}[1..1]", actions))
    unit = {
        "compute": hardware.compute.energy_pj,
        "gated_compute": hardware.compute.gated_energy_pj,
    }
    tables.append(_rows(f"{hardware.name}.MAC[1..1]", unit))
    return {"version": "0.4", "tables": [table for table in tables if table["actions"]]}


def _rows(name: str, actions: Mapping[str, float | None]) -> dict[str, Any]:
    rows = [
        {"name": action, "arguments": {}, "energy": float(energy)}
        for action, energy in actions.items()
        if energy is not None
    ]
    return {"name": name, "actions": rows}


def read_architecture(
    section: Mapping[str, Any], energies: EnergyRows, notes: Notes
) -> ReadArchitecture:
    """The hardware of an `architecture` section, priced by the rows of an `ERT`.

    Raises:
        TimeloopError: Names the file, the line, the key and the rule.
    """
    tree = _Tree()
    if "nodes" in section:
        _walk_nodes(section["nodes"], tree, notes)
    elif "subtree" in section:
        for branch in section["subtree"]:
            _walk_subtree(branch, tree, notes, {})
    else:
        raise fail(section, "nodes", f"is missing{nearest('nodes', section)}")
    if not tree.levels:
        raise fail(section, "nodes", "must hold a storage component")
    if not tree.compute:
        raise fail(section, "nodes", "must hold a compute component, class mac or compute")
    tree.close()
    return ReadArchitecture(
        _priced(tree, energies, notes),
        tree.compute,
        tuple(tree.word_bits),
        tuple(tree.metadata_bits),
    )


def _walk_nodes(nodes: Sequence[Any], tree: _Tree, notes: Notes) -> None:
    for node in nodes:
        tag = getattr(node, "tag", "")
        if tag == "Parallel":
            notes.add(f"{node.place()}: parallel branches are read one inside the other")
        if "nodes" in node:
            _walk_nodes(node["nodes"], tree, notes)
        elif "class" in node:
            _mesh(node, tree, {})
            _component(node, tree, notes, {})
        elif tag != "Nothing":
            _settings(node, tree)
            _mesh(node, tree, {})


def _settings(node: Mapping[str, Any], tree: _Tree) -> None:
    attributes = node.get("attributes") or {}
    if not tree.levels and "name" in node:
        tree.name = str(node["name"])
    for key in ("technology", "global_cycle_seconds"):
        if key in attributes:
            tree.settings[key] = attributes[key]


def _mesh(node: Mapping[str, Any], tree: _Tree, unused: Mapping[str, Any]) -> None:
    """Axes of a container: named after it, or after it and the direction where there are two."""
    spatial = node.get("spatial") or {}
    name = str(demand(node, "name"))
    sizes = {axis: int(spatial.get(f"mesh{axis}", 1)) for axis in ("X", "Y")}
    both = min(sizes.values()) > 1
    for axis, size in sizes.items():
        tree.fan_out(f"{name}_{axis}" if both else name, size)


def _walk_subtree(
    branch: Mapping[str, Any], tree: _Tree, notes: Notes, inherited: Mapping[str, Any]
) -> None:
    label, count = _instances(str(demand(branch, "name")))
    attributes = {**inherited, **(branch.get("attributes") or {})}
    if not tree.levels:
        tree.name = label
    tree.settings.update(
        {k: attributes[k] for k in ("technology", "global_cycle_seconds") if k in attributes}
    )
    tree.fan_out(label, count)
    for local in branch.get("local") or ():
        name, copies = _instances(str(demand(local, "name")))
        tree.fan_out(f"{label}_lanes" if copies > 1 else name, copies)
        named = local.copy()
        named.update(name=name)
        _component(_located(local, named), tree, notes, attributes)
    for inner in branch.get("subtree") or ():
        _walk_subtree(inner, tree, notes, attributes)


def _located(source: Any, content: Mapping[str, Any]) -> Any:
    node = type(source)()
    node.update(content)
    node.file, node.line, node.lines, node.tag = source.file, source.line, source.lines, source.tag
    return node


def _instances(name: str) -> tuple[str, int]:
    """Name and number of copies: `PE[0..255]` is 256 times PE."""
    match = _INSTANCES.match(name)
    return (match[1], int(match[3]) - int(match[2]) + 1) if match else (name, 1)


def _component(
    node: Mapping[str, Any], tree: _Tree, notes: Notes, inherited: Mapping[str, Any]
) -> None:
    name, word = str(demand(node, "name")), str(demand(node, "class"))
    attributes = node.get("attributes") or Node()
    for key in attributes:
        if key not in ATTRIBUTES:
            place = attributes.place(key) if isinstance(attributes, Node) else name
            notes.add(f"{place}: attribute {key!r} of {name} is not used")
    if _COMPUTE.search(word):
        tree.close()
        tree.compute = name
        return
    if tree.compute:
        raise fail(node, "name", f"storage {name} must not stand inside the compute unit")
    tree.close()
    level, bits = _level(name, word, attributes, notes)
    tree.levels.append(level)
    tree.word_bits.append(bits)
    tree.metadata_bits.append(int(attributes.get("metadata_datawidth", bits)))


def _level(name: str, word: str, attributes: Mapping[str, Any], notes: Notes) -> tuple[Level, int]:
    bits = int(_number(attributes, "datawidth", _DEFAULT_BITS))
    if "datawidth" not in attributes:
        notes.add(f"{name}: datawidth is not given, {_DEFAULT_BITS} bits are taken")
    block = _number(attributes, "block_size", 1) * _number(attributes, "cluster_size", 1)
    width = int(_number(attributes, "width", bits * block))
    capacity = _number(attributes, "depth", inf) * width
    if "depth" not in attributes and "sizeKB" in attributes:
        capacity = _number(attributes, "sizeKB", inf) * 1024 * 8
    shared = "shared_bandwidth" in attributes
    read = _number(attributes, "shared_bandwidth" if shared else "read_bandwidth", inf) * bits
    metadata = attributes.get("metadata_storage_width")
    return Level(
        name=name,
        kind=_kind(name, word, notes),
        capacity_bits=capacity,
        access_bits=width,
        read_bits_per_cycle=read,
        write_bits_per_cycle=read if shared else _number(attributes, "write_bandwidth", inf) * bits,
        shared_port=shared,
        metadata_access_bits=None if metadata is None else int(metadata),
    ), bits


def _number(attributes: Mapping[str, Any], key: str, default: float) -> float:
    value = attributes.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise fail(
            attributes, key, f"must be a number > 0, got {value!r}; expressions are not read"
        )
    return value


def _kind(name: str, word: str, notes: Notes) -> str:
    if "dram" in word.lower():
        return "dram"
    if _REGISTER.search(word):
        return "register_file"
    if not any(part in word.lower() for part in ("sram", "buffer", "storage", "cache")):
        notes.add(f"class {word!r} of {name} is not known: read as sram")
    return "sram"


def _priced(tree: _Tree, energies: EnergyRows, notes: Notes) -> Hardware:
    levels = []
    for level in tree.levels:
        rows = meant_actions(energies.get(level.name, {}), STORAGE_ACTIONS)
        levels.append(
            replace(
                level,
                read_energy_pj=rows.get("read"),
                write_energy_pj=rows.get("write"),
                gated_energy_pj=rows.get("gated"),
                metadata_energy_pj=rows.get("metadata_read"),
                metadata_write_energy_pj=rows.get("metadata_write"),
            )
        )
    names = [*(level.name for level in levels), tree.compute]
    for component in energies:
        if component not in names:
            notes.add(f"ERT: no component {component!r}, its rows are not used")
    unit = meant_actions(energies.get(tree.compute, {}), COMPUTE_ACTIONS)
    return Hardware(
        name=tree.name,
        levels=tuple(levels),
        compute=ComputeUnit(energy_pj=unit.get("compute"), gated_energy_pj=unit.get("gated")),
        **_globals(tree.settings, notes),
    )


def _globals(settings: Mapping[str, Any], notes: Notes) -> dict[str, float]:
    values: dict[str, float] = {}
    if "global_cycle_seconds" in settings:
        values["clock_hz"] = float(f"{1.0 / float(settings['global_cycle_seconds']):.12g}")
    text = str(settings.get("technology", ""))
    if match := re.fullmatch(r"([\d.]+)\s*(nm)?", text):
        values["technology_nm"] = float(match[1])
    elif text:
        notes.add(f"technology {text!r} is not a node in nm: not used")
    return values
