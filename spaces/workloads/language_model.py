"""Operators of one pass through a language model: a decode step, or a prefill.

The architecture is a *shape* (`spaces.workloads.transformer`, `spaces.workloads.mamba`); this file
adds what the user asks of it: phase, batch, context length and word widths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from spaces.workloads.fused_attention import fused_attention
from spaces.workloads.workload import Operator, Precision, TensorClass, Workload, require_positive

PHASES = ("prefill", "decode")
"""prefill: the prompt at once; decode: one new token per sequence."""

ACTIVATIONS = (TensorClass.ACTIVATION, TensorClass.ACTIVATION)
"""Operand roles of a product of two tensors computed at run time, neither of them cached."""

CACHED = (TensorClass.ACTIVATION, TensorClass.KV)
"""Operand roles of a product with cached keys, values or a recurrent state."""


@dataclass(frozen=True)
class Pass:
    """One pass through the model.

    Attributes:
        phase: `prefill` or `decode`.
        batch: Sequences handled together.
        context: Prompt length (prefill), or positions attended, the new token's included (decode).
    """

    phase: str
    batch: int
    context: int

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase must be prefill or decode, got {self.phase!r}")
        require_positive({"batch": self.batch, "context": self.context})

    @property
    def positions(self) -> int:
        """New positions of each sequence."""
        return 1 if self.phase == "decode" else self.context

    @property
    def tokens(self) -> int:
        """New positions of all sequences."""
        return self.batch * self.positions


class LanguageModelShape(Protocol):
    """An architecture: its parameter count, and its operators in one pass."""

    @property
    def name(self) -> str:
        """Short name, the YAML file's."""
        ...

    @property
    def parameters(self) -> int:
        """All parameters: matrices, embeddings, norms and biases."""
        ...

    def operators(self, run: Pass) -> tuple[Operator, ...]:
        """Distinct operators of one pass, with counts and layers."""
        ...


def language_model(
    shape: LanguageModelShape,
    phase: str = "decode",
    batch: int = 1,
    context: int = 2048,
    bits: Precision | None = None,
    fuse_attention: int = 0,
) -> Workload:
    """Build the workload of one pass through a language model.

    Softmax, norms, rotary embeddings, activation functions, residual additions and the embedding
    look-up are no matrix products and are not modelled.

    Args:
        shape: The architecture.
        phase: `prefill` or `decode`.
        batch: Sequences handled together.
        context: Prompt length (prefill), or positions attended, the new token's included (decode).
        bits: Word widths, 8-bit operands by default.
        fuse_attention: Rows of attention scores that stay on chip together, between the product
            that makes them and the one that uses them; 0 = scores go to memory and back. See
            `spaces.workloads.fused_attention`.

    Raises:
        ValueError: If a knob is out of range or the architecture cannot run this pass.
    """
    run = Pass(phase, batch, context)
    operators = shape.operators(run)
    if fuse_attention:
        require_positive({"fuse_attention": fuse_attention})
    return Workload(
        name=f"{shape.name} {phase}, batch {batch}, context {context}"
        + (f", attention fused by {fuse_attention} rows" if fuse_attention else ""),
        operators=fused_attention(operators, fuse_attention) if fuse_attention else operators,
        tokens=run.tokens,
        precision=bits or Precision(),
        parameters=shape.parameters,
        left_out=left_out_operations(operators),
    )


LEFT_OUT: Mapping[str, tuple[tuple[str, str, int], ...]] = {
    "attention_scores": (("softmax", "result", 5),),
    **dict.fromkeys(("q_proj", "up_proj", "gate_up_proj", "router"), (("norm", "input", 4),)),
    **dict.fromkeys(("down_proj", "expert_down_proj"), (("activation_function", "inputs", 1),)),
    "in_proj": (("norm", "input", 4),),
    "conv1d": (("activation_function", "result", 1),),
    "dt_proj": (("activation_function", "result", 1),),
    "scan_update": (("state decay", "product", 3),),
    "out_proj": (("activation_function", "inputs", 1),),
}
"""Operator -> what is left out around it: kind, elements counted, operations of each.

Softmax: maximum, difference, exponential, sum, quotient. Norm (RMS; a layer norm needs two more):
square, sum, scale, weight. State decay: exponential and two products. `input` is counted once per
layer, `inputs` once per run.
"""


def left_out_operations(operators: Sequence[Operator]) -> dict[str, int]:
    """Operations of a model that are no products, by kind, counted from its operators.

    >>> from spaces.workloads.workload import matmul
    >>> left_out_operations([matmul("down_proj", {"M": 1, "K": 8, "N": 2}, count=3)])
    {'activation_function': 24}
    """
    counts: dict[str, int] = {}
    for operator in operators:
        for kind, counted, each in LEFT_OUT.get(operator.name.rsplit(".", 1)[-1], ()):
            inputs = operator.tensor_elements(operator.tensors[0].name)
            elements = {
                "result": operator.tensor_elements(operator.output.name) * operator.count,
                "input": inputs * len(operator.layers),
                "inputs": inputs * operator.count,
                "product": operator.macs * operator.count,
            }
            counts[kind] = counts.get(kind, 0) + each * elements[counted]
    return counts


def layered(operator: Operator, layers: int, calls: int = 1) -> Operator:
    """The operator as run `calls` times by each of `layers` layers.

    >>> from spaces.workloads.workload import matmul
    >>> layered(matmul("kv_proj", {"M": 1, "K": 8, "N": 8}), layers=32, calls=2).count
    64
    """
    return replace(operator, count=layers * calls, layers=tuple(range(layers)))
