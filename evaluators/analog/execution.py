"""One design executed: its timing, its commands, and the counts that the evaluator prices."""

from __future__ import annotations

import numpy as np

from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.commands import CommandCounts, CommandStream
from evaluators.analog.prices import StagePrice, price_stage
from evaluators.analog.schedule import Timing, schedule
from evaluators.analog.site_choices import CountedChoices, count_choices, distinct_choices
from spaces.cim.mapping import CimDesigns
from spaces.cim.placement import Placement, place


def execute(evaluator: AnalogCim, design: CimDesigns) -> tuple[Placement, CommandStream]:
    """Place and schedule one token of a batch of one.

    Raises:
        ValueError: If a block fits neither its matrix nor its array.
    """
    placement = place(design, 0)
    return placement, schedule(placement, timing_of(evaluator, design))


def timing_of(evaluator: AnalogCim, design: CimDesigns) -> Timing:
    """Durations of a batch of one, from the same prices as `AnalogCim.evaluate`."""
    prices, rows, counted = _prices(evaluator, design)
    constants, precision = evaluator.technology.constants, evaluator.technology.precision
    keys = [
        (site, factor)
        for factor, stage in enumerate(counted.stages)
        for site, row in enumerate(rows)
        if stage.slots[row]
    ]

    def of(price: str, site: int, factor: int) -> float:
        return float(getattr(prices[factor], price)[rows[site]])

    return Timing(
        step_ns={key: of("step_ns", *key) for key in keys},
        rounds={key: int(of("rounds", *key)) for key in keys},
        bits={key: int(of("bits", *key)) for key in keys},
        settle_ns=constants.settle_ns,
        move_ns=constants.move_ns,
        sum_ns=constants.sum_ns,
        permute_ns=constants.permute_ns,
        digital_ns={kind: evaluator.digital_ns(kind, 0) for kind in _VECTOR_KINDS},
        attention_macs_per_ns=constants.attention_macs_per_ns,
        slices=(precision.slices, precision.planes),
        explicit_permutation=evaluator.explicit_permutation,
    )


_VECTOR_KINDS = ("add", "layernorm", "activation")


def counted_work(evaluator: AnalogCim, design: CimDesigns) -> CommandCounts:
    """Work of one token of a batch of one in closed form, as it is priced."""
    prices, rows, counted = _prices(evaluator, design)
    precision = evaluator.technology.precision
    pairs = precision.slices * precision.planes
    layers = counted.layers[rows]

    def total(name: str) -> int:
        return int(sum((getattr(stage, name)[rows] * layers).sum() for stage in counted.stages))

    outputs, added, drives = total("outputs"), total("accumulates"), total("drives")
    middle = int((counted.middle[rows] * layers).sum())
    return CommandCounts(
        steps=total("steps"),
        drives=drives * precision.slices,
        conversions=int(sum(price.conversions[rows].sum() for price in prices)),
        cells_read=total("cells_read") * pairs,
        shift_adds=outputs * (pairs - 1),
        accumulates=added,
        buffer_reads=drives + added,
        buffer_writes=outputs,
        moved=total("moved"),
        permuted=middle if evaluator.explicit_permutation else 0,
    )


def _prices(
    evaluator: AnalogCim, design: CimDesigns
) -> tuple[tuple[StagePrice, StagePrice], np.ndarray, CountedChoices]:
    if len(design) != 1:
        raise ValueError(f"design must be a batch of one, got {len(design)}")
    choices = distinct_choices(design)
    counted = count_choices(choices, design.choices)
    first, second = (price_stage(counted, factor, evaluator.technology) for factor in (0, 1))
    return (first, second), choices.inverse[0], counted
