"""Two designs of the literature, written in this project's terms, with what was published of them.

Sparseloop (Wu et al., MICRO 2022): its Fig. 1, a density sweep of two formats on a toy accelerator,
and its Fig. 13, cycles of the dual-side sparse tensor core (DSTC). Inputs are those of the paper's
artifact (45 nm); published values are in tests/golden/published_fig1.json and published_dstc.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluators.accelerator.intersection import IntersectionRule, SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from spaces.formats.compression_format import Format
from spaces.formats.format_grammar import parse_format
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Precision, TensorClass, matmul

FIG1_DENSITIES = (0.01, 0.02, 0.04, 0.08, 0.1, 0.2, 0.4, 0.8)
"""Labels of the sweep; the artifact rounds .01 and .1 to whole elements of a 128-element line."""

_FIG1_ROUNDED = {0.01: 0.01171875, 0.1: 0.1015625}

_NO_LEAKAGE = Technology("artifact", {"leakage_mw_per_mm2": 0.0})
_OPERANDS = frozenset({TensorClass.ACTIVATION, TensorClass.WEIGHT})
_OUTPUTS = frozenset({TensorClass.OUTPUT})


@dataclass(frozen=True)
class PublishedDesign:
    """A model and its one mapping (a batch of one)."""

    model: SparseAccelerator
    mapping: MappingBatch

    @property
    def cycles(self) -> float:
        """Latency [cycles]."""
        return float(self.model.evaluate(self.mapping).metrics["latency_cycles"][0])

    @property
    def energy_pj(self) -> float:
        """Energy [pJ]."""
        return float(self.model.evaluate(self.mapping).metrics["energy_pj"][0])


# --- Fig. 1 -------------------------------------------------------------------------------------

_TOY = Hardware(
    name="fig1_toy",
    levels=(
        Level(
            "BackingStorage",
            "sram",
            capacity_bits=131072 * 8,
            access_bits=64,
            read_bits_per_cycle=64,
            read_energy_pj=32.2859,
            write_energy_pj=26.065,
            gated_energy_pj=0.00552,
            metadata_access_bits=28,
            metadata_energy_pj=14.0361,
            metadata_write_energy_pj=10.2583,
        ),
        Level(
            "Buffer",
            "sram",
            capacity_bits=512 * 8,
            access_bits=8,
            read_bits_per_cycle=16,
            write_bits_per_cycle=16,
            may_keep=_OPERANDS,
            read_energy_pj=0.42568,
            write_energy_pj=0.58331,
            gated_energy_pj=1e-5,
            metadata_access_bits=28,
            metadata_energy_pj=0.7383,
            metadata_write_energy_pj=1.42366,
        ),
        Level(
            "Reg",
            "register_file",
            capacity_bits=8,
            access_bits=8,
            read_bits_per_cycle=8,
            write_bits_per_cycle=8,
            may_keep=_OUTPUTS,
            read_energy_pj=0.48746,
            write_energy_pj=0.48746,
            gated_energy_pj=0.0,
        ),
    ),
    compute=ComputeUnit(1.0, 0.5608, 0.03642),
    technology_nm=45.0,
)

_FIG1_FORMATS = {
    "bitmask": (("None", "B({0})"), "gating"),
    "coordinate_list": (("None", "CP({0},w=14,c=0)"), "skipping"),
}
"""Formats of a 128-element line along K and what is done with zeros. Offsets are free (0 bits), so
the coordinate list stores no count per line."""


def fig1_design(name: str, label: float) -> PublishedDesign:
    """128^3 sparse matrix product on the toy accelerator: "bitmask" or "coordinate_list".

    Args:
        name: Which of the two designs.
        label: Density of both operands as labelled in the figure.
    """
    if name not in _FIG1_FORMATS:
        raise ValueError(f"design must be one of {', '.join(_FIG1_FORMATS)}, got {name!r}")
    texts, kind = _FIG1_FORMATS[name]
    density = DensitySpec(
        "fixed_structured", _FIG1_ROUNDED.get(label, label), source="Sparseloop Fig. 1"
    )
    rules = (
        IntersectionRule("Buffer", "A", ("W",), kind),
        IntersectionRule("Buffer", "W", ("A",), kind),
        IntersectionRule("Reg", "Z", ("A", "W"), kind),
    )
    model = SparseAccelerator(
        matmul("fig1", {"M": 128, "K": 128, "N": 128}),
        _TOY,
        densities={"A": density, "W": density},
        formats={
            "A": tuple(parse_format(_over("M", text), ("M", "K")) for text in texts),
            "W": tuple(parse_format(_over("N", text), ("K", "N")) for text in texts),
        },
        precision=Precision(8, 8, 8, 8),
        technology=_NO_LEAKAGE,
        optimization=SparseOptimization(rules),
        drain_read=False,
    )
    loops = [("N", 128, 0), ("M", 128, 0), ("K", 128, 0)]
    keep = [[0, 2, BYPASS], [0, 2, BYPASS], [0, BYPASS, 2]]
    return PublishedDesign(model, _one_mapping(model, loops, keep))


def _over(other: str, text: str) -> str:
    return text if text == "None" else f"None({other})-" + text.format("K")


def _one_mapping(
    model: SparseAccelerator, loops: list[tuple[str, int, int]], keep: list[list[int]]
) -> MappingBatch:
    ranks = model.operator.rank_names
    keep_at = np.array([keep], dtype=np.int8)
    format_id = np.where(keep_at >= 0, 1, 0).astype(np.int16)
    format_id[:, -1] = 0
    return MappingBatch(
        np.array([[ranks.index(rank) for rank, _, _ in loops]], dtype=np.int8),
        np.array([[trip for _, trip, _ in loops]], dtype=np.int64),
        np.array([[kind for _, _, kind in loops]], dtype=np.int8),
        keep_at,
        format_id,
    )


# --- dual-side sparse tensor core ---------------------------------------------------------------

DSTC_HARDWARE = Path(__file__).parents[2] / "conf" / "hardware" / "tensor_core.yaml"
"""The preset whose levels, energies and bandwidths the design uses."""


def dstc_design(hardware: Hardware, density_a: float, density_w: float) -> PublishedDesign:
    """4096^3 product on the tensor core: two-level bitmaps, non-zeros packed on both sides.

    Args:
        hardware: The `tensor_core` preset.
        density_a, density_w: Densities of the operands.
    """
    specs = {"A": density_a, "W": density_w}
    model = SparseAccelerator(
        matmul("dstc", {"M": 4096, "K": 4096, "N": 4096}),
        hardware,
        densities={
            name: DensitySpec("hypergeometric", value, source="Sparseloop Fig. 13")
            for name, value in specs.items()
        },
        formats={
            "A": _texts(("None", "B(M)-B(K)"), ("M", "K")),
            "W": _texts(("None", "B(K)-B(N)"), ("K", "N")),
        },
        precision=Precision(16, 16, 16, 16),
        technology=_NO_LEAKAGE,
        optimization=SparseOptimization(
            (IntersectionRule("Buffer", "Z", ("A", "W"), "skipping"),),
            packing=(("A", "Y"), ("W", "X")),
        ),
        drain_read=False,
    )
    axis = {name: 1 + index for index, (_, name, _) in enumerate(hardware.axes)}
    loops = [
        ("M", 128, 0),
        ("N", 128, 0),
        ("K", 4096, 0),
        ("M", 4, 0),
        ("N", 2, 0),
        ("M", 8, axis["Y"]),
        ("N", 16, axis["X"]),
    ]
    keep = [[0, 2, BYPASS, 3], [0, 2, BYPASS, 3], [0, BYPASS, 2, BYPASS]]
    return PublishedDesign(model, _one_mapping(model, loops, keep))


def _texts(texts: tuple[str, ...], dimensions: tuple[str, str]) -> tuple[Format, ...]:
    return tuple(parse_format(text, dimensions) for text in texts)


def dstc_ratio(hardware: Hardware, density_a: float, density_w: float) -> float:
    """Cycles relative to the dense operands, as the figure plots them."""
    dense = dstc_design(hardware, 1.0, 1.0).cycles
    return dstc_design(hardware, density_a, density_w).cycles / dense
