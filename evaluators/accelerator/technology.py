"""What one access, one compute, one square millimetre costs: every constant with unit and source.

Laws (node in nm, E in pJ)::

    SRAM      E = e0 * (capacity / 8 KiB)**0.474 * (access_bits / 64)**0.75 * (node / 45)**0.46
    registers E = r0 * access_bits * (capacity / 24 B)**0.438 * (node / 45)**0.564
    DRAM      E = access_bits * pJ per bit, at any node (the interface does not shrink)
    MAC       E = (m0 * a_bits * w_bits / 64 + d0 * psum_bits / 32) * (node / 45)**0.564
    area      proportional to node**2, leakage to area

Values that a level or the compute unit states itself, or that the user's own table gives, win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf

from spaces.hardware import Hardware, Level


@dataclass(frozen=True)
class Constant:
    """A number with its unit, the node it holds at (0 = any) and where it comes from."""

    value: float
    unit: str
    node_nm: float
    source: str


_HOROWITZ = "Horowitz, ISSCC 2014, table of energies at 45 nm and 0.9 V"
_TPU4I = "Jouppi et al., ISCA 2021, table of energies at 45 and 7 nm"
_ARTIFACT = "Wu et al., MICRO 2022 (Sparseloop), energy and area tables of the artifact"

CONSTANTS: Mapping[str, Constant] = {
    "sram_pj": Constant(10.0, "pJ per 64-bit access of 8 KiB", 45, _HOROWITZ),
    "sram_capacity_exponent": Constant(
        0.4745, "1", 45, _HOROWITZ + ": 10 pJ at 8 KiB, 100 pJ at 1 MiB (20 pJ at 32 KiB: 19.3)"
    ),
    "sram_width_exponent": Constant(
        0.75, "1", 45, "fitted to the 8, 16, 64 and 256-bit memories of " + _ARTIFACT
    ),
    "sram_write_ratio": Constant(
        0.96, "write / read", 45, _ARTIFACT + ": 134.5 / 140.1 pJ of the 512 KiB buffer"
    ),
    "sram_gated_ratio": Constant(
        0.0003, "gated / read", 45, _ARTIFACT + ": 0.0433 / 140.1 pJ of the 512 KiB buffer"
    ),
    "sram_node_exponent": Constant(
        0.46, "1", 0, _TPU4I + ": 32 KiB access 20 pJ at 45 nm, 8.5 pJ at 7 nm"
    ),
    "register_pj_per_bit": Constant(
        0.0123, "pJ per bit of a 24 B file", 45, _ARTIFACT + ": 0.197 pJ per 16-bit access"
    ),
    "register_capacity_exponent": Constant(
        0.438, "1", 45, _ARTIFACT + ": 0.197 pJ at 24 B, 0.71 pJ at 448 B (0.253 at 48 B: 0.267)"
    ),
    "register_gated_ratio": Constant(
        0.015, "gated / read", 45, _ARTIFACT + ": 0.00737 / 0.492 pJ of the line buffer"
    ),
    "dram_pj_per_bit": Constant(8.0, "pJ per bit", 0, _ARTIFACT + ": LPDDR4, 512 pJ per 64 bits"),
    "hbm2_pj_per_bit": Constant(3.9, "pJ per bit", 0, _ARTIFACT + ": HBM2, 249.6 pJ per 64 bits"),
    "multiply_pj": Constant(
        0.2, "pJ per 8 x 8-bit product", 45, _HOROWITZ + "; 32 x 32 bits 3.1 pJ (law: 3.2)"
    ),
    "add_pj": Constant(0.1, "pJ per 32-bit sum", 45, _HOROWITZ + "; 8 bits 0.03 pJ (law: 0.025)"),
    "mac_gated_ratio": Constant(
        0.065, "gated / active", 45, _ARTIFACT + ": 0.0364 / 0.561 pJ of the 8-bit MAC"
    ),
    "logic_node_exponent": Constant(
        0.564, "1", 0, _TPU4I + ": 8-bit product 0.2 pJ at 45 nm, 0.07 pJ at 7 nm"
    ),
    "sram_um2_per_bit": Constant(
        0.5, "um2 per bit", 45, _ARTIFACT + ": 2.08 mm2 for 512 KiB (128 KiB: 0.60 um2 per bit)"
    ),
    "register_um2_per_bit": Constant(1.28, "um2 per bit", 45, _ARTIFACT + ": 1310 um2 for 128 B"),
    "mac_um2": Constant(
        1239.5, "um2 per 16 x 16-bit MAC", 45, _ARTIFACT + ", area of one multiplier-adder"
    ),
    "leakage_mw_per_mm2": Constant(
        10.0,
        "mW per mm2 of on-chip area",
        0,
        "assumption: order of magnitude of a low-leakage process, no measurement behind it",
    ),
}
"""Every constant of the laws above; a `Technology` may replace any of them by name."""

ACTIONS = ("read", "write", "gated", "metadata_read", "metadata_write")
"""Actions of a storage level in a user's energy table; of the compute unit: compute, gated."""

COMPUTE = "MAC"
"""Component name of the compute unit in a user's energy table."""


def constant_values() -> dict[str, float]:
    """Name -> value of every constant, in its own unit; what `Technology.values` may replace."""
    return {name: constant.value for name, constant in CONSTANTS.items()}


@dataclass(frozen=True)
class Technology:
    """Laws and constants that price what the hardware leaves open.

    Attributes:
        name: Preset name.
        values: Replacements of `CONSTANTS` by name, in the constant's unit.
        energy_table: Accelergy-style: component (level name or "MAC") -> action -> pJ per access.
        source: Where the replacements come from.
    """

    name: str = "laws"
    values: Mapping[str, float] = field(default_factory=dict)
    energy_table: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = "laws fitted to published points, see evaluators/accelerator/technology.py"

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in CONSTANTS:
                known = ", ".join(CONSTANTS)
                raise ValueError(f"technology.values has no constant {name!r}; known: {known}")
            if not value >= 0:
                raise ValueError(f"technology.values.{name} must be >= 0, got {value}")
        for component, actions in self.energy_table.items():
            known_actions = ("compute", "gated") if component == COMPUTE else ACTIONS
            for action, value in actions.items():
                where = f"technology.energy_table.{component}.{action}"
                if action not in known_actions:
                    raise ValueError(f"{where}: actions are {', '.join(known_actions)}")
                if not value >= 0:
                    raise ValueError(f"{where} must be >= 0 pJ, got {value}")

    def constant(self, name: str) -> float:
        """The value in force, in the unit of `CONSTANTS[name]`."""
        return float(self.values.get(name, CONSTANTS[name].value))


@dataclass(frozen=True)
class LevelCost:
    """Energies of one level in pJ per access, its area and leakage per instance.

    Data accesses are `Level.access_bits` wide, metadata accesses `metadata_access_bits`.
    """

    read_pj: float
    write_pj: float
    gated_pj: float
    metadata_access_bits: int
    metadata_read_pj: float
    metadata_write_pj: float
    area_mm2: float
    leakage_mw: float


def storage_access_pj(technology: Technology, kind: str, capacity_bits: float, bits: int) -> float:
    """Read energy at 45 nm of one access of `bits` to a memory of a kind [pJ].

    >>> round(storage_access_pj(Technology(), "sram", 8 * 1024 * 8, 64), 3)
    10.0
    >>> round(storage_access_pj(Technology(), "dram", float("inf"), 64), 3)
    512.0
    """
    if kind in ("dram", "hbm2"):
        return bits * technology.constant(f"{kind}_pj_per_bit")
    if isinf(capacity_bits):
        raise ValueError(f"capacity of a {kind} must be finite for its energy law, got unbounded")
    if kind == "sram":
        size = (capacity_bits / (8 * 1024 * 8)) ** technology.constant("sram_capacity_exponent")
        width = (bits / 64) ** technology.constant("sram_width_exponent")
        return float(technology.constant("sram_pj") * size * width)
    size = (capacity_bits / (24 * 8)) ** technology.constant("register_capacity_exponent")
    return float(technology.constant("register_pj_per_bit") * bits * size)


def node_factor(technology: Technology, kind: str, node_nm: float) -> float:
    """Energy at a node relative to 45 nm; 1 for DRAM."""
    if kind in ("dram", "hbm2"):
        return 1.0
    law = "sram" if kind == "sram" else "logic"
    return float((node_nm / 45.0) ** technology.constant(f"{law}_node_exponent"))


def level_cost(technology: Technology, level: Level, node_nm: float) -> LevelCost:
    """Price one level: its own energies first, then the user's table, then the laws."""
    table = technology.energy_table.get(level.name, {})
    read = _first(level.read_energy_pj, table.get("read"))
    if read is None:
        law = storage_access_pj(technology, level.kind, level.capacity_bits, level.access_bits)
        read = law * node_factor(technology, level.kind, node_nm)
    write_ratio = technology.constant("sram_write_ratio") if level.kind == "sram" else 1.0
    write = _first(level.write_energy_pj, table.get("write"))
    write = read * write_ratio if write is None else write
    gated = _first(level.gated_energy_pj, table.get("gated"))
    width = level.metadata_access_bits or level.access_bits
    metadata_read = _first(level.metadata_energy_pj, table.get("metadata_read"))
    metadata_write = _first(
        level.metadata_write_energy_pj, table.get("metadata_write"), metadata_read
    )
    share = width / level.access_bits
    area = _area_mm2(technology, level, node_nm)
    return LevelCost(
        read_pj=read,
        write_pj=write,
        gated_pj=read * _gated_ratio(technology, level) if gated is None else gated,
        metadata_access_bits=width,
        metadata_read_pj=read * share if metadata_read is None else metadata_read,
        metadata_write_pj=write * share if metadata_write is None else metadata_write,
        area_mm2=area,
        leakage_mw=area * technology.constant("leakage_mw_per_mm2"),
    )


def _first(*values: float | None) -> float | None:
    return next((float(value) for value in values if value is not None), None)


def _gated_ratio(technology: Technology, level: Level) -> float:
    if level.kind in ("dram", "hbm2"):
        return 0.0
    return technology.constant(
        "sram_gated_ratio" if level.kind == "sram" else "register_gated_ratio"
    )


def _area_mm2(technology: Technology, level: Level, node_nm: float) -> float:
    if level.kind in ("dram", "hbm2") or isinf(level.capacity_bits):
        return 0.0
    per_bit = "sram_um2_per_bit" if level.kind == "sram" else "register_um2_per_bit"
    return level.capacity_bits * technology.constant(per_bit) * 1e-6 * (node_nm / 45.0) ** 2


def compute_energy_pj(
    technology: Technology, hardware: Hardware, operand_bits: tuple[int, int], psum_bits: int
) -> tuple[float, float]:
    """Energy of one active and of one gated MAC [pJ].

    >>> hardware = Hardware("x", (Level("RF"),), technology_nm=45)
    >>> mac, gated = compute_energy_pj(Technology(), hardware, (8, 8), 32)
    >>> round(mac, 3), round(gated, 4)
    (0.3, 0.0195)
    """
    table = technology.energy_table.get(COMPUTE, {})
    active = _first(hardware.compute.energy_pj, table.get("compute"))
    if active is None:
        product = technology.constant("multiply_pj") * operand_bits[0] * operand_bits[1] / 64
        total = product + technology.constant("add_pj") * psum_bits / 32
        active = total * node_factor(technology, "logic", hardware.technology_nm)
    gated = _first(hardware.compute.gated_energy_pj, table.get("gated"))
    return active, active * technology.constant("mac_gated_ratio") if gated is None else gated


def compute_area_mm2(
    technology: Technology, hardware: Hardware, operand_bits: tuple[int, int]
) -> float:
    """Area of one compute unit [mm2]; grows with the product of the operand widths."""
    share = operand_bits[0] * operand_bits[1] / 256 * hardware.compute.macs_per_cycle
    scale = (hardware.technology_nm / 45.0) ** 2
    return float(technology.constant("mac_um2") * 1e-6 * share * scale)


def hardware_area_mm2(
    technology: Technology, hardware: Hardware, operand_bits: tuple[int, int]
) -> float:
    """On-chip area: every instance of every level and compute unit [mm2]; DRAM excluded."""
    instances = hardware.instances
    levels = sum(
        _area_mm2(technology, level, hardware.technology_nm) * count
        for level, count in zip(hardware.levels, instances, strict=False)
    )
    return levels + compute_area_mm2(technology, hardware, operand_bits) * instances[-1]


def leakage_pj_per_cycle(technology: Technology, hardware: Hardware, area_mm2: float) -> float:
    """Static energy of the chip per clock cycle [pJ]: mW per mm2 x mm2 / clock."""
    milliwatt = technology.constant("leakage_mw_per_mm2") * area_mm2
    return milliwatt * 1e9 / hardware.clock_hz
