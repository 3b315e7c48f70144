"""How projections are mapped onto arrays: the choices, a batch of designs, and the space of them.

Mappings of one site (after de Lima et al., arXiv 2510.11192; the figures of that paper were not
available, so both readings of DenseMap are here):

* `linear`: the dense matrix cut into arrays.
* `sparse` (SparseMap): Monarch blocks on the diagonal of the array, everything fires at once.
* `dense_a` (DenseMap, reading A): several block diagonals per array, one block per time step.
* `shared_a`: as `dense_a`, and the stage-1 diagonals of matrices with the same input lie side by
  side, so that one drive of the rows serves all of them.
* `dense_b` (DenseMap, reading B): the folded factor, element diagonals at an index, one strided
  subset of rows and columns per time step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from spaces.cim.model import CimModel
from spaces.cim.monarch_shape import SHAPE_RULES, monarch_shape
from spaces.parameters import checked_columns, enumerate_ordinals, ordinals_of, values_at
from spaces.space import Columns
from spaces.validation import check_key, check_keys

MAPPINGS = ("linear", "sparse", "dense_a", "shared_a", "dense_b")
"""Mapping names; their position is the code in a design."""

RULES = tuple(SHAPE_RULES)
"""Rules for matrices that are not b^2 x b^2; their position is the code in a design."""

PACKINGS = ("per_factor", "spread")
"""`per_factor`: every factor has arrays of its own, rounded up. `spread`: the chunks of all layers
go round-robin over the fewest arrays, so that chunks that run together lie apart."""

MAX_ADC_BITS = 20
"""No converter law is asked beyond this resolution."""

ORGANISATION = ("array_size", "adcs_per_array", "adc_bits", "sub_steps", "packing")
"""Choices of the whole accelerator, in the order of `CimDesigns.organisation`."""

SITE_CHOICES = ("mapping", "rule", "block")
"""Choices of each site, in the order of `CimDesigns.site`."""


@dataclass(frozen=True)
class CimChoices:
    """The values every decision may take; a single value fixes it.

    Attributes:
        mapping: Of `MAPPINGS`.
        rule: Of `RULES`.
        block: Block sizes; 0 = the rule's default, about sqrt(n).
        array_size: Rows and columns of an array.
        adcs_per_array: ADCs that the columns of an array share.
        adc_bits: Resolution; 0 = ceil(log2(rows summed)).
        sub_steps: Row groups that reading A drives one after another (4 = variant A').
        packing: Of `PACKINGS`.
    """

    mapping: tuple[str, ...] = MAPPINGS
    rule: tuple[str, ...] = ("padded",)
    block: tuple[int, ...] = (0,)
    array_size: tuple[int, ...] = (256,)
    adcs_per_array: tuple[int, ...] = (8,)
    adc_bits: tuple[int, ...] = (0,)
    sub_steps: tuple[int, ...] = (1,)
    packing: tuple[str, ...] = PACKINGS

    def __post_init__(self) -> None:
        for name in (*ORGANISATION, *SITE_CHOICES):
            if not getattr(self, name):
                raise ValueError(f"choices: {name} must have at least one value, got none")
        for field, valid in (("mapping", MAPPINGS), ("rule", RULES), ("packing", PACKINGS)):
            for value in getattr(self, field):
                check_key(f"choices.{field}", value, valid)
        lows = {"array_size": 1, "adcs_per_array": 1, "adc_bits": 0, "sub_steps": 1, "block": 0}
        for field, low in lows.items():
            for value in getattr(self, field):
                if value < low:
                    raise ValueError(f"choices: {field} must be >= {low}, got {value}")
        for value in self.adc_bits:
            if value > MAX_ADC_BITS:
                raise ValueError(f"choices: adc_bits must be <= {MAX_ADC_BITS}, got {value}")

    def index(self, name: str, value: object) -> int:
        """Position of a value among the choices of a decision; `ValueError` lists them."""
        values = getattr(self, name)
        if value not in values:
            listed = ", ".join(map(str, values))
            raise ValueError(f"{name} must be one of {listed}, got {value!r}")
        return int(values.index(value))


@dataclass(frozen=True)
class CimDesigns:
    """n accelerators with a mapped model, as positions in the choices.

    Attributes:
        model: What is mapped.
        choices: What the positions refer to.
        organisation: Shape (n, 5), columns as in `ORGANISATION`.
        site: Shape (n, sites, 3), columns as in `SITE_CHOICES`; a linear site has rule and block 0.
    """

    model: CimModel
    choices: CimChoices
    organisation: NDArray[np.int64]
    site: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.organisation)

    def take(self, indices: NDArray[np.intp]) -> CimDesigns:
        """A subset, in the order of `indices`."""
        return CimDesigns(self.model, self.choices, self.organisation[indices], self.site[indices])

    def values(self, index: int) -> dict[str, Any]:
        """Parameter name -> value of one design."""
        record = {
            name: getattr(self.choices, name)[self.organisation[index, column]]
            for column, name in enumerate(ORGANISATION)
        }
        for position, site in enumerate(self.model.sites):
            for column, name in enumerate(SITE_CHOICES):
                values = getattr(self.choices, name)
                record[f"{site.name}.{name}"] = values[self.site[index, position, column]]
        return record


@dataclass(frozen=True)
class CimMappingSpace:
    """Mapping, rule and block of every site, and the organisation of the arrays.

    Pass `model.per_layer()` to decide layer by layer. Decode is total: a block that does not fit
    its matrix or array is a design, which the evaluator reports as infeasible.

    Attributes:
        model: What is mapped.
        choices: Values of the decisions.

    >>> from spaces.cim.model import ProjectionSite
    >>> model = CimModel("one", (ProjectionSite("q", 1024, 1024),))
    >>> CimMappingSpace(model, CimChoices(block=(0, 64), packing=("spread",))).size
    9
    """

    model: CimModel
    choices: CimChoices = CimChoices()

    @cached_property
    def parameters(self) -> Mapping[str, BaseDistribution]:
        """Organisation first, then three parameters per site; all categorical."""
        names = [(name, name) for name in ORGANISATION]
        names += [
            (f"{site.name}.{name}", name) for site in self.model.sites for name in SITE_CHOICES
        ]
        return {
            parameter: CategoricalDistribution(getattr(self.choices, choice))
            for parameter, choice in names
        }

    @property
    def size(self) -> int:
        """Distinct designs: a linear site has no rule and no block."""
        return prod(self._radices)

    @property
    def _radices(self) -> tuple[int, ...]:
        organisation = tuple(len(getattr(self.choices, name)) for name in ORGANISATION)
        return organisation + (len(self.site_options),) * len(self.model.sites)

    @cached_property
    def site_options(self) -> NDArray[np.int64]:
        """Distinct (mapping, rule, block) positions of one site, shape (options, 3)."""
        mappings, rules, blocks = (len(getattr(self.choices, name)) for name in SITE_CHOICES)
        every = np.stack(np.meshgrid(*map(np.arange, (mappings, rules, blocks)), indexing="ij"), -1)
        flat = every.reshape(-1, 3)
        return np.unique(self._canonical(flat[:, None, :])[:, 0], axis=0)

    def _canonical(self, site: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rule and block of a linear site set to 0."""
        if "linear" not in self.choices.mapping:
            return site
        linear = site[..., 0] == self.choices.mapping.index("linear")
        site[linear, 1:] = 0
        return site

    def decode(self, columns: Columns) -> CimDesigns:
        """Values to positions."""
        checked = checked_columns(self.parameters, columns)
        pairs = self.parameters.items()
        codes = np.stack([ordinals_of(dist, checked[name]) for name, dist in pairs], axis=-1)
        split = len(ORGANISATION)
        site = codes[:, split:].reshape(len(codes), len(self.model.sites), len(SITE_CHOICES))
        return CimDesigns(self.model, self.choices, codes[:, :split], self._canonical(site))

    def encode(self, designs: CimDesigns) -> Columns:
        """Positions to values."""
        codes = np.concatenate(
            [designs.organisation, designs.site.reshape(len(designs), -1)], axis=1
        )
        pairs = enumerate(self.parameters.items())
        return {name: values_at(dist, codes[:, column]) for column, (name, dist) in pairs}

    def sample(self, n: int, rng: np.random.Generator) -> Columns:
        """n points, uniform over the distinct designs."""
        return self._at([rng.integers(0, radix, n) for radix in self._radices])

    def enumerate(self, batch: int = 4096) -> Iterator[Columns]:
        """Every distinct design once."""
        for digits in enumerate_ordinals(self._radices, batch):
            yield self._at(digits)

    def _at(self, digits: Sequence[NDArray[np.int64]]) -> Columns:
        split = len(ORGANISATION)
        organisation = np.stack(digits[:split], axis=-1)
        site = np.stack([self.site_options[digit] for digit in digits[split:]], axis=1)
        return self.encode(CimDesigns(self.model, self.choices, organisation, site))

    def describe(self, designs: CimDesigns, index: int) -> Mapping[str, Any]:
        """Parameter name -> value, without the rule and block of linear sites."""
        values = designs.values(index)
        for site in self.model.sites:
            if values[f"{site.name}.mapping"] == "linear":
                del values[f"{site.name}.rule"], values[f"{site.name}.block"]
        return values

    def to_json(self, designs: CimDesigns) -> list[Any]:
        """One dict of values per design."""
        return [designs.values(index) for index in range(len(designs))]

    def from_json(self, records: Sequence[Any]) -> CimDesigns:
        """The designs of such dicts; a missing rule or block takes the first choice."""
        defaults = {name: dist.choices[0] for name, dist in self._categoricals}
        for record in records:
            check_keys("design", record, self.parameters)
        complete = [{**defaults, **record} for record in records]
        columns = {
            name: np.array([record[name] for record in complete], dtype=object)
            for name in self.parameters
        }
        return self.decode(columns)

    @property
    def _categoricals(self) -> list[tuple[str, CategoricalDistribution]]:
        pairs = self.parameters.items()
        return [(name, dist) for name, dist in pairs if isinstance(dist, CategoricalDistribution)]


def cim_mapping_space(model: CimModel, choices: Mapping[str, Any]) -> CimMappingSpace:
    """A space from plain data: decision name -> list of values, or a single value.

    Raises:
        ValueError: For an unknown decision or value, or see `check_choices`.
    """
    check_keys("space.choices", choices, (*ORGANISATION, *SITE_CHOICES))
    lists = {
        name: tuple(value) if isinstance(value, (list, tuple)) else (value,)
        for name, value in choices.items()
    }
    chosen = CimChoices(**lists)
    check_choices(model, chosen)
    return CimMappingSpace(model, chosen)


def check_choices(model: CimModel, choices: CimChoices) -> None:
    """Refuse values that no design of a model can use.

    Raises:
        ValueError: If no block offered fits a matrix under any rule, or an array is smaller than
            every block and the linear mapping is not offered.
    """
    if set(choices.mapping) == {"linear"}:
        return
    widest, refusals = [], []
    for block, site, rule in product(choices.block, model.sites, choices.rule):
        try:
            shape = monarch_shape(rule, site.in_features, site.out_features, block)
        except ValueError as error:
            refusals.append(f"block {block} fits no matrix: {error}")
        else:
            widest.append(max(max(factor.rows, factor.columns) for factor in shape.factors))
    if not widest:
        raise ValueError(f"choices: {refusals[0]}")
    for size in choices.array_size:
        if size < min(widest) and "linear" not in choices.mapping:
            raise ValueError(
                f"choices: array_size {size} is smaller than every block, the smallest is "
                f"{min(widest)} wide; choose a larger array or smaller blocks"
            )


def one_design(model: CimModel, choices: CimChoices, mapping: Sequence[str] = ()) -> CimDesigns:
    """A batch of one: the first value of every choice.

    Args:
        model: What is mapped.
        choices: Values; only the first of each counts, except that sites may differ in mapping.
        mapping: Mapping of each site; empty = the first choice everywhere.
    """
    names = mapping or (choices.mapping[0],) * len(model.sites)
    if len(names) != len(model.sites):
        raise ValueError(f"mapping must name {len(model.sites)} sites, got {len(names)} names")
    site = np.zeros((1, len(model.sites), len(SITE_CHOICES)), dtype=np.int64)
    site[0, :, 0] = [choices.index("mapping", name) for name in names]
    organisation = np.zeros((1, len(ORGANISATION)), dtype=np.int64)
    return CimDesigns(model, choices, organisation, site)
