"""What the parts of the sparse accelerator model need to know of the whole.

`SparseAccelerator` is the one implementation; explanation, cost terms and the other accounting
take this protocol, so that they need not import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evaluators.accelerator.decoder import Decoder
from evaluators.accelerator.intersection import SparseOptimization
from evaluators.accelerator.technology import Technology
from evaluators.evaluation import Evaluation, FloatArray
from evaluators.sparsity.density_model import DensityModel
from spaces.formats.compression_format import Format
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import Operator


class AcceleratorModel(Protocol):
    """One operator on one hardware, with the flat tables that compiled kernels read."""

    @property
    def operator(self) -> Operator:
        """What is computed."""
        ...

    @property
    def hardware(self) -> Hardware:
        """Levels, fan-outs, bandwidths."""
        ...

    @property
    def densities(self) -> Mapping[str, DensitySpec]:
        """Tensor name -> zeros; absent = dense."""
        ...

    @property
    def density_models(self) -> tuple[DensityModel, ...]:
        """Density model of every tensor."""
        ...

    @property
    def technology(self) -> Technology:
        """Prices what the hardware leaves open."""
        ...

    @property
    def optimization(self) -> SparseOptimization:
        """Gating and skipping."""
        ...

    @property
    def stationarity(self) -> str:
        """Implicit or explicit."""
        ...

    @property
    def capacity_confidence(self) -> float:
        """Probability with which compressed tiles must fit."""
        ...

    @property
    def decoder(self) -> Decoder:
        """Cost of decoding."""
        ...

    @property
    def word_bits(self) -> FloatArray:
        """Word widths inside the accelerator, shape (T,)."""
        ...

    @property
    def final_bits(self) -> float:
        """Width of a finished output element."""
        ...

    @property
    def area_mm2(self) -> float:
        """On-chip area."""
        ...

    @property
    def model_tables(self) -> tuple[Any, ...]:
        """Operator, coding, zeros, conventions."""
        ...

    @property
    def price_tables(self) -> tuple[FloatArray, FloatArray, float]:
        """pJ per bit (L, 5), pJ per compute (2,), static pJ per cycle."""
        ...

    @property
    def machine_tables(self) -> tuple[Any, ...]:
        """Bandwidths, ports, limits, issue rates."""
        ...

    @property
    def tile_memory(self) -> tuple[Any, ...]:
        """Cache of encoded tiles."""
        ...

    def formats_of(self, tensor: str) -> Sequence[Format]:
        """Formats that `format_id` indexes for a tensor."""
        ...

    def evaluate(self, designs: MappingBatch) -> Evaluation:
        """Price n mappings."""
        ...

    def price(self, designs: MappingBatch) -> tuple[FloatArray, tuple[Any, ...]]:
        """Rows of costs and violations, and the kernel's tables of the last chunk of designs."""
        ...
