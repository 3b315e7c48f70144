"""The settings of a `SparseAccelerator` as plain data, as design files keep them: both directions.

::

    technology: {name, values, energy_table, source}
    skipping: {rules: [{level, target, leaders, kind}], compute, packing: [[tensor, axis]]}
    decoder: {pj_per_element: {B: 0.03}, elements_per_cycle: 64, source}
    drain_read: true
    capacity_confidence: 0.5

All are optional; what is absent is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isinf
from typing import Any

from evaluators.accelerator.decoder import NO_DECODER, Decoder
from evaluators.accelerator.intersection import NO_OPTIMIZATION, build_optimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from spaces.validation import check_keys

SETTINGS = ("technology", "skipping", "decoder", "drain_read", "capacity_confidence")
"""Keys of the settings."""


def evaluator_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `SparseAccelerator` from settings.

    Raises:
        ValueError: In one line, for an unknown key or a value that breaks a rule.
    """
    check_keys("evaluator", settings, SETTINGS)
    technology = dict(settings.get("technology", {}))
    skipping = dict(settings.get("skipping", {}))
    decoder = dict(settings.get("decoder", {}))
    check_keys("evaluator.technology", technology, ("name", "values", "energy_table", "source"))
    check_keys("evaluator.skipping", skipping, ("rules", "compute", "packing"))
    check_keys("evaluator.decoder", decoder, ("pj_per_element", "elements_per_cycle", "source"))
    return {
        "technology": Technology(**technology),
        "optimization": build_optimization(**skipping),
        "decoder": Decoder(**decoder),
        "drain_read": bool(settings.get("drain_read", True)),
        "capacity_confidence": float(settings.get("capacity_confidence", 0.5)),
    }


def evaluator_settings(part: SparseAccelerator) -> dict[str, Any]:
    """Settings that give the same prices again, only what differs from the default."""
    settings: dict[str, Any] = {}
    technology, optimization, decoder = part.technology, part.optimization, part.decoder
    if technology.values or technology.energy_table:
        settings["technology"] = {
            "name": technology.name,
            "values": dict(technology.values),
            "energy_table": {k: dict(v) for k, v in technology.energy_table.items()},
            "source": technology.source,
        }
    if optimization != NO_OPTIMIZATION:
        settings["skipping"] = {
            "rules": [
                asdict(rule) | {"leaders": list(rule.leaders)} for rule in optimization.rules
            ],
            "compute": optimization.compute,
            "packing": [list(pair) for pair in optimization.packing],
        }
    if decoder != NO_DECODER:
        settings["decoder"] = {
            "pj_per_element": dict(decoder.pj_per_element),
            "source": decoder.source,
        }
        if not isinf(decoder.elements_per_cycle):
            settings["decoder"]["elements_per_cycle"] = decoder.elements_per_cycle
    if not part.drain_read:
        settings["drain_read"] = False
    if part.capacity_confidence != 0.5:
        settings["capacity_confidence"] = part.capacity_confidence
    return settings
