"""AccelForge architectures and mappings as our designs.

Read are documents of the form that our reference results use: hardware by name under `spec.archs`,
mappings under `mappings`, each a list of nodes, outermost first::

    ["S", "GLB", ["I", "W"]]    a level keeps tensors      {"type": "Storage", ...}
    ["T", "K", 16]              a temporal loop, trips      {"type": "Temporal", ...}
    ["P", "X", "N", 4]          a loop over a fan-out axis  {"type": "Spatial", ...}

and AccelForge's own YAML nodes `!Storage`, `!Temporal`, `!Spatial` (tile shapes become trip
counts). AccelForge's loops refetch at every iteration: designs have explicit stationarity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.interchange.timeloop_yaml import (
    Node,
    Notes,
    TimeloopError,
    demand,
    fail,
    read_documents,
)
from spaces.mappings.design_file import Design
from spaces.mappings.nest_text import read_nest_items
from spaces.validation import nearest
from spaces.workloads.workload import Dimension, Operator, Precision, Tensor, TensorClass

NODE_TAGS = ("Storage", "Temporal", "Spatial", "Compute", "Toll", "Reservation")
"""Mapping nodes; Compute and Reservation hold nothing that a design needs."""


def import_accelforge(path: str | Path, name: str) -> Design:
    """One mapping of a document, by name.

    Raises:
        TimeloopError: One line with the file, the key, the rule and the nearest valid key.
    """
    document = read_accelforge(path)
    mappings = _section(path, document, "mappings")
    if name not in mappings:
        raise TimeloopError(f"{path}: mappings: no mapping {name!r}{nearest(name, mappings)}")
    spec, case = _section(path, document, "spec"), mappings[name]
    try:
        hardware = accelforge_hardware(spec, str(demand(case, "arch")))
        operator = accelforge_operator(name, demand(case, "dims"))
        items = nest_items(demand(case, "nodes"), operator, hardware)
        bits = int(demand(spec, "word_bits"))
        return Design(
            operator=operator,
            hardware=hardware,
            mapping=read_nest_items(items, operator, hardware, "nodes"),
            precision=Precision(bits, bits, bits, bits),
            stationarity="explicit",
            evaluator={"technology": {"values": {"leakage_mw_per_mm2": 0.0}}},
        )
    except (ValueError, TypeError, KeyError) as error:
        raise TimeloopError(f"{path}: {name}: {' '.join(str(error).split())}") from None


def read_accelforge(path: str | Path) -> Mapping[str, Any]:
    """A document, JSON by its suffix, else YAML.

    Raises:
        TimeloopError: If the file is missing or does not parse.
    """
    if Path(path).suffix != ".json":
        return read_documents([Path(path)], Notes())
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TimeloopError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise TimeloopError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise TimeloopError(f"{path}:1: must be a mapping at its top level")
    return document


def _section(path: str | Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(document.get(key), Mapping):
        raise TimeloopError(f"{path}: {key}: is missing{nearest(key, document)}")
    section: Mapping[str, Any] = document[key]
    return section


def accelforge_operator(name: str, sizes: Mapping[str, int]) -> Operator:
    """`O[M,N] = I[M,K] * W[K,N]`, the einsum of the mappings read."""
    parts = (
        ("I", "MK", TensorClass.ACTIVATION),
        ("W", "KN", TensorClass.WEIGHT),
        ("O", "MN", TensorClass.OUTPUT),
    )
    tensors = tuple(
        Tensor(label, tuple(Dimension(((rank, 1),)) for rank in ranks), role)
        for label, ranks, role in parts
    )
    return Operator(name, dict(sizes), tensors)


def accelforge_hardware(spec: Mapping[str, Any], name: str) -> Hardware:
    """One architecture: one shared port per level, energies per word as given."""
    if name not in spec["archs"]:
        raise ValueError(f"archs: no architecture {name!r}{nearest(name, spec['archs'])}")
    arch, bits = spec["archs"][name], int(spec["word_bits"])
    array, unit = arch["pe_array"], arch["mac"]
    axes = {axis: int(array[axis]) for axis in ("X", "Y")}
    return Hardware(
        name=name,
        levels=tuple(
            _level(entry, bits, axes if entry["name"] == array["below_level"] else {})
            for entry in arch["levels"]
        ),
        compute=ComputeUnit(float(unit["ops_per_cycle_per_pe"]), float(unit["energy_pJ"]), 0.0),
    )


def _level(entry: Mapping[str, Any], bits: int, fan_out: Mapping[str, int]) -> Level:
    words = entry["bandwidth_words_per_cycle"]
    bandwidth = inf if words is None else float(words) * bits
    return Level(
        name=str(entry["name"]),
        capacity_bits=float(entry["size_bits"] or inf),
        access_bits=bits,
        read_bits_per_cycle=bandwidth,
        write_bits_per_cycle=bandwidth,
        shared_port=True,
        fan_out=fan_out,
        read_energy_pj=float(entry["read_pJ_per_word"]),
        write_energy_pj=float(entry["write_pJ_per_word"]),
        gated_energy_pj=0.0,
    )


@dataclass
class _Nest:
    """Items of a nest while nodes are read, and what is left of every rank."""

    extents: dict[str, int]
    items: list[str] = field(default_factory=list)


def nest_items(nodes: Sequence[Any], operator: Operator, hardware: Hardware) -> list[str]:
    """Items of our nest from nodes of either form.

    Raises:
        ValueError: If a node is of neither form or names what does not exist.
    """
    nest = _Nest(dict(operator.ranks))
    for number, node in enumerate(nodes):
        if isinstance(node, Node):
            _yaml_node(node, nest)
        elif isinstance(node, list) and node and node[0] in ("S", "T", "P", "X", "Y"):
            nest.items.append(_short_node(node))
        else:
            raise ValueError(
                f"nodes[{number}]: must be a Storage, Temporal or Spatial, got {node!r}"
            )
    return nest.items


def _short_node(node: Sequence[Any]) -> str:
    if node[0] == "S":
        return f"{node[1]} keeps {', '.join(node[2])}"
    if node[0] == "T":
        return f"for {node[1]} in {node[2]}"
    return f"spatial {node[1]}: {node[2]} in {node[3]}"


def _yaml_node(node: Node, nest: _Nest) -> None:
    tag = node.tag or str(node.get("type", ""))
    if tag not in NODE_TAGS:
        raise fail(node, "type", f"unknown node {tag!r}{nearest(tag, NODE_TAGS)}")
    if tag == "Storage":
        nest.items.append(f"{demand(node, 'component')} keeps {', '.join(demand(node, 'tensors'))}")
    elif tag in ("Temporal", "Spatial"):
        rank = str(demand(node, "rank_variable")).upper()
        if rank not in nest.extents:
            raise fail(node, "rank_variable", f"no rank {rank!r}{nearest(rank, nest.extents)}")
        tile = int(demand(node, "tile_shape"))
        trips = -(-nest.extents[rank] // tile)
        nest.extents[rank] = tile
        start = "for" if tag == "Temporal" else f"spatial {demand(node, 'name')}:"
        nest.items.append(f"{start} {rank} in {trips}")
    elif tag == "Toll":
        raise fail(node, "type", "toll nodes are not read")
