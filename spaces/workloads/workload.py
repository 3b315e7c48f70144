"""Einsum operators: the ranks, tensors and projections that a mapping divides.

An operator is one perfectly nested einsum over named ranks. A tensor dimension is an affine
function of ranks, so that a convolution's input height `stride*P + dilation*R` is a dimension like
any other, and its tile has a halo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TensorClass(StrEnum):
    """Role of a tensor; precision, sparsity and format choices are given per class."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    KV = "kv"
    OUTPUT = "output"


def require_positive(sizes: Mapping[str, object]) -> None:
    """Raise `ValueError` naming the first size that is not an integer >= 1.

    >>> require_positive({"batch": 1, "context": 2049})
    >>> require_positive({"batch": 0})
    Traceback (most recent call last):
    ValueError: batch must be an integer >= 1, got 0
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


@dataclass(frozen=True)
class Precision:
    """Bits per word of each role.

    Attributes:
        weight: Stored weights.
        activation: Operands computed at run time, and finished outputs when they leave the chip.
        kv: Cached keys and values, and the recurrent state of a state-space model.
        psum: Unfinished sums, wherever they are held.

    Raises:
        ValueError: If a width is no integer from 1 to 64.
    """

    weight: int = 8
    activation: int = 8
    kv: int = 8
    psum: int = 24

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            require_positive({f"bits.{item.name}": value})
            if value > 64:
                raise ValueError(f"bits.{item.name} must be an integer <= 64, got {value}")

    def bits(self, tensor_class: TensorClass | str) -> int:
        """Bits per word of a tensor of this role; an output counts as its partial sums.

        >>> Precision(weight=4).bits(TensorClass.WEIGHT), Precision().bits("output")
        (4, 24)
        """
        role = TensorClass(tensor_class)
        return self.psum if role is TensorClass.OUTPUT else int(getattr(self, role.value))


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
        resident: Made and used on chip, see `spaces.mappings.residency`.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    tensor_class: TensorClass
    resident: bool = False

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
        tags: Free notes; `role` keeps the name of an operator that was split by layer.
        layers: The layers that run it, `count / len(layers)` times each; empty when the operator
            belongs to no layer (an LM head).
    """

    name: str
    ranks: Mapping[str, int] = field(hash=False)
    tensors: tuple[Tensor, ...]
    count: int = 1
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for rank, size in self.ranks.items():
            if size < 1:
                raise ValueError(f"operator {self.name!r}: rank {rank} must be >= 1, got {size}")
        if self.layers and self.count % len(self.layers):
            raise ValueError(
                f"operator {self.name!r}: count must be a multiple of its "
                f"{len(self.layers)} layers, got {self.count}"
            )
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
    def relevance(self) -> NDArray[np.bool_]:
        """True where a rank indexes a tensor, shape (tensors, ranks)."""
        return np.array([[rank in tensor.ranks for rank in self.ranks] for tensor in self.tensors])

    @property
    def role(self) -> str:
        """The name without the suffix of a split by layer; sparsity rules match it."""
        return self.tags.get("role", self.name)

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
        tokens: Tokens produced (decode) or consumed (prefill) by one run, for J/token; images
            of a convolutional network.
        precision: Word widths per role.
        parameters: Of the whole model, embeddings, norms and biases included; 0 when unknown.
        left_out: Operations of one run that are no products and are not modelled, by kind (softmax,
            norm); empty when unknown.
    """

    name: str
    operators: tuple[Operator, ...]
    tokens: int = 1
    precision: Precision = field(default_factory=Precision)
    parameters: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        names = [operator.name for operator in self.operators]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"workload {self.name!r}: operator names must differ, got {name!r} twice"
                )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run of the model."""
        return sum(operator.macs * operator.count for operator in self.operators)

    @property
    def matmul_parameters(self) -> int:
        """Weights that one run reads, each counted once (a tied LM head included)."""
        return sum(
            operator.tensor_elements(tensor.name) * operator.count
            for operator in self.operators
            for tensor in operator.tensors
            if tensor.tensor_class is TensorClass.WEIGHT
        )

    @property
    def left_out_share(self) -> float:
        """Operations that are not modelled / (these + two per multiply-accumulate), 0..1."""
        operations = sum(self.left_out.values())
        return operations / (operations + 2 * self.macs)

    def describe(self) -> list[dict[str, Any]]:
        """One JSON-serialisable row per operator, in order.

        Keys: name, ranks, macs (of one run), count, share (of the workload's MACs, 0..1) and
        tensors, a list of name, tensor_class, dimensions, elements and bits per word.
        """
        return [self._row(operator) for operator in self.operators]

    def _row(self, operator: Operator) -> dict[str, Any]:
        return {
            "name": operator.name,
            "ranks": dict(operator.ranks),
            "macs": operator.macs,
            "count": operator.count,
            "share": operator.macs * operator.count / self.macs,
            "tensors": [
                {
                    "name": tensor.name,
                    "tensor_class": tensor.tensor_class.value,
                    "dimensions": [dimension.name for dimension in tensor.dimensions],
                    "elements": operator.tensor_elements(tensor.name),
                    "bits": self.precision.bits(tensor.tensor_class),
                }
                for tensor in operator.tensors
            ],
        }


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


def gemm(M: int, K: int, N: int, B: int = 1, bits: Precision | None = None) -> Workload:
    """A single (batched) matrix product as a workload.

    Args:
        M: Rows of A and Z, also the number of tokens of the workload.
        K: Reduction size.
        N: Columns of W and Z.
        B: Independent products; a batch rank appears only above 1.
        bits: Word widths, 8-bit operands by default.

    Raises:
        ValueError: If a size is no integer >= 1.

    >>> gemm(M=1, K=4096, N=50257).macs
    205852672
    """
    require_positive({"M": M, "K": K, "N": N, "B": B})
    sizes = {"M": M, "K": K, "N": N} | ({"B": B} if B > 1 else {})
    label = "x".join(str(sizes[rank]) for rank in ("B", "M", "K", "N") if rank in sizes)
    return Workload(
        name=f"gemm {label}",
        operators=(matmul("gemm", sizes),),
        tokens=M * B,
        precision=bits or Precision(),
        parameters=B * K * N,
    )
