"""One operator of a workload as the evaluator of a mapping study.

The mapping itself is the decision; its space names the operator, the hardware and the formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evaluators.accelerator.decoder import NO_DECODER, Decoder
from evaluators.accelerator.intersection import NO_OPTIMIZATION, SparseOptimization
from evaluators.accelerator.model_report import explain_model
from evaluators.accelerator.priced_design import problem_of
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from evaluators.evaluation import CostTerms, Evaluation
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.mapping_space import MappingSpace
from spaces.sparsity.sparsity import SparsityProfile, split_by_layer
from spaces.workloads.workload import Workload


class OperatorEvaluator:
    """A `SparseAccelerator` whose explanations also read as tables, a loop nest and a file.

    Args:
        part: The accelerator with its operator.
        space: Says which formats its mappings may hold a tensor in at a level.
    """

    def __init__(self, part: SparseAccelerator, space: MappingSpace) -> None:
        self.part = part
        self.space = space

    def evaluate(self, designs: MappingBatch) -> Evaluation:
        """Price n mappings, see `SparseAccelerator.evaluate`."""
        return self.part.evaluate(designs)

    def explain(self, design: MappingBatch) -> Mapping[str, Any]:
        """Full breakdown of one mapping; like the metrics it is of one run of the operator."""
        one_run = replace(self.part.operator, count=1, layers=())
        shown = explain_model((one_run,), (self.part,), (design,))
        return {**self.part.explain(design), **shown}

    def problem_data(self, design: MappingBatch) -> Mapping[str, Any]:
        """Everything that prices depend on, for a certificate, see `priced_design.problem_of`."""
        return problem_of(self.part, self.cost_terms(), design)

    def cost_terms(self) -> CostTerms:
        """The structure of the cost, for exact searches, with the formats that the space offers."""
        placement = self.space.tables.placement
        return replace(
            self.part.cost_terms(),
            format_choices=placement.offered,
            one_format=placement.one_format,
        )


def operator_evaluator(
    space: MappingSpace,
    workload: Workload,
    sparsity: SparsityProfile,
    technology: Technology | None = None,
    optimization: SparseOptimization = NO_OPTIMIZATION,
    decoder: Decoder = NO_DECODER,
    capacity_confidence: float = 0.5,
) -> OperatorEvaluator:
    """The evaluator of a mapping space's designs.

    Args:
        space: Gives operator, hardware and the format tables that designs index.
        workload: Gives the precision; where layers differ in density, the first group counts.
        sparsity: Zeros of the operator's tensors.
        technology: Prices of accesses and computes.
        optimization: Gating and skipping.
        decoder: Cost of decoding.
        capacity_confidence: Compressed tiles must fit with this probability; 0.5 = on average.
    """
    split = split_by_layer(workload, sparsity).operators
    same = [o for o in split if o.name.split("[")[0] == space.operator.name]
    operator = same[0] if same else space.operator
    return OperatorEvaluator(
        SparseAccelerator(
            operator=space.operator,
            hardware=space.hardware,
            densities={t.name: sparsity.resolve(operator, t) for t in operator.tensors},
            formats=space.formats.parsed(space.operator),
            precision=workload.precision,
            technology=technology or Technology(),
            optimization=optimization,
            decoder=decoder,
            capacity_confidence=capacity_confidence,
        ),
        space,
    )
