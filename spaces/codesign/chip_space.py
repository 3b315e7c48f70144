"""Heterogeneous chips: a placement for every part of the model, and the knobs of every machine.

One parameter per part names its placement (machine and form in one word, so that no choice depends
on another), and each machine contributes a grid of knobs. The knobs of a machine that holds no
part say nothing: decode sets them to their first values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from spaces.cim.mapping import SITE_CHOICES, CimChoices
from spaces.codesign.placement import MACHINES, Placement, check_groups, placements
from spaces.codesign.projections import ProjectionPart, projection_parts
from spaces.parameter_space import ParameterSpace
from spaces.parameters import (
    cardinality,
    checked_columns,
    enumerate_ordinals,
    ordinals_of,
    values_at,
)
from spaces.space import Columns
from spaces.validation import check_keys
from spaces.workloads.workload import Workload

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ChipBatch:
    """n chips.

    Attributes:
        placement: Index into `ChipSpace.placements` of every part, shape (n, parts).
        knobs: Machine -> index into its grid of knobs, shape (n,); 0 where it holds no part.
    """

    placement: Ints
    knobs: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.placement)

    def take(self, indices: NDArray[np.intp]) -> ChipBatch:
        """A subset, in the order of `indices`."""
        return ChipBatch(
            self.placement[indices], {name: rows[indices] for name, rows in self.knobs.items()}
        )


@dataclass(frozen=True)
class ChipSpace:
    """Placements of all parts, times the knobs of the machines in use.

    Attributes:
        parts: Parts of the model, in order of execution.
        placements: What every part chooses from.
        knobs: Machine -> its knobs, a finite grid.
    """

    parts: tuple[ProjectionPart, ...]
    placements: tuple[Placement, ...]
    knobs: Mapping[str, ParameterSpace]

    def __post_init__(self) -> None:
        check_keys("space.knobs", self.knobs, MACHINES)
        for machine in {"spatial", *self.machines} - set(self.knobs):
            raise ValueError(f"space.knobs.{machine}: is missing")
        for machine, knobs in self.knobs.items():
            for name, distribution in knobs.parameters.items():
                if cardinality(distribution) is None:
                    raise ValueError(f"space.knobs.{machine}.{name}: must be finite; give a step")
        check_groups(self.parts, self.placements)

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """Machines that some placement names, in the order of `MACHINES`."""
        named = {placement.machine for placement in self.placements}
        return tuple(machine for machine in MACHINES if machine in named)

    @cached_property
    def machine_of(self) -> Ints:
        """Position in `MACHINES` of every placement's machine, shape (placements,)."""
        return np.array([MACHINES.index(placement.machine) for placement in self.placements])

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """One choice per part, then `machine.knob` of every machine."""
        names = tuple(str(placement) for placement in self.placements)
        placed = {part.name: CategoricalDistribution(names) for part in self.parts}
        return placed | {
            f"{machine}.{name}": distribution
            for machine, knobs in self._grids.items()
            for name, distribution in knobs.parameters.items()
        }

    @property
    def knob_machines(self) -> tuple[str, ...]:
        """Machines whose knobs are parameters: the core, and those that some placement names."""
        return tuple(self._grids)

    @property
    def _grids(self) -> dict[str, ParameterSpace]:
        """The knobs that count: those of the core and of the machines offered."""
        return {m: self.knobs[m] for m in MACHINES if m == "spatial" or m in self.machines}

    def grid(self, machine: str) -> list[dict[str, Any]]:
        """Every setting of a machine's knobs, in the order that `ChipBatch.knobs` indexes."""
        knobs = self.knobs[machine]
        records: list[dict[str, Any]] = []
        for columns in knobs.enumerate():
            records += knobs.to_json(columns)
        return records

    @property
    def size(self) -> int:
        """Distinct chips: the grid of a machine counts only where a part is placed on it."""
        return sum(
            self._placed_on(used) * prod(self._grid_sizes[m] for m in {"spatial", *used})
            for used in self._subsets
        )

    @cached_property
    def _grid_sizes(self) -> dict[str, int]:
        return {m: knobs.size or 0 for m, knobs in self._grids.items()}

    @cached_property
    def _subsets(self) -> list[tuple[str, ...]]:
        """Every non-empty set of machines."""
        count = len(self.machines)
        return [s for k in range(1, count + 1) for s in combinations(self.machines, k)]

    def _placed_on(self, used: Sequence[str]) -> int:
        """Assignments that use exactly these machines, by inclusion and exclusion."""
        offered = {m: sum(placement.machine == m for placement in self.placements) for m in used}
        return sum(
            (-1) ** (len(used) - k) * sum(offered[m] for m in some) ** len(self.parts)
            for k in range(1, len(used) + 1)
            for some in combinations(used, k)
        )

    def decode(self, columns: Columns) -> ChipBatch:
        """Chips from parameter columns of length n."""
        checked = checked_columns(self.parameters, columns)
        ordinals = {
            name: ordinals_of(distribution, checked[name])
            for name, distribution in self.parameters.items()
        }
        placement = np.stack([ordinals[part.name] for part in self.parts], axis=1)
        return self._canonical(placement, {m: self._row(m, ordinals) for m in self._grids})

    def _row(self, machine: str, ordinals: Mapping[str, Ints]) -> Ints:
        """Position in the grid, the last knob fastest."""
        row: Ints = np.zeros(len(next(iter(ordinals.values()))), dtype=np.int64)
        for name, distribution in self.knobs[machine].parameters.items():
            row = row * (cardinality(distribution) or 0) + ordinals[f"{machine}.{name}"]
        return row

    def _canonical(self, placement: Ints, rows: Mapping[str, Ints]) -> ChipBatch:
        """The same chips with the knobs of idle machines at their first values."""
        used = self.machine_of[placement]
        knobs = {}
        for machine, row in rows.items():
            busy = (used == MACHINES.index(machine)).any(axis=1) | (machine == "spatial")
            knobs[machine] = np.where(busy, row, 0)
        return ChipBatch(placement, knobs)

    def encode(self, designs: ChipBatch) -> Columns:
        """The parameter columns of these chips."""
        columns: dict[str, NDArray[Any]] = {}
        for index, part in enumerate(self.parts):
            columns[part.name] = values_at(self.parameters[part.name], designs.placement[:, index])
        for machine, knobs in self._grids.items():
            rest = designs.knobs[machine]
            found: dict[str, NDArray[Any]] = {}
            for name, distribution in reversed(list(knobs.parameters.items())):
                rest, digit = np.divmod(rest, cardinality(distribution) or 1)
                found[f"{machine}.{name}"] = values_at(distribution, digit)
            columns |= {name: found[name] for name in reversed(found)}
        return columns

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """n chips, every parameter uniform over its choices."""
        drawn = {
            name: values_at(distribution, rng.integers(0, cardinality(distribution) or 1, n))
            for name, distribution in self.parameters.items()
        }
        return self.encode(self.decode(drawn))

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Every distinct chip once; the placements vary slowest."""
        radices = (len(self.placements),) * len(self.parts)
        for digits in enumerate_ordinals(radices, 1):
            placement = np.stack(digits, axis=1)
            used = {MACHINES[code] for code in self.machine_of[placement[0]]} | {"spatial"}
            sizes = [self._grid_sizes[m] if m in used else 1 for m in self._grids]
            for rows in enumerate_ordinals(sizes, batch):
                knobs = dict(zip(self._grids, rows, strict=True))
                yield self.encode(ChipBatch(placement.repeat(len(rows[0]), axis=0), knobs))

    def describe(self, designs: ChipBatch, index: int) -> Mapping[str, Any]:
        """Placement of every part, and the knobs of the machines in use."""
        (record,) = self.to_json(designs.take(np.array([index])))
        used = {MACHINES[code] for code in self.machine_of[designs.placement[index]]}
        machines = {m: record[m] for m in self._grids if m == "spatial" or m in used}
        return {"placement": record["placement"], **machines}

    def to_json(self, designs: ChipBatch) -> list[Any]:
        """One record per chip: `placement` by part, and the knobs by machine."""
        names = [str(placement) for placement in self.placements]
        grids = {machine: self.grid(machine) for machine in self._grids}
        return [
            {
                "placement": {
                    part.name: names[code]
                    for part, code in zip(self.parts, designs.placement[i], strict=True)
                },
                **{m: dict(rows[int(designs.knobs[m][i])]) for m, rows in grids.items()},
            }
            for i in range(len(designs))
        ]

    def from_json(self, records: Sequence[Any]) -> ChipBatch:
        """The chips of these records; the knobs of an idle machine may be left out.

        Raises:
            ValueError: If a part, a placement or a knob is missing or unknown.
        """
        names = [str(placement) for placement in self.placements]
        placement = np.zeros((len(records), len(self.parts)), dtype=np.int64)
        rows: dict[str, Ints] = {m: np.zeros(len(records), dtype=np.int64) for m in self._grids}
        grids = {machine: self.grid(machine) for machine in self._grids}
        for i, record in enumerate(records):
            check_keys("design", record, ("placement", *self._grids))
            placed = record.get("placement", {})
            check_keys("design.placement", placed, [part.name for part in self.parts])
            for j, part in enumerate(self.parts):
                if placed.get(part.name) not in names:
                    raise ValueError(
                        f"design.placement.{part.name}: must be one of {', '.join(names)}, got "
                        f"{placed.get(part.name)!r}"
                    )
                placement[i, j] = names.index(placed[part.name])
            for machine, grid in grids.items():
                if machine in record:
                    if record[machine] not in grid:
                        raise ValueError(
                            f"design.{machine}: must be a setting of the space's knobs, got "
                            f"{record[machine]!r}"
                        )
                    rows[machine][i] = grid.index(record[machine])
        return self._canonical(placement, rows)


def chip_space(
    workload: Workload,
    knobs: Mapping[str, Mapping[str, Any]],
    patterns: Sequence[str],
    analog: Mapping[str, Sequence[Any]],
    machines: Sequence[str] = MACHINES,
    groups: int = 4,
) -> ChipSpace:
    """A chip space from plain data.

    Args:
        workload: One pass through a language model.
        knobs: Machine -> parameter definitions, see `ParameterSpace`.
        patterns: N:M offered besides dense, for example ["2:4", "1:4"].
        analog: `mapping`, `rule` and `block` choices, see `spaces.cim.mapping.CimChoices`.
        machines: What may hold weights.
        groups: Groups of consecutive layers that decide on their own.

    Raises:
        ValueError: Names the key, the rule and the value.
    """
    check_keys("space.analog", analog, SITE_CHOICES)
    choices = CimChoices(**{name: tuple(values) for name, values in analog.items()})
    return ChipSpace(
        projection_parts(workload, groups),
        placements(machines, patterns, choices),
        {machine: ParameterSpace(definitions) for machine, definitions in knobs.items()},
    )
