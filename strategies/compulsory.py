"""Costs that no mapping and no format of an operator can avoid, from its cost terms alone."""

from __future__ import annotations

import numpy as np

from evaluators.evaluation import CostTerms


def compulsory_costs(terms: CostTerms) -> tuple[float, float]:
    """Least energy [pJ] and cycles of one operator, whatever its mapping and its formats.

    Every compute is made, and the non-zeros of every operand (no format stores less) leave the
    outermost level at least once, unless transfers are skipped between levels::

        energy >= computes * least pJ + sum over operands non-zeros * word bits * read pJ/bit
        cycles >= max(computes * least cycles / all units, those bits / outermost bandwidth)

    A tensor that stays on chip leaves its home instead, at that level's price.

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
    operands = np.arange(tensors) != terms.output
    bits = np.where(operands, terms.nonzeros * terms.word_bits, 0.0)
    if terms.transfer_fraction is not None:
        bits *= 0.0
    energy = computes * min(leaf.compute_pj for leaf in leaves)
    energy += float(bits @ terms.read_pj_per_bit[terms.home])
    busy = computes * min(leaf.compute_cycles for leaf in leaves) / units
    outermost = float(bits[terms.home == 0].sum())
    return float(energy), float(max(busy, outermost / terms.read_bits_per_cycle[0]))
