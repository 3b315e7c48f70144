"""Unrolled convolutions: the work and the weights stay, the window goes."""

from __future__ import annotations

import pytest

from spaces.workloads.convolution import ConvolutionShape, conv2d, resnet50, vgg16
from spaces.workloads.im2col import im2col
from spaces.workloads.workload import Workload


@pytest.mark.parametrize("network", [resnet50(), vgg16(batch=2)])
def test_work_weights_and_counts_are_those_of_the_network(network: Workload) -> None:
    unrolled = im2col(network)
    assert unrolled.macs == network.macs
    assert unrolled.matmul_parameters == network.matmul_parameters
    assert [o.count for o in unrolled.operators] == [o.count for o in network.operators]
    assert all(set(o.ranks) == {"M", "K", "N"} for o in unrolled.operators)


def test_groups_become_a_batch() -> None:
    grouped = conv2d("g", ConvolutionShape(8, 16, size=4, kernel=3, groups=4))
    (product,) = im2col(Workload("w", (grouped,))).operators
    assert dict(product.ranks) == {"B": 4, "M": 16, "K": 18, "N": 4}
    assert product.macs == grouped.macs


def test_products_stay_as_they_are() -> None:
    (classifier,) = [o for o in resnet50().operators if o.name == "classifier"]
    assert im2col(resnet50()).operators[-1] is not None
    assert [o.ranks for o in im2col(resnet50()).operators if o.name == "classifier"] == [
        classifier.ranks
    ]
