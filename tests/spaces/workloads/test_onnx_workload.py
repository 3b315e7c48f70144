"""ONNX models built from helpers, with the MACs and parameters known for them."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from spaces.workloads.language_model import language_model
from spaces.workloads.mamba import MambaShape
from spaces.workloads.onnx_workload import onnx_workload


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def weight(name: str, *shape: int) -> onnx.TensorProto:
    size = 1
    for extent in shape:
        size *= extent
    return helper.make_tensor(name, TensorProto.FLOAT, list(shape), [0.0] * size)


def save(path: Path, nodes: list, inputs: list, outputs: list, weights: list) -> str:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return str(path)


def test_convolutional_network(tmp_path: Path) -> None:
    """LeNet-5's first two layers and a classifier: totals by hand."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], name="conv2", group=2),
        helper.make_node("Flatten", ["c2"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
    ]
    weights = [
        weight("w1", 6, 1, 5, 5), weight("b1", 6), weight("w2", 16, 3, 5, 5),
        weight("w3", 10, 1600), weight("b3", 10),
    ]  # fmt: skip
    path = save(tmp_path / "net.onnx", nodes, [value("x", "n", 1, 28, 28)],
                [value("y", "n", 10)], weights)  # fmt: skip
    workload = onnx_workload(path, {"n": 1})
    by_name = {operator.name: operator.macs for operator in workload.operators}
    assert by_name == {
        "conv1": 28 * 28 * 6 * 25,
        "conv2": 10 * 10 * 16 * 3 * 25,
        "fc": 16000,
    }
    assert workload.parameters == 150 + 6 + 1200 + 16000 + 10
    assert workload.left_out == {"Relu": 6 * 28 * 28, "MaxPool": 6 * 14 * 14}
    operations = 6 * 28 * 28 + 6 * 14 * 14
    assert workload.left_out_share == operations / (operations + 2 * workload.macs)


def test_attention_pattern(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="q_proj"),
        helper.make_node("MatMul", ["q", "k"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["o"], name="context"),
    ]
    inputs = [value("x", 4, 8, 32), value("k", 4, 32, 8), value("v", 4, 8, 32)]
    path = save(tmp_path / "a.onnx", nodes, inputs, [value("o", 4, 8, 32)], [weight("wq", 32, 32)])
    workload = onnx_workload(path)
    ranks = {operator.name: dict(operator.ranks) for operator in workload.operators}
    assert ranks == {
        "q_proj": {"M": 32, "K": 32, "N": 32},
        "scores": {"B": 4, "M": 8, "K": 32, "N": 8},
        "context": {"B": 4, "M": 8, "K": 8, "N": 32},
    }
    roles = [[tensor.tensor_class.value for tensor in op.tensors] for op in workload.operators]
    assert roles[0] == ["activation", "weight", "output"]
    assert roles[1] == ["activation", "activation", "output"]
    assert workload.left_out == {"Softmax": 4 * 8 * 8 * 10}


def test_open_sizes_and_bad_files_are_named(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save(tmp_path / "m.onnx", [node], [value("x", "batch", 4)], [value("y", "batch", 2)],
                [weight("w", 4, 2)])  # fmt: skip
    with pytest.raises(ValueError, match="size for the dimension 'batch'"):
        onnx_workload(path)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"bad.onnx"):
        onnx_workload(str(tmp_path / "bad.onnx"))
    with pytest.raises(ValueError, match="must be an ONNX file"):
        onnx_workload(str(tmp_path / "none.onnx"))


def test_convolutions_along_one_axis_and_oblong_ones(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="wide", strides=[2, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"], name="line", group=4, dilations=[2]),
    ]
    inputs = [value("x", 1, 3, 9, 8), value("a", 2, 4, 10)]
    outputs = [value("y", 1, 5, 4, 6), value("b", 2, 4, 6)]
    weights = [weight("w", 5, 3, 2, 3), weight("v", 4, 1, 3)]
    wide, line = onnx_workload(save(tmp_path / "m.onnx", nodes, inputs, outputs, weights)).operators
    assert dict(wide.ranks) == {"N": 1, "M": 5, "C": 3, "P": 4, "Q": 6, "R": 2, "S": 3}
    assert wide.tensor_elements("A") == 3 * (2 * 3 + 2) * 8
    assert dict(line.ranks) == {"N": 2, "G": 4, "P": 6, "R": 3}
    assert line.tensor_elements("A") == 2 * 4 * 10
    volume = helper.make_node("Conv", ["x", "w"], ["y"], name="volume")
    path = save(tmp_path / "v.onnx", [volume], [value("x", 1, 1, 4, 4, 4)],
                [value("y", 1, 1, 2, 2, 2)], [weight("w", 1, 1, 3, 3, 3)])  # fmt: skip
    with pytest.raises(ValueError, match="node volume: only convolutions along 1 or 2 axes, got 3"):
        onnx_workload(path)


def test_a_mamba_block_has_the_products_of_the_shape(tmp_path: Path) -> None:
    """Projections, causal convolution and scan of one block; totals are those of `MambaShape`."""
    shape = MambaShape("small", 1, hidden=8, vocabulary=10, state=4, time_rank=2, head="none")
    inner, tokens = shape.inner, 6
    nodes = [
        helper.make_node("MatMul", ["x", "w_in"], ["xz"], name="in_proj"),
        helper.make_node("Conv", ["padded", "w_conv"], ["u"], name="conv1d", group=inner),
        helper.make_node("MatMul", ["rows", "w_x"], ["dbc"], name="x_proj"),
        helper.make_node("MatMul", ["step", "w_dt"], ["dt"], name="dt_proj"),
        helper.make_node("Softplus", ["dt"], ["delta"]),
        helper.make_node("Einsum", ["b", "rows"], ["h"], name="update", equation="lk,ln->kn"),
        helper.make_node("Einsum", ["c", "h"], ["s"], name="output", equation="lk,kn->ln"),
        helper.make_node("MatMul", ["s", "w_out"], ["y"], name="out_proj"),
    ]
    inputs = [
        value("x", tokens, 8), value("padded", 1, inner, tokens + 3), value("rows", tokens, inner),
        value("step", tokens, 2), value("b", tokens, 4), value("c", tokens, 4),
    ]  # fmt: skip
    weights = [
        weight("w_in", 8, 2 * inner), weight("w_conv", inner, 1, 4),
        weight("w_x", inner, 2 + 2 * 4), weight("w_dt", 2, inner), weight("w_out", inner, 8),
    ]  # fmt: skip
    workload = onnx_workload(
        save(tmp_path / "mamba.onnx", nodes, inputs, [value("y", tokens, 8)], weights)
    )
    ours = language_model(shape, "prefill", context=tokens)
    assert sorted(op.macs * op.count for op in workload.operators) == sorted(
        op.macs * op.count for op in ours.operators
    )
    assert workload.macs == ours.macs
    assert workload.matmul_parameters == ours.matmul_parameters
    assert workload.left_out == {"Softplus": tokens * inner}


def test_an_einsum_that_is_no_product_of_two_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Einsum", ["x"], ["y"], name="trace", equation="ii->i")
    path = save(tmp_path / "m.onnx", [node], [value("x", 4, 4)], [value("y", 4)], [])
    with pytest.raises(ValueError, match=r"node trace: only an einsum like .*, got 'ii->i'"):
        onnx_workload(path)
