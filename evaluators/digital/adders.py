"""Adders, adder trees and accumulators counted in unit gates.

Counts and delays are in units of one NAND2, so that `GateTechnology` turns them into um2, ns and
fJ. All functions broadcast over arrays. Source: ZigZag-IMC (ICCAD 2023), formulas of the digital
macro; checked against four chips in `tests/evaluators/digital/test_published_chips.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.digital.technology import XOR2_AREA, XOR2_CAPACITANCE, XOR2_DELAY

FloatArray = NDArray[np.float64]
Count = Any
"""A number or an array of numbers; results broadcast."""

FULL_ADDER_AREA = 3.0 + 2.0 * XOR2_AREA
FULL_ADDER_CAPACITANCE = 3.0 + 2.0 * XOR2_CAPACITANCE
SUM_DELAY = 2.0 * XOR2_DELAY
INPUT_TO_CARRY_DELAY = XOR2_DELAY + 2.0
CARRY_DELAY = 2.0
"""A full adder is three NAND2 and two XOR2; its carry ripples through two NAND2."""

MULTIPLIER_CAPACITANCE = 0.5
"""A one-bit multiplier is one gate; half of it switches (ZigZag-IMC)."""


def tree_full_adders(inputs: Count, word_bits: Count) -> FloatArray:
    """One-bit adders in a tree of ripple-carry adders that sums `inputs` words.

    With n inputs (a power of two) of b bits and depth D = log2 n::

        adders = n (b + 1) - (b + D + 1)

    >>> float(tree_full_adders(4, 1))  # two 1-bit adders of 1 FA, then one of 2 FA
    4.0
    """
    n, b = np.asarray(inputs, dtype=np.float64), np.asarray(word_bits, dtype=np.float64)
    return np.asarray(n * (b + 1.0) - (b + np.log2(n) + 1.0))


def tree_delay(inputs: Count, word_bits: Count) -> FloatArray:
    """Gate delays of the same tree: sums down the levels, then the carry of the last adder.

    A tree of one input has no delay.

    >>> float(tree_delay(2, 1))  # one half-used full adder: input to carry
    4.4
    """
    n, b = np.asarray(inputs, dtype=np.float64), np.asarray(word_bits, dtype=np.float64)
    depth = np.log2(n)
    gates = (depth - 1) * SUM_DELAY + INPUT_TO_CARRY_DELAY + (b + depth - 2) * CARRY_DELAY
    return np.asarray(np.where(n > 1, gates, 0.0))


def tree_register_bits(inputs: Count, word_bits: Count) -> FloatArray:
    """Flip-flop bits of a tree with one register after each of its log2(n) levels.

    Level i (1 = first) has n/2^i words of b+i bits; the sum is b (n-1) + 2 (n-1) - D.

    >>> float(tree_register_bits(4, 8))  # two words of 9 bits, one of 10
    28.0
    """
    n, b = np.asarray(inputs, dtype=np.float64), np.asarray(word_bits, dtype=np.float64)
    return np.asarray((b + 2.0) * (n - 1.0) - np.log2(n))


def accumulator_delay(register_bits: Count, input_bits: Count) -> FloatArray:
    """Gate delays of adding a new word to a wider register: one sum, then the carry runs on."""
    extra = np.asarray(register_bits, dtype=np.float64) - np.asarray(input_bits)
    return np.asarray(SUM_DELAY + CARRY_DELAY * np.maximum(extra, 0.0))
