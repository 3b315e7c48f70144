"""The parts of every digital compute-in-memory architecture: FlexCiM and its baselines.

FlexCiM after arXiv 2504.14365 and its public RTL: sub-macros of native 1:2 cells, a distribution
unit in front and a merging unit behind. The overhead of each part over a monolithic dense macro is
derived; the published technology is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from evaluators.digital.adders import (
    CARRY_DELAY,
    INPUT_TO_CARRY_DELAY,
    SUM_DELAY,
    FloatArray,
    accumulator_delay,
    tree_delay,
    tree_full_adders,
    tree_register_bits,
)
from evaluators.digital.bill_of_material import MacroOptions, MacroShape, PartsBill, Pipeline
from evaluators.digital.technology import MUX2_DELAY
from spaces.cim.digital_cim import Architecture

PSUM_ACTIVITY = 0.5
"""Toggle rate of partial sums: merge adders and partial-sum registers."""

DISTRIBUTION_ACTIVITY = 0.25
"""Toggle rate of the distribution unit: half of its two lanes reach a cell."""


def _flexcim(shape: MacroShape, options: MacroOptions) -> PartsBill:
    """Sub-macros of native 1:2 cells behind a distribution unit."""
    bill = PartsBill()
    a_in = options.input_toggle_rate
    bill.muxes("cell muxes", shape.cells * shape.bs, a_in)
    distribution = shape.r * shape.p * 2.0 * (shape.p - 1.0) * 2.0 * shape.bs
    bill.muxes("distribution", distribution, DISTRIBUTION_ACTIVITY * a_in / 0.5)
    select_delay = (2.0 * np.log2(shape.p) + 1.0) * MUX2_DELAY
    _partitioned(bill, shape, options, select_delay)
    bill.cell_bits = np.full_like(shape.p, options.weight_bits + 1.0)
    bill.sram_bits = shape.cells * bill.cell_bits
    return bill


def _flexcim_in_cell(shape: MacroShape, options: MacroOptions) -> PartsBill:
    """Sub-macros whose cells choose among the 2P inputs of the largest group themselves."""
    bill = PartsBill()
    group = 2.0 * shape.p
    bill.muxes("cell muxes", shape.cells * (group - 1.0) * shape.bs, options.input_toggle_rate)
    _partitioned(bill, shape, options, np.log2(group) * MUX2_DELAY)
    bill.cell_bits = options.weight_bits + np.log2(group)
    bill.sram_bits = shape.cells * bill.cell_bits
    return bill


def _partitioned(
    bill: PartsBill, shape: MacroShape, options: MacroOptions, select_delay: FloatArray
) -> None:
    """P sub-macro trees per column, partial-sum registers, merging unit, accumulator."""
    _multiply_and_sum(bill, shape, shape.r, options.weight_bits, options)
    word = _sum_bits(shape.r, shape.bs, options.weight_bits)
    bill.registers("psum buffer", shape.p * shape.c * word * options.psum_depth, PSUM_ACTIVITY)
    bill.adders("merge", shape.c * tree_full_adders(shape.p, word), PSUM_ACTIVITY)
    total = shape.r * shape.p
    accumulator = _accumulator(bill, shape, total, word + np.log2(shape.p), options)
    bill.macs_per_cycle = shape.cells * shape.bs / options.input_bits
    bill.cycles_per_vector = options.input_bits / shape.bs
    bill.columns = shape.c
    place = _place_value_delay(shape, shape.r, options.weight_bits)
    if options.pipeline == Pipeline.PSUM:
        front = select_delay + 1.0 + tree_delay(shape.r, options.weight_bits) + place
        bill.stages_gates = [front, tree_delay(shape.p, word) + accumulator]
        bill.pipeline_cycles = np.full_like(shape.p, 2.0)
        return
    registers = shape.p * shape.bs * tree_register_bits(shape.r, options.weight_bits)
    registers += np.where(shape.p > 1, tree_register_bits(shape.p, word), 0.0)
    bill.registers("tree registers", shape.c * registers, options.input_toggle_rate)
    bill.stages_gates = [
        select_delay + 1.0,
        _ripple_delay(word + np.log2(shape.p)) + place,
        accumulator,
    ]
    bill.pipeline_cycles = 5.0 + np.log2(shape.r) + np.log2(shape.p)


def _monolithic(mux_inputs: int | None) -> Callable[[MacroShape, MacroOptions], PartsBill]:
    """One tree of P x R rows; cells choose among `mux_inputs` inputs (None = 2P)."""

    def build(shape: MacroShape, options: MacroOptions) -> PartsBill:
        bill = PartsBill()
        group = 2.0 * shape.p if mux_inputs is None else np.full_like(shape.p, mux_inputs)
        bill.muxes("cell muxes", shape.cells * (group - 1) * shape.bs, options.input_toggle_rate)
        bill.cell_bits = options.weight_bits + np.log2(group)
        bill.sram_bits = shape.cells * bill.cell_bits
        _one_tree(bill, shape, options, options.weight_bits)
        bill.stages_gates[0] = bill.stages_gates[0] + np.log2(group) * MUX2_DELAY
        bill.macs_per_cycle = shape.cells * shape.bs / options.input_bits
        bill.cycles_per_vector = options.input_bits / shape.bs
        bill.columns = shape.c
        return bill

    return build


def _sdp_like(shape: MacroShape, options: MacroOptions) -> PartsBill:
    """Radix-4 Booth: two input bits per bit lane and cycle, tree words one bit wider.

    After the DIMC1 entry of `published_chips`; N:M below its block is not exploited.
    """
    bill = PartsBill()
    bill.cell_bits = np.full_like(shape.p, float(options.weight_bits))
    bill.sram_bits = shape.cells * bill.cell_bits
    _one_tree(bill, shape, options, options.weight_bits + 1)
    bill.macs_per_cycle = shape.cells * 2.0 * shape.bs / options.input_bits
    bill.cycles_per_vector = options.input_bits / (2.0 * shape.bs)
    bill.columns = shape.c
    return bill


def _one_tree(bill: PartsBill, shape: MacroShape, options: MacroOptions, tree_bits: int) -> None:
    """Multipliers, one adder tree per column over all rows, accumulator, pipeline."""
    total = shape.p * shape.r
    _multiply_and_sum(bill, shape, total, tree_bits, options)
    word = _sum_bits(total, shape.bs, tree_bits)
    accumulator = _accumulator(bill, shape, total, word, options)
    place = _place_value_delay(shape, total, tree_bits)
    if options.pipeline == Pipeline.PSUM:
        bill.stages_gates = [1.0 + tree_delay(total, tree_bits) + place + accumulator]
        bill.pipeline_cycles = np.ones_like(shape.p)
        return
    registers = shape.c * shape.bs * tree_register_bits(total, tree_bits)
    bill.registers("tree registers", registers, options.input_toggle_rate)
    bill.stages_gates = [
        np.ones_like(shape.p),
        _ripple_delay(word) + place,
        accumulator,
    ]
    bill.pipeline_cycles = 3.0 + np.log2(total)


def _multiply_and_sum(
    bill: PartsBill,
    shape: MacroShape,
    tree_inputs: FloatArray,
    tree_bits: int,
    options: MacroOptions,
) -> None:
    """Products, adder trees and, for several bits per cycle, the adders of their place values."""
    a_in, a_w = options.input_toggle_rate, options.weight_bit_density
    trees = shape.p * shape.r / tree_inputs
    bill.multipliers(shape.bs * options.weight_bits * shape.cells, a_in)
    adders = shape.bs * trees * shape.c * tree_full_adders(tree_inputs, tree_bits)
    bill.adders("adder trees", adders, a_in * a_w)
    word = tree_bits + np.log2(tree_inputs) + shape.bs
    bill.adders("place value", (shape.bs - 1.0) * trees * shape.c * word, a_in * a_w)


def _accumulator(
    bill: PartsBill, shape: MacroShape, rows: FloatArray, word: FloatArray, options: MacroOptions
) -> FloatArray:
    """Shift-and-add register per column, absent when bit-parallel; returns its gate delays."""
    bits = options.input_bits + options.weight_bits + np.log2(rows)
    needed = np.where(shape.bs < options.input_bits, bits * shape.c, 0.0)
    bill.adders("accumulators", needed, 1.0)
    bill.registers("accumulators", needed, 1.0)
    return np.where(shape.bs < options.input_bits, accumulator_delay(bits, word), 0.0)


def _tensor_core(
    sparse_group: int, merge: float
) -> Callable[[MacroShape, MacroOptions], PartsBill]:
    """A systolic array of bit-parallel MACs with the peak rate of the compute-in-memory macro.

    P R rows of C bs / Bi processing elements, each with an array multiplier, an accumulating
    adder, input, weight and partial-sum registers, and a `sparse_group`-to-1 input multiplexer.
    """

    def build(shape: MacroShape, options: MacroOptions) -> PartsBill:
        bill = PartsBill()
        bi, bw = float(options.input_bits), float(options.weight_bits)
        a_in, a_w = options.input_toggle_rate, options.weight_bit_density
        columns = np.maximum(shape.c * shape.bs / bi, 1.0)
        elements = shape.p * shape.r * columns
        psum = bi + bw + np.log2(shape.p * shape.r)
        bill.multipliers(elements * bi * bw, a_in)
        bill.adders("multiplier arrays", elements * (bi - 1.0) * bw, a_in * a_w)
        bill.adders("accumulators", elements * psum * (1.0 + merge), PSUM_ACTIVITY)
        bill.registers("psum registers", elements * psum, PSUM_ACTIVITY)
        bill.registers("input registers", elements * bi * sparse_group / 2.0, a_in)
        bill.muxes("input muxes", elements * bi * (sparse_group - 1.0), a_in)
        bill.registers("weight registers", elements * (bw + np.log2(sparse_group)), 0.0)
        bill.cell_bits = np.full_like(shape.p, bw + np.log2(sparse_group))
        bill.sram_bits = np.zeros_like(shape.p)
        select = MUX2_DELAY * np.log2(sparse_group)
        halves = [1.0 + select + bi / 2.0 * SUM_DELAY, (bi / 2.0 - 1.0) * SUM_DELAY]
        carry, accumulate = _ripple_delay(np.array(bw)), accumulator_delay(psum, bi + bw)
        bill.stages_gates = [halves[0] + halves[1] + carry + accumulate]
        if options.pipeline == Pipeline.EVERY_STAGE:
            bill.registers("multiplier registers", elements * 4.0 * (bi + bw), a_in)
            stages = (halves[0], halves[1] + carry, accumulate)
            bill.stages_gates = [np.zeros_like(shape.p) + stage for stage in stages]
        bill.pipeline_cycles = shape.p * shape.r + columns + len(bill.stages_gates) - 1.0
        bill.columns = columns
        bill.macs_per_cycle = elements
        bill.cycles_per_vector = np.ones_like(shape.p)
        return bill

    return build


def _sum_bits(inputs: FloatArray, bs: FloatArray, word_bits: int) -> FloatArray:
    """Bits of one tree's sum: b + log2 n, and bs more when bs input bits come per cycle."""
    return np.asarray(word_bits + np.log2(inputs) + np.where(bs > 1, bs, 0.0))


def _place_value_delay(shape: MacroShape, inputs: FloatArray, word_bits: int) -> FloatArray:
    """Gate delays of adding the bs tree sums with their place values."""
    return tree_delay(shape.bs, word_bits + np.log2(inputs))


def _ripple_delay(bits: FloatArray) -> FloatArray:
    """Gate delays of one ripple-carry adder."""
    return np.asarray(INPUT_TO_CARRY_DELAY + (bits - 1.0) * CARRY_DELAY)


BUILDERS: Mapping[Architecture, Callable[[MacroShape, MacroOptions], PartsBill]] = {
    Architecture.FLEXCIM_IDEAL: _flexcim,
    Architecture.FLEXCIM_SHARED: _flexcim,
    Architecture.FLEXCIM_SERIAL: _flexcim,
    Architecture.FLEXCIM_IN_CELL_MUX: _flexcim_in_cell,
    Architecture.DENSE: _monolithic(1),
    Architecture.ONE_OF_TWO: _monolithic(2),
    Architecture.TWO_OF_FOUR: _monolithic(4),
    Architecture.NAIVE_FLEXIBLE: _monolithic(None),
    Architecture.SDP_LIKE: _sdp_like,
    Architecture.TENSOR_CORE: _tensor_core(sparse_group=4, merge=0.0),
    Architecture.VEGETA_LIKE: _tensor_core(sparse_group=4, merge=0.5),
}
