"""The weight products of a language model, grouped into the parts that decide alike.

A part is one projection (queries, feed-forward down, ...) in a group of consecutive layers. What
has no weight matrix (scores and context of attention) belongs to no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spaces.workloads.workload import Operator, TensorClass, Workload, require_positive


@dataclass(frozen=True)
class ProjectionPart:
    """One projection in a group of layers; its matrices are equal in shape.

    Attributes:
        name: Unique, for example "down_proj[0-7]".
        projection: Operator name.
        layers: Layers of the group, 1 for an LM head.
        parallel: Matrices per layer that are applied to the same inputs (2 for gate and up).
        tokens: Rows of activations in one run.
        reduction, outputs: Inputs and outputs of one matrix.
    """

    name: str
    projection: str
    layers: int
    parallel: int
    tokens: int
    reduction: int
    outputs: int

    @property
    def matrices(self) -> int:
        """Weight matrices of this part."""
        return self.layers * self.parallel

    @property
    def weights(self) -> int:
        """Dense weights of this part."""
        return self.matrices * self.reduction * self.outputs

    @property
    def kind(self) -> tuple[int, int, int, int]:
        """What the cost of one layer depends on; parts of one kind differ in layers only."""
        return self.parallel, self.tokens, self.reduction, self.outputs


def projection_parts(workload: Workload, groups: int) -> tuple[ProjectionPart, ...]:
    """Every weight product, split into groups of consecutive layers, in order of execution.

    Args:
        workload: One pass through a language model.
        groups: Groups of layers; the first ones get a layer more where they do not divide evenly.

    Raises:
        ValueError: If no operator multiplies activations [M,K] by weights [K,N], or a projection
            has fewer layers than there are groups.
    """
    require_positive({"space.groups": groups})
    weighted = [operator for operator in workload.operators if has_weights(operator)]
    if not weighted:
        raise ValueError(f"workload {workload.name!r}: no operator has a weight matrix")
    layered = [operator for operator in weighted if operator.layers]
    parts = []
    for group in range(groups):
        for operator in layered:
            layers = _group(operator, groups, group)
            span = f"{layers[0]}-{layers[-1]}" if len(layers) > 1 else f"{layers[0]}"
            parts.append(_part(operator, f"{operator.name}[{span}]", len(layers)))
    outside = (operator for operator in weighted if not operator.layers)
    return (*parts, *(_part(operator, operator.name, 1) for operator in outside))


def has_weights(operator: Operator) -> bool:
    """Whether an operator is a plain product with a weight matrix W[K,N]."""
    classes = [tensor.tensor_class for tensor in operator.tensors]
    return TensorClass.WEIGHT in classes and set(operator.ranks) == {"M", "K", "N"}


def _group(operator: Operator, groups: int, group: int) -> Sequence[int]:
    count = len(operator.layers)
    if count < groups:
        raise ValueError(f"space.groups must be <= {count}, the layers of {operator.name}")
    ends = [count * index // groups for index in range(groups + 1)]
    return operator.layers[ends[group] : ends[group + 1]]


def _part(operator: Operator, name: str, layers: int) -> ProjectionPart:
    parallel = operator.count // max(len(operator.layers), 1)
    ranks = operator.ranks
    return ProjectionPart(name, operator.name, layers, parallel, ranks["M"], ranks["K"], ranks["N"])
