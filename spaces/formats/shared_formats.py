"""The shared decisions of a sparse accelerator: which formats its decoders support.

One accelerator runs many operators, so a trial fixes the formats it offers per tensor class (a few
decoders, `slots` of them) and what every mapping is chosen to minimise. Which of the offered
formats a tensor uses at each level is then part of the best mapping of its operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from spaces.formats.offered_formats import FormatOffer
from spaces.mappings.mapping_goal import parse_goal
from spaces.parameter_space import ParameterSpace
from spaces.space import Columns
from spaces.validation import field_errors

DENSE_STORAGE = "none"
"""Name of uncompressed storage among the offered formats."""

GOALS = ("energy", "latency", "edp")
"""What the mappings of the model minimise, unless a space says otherwise."""


class SharedFormatSpace:
    """Formats offered per tensor class, as `slots` unordered choices, and the mapping goal.

    Designs are the columns themselves in canonical form: the slots of a class in the order of the
    offered list, so that {rle, csr} and {csr, rle} are one design.

    Attributes:
        offered: Tensor class -> format texts to choose from, uncompressed storage (`none`) first.
        slots: Formats an accelerator supports per tensor class; a repeated choice means fewer.
        goals: Mapping goals to choose from, see `spaces.mappings.mapping_goal`.
    """

    def __init__(
        self, offered: Mapping[str, FormatOffer], slots: int = 2, goals: Sequence[str] = GOALS
    ) -> None:
        if slots < 1:
            raise ValueError(f"space.slots must be >= 1, got {slots}")
        if not goals:
            raise ValueError("space.goals must name at least one mapping goal")
        for goal in goals:
            with field_errors("space.goals"):
                parse_goal(goal)
        self.offered = {
            tensor_class: tuple(dict.fromkeys((DENSE_STORAGE, *offer.texts)))
            for tensor_class, offer in offered.items()
        }
        self.slots = slots
        self.goals = tuple(goals)

    def slot_names(self, tensor_class: str) -> tuple[str, ...]:
        """Parameter names of one class, `weight_format_1` and so on."""
        return tuple(f"{tensor_class}_format_{slot + 1}" for slot in range(self.slots))

    @cached_property
    def _points(self) -> ParameterSpace:
        choices = {
            name: {"choices": list(names)}
            for tensor_class, names in self.offered.items()
            for name in self.slot_names(tensor_class)
        }
        return ParameterSpace(choices | {"mapping_goal": {"choices": list(self.goals)}})

    @property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """One categorical per slot, then the mapping goal."""
        return self._points.parameters

    @property
    def size(self) -> int:
        """Multisets of formats per class, times the goals."""
        sets = (comb(len(names) + self.slots - 1, self.slots) for names in self.offered.values())
        return prod(sets) * len(self.goals)

    def decode(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Canonical columns: the slots of each class sorted by their place in the offered list."""
        designs: dict[str, NDArray[Any]] = dict(self._points.decode(columns))
        for tensor_class, names in self.offered.items():
            slots = self.slot_names(tensor_class)
            place = {name: index for index, name in enumerate(names)}
            chosen = np.array([[place[value] for value in designs[slot]] for slot in slots])
            ordered = np.array(names, dtype=object)[np.sort(chosen, axis=0)]
            designs |= dict(zip(slots, ordered, strict=True))
        return designs

    def encode(self, designs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The columns of these designs, canonical."""
        return self.decode(designs)

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """n points, every slot uniform over its choices."""
        return self._points.sample(n, rng)

    def enumerate(self, batch: int = 4096) -> Iterator[dict[str, NDArray[Any]]]:
        """Every distinct design once."""
        per_class = [
            list(combinations_with_replacement(names, self.slots))
            for names in self.offered.values()
        ]
        rows: list[tuple[str, ...]] = []
        for *sets, goal in product(*per_class, self.goals):
            rows.append((*(name for chosen in sets for name in chosen), str(goal)))
            if len(rows) == batch:
                yield self._columns(rows)
                rows = []
        if rows:
            yield self._columns(rows)

    def _columns(self, rows: list[tuple[str, ...]]) -> dict[str, NDArray[Any]]:
        table = np.array(rows, dtype=object)
        return {name: table[:, index] for index, name in enumerate(self.parameters)}

    def describe(self, designs: Mapping[str, NDArray[Any]], index: int) -> dict[str, Any]:
        """Offered formats per class, without repeats, and the goal."""
        described: dict[str, Any] = {
            f"{tensor_class}_formats": list(
                dict.fromkeys(str(designs[slot][index]) for slot in self.slot_names(tensor_class))
            )
            for tensor_class in self.offered
        }
        return described | {"mapping_goal": str(designs["mapping_goal"][index])}

    def to_json(self, designs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """One dict of choices per design."""
        return self._points.to_json(designs)

    def from_json(self, records: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """The designs of these dicts, canonical."""
        return self.decode(self._points.from_json(records))
