import numpy as np
import pytest

from spaces.workloads.convolution import (
    ConvolutionShape,
    alexnet,
    conv2d,
    merge_equal,
    resnet50,
    vgg16,
)
from spaces.workloads.workload import Precision, TensorClass

SHAPES = [
    ConvolutionShape(3, 4, size=5, kernel=3),
    ConvolutionShape(2, 3, size=4, kernel=3, stride=2),
    ConvolutionShape(2, 3, size=4, kernel=2, dilation=3),
    ConvolutionShape(6, 4, size=3, kernel=3, groups=2),
    ConvolutionShape(5, 5, size=4, kernel=3, stride=2, groups=5),
    ConvolutionShape(4, 2, size=3, kernel=1),
]


def literal_counts(shape, batch):
    """MACs and touched elements of input and weights by walking every loop of the convolution."""
    macs, inputs, weights = 0, set(), set()
    per_group, filters = shape.inputs // shape.groups, shape.outputs // shape.groups
    spans = (batch, shape.groups, filters, per_group, *[shape.size] * 2, *[shape.kernel] * 2)
    for n, g, m, c, p, q, r, s in np.ndindex(*spans):
        row = shape.stride * p + shape.dilation * r
        column = shape.stride * q + shape.dilation * s
        inputs.add((n, g * per_group + c, row, column))
        weights.add((g * filters + m, c, r, s))
        macs += 1
    return macs, inputs, weights


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_conv2d_against_a_literal_walk(shape, batch):
    operator = conv2d("conv", shape, batch)
    macs, inputs, weights = literal_counts(shape, batch)
    assert operator.macs == macs
    assert operator.tensor_elements("W") == len(weights)
    assert operator.tensor_elements("Z") == batch * shape.outputs * shape.size**2
    rows = {row for *_, row, _ in inputs}
    span = max(rows) + 1
    assert operator.tensor_elements("A") == batch * shape.inputs * span**2
    if shape.dilation == 1 and shape.stride <= shape.kernel:
        assert operator.tensor_elements("A") == len(inputs)


def test_a_tile_of_a_strided_convolution_has_a_halo():
    operator = conv2d("conv", ConvolutionShape(3, 64, size=112, kernel=7, stride=2))
    tile = {rank: np.array([1, 4]) for rank in operator.ranks} | {"R": np.array([7, 7])}
    rows = operator.tensor("A").dimensions[2]
    assert rows.name == "P+R"
    assert rows.extent(tile).tolist() == [7, 13]


def test_depthwise_has_neither_channels_nor_filters_per_group():
    operator = conv2d("depthwise", ConvolutionShape(32, 32, size=7, kernel=3, groups=32))
    assert operator.rank_names == ("G", "P", "Q", "R", "S")
    assert [len(tensor.dimensions) for tensor in operator.tensors] == [3, 3, 3]


@pytest.mark.parametrize(
    ("network", "parameters", "macs"),
    [
        (resnet50, 25_557_032, 4_089_184_256),
        (vgg16, 138_357_544, 15_470_264_320),
        (alexnet, 61_100_840, 714_188_480),
    ],
)
def test_published_totals_to_the_digit(network, parameters, macs):
    workload = network()
    assert (workload.parameters, workload.macs) == (parameters, macs)
    assert workload.matmul_parameters < parameters
    doubled = network(batch=2, bits=Precision(weight=4))
    assert (doubled.macs, doubled.parameters) == (2 * macs, parameters)
    assert (doubled.tokens, doubled.precision.weight) == (2, 4)


def test_resnet_merges_53_convolutions_and_keeps_their_layers():
    operators = resnet50().operators
    assert sum(operator.count for operator in operators) == 54
    assert len(operators) < 25
    layers = sorted(layer for operator in operators for layer in operator.layers)
    assert layers == list(range(54))


def test_merge_keeps_the_first_name_and_tells_shapes_apart():
    shape, other = ConvolutionShape(2, 2, 4, 3), ConvolutionShape(2, 2, 4, 3, stride=2)
    layers = [conv2d("a", shape), conv2d("b", other), conv2d("c", shape)]
    merged = merge_equal(layers)
    assert [(op.name, op.count, op.layers) for op in merged] == [
        ("a", 2, (0, 2)),
        ("b", 1, (1,)),
    ]


def test_roles_of_the_tensors():
    operator = conv2d("conv", SHAPES[0])
    assert [tensor.tensor_class for tensor in operator.tensors] == [
        TensorClass.ACTIVATION,
        TensorClass.WEIGHT,
        TensorClass.OUTPUT,
    ]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"inputs": 3, "groups": 2}, "inputs must be a multiple of groups=2, got 3"),
        ({"kernel": 0}, "kernel must be an integer >= 1, got 0"),
    ],
)
def test_bad_shapes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionShape(**{"inputs": 4, "outputs": 4, "size": 4, "kernel": 3, **sizes})
