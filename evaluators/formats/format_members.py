"""The sparse tensors of several models as members of one choice of formats.

Each sparse operand of each operator of each model is a member. It is stored in tiles of at most
`tile_edge` per dimension, each of them encoded on its own, and all of them cross the outermost
boundary once per run: what a member pays for a format is the energy of these transfers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.technology import Technology, level_cost
from evaluators.formats.format_cost import FormatCost, TileUse
from spaces.formats.format_grammar import parse_format
from spaces.hardware import Hardware
from spaces.sparsity.sparsity import DensitySpec, SparsityProfile, split_by_layer
from spaces.workloads.workload import Operator, Tensor, TensorClass, Workload

CLASSES = (TensorClass.WEIGHT, TensorClass.ACTIVATION)
"""Tensor classes that may be compressed."""


@dataclass(frozen=True)
class ModelUse:
    """A model that runs on the accelerator.

    Attributes:
        workload: Its operators; one run of it counts.
        sparsity: Its zeros.
    """

    workload: Workload
    sparsity: SparsityProfile


@dataclass(frozen=True)
class Member:
    """A tensor that will use one of the shared formats.

    Attributes:
        model: Whose tensor it is.
        name: Operator and tensor.
        density: Fraction of non-zeros.
        traffic_bits: Dense bits moved in one run of the model.
        cost: Prices formats; energies are of one run of the model.
    """

    model: str
    name: str
    density: float
    traffic_bits: float
    cost: FormatCost


@dataclass(frozen=True)
class FormatMembers:
    """Every sparse tensor of these models.

    Attributes:
        models: Name -> model and its zeros.
        hardware: Its outermost level holds the tensors.
        technology: Prices a bit read there.
        tile_edge: Largest extent of a stand-alone tile in any dimension.
    """

    models: Mapping[str, ModelUse]
    hardware: Hardware
    technology: Technology
    tile_edge: int = 256

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The members, model by model.

        Raises:
            ValueError: If a model has no sparse tensor.
        """
        found: list[Member] = []
        for name, use in self.models.items():
            before = len(found)
            for operator in split_by_layer(use.workload, use.sparsity).operators:
                found += self._members_of(name, use, operator)
            if len(found) == before:
                raise ValueError(f"shared formats: model {name!r} has no sparse tensor to share")
        return tuple(found)

    def _members_of(self, model: str, use: ModelUse, operator: Operator) -> list[Member]:
        members = []
        for tensor in operator.tensors[:-1]:
            density = use.sparsity.resolve(operator, tensor)
            if density.density < 1.0 and tensor.tensor_class in CLASSES:
                bits = use.workload.precision.bits(tensor.tensor_class)
                cost = self._cost(operator, tensor, density, bits)
                moved = float(operator.tensor_elements(tensor.name) * operator.count * bits)
                label = f"{operator.name} {tensor.name}"
                members.append(Member(model, label, cost.model.density, moved, cost))
        return members

    def _cost(
        self, operator: Operator, tensor: Tensor, density: DensitySpec, bits: int
    ) -> FormatCost:
        full = {rank: np.array([size]) for rank, size in operator.ranks.items()}
        sizes = [int(extent) for extent in tensor.extents(full)[0]]
        tile = tuple(min(size, self.tile_edge) for size in sizes)
        tiles = prod(ceil(size / edge) for size, edge in zip(sizes, tile, strict=True))
        level = self.hardware.levels[0]
        use = TileUse(level.name, tile, tiles * operator.count, self._pj_per_bit, tiles)
        names = [dimension.name for dimension in tensor.dimensions]
        return FormatCost(dict(zip(names, sizes, strict=True)), density, bits, (use,))

    @cached_property
    def _pj_per_bit(self) -> float:
        level = self.hardware.levels[0]
        cost = level_cost(self.technology, level, self.hardware.technology_nm)
        return cost.read_pj / level.access_bits

    def costs(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Energy of every candidate for every member [pJ], shape (members, candidates).

        Args:
            texts: Formats that fit tensors of any dimensions, see `spaces.formats.offered_formats`.
        """
        rows = []
        for member in self.members:
            names = list(member.cost.sizes)
            formats = [parse_format(text, names) for text in texts]
            rows.append(member.cost.evaluate_formats(formats).metrics["energy_pj"])
        return np.array(rows)
