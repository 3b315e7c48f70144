"""Fused attention: scores stay on chip between the product that makes and the one that uses them.

The two products of attention are cut into blocks of rows. One block runs from scores to context
while its scores stay in the level below the outermost one (`spaces.mappings.residency`), so that
they are neither written to nor read from the outermost level. Every block is an operator run of
its own: it reads its keys and values again, as fused kernels do that walk over queries outermost.
Softmax is not modelled; it works on the scores where they lie. What is left over where the rows do
not divide into blocks is padded (rows of the last block only).

Source: Dao, FlashAttention-2, 2023, section 3: queries in the outer loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spaces.workloads.workload import Operator

SCORES, CONTEXT = "attention_scores", "attention_context"
"""Names of the two products, after a prefix."""


def fused_attention(operators: Iterable[Operator], rows: int) -> tuple[Operator, ...]:
    """The operators with every attention cut into blocks of at most `rows` rows of scores.

    >>> from spaces.workloads.workload import matmul
    >>> scores = matmul("attention_scores", {"B": 8, "M": 100, "K": 64, "N": 512}, count=2)
    >>> block = fused_attention([scores], rows=32)[0]
    >>> dict(block.ranks), block.count, block.output.resident
    ({'M': 25, 'K': 64, 'N': 512}, 64, True)
    """
    return tuple(
        _block(operator, rows) if operator.name.endswith((SCORES, CONTEXT)) else operator
        for operator in operators
    )


def _block(operator: Operator, rows: int) -> Operator:
    """One block: as many rows of a product as fit, and as many products as still fit with them."""
    products, queries = operator.ranks.get("B", 1), operator.ranks["M"]
    blocks = -(-queries // rows)
    together = max(
        n for n in range(1, products + 1) if products % n == 0 and (n == 1 or n * queries <= rows)
    )
    sizes = dict(operator.ranks) | {"B": together, "M": -(-queries // blocks)}
    if together == 1:
        sizes.pop("B")
    stays = operator.output.name if operator.name.endswith(SCORES) else operator.tensors[0].name
    tensors = tuple(
        replace(
            tensor,
            dimensions=tuple(d for d in tensor.dimensions if d.name in sizes),
            resident=tensor.name == stays,
        )
        for tensor in operator.tensors
    )
    ranks = {rank: sizes[rank] for rank in operator.ranks if rank in sizes}
    count = operator.count * blocks * (products // together)
    return replace(operator, ranks=ranks, tensors=tensors, count=count)
