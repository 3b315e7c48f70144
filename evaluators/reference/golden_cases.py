"""Read reference results of other tools: mappings with the counts those tools report.

Two schemas, described in the README of the golden data: that of the Sparseloop file (a nest of
blocks per level) and that of the AccelForge file (a list of storage, loop and spatial nodes).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.mappings.loop_nest import BYPASS, TEMPORAL, MappingBatch
from spaces.sparsity.sparsity import DENSE, DensitySpec
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass

SPARSELOOP = "sparseloop"
ACCELFORGE = "accelforge"

_AXIS = "PE"


@dataclass(frozen=True)
class GoldenCase:
    """One mapping and what a reference tool says about it.

    Attributes:
        name: The case's id.
        schema: `SPARSELOOP` or `ACCELFORGE`.
        operator, hardware, mapping: The design; the mapping is a batch of one.
        stationarity: Convention of the tool.
        densities: By tensor name.
        expected: The tool's counts, as in the file.
        raw: The case as in the file: formats, gating and skipping in the tool's own terms.
        flags: Where the tool itself is known to be imprecise.
    """

    name: str
    schema: str
    operator: Operator
    hardware: Hardware
    mapping: MappingBatch
    stationarity: str
    densities: Mapping[str, DensitySpec]
    expected: Mapping[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def read_golden(path: Path) -> list[GoldenCase]:
    """Every case of a golden file, plain or gzipped.

    Raises:
        ValueError: If the file is missing or follows neither schema.
    """
    if not path.is_file():
        raise ValueError(f"golden file {path}: no such file")
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"golden file {path}: not JSON ({error})") from None
    if isinstance(document, dict) and "cases" in document:
        return [sparseloop_case(case) for case in document["cases"]]
    if isinstance(document, dict) and "mappings" in document:
        spec = document["spec"]
        return [accelforge_case(spec, *item) for item in document["mappings"].items()]
    raise ValueError(f"golden file {path}: needs `cases` (Sparseloop) or `mappings` (AccelForge)")


def _einsum(name: str, ranks: Mapping[str, int], tensors: Mapping[str, Sequence[str]]) -> Operator:
    classes = (TensorClass.ACTIVATION, TensorClass.WEIGHT, TensorClass.OUTPUT)
    return Operator(
        name,
        dict(ranks),
        tuple(
            Tensor(tensor, tuple(Dimension(((rank, 1),)) for rank in dims), tensor_class)
            for (tensor, dims), tensor_class in zip(tensors.items(), classes, strict=True)
        ),
    )


Loop = tuple[str, int, int]
"""Rank, trip count, kind."""


def _mapping(operator: Operator, loops: list[Loop], keep: list[list[int]]) -> MappingBatch:
    ranks = operator.rank_names
    return MappingBatch(
        np.array([[ranks.index(rank) for rank, _, _ in loops]], dtype=np.int8),
        np.array([[trip for _, trip, _ in loops]], dtype=np.int64),
        np.array([[kind for _, _, kind in loops]], dtype=np.int8),
        np.array([keep], dtype=np.int8),
        np.zeros((1, len(keep), len(keep[0])), dtype=np.int16),
    )


# --- Sparseloop ---------------------------------------------------------------------------------


def sparseloop_case(case: Mapping[str, Any]) -> GoldenCase:
    """A case of the Sparseloop schema."""
    spec = case["operator"]
    operator = _einsum(case["id"], spec["ranks"], spec["tensors"])
    hardware = _sparseloop_hardware(case)
    return GoldenCase(
        name=case["id"],
        schema=SPARSELOOP,
        operator=operator,
        hardware=hardware,
        mapping=_sparseloop_mapping(case, operator, hardware),
        stationarity="implicit",
        densities={
            tensor.name: _density(case["density"].get(tensor.name)) for tensor in operator.tensors
        },
        expected=case["expected"],
        raw=case,
        flags=tuple(case["flags"]),
    )


def _density(spec: Mapping[str, Any] | None) -> DensitySpec:
    if spec is None:
        return DENSE
    return DensitySpec(spec["distribution"], spec["density"], source="golden file")


def _sparseloop_hardware(case: Mapping[str, Any]) -> Hardware:
    levels = case["levels"]
    counts = [level["instances"] for level in levels]
    counts.append(case.get("compute", {}).get("instances", counts[-1]))
    energy = case["mac_energy_pj"]
    return Hardware(
        name="golden",
        levels=tuple(
            _sparseloop_level(level, counts[index + 1] // counts[index])
            for index, level in enumerate(levels)
        ),
        compute=ComputeUnit(energy_pj=energy["compute"], gated_energy_pj=energy["gated"]),
    )


def _sparseloop_level(level: Mapping[str, Any], fan_out: int) -> Level:
    word_bits = level["word_bits"]
    energy = level.get("energy_pj") or _per_word(level)
    read_bandwidth = level.get("read_bandwidth_words_per_cycle")
    write_bandwidth = level.get("write_bandwidth_words_per_cycle")
    metadata_read = energy.get("metadata_access", energy.get("metadata_read", energy["read"]))
    metadata_bits = level.get("metadata_storage_width_bits") or level.get("metadata_word_bits")
    return Level(
        name=level["name"],
        capacity_bits=inf
        if level["capacity_words"] is None
        else level["capacity_words"] * word_bits,
        access_bits=word_bits,
        read_bits_per_cycle=inf if read_bandwidth is None else read_bandwidth * word_bits,
        write_bits_per_cycle=inf if write_bandwidth is None else write_bandwidth * word_bits,
        fan_out={_AXIS: fan_out} if fan_out > 1 else {},
        read_energy_pj=energy["read"],
        write_energy_pj=energy["write"],
        gated_energy_pj=energy["gated"],
        metadata_access_bits=metadata_bits,
        metadata_energy_pj=metadata_read,
        metadata_write_energy_pj=energy.get("metadata_write", metadata_read),
    )


def _per_word(level: Mapping[str, Any]) -> dict[str, float]:
    """Energies per word from energies per access of several words; metadata stays per access."""
    energy = level["energy_pj_per_access"]
    words = level["words_per_access"]
    per_word = {
        "read": energy["read"] / words,
        "write": energy["write"] / words,
        "gated": energy.get("gated_read", 0.0) / words,
    }
    per_word["metadata_read"] = energy.get("metadata_read", energy["read"])
    per_word["metadata_write"] = energy.get("metadata_write", energy["write"])
    return per_word


def _sparseloop_mapping(
    case: Mapping[str, Any], operator: Operator, hardware: Hardware
) -> MappingBatch:
    axis_below = {
        hardware.levels[level].name: 1 + i for i, (level, _, _) in enumerate(hardware.axes)
    }
    position: dict[str, int] = {}
    loops: list[Loop] = []
    for block in case["nest"]:
        position.setdefault(block["level"], len(loops))
        spatial = block["kind"] == "spatial"
        for rank, trip in block["loops_outer_to_inner"]:
            kind = axis_below[block["level"]] if spatial and trip > 1 else TEMPORAL
            loops.append((rank, trip, kind))
    keep = [
        [
            position[level["name"]] if tensor.name in level.get("keeps", [tensor.name]) else BYPASS
            for level in case["levels"]
        ]
        for tensor in operator.tensors
    ]
    return _mapping(operator, loops, keep)


# --- AccelForge ---------------------------------------------------------------------------------


def accelforge_case(spec: Mapping[str, Any], name: str, case: Mapping[str, Any]) -> GoldenCase:
    """A case of the AccelForge schema; `spec` is the hardware description of its file."""
    operator = _einsum(name, case["dims"], {"I": ("M", "K"), "W": ("K", "N"), "O": ("M", "N")})
    hardware = accelforge_hardware(spec, case["arch"])
    return GoldenCase(
        name=name,
        schema=ACCELFORGE,
        operator=operator,
        hardware=hardware,
        mapping=_accelforge_mapping(case["nodes"], operator, hardware),
        stationarity="explicit",
        densities={tensor.name: DENSE for tensor in operator.tensors},
        expected=case,
        raw=case,
    )


def accelforge_hardware(spec: Mapping[str, Any], arch_name: str) -> Hardware:
    """One architecture of an AccelForge golden file: one shared port per level."""
    arch = spec["archs"][arch_name]
    word_bits = spec["word_bits"]
    array = arch["pe_array"]
    fan_out = {"X": array["X"], "Y": array["Y"]}

    def level(entry: Mapping[str, Any]) -> Level:
        words = entry["bandwidth_words_per_cycle"]
        bandwidth = inf if words is None else words * word_bits
        return Level(
            name=entry["name"],
            capacity_bits=entry["size_bits"] or inf,
            access_bits=word_bits,
            read_bits_per_cycle=bandwidth,
            write_bits_per_cycle=bandwidth,
            shared_port=True,
            fan_out=fan_out if entry["name"] == array["below_level"] else {},
            read_energy_pj=entry["read_pJ_per_word"],
            write_energy_pj=entry["write_pJ_per_word"],
            gated_energy_pj=0.0,
        )

    mac = arch["mac"]
    return Hardware(
        name=arch_name,
        levels=tuple(level(entry) for entry in arch["levels"]),
        compute=ComputeUnit(mac["ops_per_cycle_per_pe"], mac["energy_pJ"], 0.0),
    )


def _accelforge_mapping(
    nodes: Sequence[Sequence[Any]], operator: Operator, hardware: Hardware
) -> MappingBatch:
    axis_kind = {axis: 1 + index for index, (_, axis, _) in enumerate(hardware.axes)}
    names = [tensor.name for tensor in operator.tensors]
    keep = [[BYPASS] * len(hardware.levels) for _ in names]
    loops: list[Loop] = []
    for node in nodes:
        if node[0] == "S":
            for tensor in node[2]:
                keep[names.index(tensor)][hardware.level_names.index(node[1])] = len(loops)
        elif node[0] == "T":
            loops.append((node[1], node[2], TEMPORAL))
        else:
            loops.append((node[2], node[3], axis_kind[node[1]]))
    return _mapping(operator, loops, keep)


def expected_dense_counts(case: GoldenCase) -> Iterator[tuple[str, str, str, float]]:
    """(level, tensor, quantity, count per instance or in all, as the tool reports it).

    Quantities are reads, fills and updates (Sparseloop) or read and write (AccelForge).
    """
    if case.schema == SPARSELOOP:
        for level, tensors in case.expected["levels"].items():
            for tensor, entry in tensors.get("tensors", tensors).items():
                for quantity in ("reads", "fills", "updates"):
                    yield level, tensor, quantity, entry[quantity]["dense"]
        return
    for key, count in case.expected["actions_8bit_words"].items():
        level, tensor, quantity = key.split("/")
        if tensor != "None":
            yield level, tensor, quantity, count


def instances_of(case: GoldenCase, level: str) -> int:
    """Instances that the counts of a level must be multiplied by: 1 where they are totals."""
    if case.schema == ACCELFORGE:
        return 1
    hardware = case.hardware
    return hardware.instances[hardware.level_names.index(level)]
