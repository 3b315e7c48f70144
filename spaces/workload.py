"""Einsum operators: the ranks, tensors and projections that a mapping divides.

An operator is one perfectly nested einsum over named ranks. A tensor dimension is an affine
function of ranks, so that a convolution's input height `stride*P + dilation*R` is a dimension like
any other, and its tile has a halo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class TensorClass(StrEnum):
    """Role of a tensor; precision, sparsity and format choices are given per class."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    KV = "kv"
    OUTPUT = "output"


@dataclass(frozen=True)
class Dimension:
    """One dimension of a tensor: index = sum of coefficient * rank index.

    Attributes:
        terms: (rank, coefficient) pairs; a plain dimension has one term with coefficient 1.
    """

    terms: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """The rank's name for a plain dimension, the joined names for an affine one."""
        return "+".join(rank for rank, _ in self.terms)

    def extent(self, rank_extents: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Elements spanned by a tile whose ranks have these extents, shape (n,)."""
        span = sum(coefficient * (rank_extents[rank] - 1) for rank, coefficient in self.terms)
        return np.asarray(span + 1, dtype=np.int64)


@dataclass(frozen=True)
class Tensor:
    """An operand or the result of an operator.

    Attributes:
        name: Unique within the operator.
        dimensions: Outermost first.
        tensor_class: Role, see `TensorClass`.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    tensor_class: TensorClass

    @property
    def ranks(self) -> tuple[str, ...]:
        """The relevant ranks, in order of appearance."""
        return tuple(dict.fromkeys(rank for dim in self.dimensions for rank, _ in dim.terms))

    def extents(self, rank_extents: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Tile extents per dimension, shape (n, dims), from rank extents of shape (n,)."""
        return np.stack([dim.extent(rank_extents) for dim in self.dimensions], axis=-1)


@dataclass(frozen=True)
class Operator:
    """One einsum: a product over all operands, summed over the ranks the output lacks.

    Attributes:
        name: Readable and unique within a workload.
        ranks: Rank name -> size, in a fixed order.
        tensors: Operands first, the output last.
        count: How many times the workload runs this operator (layers x calls).
    """

    name: str
    ranks: Mapping[str, int]
    tensors: tuple[Tensor, ...]
    count: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rank, size in self.ranks.items():
            if size < 1:
                raise ValueError(f"operator {self.name!r}: rank {rank} must be >= 1, got {size}")
        for tensor in self.tensors:
            for rank in tensor.ranks:
                if rank not in self.ranks:
                    raise ValueError(
                        f"operator {self.name!r}: tensor {tensor.name} uses rank {rank!r}, "
                        f"the ranks are {', '.join(self.ranks)}"
                    )

    @property
    def rank_names(self) -> tuple[str, ...]:
        """Rank names in order."""
        return tuple(self.ranks)

    @property
    def output(self) -> Tensor:
        """The result tensor."""
        return self.tensors[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        total = 1
        for size in self.ranks.values():
            total *= size
        return total

    def tensor_elements(self, name: str) -> int:
        """Elements of one tensor."""
        full = {rank: np.array([size]) for rank, size in self.ranks.items()}
        tensor = self.tensor(name)
        total = 1
        for extent in tensor.extents(full)[0]:
            total *= int(extent)
        return total

    def tensor(self, name: str) -> Tensor:
        """The tensor of this name; `ValueError` names the ones there are."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        names = ", ".join(tensor.name for tensor in self.tensors)
        raise ValueError(f"operator {self.name!r}: no tensor {name!r}, the tensors are {names}")


@dataclass(frozen=True)
class Workload:
    """Operators of one model in one phase, each with its count.

    Attributes:
        name: For example "llama2_7b decode, batch 1, context 2048".
        operators: Distinct shapes once; repeats are in `Operator.count`.
        tokens: Tokens produced (decode) or consumed (prefill) by one run, for J/token.
    """

    name: str
    operators: tuple[Operator, ...]
    tokens: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run of the model."""
        return sum(operator.macs * operator.count for operator in self.operators)


def matmul(
    name: str,
    sizes: Mapping[str, int],
    operand_classes: tuple[TensorClass, TensorClass] = (
        TensorClass.ACTIVATION,
        TensorClass.WEIGHT,
    ),
    count: int = 1,
) -> Operator:
    """`Z[M,N] = A[M,K] * W[K,N]`, batched over `B` when `sizes` has it.

    Args:
        name: Operator name.
        sizes: Sizes of M, K, N and optionally B (a batch rank of all three tensors).
        operand_classes: Roles of the two operands.
        count: Repeats.

    >>> matmul("q_proj", {"M": 1, "K": 4096, "N": 4096}).macs
    16777216
    """
    batch = ("B",) if "B" in sizes else ()
    ranks = {rank: sizes[rank] for rank in (*batch, "M", "K", "N")}

    def tensor(label: str, names: tuple[str, ...], tensor_class: TensorClass) -> Tensor:
        plain = tuple(Dimension(((rank, 1),)) for rank in batch + names)
        return Tensor(label, plain, tensor_class)

    return Operator(
        name=name,
        ranks=ranks,
        tensors=(
            tensor("A", ("M", "K"), operand_classes[0]),
            tensor("W", ("K", "N"), operand_classes[1]),
            tensor("Z", ("M", "N"), TensorClass.OUTPUT),
        ),
        count=count,
    )
