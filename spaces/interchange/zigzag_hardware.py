"""ZigZag accelerators as our hardware: memories around one array of compute units.

::

    memories:                                   # innermost first
      rf: {size: 1024, r_bw: 8, w_bw: 8, r_cost: 0.1, w_cost: 0.1, r_port: 1, w_port: 1,
           rw_port: 0, operands: [I2], served_dimensions: []}
    operational_array: {unit_energy: 0.04, dimensions: [D1, D2], sizes: [32, 32]}

Sizes are in bits, bandwidths in bits per cycle and port, costs in pJ per access of that width. A
memory serves the array dimensions it is shared by; those that the next memory outwards serves and
it does not are the fan-out between the two. Memories beside one another, for different operands,
become levels one inside the other that keep only theirs. Keys: inputs/hardware of ZigZag 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.interchange.timeloop_yaml import Node, Notes, demand, fail, known_keys
from spaces.validation import nearest
from spaces.workloads.workload import TensorClass

OPERANDS: Mapping[str, frozenset[TensorClass]] = {
    "I1": frozenset({TensorClass.ACTIVATION}),
    "I2": frozenset({TensorClass.WEIGHT, TensorClass.KV}),
    "O": frozenset({TensorClass.OUTPUT}),
    "S": frozenset(),
}
"""Memory operand, as ZigZag's own mapping files link it -> roles; S, a state, has none here."""

MEMORY_KEYS = (
    "size", "r_bw", "w_bw", "r_cost", "w_cost", "r_port", "w_port", "rw_port", "operands",
    "served_dimensions", "ports", "area", "latency", "auto_cost_extraction", "mem_type",
    "min_r_granularity", "min_w_granularity", "double_buffering_support",
)  # fmt: skip
"""Keys of a memory; those from `ports` on have no meaning here."""

ARRAY_KEYS = ("unit_energy", "unit_area", "dimensions", "sizes", "input_precision", "is_imc")
"""Keys of the array; IMC arrays have others."""


def zigzag_hardware(document: Node, notes: Notes) -> Hardware:
    """The hardware of an accelerator file.

    Raises:
        TimeloopError: One line with file, line, key, rule and the nearest valid key.
    """
    array = demand(document, "operational_array")
    if array.get("is_imc"):
        raise fail(array, "is_imc", "in-memory-computing arrays are not read")
    known_keys(array, ARRAY_KEYS)
    names, sizes = demand(array, "dimensions"), demand(array, "sizes")
    if len(names) != len(sizes):
        raise fail(array, "sizes", f"must have {len(names)} sizes, got {len(sizes)}")
    sides = {str(name): int(size) for name, size in zip(names, sizes, strict=True)}
    memories = demand(document, "memories")
    levels: list[Level] = []
    unserved = frozenset[str]()
    for name, memory in memories.items():
        served = _served(memory, sides)
        if not unserved <= served:
            missing = ", ".join(sorted(unserved - served))
            raise fail(
                memory,
                "served_dimensions",
                f"must hold {missing}, which {levels[0].name} inside it serves: memories whose "
                "dimensions are not nested are not read",
            )
        inside = {axis: sides[axis] for axis in sides if axis in served - unserved}
        levels.insert(0, _level(str(name), memory, inside, notes))
        unserved = served
    if unserved != frozenset(sides):
        raise fail(memory, "served_dimensions", f"the outermost memory must serve {list(sides)}")
    return Hardware(
        name=str(document.get("name", "zigzag")),
        levels=tuple(levels),
        compute=ComputeUnit(energy_pj=_amount(array, "unit_energy")),
    )


def _served(memory: Node, sides: Mapping[str, int]) -> frozenset[str]:
    served = [str(name) for name in demand(memory, "served_dimensions")]
    for name in served:
        if name not in sides:
            raise fail(memory, "served_dimensions", f"no dimension {name!r}{nearest(name, sides)}")
    return frozenset(served)


def _level(name: str, memory: Node, fan_out: Mapping[str, int], notes: Notes) -> Level:
    known_keys(memory, MEMORY_KEYS)
    width, write_width = _amount(memory, "r_bw"), _amount(memory, "w_bw")
    read, write, both = (int(memory.get(f"{way}_port", 0)) for way in ("r", "w", "rw"))
    left_open = bool(memory.get("auto_cost_extraction"))
    if left_open:
        notes.add(f"{memory.place()}: costs of {name} are left to the technology")
    for key in ("min_r_granularity", "min_w_granularity"):
        if key in memory:
            notes.add(f"{memory.place(key)}: key {key!r} is not used: an access has the full width")
    outermost = "dram" in name.lower() or name.lower() == "l3"
    register = name.lower().startswith(("rf", "reg"))
    return Level(
        name=name,
        kind="dram" if outermost else "register_file" if register else "sram",
        capacity_bits=_amount(memory, "size"),
        access_bits=int(width),
        read_bits_per_cycle=width * max(1, read + both),
        write_bits_per_cycle=write_width * max(1, write + both),
        shared_port=both > 0 and read + write == 0,
        fan_out=fan_out,
        may_keep=_kept(memory),
        read_energy_pj=None if left_open else _amount(memory, "r_cost"),
        write_energy_pj=None if left_open else _amount(memory, "w_cost") * width / write_width,
    )


def _kept(memory: Node) -> frozenset[TensorClass] | None:
    operands = [str(name) for name in demand(memory, "operands")]
    for name in operands:
        if name not in OPERANDS:
            raise fail(memory, "operands", f"no operand {name!r}{nearest(name, OPERANDS)}")
    kept = frozenset[TensorClass]().union(*(OPERANDS[name] for name in operands))
    return None if kept == frozenset(TensorClass) else kept


def _amount(node: Node, key: str) -> float:
    value: Any = demand(node, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise fail(node, key, f"must be a number >= 0, got {value!r}")
    return float(value)
