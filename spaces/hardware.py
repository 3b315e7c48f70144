"""The structure of a spatial accelerator: storage levels, fan-outs, compute units.

Structure only. What an access costs is the evaluators' matter
(`evaluators/accelerator/technology.py`), unless a level states its own energies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod

from spaces.workloads.workload import TensorClass

LEVEL_KINDS = ("dram", "hbm2", "sram", "register_file")
"""Storage kinds; each has its law of energy, area and leakage in
`evaluators/accelerator/technology.py`."""


@dataclass(frozen=True)
class Level:
    """One storage level.

    Attributes:
        name: For example DRAM, GLB, RF.
        kind: One of `LEVEL_KINDS`: which technology law prices it.
        capacity_bits: Per instance; inf = unbounded.
        access_bits: Width of one access; traffic is packed into accesses of this width.
        read_bits_per_cycle, write_bits_per_cycle: Per instance; inf = unlimited.
        shared_port: Reads and writes share `read_bits_per_cycle`.
        fan_out: Axis name -> size, between this level and the next one inwards (or the compute
            units, for the innermost level).
        may_keep: Tensor classes that may be kept here; None = all.
        must_keep: Tensor classes that may not bypass this level.
        read_energy_pj, write_energy_pj: Per access of `access_bits`; None = from the technology.
        gated_energy_pj: Per gated access; None = from the technology.
        metadata_access_bits, metadata_energy_pj: Width and energy of a metadata access; None = the
            data's.
        metadata_write_energy_pj: Of a metadata write; None = `metadata_energy_pj`.
    """

    name: str
    kind: str = "sram"
    capacity_bits: float = inf
    access_bits: int = 64
    read_bits_per_cycle: float = inf
    write_bits_per_cycle: float = inf
    shared_port: bool = False
    fan_out: Mapping[str, int] = field(default_factory=dict)
    may_keep: frozenset[TensorClass] | None = None
    must_keep: frozenset[TensorClass] = frozenset()
    read_energy_pj: float | None = None
    write_energy_pj: float | None = None
    gated_energy_pj: float | None = None
    metadata_access_bits: int | None = None
    metadata_energy_pj: float | None = None
    metadata_write_energy_pj: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in LEVEL_KINDS:
            kinds = ", ".join(LEVEL_KINDS)
            raise ValueError(f"level {self.name}: kind must be one of {kinds}, got {self.kind!r}")
        for name in ("capacity_bits", "access_bits", "read_bits_per_cycle", "write_bits_per_cycle"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"level {self.name}: {name} must be > 0, got {getattr(self, name)}"
                )
        for axis, size in self.fan_out.items():
            if size < 1:
                raise ValueError(f"level {self.name}: fan-out {axis} must be >= 1, got {size}")


@dataclass(frozen=True)
class ComputeUnit:
    """The multiply-accumulate unit below the innermost level.

    Attributes:
        macs_per_cycle: Issued per instance and cycle.
        energy_pj, gated_energy_pj: Per MAC; None = from the technology and the operand widths.
    """

    macs_per_cycle: float = 1.0
    energy_pj: float | None = None
    gated_energy_pj: float | None = None


@dataclass(frozen=True)
class Hardware:
    """A tree of storage levels, outermost first, with compute units at the leaves.

    Attributes:
        name: Preset name.
        levels: Outermost first.
        compute: The leaf.
        clock_hz: Cycles per second.
        technology_nm: Node, for the technology laws.
    """

    name: str
    levels: tuple[Level, ...]
    compute: ComputeUnit = field(default_factory=ComputeUnit)
    clock_hz: float = 1e9
    technology_nm: float = 28.0

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError(f"hardware {self.name!r} must have at least one level, got none")
        if len(set(self.level_names)) < len(self.levels):
            names = ", ".join(self.level_names)
            raise ValueError(f"hardware {self.name!r}: level names must differ, got {names}")
        for name, value in (
            ("clock_hz", self.clock_hz),
            ("technology_nm", self.technology_nm),
            ("compute.macs_per_cycle", self.compute.macs_per_cycle),
        ):
            if not value > 0:
                raise ValueError(f"hardware {self.name!r}: {name} must be > 0, got {value}")

    @property
    def level_names(self) -> tuple[str, ...]:
        """Level names, outermost first."""
        return tuple(level.name for level in self.levels)

    @property
    def axes(self) -> tuple[tuple[int, str, int], ...]:
        """Every fan-out axis as (level it stands below, axis name, size), outermost first.

        The position in this tuple is the axis number that loop kinds of a nest refer to.
        """
        return tuple(
            (index, axis, size)
            for index, level in enumerate(self.levels)
            for axis, size in level.fan_out.items()
        )

    @property
    def instances(self) -> tuple[int, ...]:
        """Instances of each level, then of the compute unit; length L + 1."""
        counts = [1]
        for level in self.levels:
            counts.append(counts[-1] * prod(level.fan_out.values()))
        return tuple(counts)
