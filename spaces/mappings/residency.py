"""Tensors that are made and used on chip, such as attention scores between two fused operators.

Level 0 of a *resident* tensor stands for its home: the level below the outermost one. Its whole
copy lies there while the operator runs, above all loops; nothing of it passes the outermost level.
The home serves its reads and writes at the home's energies and ports. The room is reserved
uncompressed, for a result at the width of partial sums. In between, home and outermost level are
one to it: it cannot be kept a second time at its home.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.hardware import Hardware
from spaces.workloads.workload import Operator

HOME = 1
"""Level that holds resident tensors."""


def resident_tensors(operator: Operator, hardware: Hardware) -> NDArray[np.bool_]:
    """True where a tensor is resident, shape (T,).

    Raises:
        ValueError: If there are any and the hardware has no single level to hold them.
    """
    resident = np.array([tensor.resident for tensor in operator.tensors])
    if resident.any() and (len(hardware.levels) <= HOME or hardware.instances[HOME] != 1):
        names = ", ".join(t.name for t in operator.tensors if t.resident)
        raise ValueError(
            f"operator {operator.name!r}: {names} stays on chip, which takes hardware with one "
            f"instance of a level below {hardware.levels[0].name}"
        )
    return resident


def placement_rules(
    operator: Operator, hardware: Hardware
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the hardware lets each tensor be kept, and where it must be: two of shape (T, L)."""
    tensors, levels = operator.tensors, hardware.levels
    may = [
        [level.may_keep is None or t.tensor_class in level.may_keep for level in levels]
        for t in tensors
    ]
    must = [[t.tensor_class in level.must_keep for level in levels] for t in tensors]
    may_keep, must_keep = np.array(may), np.array(must)
    resident = resident_tensors(operator, hardware)
    if resident.any():
        may_keep[resident, HOME] = must_keep[resident, HOME] = False
    may_keep[:, 0] = must_keep[:, 0] = True
    return may_keep, must_keep


def reserved_bits(
    operator: Operator, hardware: Hardware, word_bits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bits of the home that each tensor's residence takes, 0 for the others; shape (T,)."""
    resident = resident_tensors(operator, hardware)
    elements = np.array([operator.tensor_elements(t.name) for t in operator.tensors], dtype=float)
    return np.asarray(np.where(resident, elements * word_bits, 0.0))


def at_home(operator: Operator, array: NDArray[Any], empty: float) -> NDArray[Any]:
    """An array by (tensor, level, ...) with level 0 of resident tensors moved to their home.

    It is how a mapping is shown and written; `empty` fills level 0.
    """
    moved = array.copy()
    for t, tensor in enumerate(operator.tensors):
        if tensor.resident:
            moved[t, HOME], moved[t, 0] = array[t, 0], empty
    return moved


def from_home(operator: Operator, array: NDArray[Any], empty: float) -> NDArray[Any]:
    """The inverse of `at_home`."""
    moved = array.copy()
    for t, tensor in enumerate(operator.tensors):
        if tensor.resident:
            moved[t, 0], moved[t, HOME] = array[t, HOME], empty
    return moved
