"""Convolutions as the matrix products that hardware without windows runs.

`im2col` unrolls every window of the input into a row: Z[P*Q, M] = A[P*Q, C*R*S] W[C*R*S, M]. The
weights and results are those of the convolution. The unrolled input repeats an element once per
window that covers it (R*S/stride^2 times), so its traffic is that of a machine that unrolls in
memory, an upper bound on what a convolution moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from spaces.workloads.workload import Operator, Workload, matmul

ROLES = {"B": "G", "M": "NPQ", "K": "CRS", "N": "M"}
"""Rank of the product -> ranks of the convolution whose sizes it multiplies."""


def im2col(workload: Workload) -> Workload:
    """The workload with every convolution unrolled into a matrix product; others stay as they are.

    Multiply-accumulates, weights, counts and layers stay the same.

    >>> from spaces.workloads.convolution import ConvolutionShape, conv2d
    >>> network = Workload("net", (conv2d("c", ConvolutionShape(64, 128, 28, kernel=3, stride=2)),))
    >>> dict(im2col(network).operators[0].ranks)
    {'M': 784, 'K': 576, 'N': 128}
    """
    unrolled = [_unrolled(operator) for operator in workload.operators]
    return replace(workload, operators=tuple(unrolled))


def _unrolled(operator: Operator) -> Operator:
    if not {"P", "Q", "R", "S"} <= set(operator.ranks):
        return operator
    product = matmul(operator.name, product_sizes(operator.ranks), count=operator.count)
    return replace(product, tags=operator.tags, layers=operator.layers)


def product_sizes(ranks: Mapping[str, int]) -> dict[str, int]:
    """Sizes of the product of a convolution with these ranks; B only where there are groups.

    >>> product_sizes({"G": 32, "P": 8, "Q": 8, "R": 3, "S": 3})
    {'B': 32, 'M': 64, 'K': 9, 'N': 1}
    """
    sizes = {name: prod(ranks.get(rank, 1) for rank in folded) for name, folded in ROLES.items()}
    return {name: size for name, size in sizes.items() if name != "B" or "G" in ranks}
