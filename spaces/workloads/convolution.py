"""Convolutions as affine operators, and the convolutional networks of the literature.

Ranks are N (images), C (input channels), M (filters), P, Q (output rows, columns), R, S (filter
rows, columns), and G (groups) in front of C and M when there are several. The input is indexed by
`stride*P + dilation*R`, so its tiles have halos. Its extent is what the filters read: a zero border
that the network pads counts as input elements, rows that a stride skips at the far edge do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from spaces.workloads.transformer import projection
from spaces.workloads.workload import (
    Dimension,
    Operator,
    Precision,
    Tensor,
    TensorClass,
    Workload,
    require_positive,
)


@dataclass(frozen=True)
class ConvolutionShape:
    """A square two-dimensional convolution.

    Attributes:
        inputs: Input channels of all groups.
        outputs: Filters of all groups.
        size: Output rows, and columns.
        kernel: Filter rows, and columns.
        stride: Step of the filter.
        dilation: Distance of its taps.
        groups: Independent groups of channels; `inputs` of them make a depthwise convolution.

    Raises:
        ValueError: If a size is no integer >= 1, or the channels do not divide into the groups.
    """

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        require_positive(self.__dict__)
        for name, channels in (("inputs", self.inputs), ("outputs", self.outputs)):
            if channels % self.groups:
                raise ValueError(
                    f"{name} must be a multiple of groups={self.groups}, got {channels}"
                )


@dataclass(frozen=True)
class Window:
    """One axis of a convolution: its results, the taps of the filter, and how they step.

    Attributes:
        size: Results along the axis.
        kernel: Taps.
        stride: Step of the filter.
        dilation: Distance of its taps.
    """

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1


WINDOW_RANKS = (("P", "R"), ("Q", "S"))
"""Ranks of results and taps along each axis."""


def conv2d(name: str, shape: ConvolutionShape, batch: int = 1, count: int = 1) -> Operator:
    """`Z[N,M,P,Q] = sum over C,R,S of W[M,C,R,S] * A[N,C,stride*P+dilation*R,stride*Q+dilation*S]`.

    >>> conv2d("conv1", ConvolutionShape(3, 64, size=112, kernel=7, stride=2)).macs
    118013952
    """
    window = Window(shape.size, shape.kernel, shape.stride, shape.dilation)
    channels = {
        "N": batch,
        "G": shape.groups,
        "M": shape.outputs // shape.groups,
        "C": shape.inputs // shape.groups,
    }
    return convolution(name, channels, (window, window), count)


def convolution(
    name: str, channels: Mapping[str, int], windows: Sequence[Window], count: int = 1
) -> Operator:
    """A convolution along one axis (ranks P, R) or two (P, R and Q, S).

    With groups, G stands before C and M in every tensor, and C and M count the channels of one
    group. In a grouped operator, ranks N, C and M of size 1 are left out: a depthwise convolution
    has the ranks G P Q R S.

    Args:
        name: Operator name.
        channels: Sizes of N, G, M and C.
        windows: One per axis.
        count: Repeats.

    >>> dict(convolution("c", {"N": 1, "G": 8, "M": 1, "C": 1}, [Window(6, 4)]).ranks)
    {'G': 8, 'P': 6, 'R': 4}
    """
    optional = ("G",) if channels["G"] == 1 else ("N", "C", "M")
    kept = {rank: size for rank, size in channels.items() if size > 1 or rank not in optional}
    axes = list(zip(WINDOW_RANKS, windows, strict=False))
    sizes = {result: window.size for (result, _), window in axes}
    sizes |= {tap: window.kernel for (_, tap), window in axes}
    halos = [Dimension(((p, w.stride), (r, w.dilation))) for (p, r), w in axes]
    return Operator(name, {**kept, **sizes}, _tensors({**kept, **sizes}, halos), count)


def _tensors(ranks: Mapping[str, int], halos: Sequence[Dimension]) -> tuple[Tensor, ...]:
    def plain(names: str) -> tuple[Dimension, ...]:
        return tuple(Dimension(((rank, 1),)) for rank in names if rank in ranks)

    return (
        Tensor("A", (*plain("NGC"), *halos), TensorClass.ACTIVATION),
        Tensor("W", plain("GMCRS"), TensorClass.WEIGHT),
        Tensor("Z", plain("NGMPQ"), TensorClass.OUTPUT),
    )


def resnet50(batch: int = 1, bits: Precision | None = None) -> Workload:
    """ResNet-50 at 224x224: 53 convolutions and a classifier.

    The stride of a stage is in its first 3x3 convolution. Source: He et al., Deep residual learning
    for image recognition, 2015, table 1; the place of the stride is torchvision's.
    """
    layers = [conv2d("conv1", ConvolutionShape(3, 64, 112, 7, stride=2), batch)]
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for index in range(blocks):
            layers += _bottleneck(stage, index, width, batch)
            width = 256 << stage
    layers.append(projection("classifier", batch, 2048, 1000))
    # Every convolution is followed by a batch norm (scale and shift per filter).
    extra = sum(2 * layer.ranks["M"] for layer in layers[:-1]) + 1000
    return _network("resnet50", layers, extra, batch, bits)


def _bottleneck(stage: int, index: int, inputs: int, batch: int) -> Iterator[Operator]:
    """Convolutions of one residual block: reduce, spatial, expand, and the first one's shortcut."""
    inner, size = 64 << stage, 56 >> stage
    stride = 2 if stage and index == 0 else 1
    name = f"stage{stage + 1}.block{index + 1}"
    yield conv2d(f"{name}.reduce", ConvolutionShape(inputs, inner, size * stride, 1), batch)
    yield conv2d(f"{name}.spatial", ConvolutionShape(inner, inner, size, 3, stride), batch)
    yield conv2d(f"{name}.expand", ConvolutionShape(inner, 4 * inner, size, 1), batch)
    if index == 0:
        shortcut = ConvolutionShape(inputs, 4 * inner, size, 1, stride)
        yield conv2d(f"{name}.shortcut", shortcut, batch)


def vgg16(batch: int = 1, bits: Precision | None = None) -> Workload:
    """VGG-16 at 224x224: 13 convolutions and three fully connected layers.

    Source: Simonyan and Zisserman, Very deep convolutional networks, 2014, configuration D.
    """
    layers: list[Operator] = []
    channels = 3
    for stage, (repeats, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        for index in range(repeats):
            shape = ConvolutionShape(channels, width, 224 >> stage, 3)
            layers.append(conv2d(f"conv{stage + 1}_{index + 1}", shape, batch))
            channels = width
    layers += _classifier(batch, (512 * 7 * 7, 4096, 4096, 1000))
    return _network("vgg16", layers, _biases(layers), batch, bits)


def alexnet(batch: int = 1, bits: Precision | None = None) -> Workload:
    """AlexNet at 224x224, one tower: five convolutions and three fully connected layers.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
    """
    shapes = (
        ConvolutionShape(3, 64, 55, 11, stride=4),
        ConvolutionShape(64, 192, 27, 5),
        ConvolutionShape(192, 384, 13, 3),
        ConvolutionShape(384, 256, 13, 3),
        ConvolutionShape(256, 256, 13, 3),
    )
    layers = [conv2d(f"conv{i + 1}", shape, batch) for i, shape in enumerate(shapes)]
    layers += _classifier(batch, (256 * 6 * 6, 4096, 4096, 1000))
    return _network("alexnet", layers, _biases(layers), batch, bits)


def _classifier(batch: int, widths: tuple[int, ...]) -> list[Operator]:
    return [projection(f"fc{i + 1}", batch, k, n) for i, (k, n) in enumerate(pairwise(widths))]


def _biases(layers: Iterable[Operator]) -> int:
    """One bias per filter or output column."""
    return sum(layer.ranks["M"] if "R" in layer.ranks else layer.ranks["N"] for layer in layers)


def _network(
    name: str, layers: list[Operator], extra: int, batch: int, bits: Precision | None
) -> Workload:
    """Merge equal layers and add up; `extra` parameters are in no product."""
    workload = Workload(
        name=f"{name}, batch {batch}",
        operators=merge_equal(layers),
        tokens=batch,
        precision=bits or Precision(),
    )
    return replace(workload, parameters=workload.matmul_parameters + extra)


def merge_equal(layers: Iterable[Operator]) -> tuple[Operator, ...]:
    """One operator for all layers of the same ranks and tensors, named after the first.

    Layers are numbered in the order given, so that a sparsity profile can tell them apart.
    """
    merged: dict[tuple[object, ...], Operator] = {}
    for index, layer in enumerate(layers):
        key = (tuple(layer.ranks.items()), layer.tensors)
        seen = merged.get(key)
        count, before = (seen.count, seen.layers) if seen else (0, ())
        merged[key] = replace(seen or layer, count=count + layer.count, layers=(*before, index))
    return tuple(merged.values())
