"""An ONNX model as a workload: Gemm, MatMul, Conv, Einsum and Attention become operators.

Everything else is no product: it is counted in operations, one per element of its result (ten for a
softmax or a norm), and listed in `Workload.left_out`, so that its share can be shown. Needs the
package `onnx` (the extra of that name); weights may be absent, only shapes are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spaces.workloads.convolution import Window, convolution, merge_equal
from spaces.workloads.workload import (
    Dimension,
    Operator,
    Precision,
    Tensor,
    TensorClass,
    Workload,
    matmul,
)

if TYPE_CHECKING:
    import onnx

OPERATIONS_PER_ELEMENT: Mapping[str, int] = {
    "Softmax": 10, "LogSoftmax": 10, "LayerNormalization": 10, "BatchNormalization": 2,
    "RMSNormalization": 8, "SimplifiedLayerNormalization": 8, "Gelu": 10, "Erf": 8, "Tanh": 8,
    "Sigmoid": 6, "Exp": 4,
}  # fmt: skip
"""Assumed operations per element of the result; 1 where not listed."""

FREE = frozenset(
    {"Constant", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Shape",
     "Cast", "Slice", "Concat", "Split", "Gather", "Dropout", "Expand", "ConstantOfShape"}
)  # fmt: skip
"""Operators that move or name data and compute nothing."""


@dataclass
class _Graph:
    """What is known of every value while nodes are read."""

    shapes: dict[str, tuple[int, ...]]
    weights: frozenset[str]
    left_out: dict[str, int] = field(default_factory=dict)

    def shape(self, node: onnx.NodeProto, name: str) -> tuple[int, ...]:
        """The shape of a value; `ValueError` when inference could not find it."""
        if name not in self.shapes:
            raise ValueError(f"node {node.name or node.op_type}: the shape of {name!r} is unknown")
        return self.shapes[name]

    def role(self, name: str) -> TensorClass:
        """Weight for an initialiser, else activation."""
        return TensorClass.WEIGHT if name in self.weights else TensorClass.ACTIVATION


def onnx_workload(
    path: str,
    sizes: Mapping[str, int] | None = None,
    tokens: int = 1,
    bits: Precision | None = None,
) -> Workload:
    """Workload of one run of an ONNX model.

    Args:
        path: The `.onnx` file.
        sizes: Symbolic dimension -> its size, for example {"batch": 1, "sequence": 128}.
        tokens: Tokens (or images) that one run stands for.
        bits: Word widths, 8-bit operands by default.

    Raises:
        ValueError: If the file is missing, does not parse, leaves a needed shape open, or holds a
            product of a form that is not modelled.
    """
    model = _load(path)
    graph = _graph(model, path, dict(sizes or {}))
    operators: list[Operator] = []
    taken: set[str] = set()
    for node in model.graph.node:
        if node.op_type in READERS:
            name = _unique(node, taken)
            try:
                operators += READERS[node.op_type](node, graph, name)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        elif node.op_type not in FREE:
            _leave_out(node, graph)
    if not operators:
        raise ValueError(f"{path}: holds no Gemm, MatMul, Conv, Einsum or Attention")
    return Workload(
        name=Path(path).stem,
        operators=merge_equal(operators),
        tokens=tokens,
        precision=bits or Precision(),
        parameters=_parameters(model),
        left_out=graph.left_out,
    )


def _load(path: str) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError:
        raise ValueError(
            "workload=onnx needs the package onnx: pip install cosearch[onnx]"
        ) from None
    if not Path(path).is_file():
        raise ValueError(f"workload.path must be an ONNX file, got {path}")
    try:
        model = onnx.load(path, load_external_data=False)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf's own error classes vary with its backend
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: is not a readable ONNX model: {reason}") from None


def _graph(model: onnx.ModelProto, path: str, sizes: dict[str, int]) -> _Graph:
    graph = model.graph
    shapes: dict[str, tuple[int, ...]] = {w.name: tuple(w.dims) for w in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = []
        for dimension in value.type.tensor_type.shape.dim:
            size = dimension.dim_value or sizes.get(dimension.dim_param, 0)
            if not size and value.name in {item.name for item in graph.input}:
                raise ValueError(
                    f"{path}: input {value.name}: give a size for the dimension "
                    f"{dimension.dim_param!r} in workload.sizes"
                )
            dimensions.append(size)
        if all(dimensions):
            shapes.setdefault(value.name, tuple(dimensions))
    return _Graph(shapes, frozenset(weight.name for weight in graph.initializer))


def _parameters(model: onnx.ModelProto) -> int:
    """Elements of the floating-point and quantised initialisers; index tables are no parameters."""
    import onnx

    indices = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)
    return sum(
        prod(weight.dims) for weight in model.graph.initializer if weight.data_type not in indices
    )


def _unique(node: onnx.NodeProto, taken: set[str]) -> str:
    stem = str(node.name or node.op_type.lower()).strip("/").replace("/", ".")
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name


def _leave_out(node: onnx.NodeProto, graph: _Graph) -> None:
    elements = prod(graph.shapes.get(node.output[0], ())) if node.output else 0
    each = OPERATIONS_PER_ELEMENT.get(node.op_type, 1)
    graph.left_out[node.op_type] = graph.left_out.get(node.op_type, 0) + elements * each


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _gemm(node: onnx.NodeProto, graph: _Graph, name: str) -> list[Operator]:
    flags = _attributes(node)
    left = graph.shape(node, node.input[0])[:: -1 if flags.get("transA") else 1]
    right = graph.shape(node, node.input[1])[:: -1 if flags.get("transB") else 1]
    roles = (graph.role(node.input[0]), graph.role(node.input[1]))
    return [matmul(name, {"M": left[0], "K": left[1], "N": right[1]}, roles)]


def _matmul(node: onnx.NodeProto, graph: _Graph, name: str) -> list[Operator]:
    left, right = graph.shape(node, node.input[0]), graph.shape(node, node.input[1])
    left = left if len(left) > 1 else (1, *left)
    right = right if len(right) > 1 else (*right, 1)
    if prod(right[:-2]) == 1:
        return [
            matmul(
                name,
                {"M": prod(left[:-1]), "K": left[-1], "N": right[-1]},
                (graph.role(node.input[0]), graph.role(node.input[1])),
            )
        ]
    batch = max(prod(left[:-2]), prod(right[:-2]))
    sizes = {"B": batch, "M": left[-2], "K": left[-1], "N": right[-1]}
    return [matmul(name, sizes, (graph.role(node.input[0]), graph.role(node.input[1])))]


def _conv(node: onnx.NodeProto, graph: _Graph, name: str) -> list[Operator]:
    data, filters = graph.shape(node, node.input[0]), graph.shape(node, node.input[1])
    sizes, flags = graph.shape(node, node.output[0])[2:], _attributes(node)
    if len(sizes) not in (1, 2):
        raise ValueError(f"node {name}: only convolutions along 1 or 2 axes, got {len(sizes)}")
    ones, groups = [1] * len(sizes), flags.get("group", 1)
    steps = (flags.get("strides", ones), flags.get("dilations", ones))
    windows = [Window(*axis) for axis in zip(sizes, filters[2:], *steps, strict=True)]
    channels = {
        "N": data[0],
        "G": groups,
        "M": filters[0] // groups,
        "C": data[1] // groups,
    }
    return [convolution(name, channels, windows)]


def _einsum(node: onnx.NodeProto, graph: _Graph, name: str) -> list[Operator]:
    """Two operands, explicit result: every letter is a rank."""
    equation = _attributes(node)["equation"].decode().replace(" ", "")
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if len(terms) != 2 or not arrow or not equation.replace(",", "").replace("->", "").isalpha():
        raise ValueError(f"node {name}: only an einsum like 'bij,bjk->bik', got {equation!r}")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.input, strict=True):
        sizes |= dict(zip(term.upper(), graph.shape(node, value), strict=True))
    roles = [*(graph.role(value) for value in node.input), TensorClass.OUTPUT]
    tensors = tuple(
        Tensor(label, tuple(Dimension(((rank, 1),)) for rank in term.upper()), role)
        for label, term, role in zip("AWZ", (*terms, result), roles, strict=True)
    )
    return [Operator(name, sizes, tensors)]


def _attention(node: onnx.NodeProto, graph: _Graph, name: str) -> list[Operator]:
    """`Attention` of opset 23 on four-dimensional Q, K and V: scores, softmax, context."""
    query, key, value = (graph.shape(node, item) for item in node.input[:3])
    if not len(query) == len(key) == len(value) == 4:
        raise ValueError(
            f"node {name}: Attention needs Q, K, V of [batch, heads, positions, width]"
        )
    batch, rows = key[0] * key[1], query[2] * (query[1] // key[1])
    roles = (TensorClass.ACTIVATION, TensorClass.KV)
    softmax = batch * rows * key[2] * OPERATIONS_PER_ELEMENT["Softmax"]
    graph.left_out["Softmax"] = graph.left_out.get("Softmax", 0) + softmax
    scores = {"B": batch, "M": rows, "K": query[3], "N": key[2]}
    context = {"B": batch, "M": rows, "K": key[2], "N": value[3]}
    return [
        matmul(f"{name}.scores", scores, roles),
        matmul(f"{name}.context", context, roles),
    ]


READERS: Mapping[str, Callable[[Any, _Graph, str], list[Operator]]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Conv": _conv,
    "ConvInteger": _conv,
    "Einsum": _einsum,
    "Attention": _attention,
}
"""Operator type -> its products."""
