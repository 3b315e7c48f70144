"""What all machines of a comparison share, and what each machine's model leaves out.

Latency is that of one decode step (or prefill) of the whole batch: projections run one after
another, layer by layer, on whatever machine holds them; within a projection, transfer and compute
overlap perfectly, so the slower one counts. Energy is that of the step divided by its tokens, with
off-chip memory, links and leakage of the whole chip included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from spaces.codesign.projections import has_weights
from spaces.quantities import Quantity, bandwidth_bits_per_cycle
from spaces.validation import check_choice
from spaces.workloads.workload import Workload

RESIDENCIES = ("capacity", "always")
"""`capacity`: a machine keeps its weights when all of them fit it, and streams them otherwise.
`always`: they are on the chip whether they fit or not, as studies of in-memory compute assume."""


@dataclass(frozen=True)
class Link:
    """Wires between the core, where activations wait, and the in-memory machines.

    Attributes:
        pj_per_bit: Assumed: 5 mm at 0.1 pJ per bit and mm.
        bits_per_ns: Width x clock; assumed: 256 bits at 1 GHz.
        latency_ns: One transfer; placeholder of IBM/3D-CiM-LLM-Inference-Simulator.
    """

    pj_per_bit: float = 0.5
    bits_per_ns: float = 256.0
    latency_ns: float = 10.0


@dataclass(frozen=True)
class Boundary:
    """One footing for all machines.

    Attributes:
        workload: Model, phase, batch, context and word widths.
        node_nm: Technology node that every model is scaled to.
        memory_pj_per_bit: Off-chip memory; 8 is LPDDR4, see `evaluators.accelerator.technology`.
        memory_bandwidth: Off-chip, for example "25.6GB/s".
        area_budget_mm2: Of the whole chip.
        leakage_mw_per_mm2: Of the whole chip, all the time; an assumption, see the same table.
        link: Between machines.
        residency: Of `RESIDENCIES`.
    """

    workload: Workload
    node_nm: float = 28.0
    memory_pj_per_bit: float = 8.0
    memory_bandwidth: Quantity = "25.6GB/s"
    area_budget_mm2: float = 200.0
    leakage_mw_per_mm2: float = 10.0
    link: Link = field(default_factory=Link)
    residency: str = "capacity"

    def __post_init__(self) -> None:
        check_choice("boundary.residency", self.residency, RESIDENCIES)
        for name in ("node_nm", "area_budget_mm2"):
            if not getattr(self, name) > 0:
                raise ValueError(f"boundary.{name} must be > 0, got {getattr(self, name)}")
        for name in ("memory_pj_per_bit", "leakage_mw_per_mm2"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"boundary.{name} must be >= 0, got {getattr(self, name)}")

    @cached_property
    def memory_bits_per_ns(self) -> float:
        """Off-chip bandwidth."""
        return bandwidth_bits_per_cycle(self.memory_bandwidth, 1e9, "boundary.memory_bandwidth")

    @cached_property
    def attention(self) -> Workload:
        """What no part holds (scores and context): it runs on the core of every chip."""
        rest = tuple(o for o in self.workload.operators if not has_weights(o))
        name = f"{self.workload.name}, without projections"
        return Workload(name, rest, self.workload.tokens, self.workload.precision)


LEFT_OUT = {
    "every machine": "softmax, norms, rotary embeddings, activation functions, residual sums, "
    "embedding look-up; controller, clock tree and wiring inside a machine; yield",
    "spatial": "decoders cost no area or energy; activations of its own projections pass through "
    "off-chip memory (below 0.1 % of the traffic)",
    "digital": "area of the activation buffer (the core's is on every chip); cell read time, input "
    "and output registers; a Monarch form",
    "analog": "noise beyond one stated error per product, drift, clipping by the converters, wear "
    "(each streamed step writes every cell once); leakage of cells apart from area x density",
}
"""Machine -> what its model does not count; shown beside every result."""
