"""Analog in-memory arrays on the boundary.

Counts and prices of a product are those of `evaluators.analog.analog_cim`; what streaming adds is
here: arrays that are programmed row by row, all at once, and then used, wave after wave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.technology import AnalogConstants, AnalogTechnology
from evaluators.codesign.boundary import Boundary
from evaluators.codesign.part_price import Floats, Ints, PartPrice, PriceMemory
from spaces.cim.mapping import ORGANISATION, CimChoices, CimDesigns
from spaces.cim.model import CimModel, ProjectionSite
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart


def at_node(constants: AnalogConstants, from_nm: float, to_nm: float) -> AnalogConstants:
    """First-order scaling, as for the digital gates: areas with the node squared, energies with it.

    Times stay: settling and programming belong to the devices.

    >>> from evaluators.analog.technology import PRESETS
    >>> half = at_node(PRESETS["reram"].constants, 32.0, 16.0)
    >>> half.dac_pj, half.periphery_um2, half.settle_ns
    (0.195, 250.0, 100.0)
    """
    shrink = to_nm / from_nm
    powers = {"_um2": 2, "_pj": 1}
    scaled = {
        field.name: getattr(constants, field.name) * shrink**power
        for field in fields(constants)
        for ending, power in powers.items()
        if field.name.endswith(ending)
    }
    return replace(constants, **scaled)


@dataclass
class AnalogArrays:
    """Arrays of one kind; knobs are `arrays` and those of `ORGANISATION`.

    Attributes:
        boundary: What all machines share.
        grid: Settings of the knobs.
        kinds: One part of every kind.
        placements: What the third index of a price refers to.
        technology: Constants at `native_nm`, ADC law and device bits.
        native_nm: Node of the constants; the ADC law states its own.
        row_write_ns: Programming one row of an array; assumed, one pulse per row.
        fixed: Organisation that is no knob.
    """

    boundary: Boundary
    grid: Sequence[Mapping[str, Any]]
    kinds: Sequence[ProjectionPart]
    placements: Sequence[Placement]
    technology: AnalogTechnology
    native_nm: float
    row_write_ns: float = 100.0
    fixed: Mapping[str, Any] | None = None

    @cached_property
    def evaluator(self) -> AnalogCim:
        """The model of one product, at the boundary's node and word widths."""
        bits = self.boundary.workload.precision
        given = self.technology.precision
        precision = replace(
            given,
            weight_bits=bits.weight,
            input_bits=bits.activation,
            cell_bits=min(given.cell_bits, bits.weight),
            dac_bits=min(given.dac_bits, bits.activation),
        )
        constants = at_node(self.technology.constants, self.native_nm, self.boundary.node_nm)
        return AnalogCim(replace(self.technology, constants=constants, precision=precision))

    @cached_property
    def prices(self) -> PriceMemory:
        """Prices of (knobs, kind, placement)."""
        shape = len(self.grid), len(self.kinds), len(self.placements)
        return PriceMemory(shape, self._price)

    @property
    def capacity(self) -> Floats:
        """Arrays, per setting of the knobs."""
        return np.array([row["arrays"] for row in self.grid], dtype=np.float64)

    @cached_property
    def area_mm2(self) -> Floats:
        """All arrays with their converters, per setting of the knobs."""
        one = np.zeros(len(self.grid), dtype=np.int64)
        linear = np.full(len(self.grid), self._linear)
        columns = self._columns(np.arange(len(self.grid)), one, linear)
        return np.asarray(columns["area_mm2"] / columns["arrays"] * self.capacity)

    @property
    def _linear(self) -> int:
        """A placement that is possible on every array."""
        names = [placement.mapping for placement in self.placements]
        return names.index("linear") if "linear" in names else 0

    def _price(self, knobs: Ints, kind: Ints, placement: Ints) -> PartPrice:
        """One layer; the parallel matrices of a layer work at the same time."""
        found = self._columns(knobs, kind, placement)
        tokens = np.array([part.tokens for part in self.kinds])[kind]
        time = found["time_ns"] + (tokens - 1) * found["busy_ns"]
        bits = found["cells"] * self.boundary.workload.precision.weight
        planes = self.evaluator.technology.precision.planes
        waves = np.ceil(found["arrays"] / self.capacity[knobs])
        size = np.array([self._organisation(row)["array_size"] for row in self.grid])[knobs]
        rewritten = waves * (size * self.row_write_ns + time)
        cells = found["cells"] * planes
        energy = tokens * found["energy_pj"]
        memory = self.boundary
        writing = cells * self.evaluator.technology.constants.cell_write_pj
        return PartPrice(
            resident_ns=time,
            resident_pj=energy,
            streamed_ns=np.maximum(rewritten, bits / memory.memory_bits_per_ns),
            streamed_pj=energy + writing + bits * memory.memory_pj_per_bit,
            streamed_bits=bits,
            written_cells=cells,
            need=found["arrays"],
            excess=found["excess"],
        )

    def _organisation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Every value of `ORGANISATION` under one setting of the knobs."""
        defaults = {name: getattr(CimChoices(), name)[0] for name in ORGANISATION}
        named = {**defaults, **(self.fixed or {}), **row}
        return {name: named[name] for name in ORGANISATION}

    @cached_property
    def _choices(self) -> CimChoices:
        """Every value that a placement or a setting of the knobs names."""
        rows = [self._organisation(row) for row in self.grid]
        values = {name: tuple(dict.fromkeys(row[name] for row in rows)) for name in ORGANISATION}
        values["mapping"] = tuple(dict.fromkeys(p.mapping or "linear" for p in self.placements))
        monarch = [p for p in self.placements if p.rule] or [Placement("analog", rule="padded")]
        values["rule"] = tuple(dict.fromkeys(p.rule for p in monarch))
        values["block"] = tuple(dict.fromkeys(p.block for p in monarch))
        return CimChoices(**values)

    def _columns(self, knobs: Ints, kind: Ints, placement: Ints) -> dict[str, Floats]:
        """What one layer adds to the metrics of `AnalogCim`, per triple."""
        parts = self.kinds
        sites = tuple(
            ProjectionSite(str(i), part.reduction, part.outputs, part.parallel, 1, i)
            for i, part in enumerate(parts)
        )
        organisation = np.array(
            [
                [self._choices.index(k, v) for k, v in self._organisation(self.grid[row]).items()]
                for row in knobs.tolist()
            ]
        )
        site = np.array([self._codes(self.placements[row]) for row in placement.tolist()])
        designs = CimDesigns(
            CimModel("one layer of every kind", sites),
            self._choices,
            organisation,
            np.repeat(site[:, None, :], len(parts), axis=1),
        )
        columns = self.evaluator.site_columns(designs)
        rows = np.arange(len(knobs))
        return {name: values[rows, kind] for name, values in columns.items()}

    def _codes(self, placement: Placement) -> tuple[int, int, int]:
        """Positions of mapping, rule and block among the choices."""
        if not placement.rule:
            return self._choices.index("mapping", placement.mapping or "linear"), 0, 0
        return (
            self._choices.index("mapping", placement.mapping),
            self._choices.index("rule", placement.rule),
            self._choices.index("block", placement.block),
        )
