"""From designs to factors: which (site, mapping, shape, organisation) combinations a batch holds.

A batch of n designs with S sites holds n*S site choices but few distinct ones, because layers have
equal shapes and choices are few. Only distinct ones are counted and priced.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.monarch import gaussian_residual
from evaluators.analog.counts import FactorBatch, StageCounts, stage_counts
from spaces.cim.mapping import MAPPINGS, ORGANISATION, SITE_CHOICES, CimChoices, CimDesigns
from spaces.cim.model import ProjectionSite
from spaces.cim.monarch_shape import MonarchShape, monarch_shape

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SiteChoices:
    """Distinct site choices of a batch.

    Attributes:
        digits: Positions in the choices, columns: site kind, then `SITE_CHOICES`, then
            `ORGANISATION`; shape (k, 9).
        kinds: Distinct sites (equal but for name, stage and digital work), by site kind.
        inverse: Row of every (design, site), shape (n, S).
    """

    digits: Ints
    kinds: tuple[ProjectionSite, ...]
    inverse: NDArray[np.intp]


def distinct_choices(designs: CimDesigns) -> SiteChoices:
    """Distinct site choices of a batch, without sorting."""
    keys = [(s.in_features, s.out_features, s.parallel, s.layers) for s in designs.model.sites]
    order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    kinds = tuple(designs.model.sites[keys.index(key)] for key in order)
    names = (*SITE_CHOICES, *ORGANISATION)
    radices = [len(kinds), *(len(getattr(designs.choices, name)) for name in names)]
    code = np.broadcast_to(np.array([order[key] for key in keys]), designs.site.shape[:2]).copy()
    for column in range(len(SITE_CHOICES)):
        code = code * radices[1 + column] + designs.site[:, :, column]
    organisation = np.zeros(len(designs), dtype=np.int64)
    for column in range(len(ORGANISATION)):
        organisation = organisation * radices[4 + column] + designs.organisation[:, column]
    code = code * int(np.prod(radices[4:])) + organisation[:, None]
    present = np.zeros(int(np.prod(radices)), dtype=bool)
    present[code] = True
    distinct = np.flatnonzero(present)
    position = np.zeros(len(present), dtype=np.int32)
    position[distinct] = np.arange(len(distinct))
    digits = np.stack(np.unravel_index(distinct, radices), axis=-1).astype(np.int64)
    return SiteChoices(digits, kinds, position[code])


@dataclass(frozen=True)
class CountedChoices:
    """Counts of k distinct site choices.

    Attributes:
        stages: Counts of stage 1 and stage 2 (zero for a linear site), each of shape (k,).
        middle: Values between the stages, all parallel matrices of one layer, shape (k,).
        layers: Of the site, shape (k,).
        values: Choice name -> the values themselves, shape (k,).
        excess: How far the choice is from possible, <= 0 = possible; shape (k,).
        lost: Squared norm that projection would lose of unit-variance Gaussian weights, all
            matrices of the site; shape (k,).
    """

    stages: tuple[StageCounts, StageCounts]
    middle: Ints
    layers: Ints
    values: dict[str, NDArray[Any]]
    excess: NDArray[np.float64]
    lost: NDArray[np.float64]


def count_choices(choices: SiteChoices, tables: CimChoices) -> CountedChoices:
    """Count distinct site choices with the closed forms of `counts`."""
    columns = (*SITE_CHOICES, *ORGANISATION)
    values = {
        name: np.array(getattr(tables, name))[choices.digits[:, 1 + column]]
        for column, name in enumerate(columns)
    }
    code = np.array([MAPPINGS.index(name) for name in tables.mapping])[choices.digits[:, 1]]
    shapes, lost = _shape_table(choices.kinds, tables)
    which = choices.digits[:, 0], choices.digits[:, 2], choices.digits[:, 3]
    rows = shapes[which]
    linear = code == MAPPINGS.index("linear")
    stages = tuple(_stage(choices, values, code, rows, factor) for factor in (0, 1))
    excess = np.where(linear, -1.0, np.maximum(stages[0].excess, stages[1].excess))
    unshaped = ~linear & (rows[:, _POSSIBLE] == 0)
    parallel = np.array([kind.parallel for kind in choices.kinds])[choices.digits[:, 0]]
    layers = np.array([kind.layers for kind in choices.kinds])[choices.digits[:, 0]]
    middle = np.where(linear, 0, parallel * rows[:, _MIDDLE])
    excess = np.where(unshaped, np.maximum(excess, 1.0), excess)
    lost_norm = np.where(linear, 0.0, lost[which])
    return CountedChoices((stages[0], stages[1]), middle, layers, values, excess, lost_norm)


_MIDDLE, _TILES, _SUMS, _POSSIBLE = 6, 7, 8, 9
"""Columns of the shape table after blocks, rows and columns of both factors."""


def _shape_table(
    kinds: tuple[ProjectionSite, ...], tables: CimChoices
) -> tuple[Ints, NDArray[np.float64]]:
    """(kind, rule, block) -> factor sizes, and norm lost by projecting Gaussian weights.

    A shape that cannot exist is marked impossible and loses everything.
    """
    table = np.ones((len(kinds), len(tables.rule), len(tables.block), 10), dtype=np.int64)
    lost = np.ones(table.shape[:3])
    for i, kind in enumerate(kinds):
        for j, rule in enumerate(tables.rule):
            for k, block in enumerate(tables.block):
                try:
                    shape = monarch_shape(rule, kind.in_features, kind.out_features, block)
                except ValueError:
                    table[i, j, k, _POSSIBLE] = 0
                else:
                    table[i, j, k] = _shape_row(shape)
                    lost[i, j, k] = gaussian_residual(shape) ** 2
    return table, lost * np.array([kind.parameters for kind in kinds])[:, None, None]


def _shape_row(shape: MonarchShape) -> list[int]:
    sizes = [size for f in shape.factors for size in (f.blocks, f.rows, f.columns)]
    return [*sizes, shape.middle * shape.tiles, shape.tiles, shape.in_tiles, 1]


def _stage(
    choices: SiteChoices, values: dict[str, NDArray[Any]], code: Ints, rows: Ints, factor: int
) -> StageCounts:
    """Counts of one factor of every choice; stage 2 of a linear site counts nothing."""
    linear = code == MAPPINGS.index("linear")
    sizes = np.array(
        [
            (kind.in_features, kind.out_features, kind.parallel, kind.layers)
            for kind in choices.kinds
        ]
    )[choices.digits[:, 0]]
    one = np.ones_like(code)
    block = rows[:, 3 * factor : 3 * factor + 3]
    batch = FactorBatch(
        blocks=np.where(linear, one, block[:, 0]),
        rows=np.where(linear, sizes[:, 0], block[:, 1]),
        columns=np.where(linear, sizes[:, 1], block[:, 2]),
        tiles=np.where(linear, one, rows[:, _TILES]),
        sums=np.where(linear | (factor == 0), one, rows[:, _SUMS]),
        parallel=sizes[:, 2],
        layers=sizes[:, 3],
        array_size=values["array_size"],
        sub_steps=values["sub_steps"],
        spread=values["packing"] == "spread",
    )
    shared = code == MAPPINGS.index("shared_a")
    effective = np.where(shared & (factor == 1), MAPPINGS.index("dense_a"), code)
    counts = stage_counts(effective, batch)
    return _without(counts, linear) if factor else counts


def _without(counts: StageCounts, masked: NDArray[np.bool_]) -> StageCounts:
    """Counts set to zero (and one row summed) where masked."""
    zeroed = {f.name: np.where(masked, 0, getattr(counts, f.name)) for f in fields(counts)}
    zeroed["rows_summed"] = np.where(masked, 1, counts.rows_summed)
    return StageCounts(**zeroed)
