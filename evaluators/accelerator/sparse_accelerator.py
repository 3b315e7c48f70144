"""What a mapping of a sparse operator costs on a spatial accelerator.

`SparseAccelerator(operator, hardware, ...)` prices batches of mappings: dense counts of
`evaluators.accelerator.traffic`, encoded tiles of `evaluators.formats.compression`, gating and
skipping of `evaluators.accelerator.intersection`, energies of `evaluators.accelerator.technology`.
docs/model.md has the definitions.

Two accountings, chosen by name and never mixed: `codec`, the default, follows what an encoder
really writes; `sparseloop` follows the reference tool rule by rule
(`evaluators.reference.reference_model`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.capacity import quantile_excess_bits
from evaluators.accelerator.cost_terms import accelerator_cost_terms
from evaluators.accelerator.decoder import NO_DECODER, Decoder, decoder_pj_per_element
from evaluators.accelerator.explanation import explain_design
from evaluators.accelerator.intersection import (
    COMPUTE_RULES,
    NO_OPTIMIZATION,
    SparseOptimization,
    check_optimization,
    leader_table,
    packing_table,
    rule_table,
)
from evaluators.accelerator.mapping_check import check_mappings
from evaluators.accelerator.price_kernel import (
    CHUNK,
    COSTS,
    Cost,
    new_cache,
    new_tables,
    price_batch,
)
from evaluators.accelerator.technology import (
    LevelCost,
    Technology,
    compute_energy_pj,
    hardware_area_mm2,
    leakage_pj_per_cycle,
    level_cost,
)
from evaluators.accelerator.traffic import STATIONARITIES, operator_table
from evaluators.evaluation import CostTerms, Evaluation, FloatArray
from evaluators.formats.compression import code_formats
from evaluators.reference.reference_accelerator import evaluate_by_reference
from evaluators.sparsity.density import density_model
from evaluators.sparsity.density_model import DensityModel
from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.residency import placement_rules, reserved_bits, resident_tensors
from spaces.sparsity.sparsity import DENSE, DensitySpec
from spaces.workloads.workload import Operator, Precision, Tensor

ACCOUNTINGS = ("codec", "sparseloop")
"""What an encoder really writes, or the reference tool's own rules."""

FormatTable = Sequence[Format] | Mapping[str, Sequence[Format]]
"""Formats that `MappingBatch.format_id` indexes: one table for all tensors, or one per tensor."""


@dataclass(frozen=True)
class SparseAccelerator:
    """Evaluator of `MappingBatch`es of one operator on one hardware.

    Attributes:
        operator: What is computed.
        hardware: Levels, fan-outs, bandwidths.
        densities: Tensor name -> zeros; absent = dense.
        formats: Tensor name -> formats, the first uncompressed; absent = uncompressed only.
        precision: Word widths per tensor class; partial sums apart.
        technology: Prices what the hardware leaves open.
        optimization: Gating and skipping.
        stationarity: "implicit" or "explicit", see `evaluators.accelerator.traffic`.
        accounting: "codec" or, for comparison, "sparseloop" (one mapping at a time; `explain`,
            `cost_terms` and speed belong to the codec's).
        decoder: Cost of decoding per primitive; none unless asked for.
        drain_read: Whether draining a partial sum reads the child.
        capacity_confidence: Compressed tiles must fit with this probability; 0.5 = on average.
    """

    operator: Operator
    hardware: Hardware
    densities: Mapping[str, DensitySpec] = field(default_factory=dict)
    formats: Mapping[str, Sequence[Format]] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    technology: Technology = field(default_factory=Technology)
    optimization: SparseOptimization = NO_OPTIMIZATION
    stationarity: str = "implicit"
    accounting: str = "codec"
    decoder: Decoder = NO_DECODER
    drain_read: bool = True
    capacity_confidence: float = 0.5

    def __post_init__(self) -> None:
        if self.stationarity not in STATIONARITIES:
            known = " or ".join(STATIONARITIES)
            raise ValueError(f"stationarity must be {known}, got {self.stationarity!r}")
        if self.accounting not in ACCOUNTINGS:
            known = " or ".join(ACCOUNTINGS)
            raise ValueError(f"accounting must be {known}, got {self.accounting!r}")
        if not 0.5 <= self.capacity_confidence <= 1.0:
            raise ValueError(f"capacity_confidence must be 0.5..1, got {self.capacity_confidence}")
        names = [tensor.name for tensor in self.operator.tensors]
        for label, given in (("densities", self.densities), ("formats", self.formats)):
            for name in given:
                if name not in names:
                    raise ValueError(
                        f"{label}: no tensor {name!r}, the tensors are {', '.join(names)}"
                    )
        for name, table in self.formats.items():
            if not table or table[0].levels:
                raise ValueError(f"formats of {name}: entry 0 must be None (uncompressed)")
        check_optimization(self.operator, self.hardware, self.optimization)
        if resident_tensors(self.operator, self.hardware).any() and self.accounting != "codec":
            raise ValueError("accounting: tensors that stay on chip need 'codec'")

    # --- evaluation ---------------------------------------------------------------------------

    def evaluate(self, designs: MappingBatch) -> Evaluation:
        """Price n mappings.

        Metrics: energy_pj, memory_energy_pj, latency_cycles, compute_cycles, latency_s,
        edp_pj_cycles, average_power_w, utilization (useful MACs not skipped over peak), area_mm2.
        Violations, relative: capacity_LEVEL, fan_out_LEVEL_AXIS, placement (rules broken).

        Raises:
            ValueError: For a malformed mapping; an infeasible one has a positive violation.
        """
        check_mappings(self.operator, self.hardware, designs, self.format_count)
        if self.accounting == "sparseloop":
            return evaluate_by_reference(self, designs)
        out, _ = self.price(designs)
        if self.capacity_confidence > 0.5:
            excess = quantile_excess_bits(self, designs, self.capacity_confidence)
            capacity = self.machine_tables[2][0]
            out[COSTS : COSTS + len(capacity)] += excess.T / capacity[:, None]
        return Evaluation(self._metrics(out), self._violations(out))

    def price(self, designs: MappingBatch) -> tuple[FloatArray, tuple[Any, ...]]:
        """Rows of costs and violations, and the kernel's tables of the last chunk of designs."""
        tensors, levels = designs.keep_at.shape[1:]
        chunk = max(1, min(len(designs), CHUNK))
        tables = new_tables(chunk, tensors, levels, len(self.operator.ranks))
        out = np.empty((COSTS + levels + len(self.hardware.axes) + 1, len(designs)))
        batch = (
            designs.loop_rank,
            designs.loop_trip,
            designs.loop_kind,
            designs.keep_at,
            designs.format_id,
        )
        machine, memory = self.machine_tables, self.tile_memory
        price_batch(batch, self.model_tables, self.price_tables, machine, memory, tables, out)
        return out, tables

    def explain(self, design: MappingBatch) -> Mapping[str, Any]:
        """Full breakdown of a batch of one mapping, see `evaluators.accelerator.explanation`."""
        return explain_design(self, design)

    def _metrics(self, out: FloatArray) -> dict[str, FloatArray]:
        energy, cycles = out[Cost.ENERGY_PJ], out[Cost.LATENCY_CYCLES]
        seconds = cycles / self.hardware.clock_hz
        power = np.divide(energy * 1e-12, seconds, out=np.zeros_like(energy), where=seconds > 0)
        return {
            "energy_pj": energy,
            "memory_energy_pj": out[Cost.MEMORY_ENERGY_PJ],
            "latency_cycles": cycles,
            "compute_cycles": out[Cost.COMPUTE_CYCLES],
            "latency_s": seconds,
            "edp_pj_cycles": energy * cycles,
            "average_power_w": power,
            "utilization": out[Cost.UTILIZATION],
            "area_mm2": np.broadcast_to(np.float64(self.area_mm2), energy.shape),
        }

    def _violations(self, out: FloatArray) -> dict[str, FloatArray]:
        levels = self.hardware.levels
        named = {
            f"capacity_{level.name}": out[COSTS + index]
            for index, level in enumerate(levels)
            if np.isfinite(level.capacity_bits)
        }
        start = COSTS + len(levels)
        for index, (level_index, axis, _) in enumerate(self.hardware.axes):
            named[f"fan_out_{levels[level_index].name}_{axis}"] = out[start + index]
        named["placement"] = out[-1]
        return named

    def cost_terms(self) -> CostTerms:
        """The structure of the cost, for exact searches; see
        `evaluators.accelerator.cost_terms`."""
        return accelerator_cost_terms(self)

    # --- tables of the compiled kernels -------------------------------------------------------

    @cached_property
    def density_models(self) -> tuple[DensityModel, ...]:
        """Density model of every tensor."""
        return tuple(
            density_model(
                self.densities.get(tensor.name, DENSE), *_dimensions(self.operator, tensor)
            )
            for tensor in self.operator.tensors
        )

    def formats_of(self, tensor: str) -> Sequence[Format]:
        """Formats that `format_id` indexes for a tensor."""
        return self.formats.get(tensor, (UNCOMPRESSED,))

    @property
    def format_count(self) -> int:
        """Length of the longest format table."""
        return max(len(self.formats_of(tensor.name)) for tensor in self.operator.tensors)

    @cached_property
    def word_bits(self) -> FloatArray:
        """Width of a word inside the accelerator; partial sums for the output; shape (T,)."""
        widths = [self.precision.bits(tensor.tensor_class) for tensor in self.operator.tensors]
        return np.array(widths, dtype=np.float64)

    @cached_property
    def final_bits(self) -> float:
        """Width of a finished output element: that of an activation."""
        return float(self.precision.activation)

    @cached_property
    def model_tables(self) -> tuple[Any, ...]:
        """Operator, formats, densities, rules and conventions as flat arrays."""
        operator = operator_table(self.operator).arrays
        rules = rule_table(self.operator, self.hardware, self.optimization)
        element_density = np.array([model.density for model in self.density_models])
        compute_rule = COMPUTE_RULES.index(self.optimization.compute)
        implicit = self.stationarity == "implicit"
        packings = packing_table(self.operator, self.hardware, self.optimization)
        leads = leader_table(self.operator, self.hardware, rules)
        zeros = (rules, element_density, compute_rule, packings, leads)
        return operator, self._coding(), zeros, implicit, self.drain_read

    def _coding(self) -> tuple[Any, ...]:
        tensors = self.operator.tensors
        coded = [
            code_formats(list(self.formats_of(t.name)), _dimensions(self.operator, t)[0])
            for t in tensors
        ]
        depth = max(table.shape[1] for table in coded)
        formats = np.zeros((len(tensors), self.format_count, depth, coded[0].shape[2]), np.int64)
        formats[:, :, :, 0] = -1
        decoding = np.zeros((len(tensors), self.format_count))
        for t, table in enumerate(coded):
            formats[t, : table.shape[0], : table.shape[1]] = table
            for f, fmt in enumerate(self.formats_of(tensors[t].name)):
                decoding[t, f] = decoder_pj_per_element(self.decoder, fmt)
        codes = [model.code for model in self.density_models]
        density = np.zeros((len(tensors), max(len(code) for code in codes)))
        for t, code in enumerate(codes):
            density[t, : len(code)] = code
        return formats, density, self.word_bits, self.final_bits, decoding

    @cached_property
    def level_costs(self) -> tuple[LevelCost, ...]:
        """Energies, area and leakage of every level."""
        node = self.hardware.technology_nm
        return tuple(level_cost(self.technology, level, node) for level in self.hardware.levels)

    @cached_property
    def operand_bits(self) -> tuple[int, int]:
        """Widths of the two widest operands: what the multiplier takes."""
        widths = sorted((int(bits) for bits in self.word_bits[:-1]), reverse=True)
        return widths[0], widths[1] if len(widths) > 1 else widths[0]

    @cached_property
    def area_mm2(self) -> float:
        """On-chip area [mm2]."""
        return hardware_area_mm2(self.technology, self.hardware, self.operand_bits)

    @cached_property
    def price_tables(self) -> tuple[FloatArray, FloatArray, float]:
        """pJ per bit (L, 5), pJ per compute (2,), static pJ per cycle."""
        rows = []
        for level, cost in zip(self.hardware.levels, self.level_costs, strict=True):
            data, metadata = level.access_bits, cost.metadata_access_bits
            rows.append(
                (
                    cost.read_pj / data,
                    cost.write_pj / data,
                    cost.metadata_read_pj / metadata,
                    cost.metadata_write_pj / metadata,
                    cost.gated_pj / data,
                )
            )
        compute = compute_energy_pj(
            self.technology, self.hardware, self.operand_bits, int(self.word_bits[-1])
        )
        static = leakage_pj_per_cycle(self.technology, self.hardware, self.area_mm2)
        return np.array(rows), np.array(compute), static

    @cached_property
    def tile_memory(self) -> tuple[NDArray[np.int64], FloatArray]:
        """Sizes of encoded tiles already worked out: a cache of pure values."""
        return new_cache()

    @cached_property
    def machine_tables(self) -> tuple[Any, ...]:
        """Bandwidths, ports, limits and issue rates as flat arrays."""
        hardware = self.hardware
        bandwidth = np.array(
            [(level.read_bits_per_cycle, level.write_bits_per_cycle) for level in hardware.levels]
        )
        shared = np.array([level.shared_port for level in hardware.levels])
        capacity = np.array([level.capacity_bits for level in hardware.levels])
        axes = hardware.axes
        axis_size = np.array([size for _, _, size in axes], dtype=np.float64)
        axis_level = np.array([level for level, _, _ in axes], dtype=np.int64)
        reserved = reserved_bits(self.operator, hardware, self.word_bits)
        limits = (capacity, axis_size, *placement_rules(self.operator, hardware), reserved)
        rate = hardware.compute.macs_per_cycle
        decoded = self.decoder.elements_per_cycle
        issue = np.array([rate, rate * hardware.instances[-1], float(self.operator.macs), decoded])
        return bandwidth, shared, limits, axis_level, issue


def _dimensions(operator: Operator, tensor: Tensor) -> tuple[list[str], list[int]]:
    full = {rank: np.array([size]) for rank, size in operator.ranks.items()}
    names = [dimension.name for dimension in tensor.dimensions]
    return names, [int(extent) for extent in tensor.extents(full)[0]]
