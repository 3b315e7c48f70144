"""Costs that no mapping and no format of an operator can avoid, from its cost terms alone."""

from __future__ import annotations

import numpy as np

from evaluators.evaluation import CostTerms


def compulsory_costs(terms: CostTerms) -> tuple[float, float]:
    """Least energy [pJ] and cycles of one operator, whatever its mapping and its formats.

    Every compute is made, and the payload of every operand (its non-zeros: no format stores fewer
    bits) leaves the outermost level at least once::

        energy >= computes * least pJ + sum over operands payload bits * read pJ/bit
        cycles >= max(computes * least cycles / all units, payload bits / outermost bandwidth)

    >>> from evaluators.accelerator.sparse_accelerator import SparseAccelerator
    >>> from spaces.hardware import ComputeUnit, Hardware, Level
    >>> from spaces.workloads.workload import matmul
    >>> dram = Level("DRAM", access_bits=8, read_bits_per_cycle=4, read_energy_pj=8)
    >>> hardware = Hardware("flat", (dram, Level("RF", capacity_bits=64)), ComputeUnit(energy_pj=1))
    >>> tiny = SparseAccelerator(matmul("tiny", {"M": 1, "K": 2, "N": 2}), hardware)
    >>> compulsory_costs(tiny.cost_terms())  # 4 computes, (2 + 4) words of 8 bits at 1 pJ per bit
    (52.0, 12.0)
    """
    computes = float(np.prod(terms.rank_sizes))
    units = float(np.prod([size for axes in terms.fan_out for size in axes]))
    tensors, levels = terms.may_keep.shape
    leaves = [
        terms.leaf(np.ones((tensors, levels), dtype=bool), np.full(tensors, compressed))
        for compressed in (False, True)
    ]
    bits = sum(_payload_bits(terms, t) for t in range(tensors) if t != terms.output)
    energy = computes * min(leaf.compute_pj for leaf in leaves) + bits * terms.read_pj_per_bit[0]
    busy = computes * min(leaf.compute_cycles for leaf in leaves) / units
    return float(energy), float(max(busy, bits / terms.read_bits_per_cycle[0]))


def _payload_bits(terms: CostTerms, tensor: int) -> float:
    """Fewest payload bits of a whole tensor in any of the formats offered outermost."""
    offered = np.array(terms.format_choices[tensor][0], dtype=np.int64)
    whole = terms.rank_sizes[None, :]
    return float(terms.tile_bits(tensor, 0, offered, whole)[:, 0, 1].min())
