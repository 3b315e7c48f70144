"""Digital compute-in-memory machines, and the space of machines times N:M assignments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from spaces.parameters import choice_array
from spaces.space import Columns
from spaces.sparsity.nm_sparsity import NMBatch, NMSpace

IntArray = NDArray[np.int64]


class Architecture(StrEnum):
    """FlexCiM under four answers to the shared pair select, and its baselines.

    A FlexCiM row and sub-macro has one pair select for all columns, so that masks that differ from
    output channel to output channel do not simply run:

    * `flexcim_ideal`: per-column freedom at no cost, an upper bound;
    * `flexcim_shared`: the mask is constrained so that the columns of a macro share their pairs;
    * `flexcim_serial`: columns are enabled one after the other, each with its own selects;
    * `flexcim_in_cell_mux`: a full multiplexer in every cell instead of the distribution unit.
    """

    FLEXCIM_IDEAL = "flexcim_ideal"
    FLEXCIM_SHARED = "flexcim_shared"
    FLEXCIM_SERIAL = "flexcim_serial"
    FLEXCIM_IN_CELL_MUX = "flexcim_in_cell_mux"
    DENSE = "dense"
    ONE_OF_TWO = "one_of_two"
    TWO_OF_FOUR = "two_of_four"
    NAIVE_FLEXIBLE = "naive_flexible"
    SDP_LIKE = "sdp_like"
    TENSOR_CORE = "tensor_core"
    VEGETA_LIKE = "vegeta_like"


ARCHITECTURES = tuple(Architecture)
"""`MacroBatch.architecture` indexes this tuple."""

PARTITIONED = frozenset(
    {
        Architecture.FLEXCIM_IDEAL,
        Architecture.FLEXCIM_SHARED,
        Architecture.FLEXCIM_SERIAL,
        Architecture.FLEXCIM_IN_CELL_MUX,
    }
)
"""Architectures whose macro is divided into sub-macros; the others are monolithic."""


@dataclass(frozen=True)
class MacroBatch:
    """n machines; every array has shape (n,).

    Attributes:
        architecture: Index into `ARCHITECTURES`.
        sub_macros: Partitioning factor P; a monolithic macro has P x rows rows instead.
        rows: Rows (reduction) of one sub-macro.
        columns: Output channels of one macro.
        bits_per_cycle: Input bits processed per cycle; the input width means bit-parallel.
        macros: Macros that work in parallel.
    """

    architecture: IntArray
    sub_macros: IntArray
    rows: IntArray
    columns: IntArray
    bits_per_cycle: IntArray
    macros: IntArray

    def __post_init__(self) -> None:
        for name in ("sub_macros", "rows", "columns", "bits_per_cycle"):
            values = getattr(self, name)
            bad = (values < 1) | (values & (values - 1) != 0)
            if bad.any():
                raise ValueError(
                    f"{name} must be a power of two, got {int(values[bad][0])}: adder trees and "
                    "multiplexers are binary"
                )
        if (self.macros < 1).any():
            raise ValueError(f"macros must be >= 1, got {int(self.macros.min())}")

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: NDArray[np.intp]) -> MacroBatch:
        """The machines of a subset, in the order of `indices`."""
        return MacroBatch(
            self.architecture[indices],
            self.sub_macros[indices],
            self.rows[indices],
            self.columns[indices],
            self.bits_per_cycle[indices],
            self.macros[indices],
        )


MACHINE_PARAMETERS = ("architecture", "sub_macros", "rows", "columns", "bits_per_cycle", "macros")
"""Names of the machine's parameters, in the order of `MacroBatch`."""


def machine_batch(machines: Sequence[Mapping[str, Any]]) -> MacroBatch:
    """A batch from one mapping per machine, with the keys of `MACHINE_PARAMETERS`.

    Raises:
        ValueError: If a key is missing or an architecture is unknown.

    >>> machine = dict(architecture="dense", sub_macros=4, rows=32, columns=32)
    >>> len(machine_batch([machine | dict(bits_per_cycle=1, macros=16)]))
    1
    """
    table: dict[str, list[int]] = {name: [] for name in MACHINE_PARAMETERS}
    for machine in machines:
        for name in MACHINE_PARAMETERS:
            if name not in machine:
                raise ValueError(f"machine: {name} is missing, it needs {MACHINE_PARAMETERS}")
            value = machine[name]
            table[name].append(architecture_index(value) if name == "architecture" else int(value))
    return MacroBatch(*(np.array(table[name], dtype=np.int64) for name in MACHINE_PARAMETERS))


def architecture_index(name: str) -> int:
    """Position in `ARCHITECTURES`; `ValueError` lists the names."""
    try:
        return ARCHITECTURES.index(Architecture(name))
    except ValueError:
        names = ", ".join(ARCHITECTURES)
        raise ValueError(f"architecture must be one of {names}, got {name!r}") from None


@dataclass(frozen=True)
class CimBatch:
    """n designs: a machine and an N:M assignment each."""

    machines: MacroBatch
    nm: NMBatch

    def __post_init__(self) -> None:
        if len(self.machines) != len(self.nm):
            raise ValueError(
                f"as many machines as N:M assignments are needed, got {len(self.machines)} and "
                f"{len(self.nm)}"
            )

    def __len__(self) -> int:
        return len(self.machines)

    def take(self, indices: NDArray[np.intp]) -> CimBatch:
        """The designs of a subset, in the order of `indices`."""
        return CimBatch(self.machines.take(indices), self.nm.take(indices))


@dataclass(frozen=True)
class DigitalCimSpace:
    """Machines on a grid of choices, times one N:M pattern per layer.

    Attributes:
        choices: Parameter of `MACHINE_PARAMETERS` -> values offered; one value = fixed.
        nm: The N:M sub-space.
    """

    choices: Mapping[str, tuple[Any, ...]]
    nm: NMSpace

    def __post_init__(self) -> None:
        if set(self.choices) != set(MACHINE_PARAMETERS):
            raise ValueError(
                f"choices must have the keys {', '.join(MACHINE_PARAMETERS)}, got "
                f"{', '.join(self.choices)}"
            )
        machine_batch([{name: values[0] for name, values in self.choices.items()}])

    @property
    def free(self) -> tuple[str, ...]:
        """Machine parameters with more than one value."""
        return tuple(name for name in MACHINE_PARAMETERS if len(self.choices[name]) > 1)

    @property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """`machine.<name>` for every free machine parameter, then those of the N:M space."""
        machine = {
            f"machine.{k}": CategoricalDistribution(tuple(self.choices[k])) for k in self.free
        }
        return {**machine, **self.nm.parameters}

    @property
    def size(self) -> int:
        """Number of different designs."""
        return prod(len(self.choices[name]) for name in self.free) * self.nm.size

    def decode(self, columns: Columns) -> CimBatch:
        """Designs from parameter columns of length n."""
        nm = self.nm.decode({k: v for k, v in columns.items() if k.startswith("nm.")})
        n = len(next(iter(columns.values()))) if columns else 1
        if len(nm) != n:
            nm = nm.take(np.zeros(n, dtype=np.intp))
        fields = [self._machine_column(name, columns, n) for name in MACHINE_PARAMETERS]
        return CimBatch(MacroBatch(*fields), nm)

    def encode(self, designs: CimBatch) -> Columns:
        """The parameter columns of these designs."""
        columns: dict[str, NDArray[Any]] = {}
        for name in self.free:
            values = getattr(designs.machines, name)
            if name == "architecture":
                columns[f"machine.{name}"] = choice_array([str(ARCHITECTURES[v]) for v in values])
            else:
                columns[f"machine.{name}"] = values.copy()
        return {**columns, **self.nm.encode(designs.nm)}

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """Draw n designs uniformly."""
        machine = {
            f"machine.{k}": choice_array(self.choices[k])[rng.integers(0, len(self.choices[k]), n)]
            for k in self.free
        }
        return {**machine, **self.nm.sample(n, rng)}

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Every design once: all N:M assignments of a machine, then the next machine."""
        for values in product(*(self.choices[name] for name in self.free)):
            for columns in self.nm.enumerate(batch):
                n = len(next(iter(columns.values()))) if columns else 1
                machine = {
                    f"machine.{name}": choice_array([value] * n)
                    for name, value in zip(self.free, values, strict=True)
                }
                yield {**machine, **columns}

    def describe(self, designs: CimBatch, index: int) -> Mapping[str, Any]:
        """The machine's parameters and the pattern of every layer."""
        machines = designs.machines
        machine: dict[str, Any] = {
            name: int(getattr(machines, name)[index]) for name in MACHINE_PARAMETERS[1:]
        }
        architecture = str(ARCHITECTURES[int(machines.architecture[index])])
        return {
            "machine": {"architecture": architecture, **machine},
            "nm": self.nm.describe(designs.nm, index),
        }

    def to_json(self, designs: CimBatch) -> list[Any]:
        """One record per design, as `describe` writes it."""
        return [dict(self.describe(designs, index)) for index in range(len(designs))]

    def from_json(self, records: Sequence[Any]) -> CimBatch:
        """The batch that `to_json` wrote down; `ValueError` names what is malformed."""
        for record in records:
            if not isinstance(record, Mapping) or not {"machine", "nm"} <= set(record):
                raise ValueError(f"design: needs the keys machine and nm, got {record!r:.80}")
        return CimBatch(
            machine_batch([record["machine"] for record in records]),
            self.nm.from_json([record["nm"] for record in records]),
        )

    def _machine_column(self, name: str, columns: Columns, n: int) -> IntArray:
        """One field of `MacroBatch`, shape (n,)."""
        values = columns[f"machine.{name}"] if name in self.free else [self.choices[name][0]] * n
        if name == "architecture":
            return np.array([architecture_index(str(value)) for value in values], dtype=np.int64)
        return np.asarray(values, dtype=np.int64)
