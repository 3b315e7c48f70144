"""How far the model is from a reference tool's results, one case at a time.

Deviations are relative, the largest over levels, tensors and kinds of access; counts of up to two
units are noise. Columns: dense counts, sparse data counts, metadata, cycles, energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from evaluators.accelerator.traffic import Access, access_counts
from evaluators.reference.golden_cases import (
    SPARSELOOP,
    GoldenCase,
    expected_dense_counts,
    instances_of,
)
from evaluators.reference.golden_formats import (
    codec_formats,
    reference_formats,
    reference_optimization,
)
from evaluators.reference.reference_model import (
    Accesses,
    ReferenceInput,
    ReferenceResult,
    evaluate_reference,
)
from spaces.workloads.workload import Precision

ACCOUNTINGS = ("sparseloop", "codec")
"""The reference's own rules, or what an encoder really writes."""

NOISE_UNITS = 2.0
"""Absolute difference of a count that is rounding, not modelling."""

KINDS = ("reads", "fills", "updates")

_NO_LEAKAGE = Technology("golden", {"leakage_mw_per_mm2": 0.0})


@dataclass(frozen=True)
class Deviation:
    """Largest relative deviations of one case; nan where a file has no such value."""

    name: str
    dense: float
    data: float
    metadata: float
    cycles: float
    energy: float
    flags: tuple[str, ...] = ()

    def within(self) -> bool:
        """True when every column meets the bar of a sparse case (dense counts exact)."""
        return (
            self.dense == 0.0
            and not self.data > 0.01
            and not self.metadata > 0.01
            and not self.cycles > 0.005
            and not self.energy > 0.005
        )


def compare(case: GoldenCase, accounting: str, stationarity: str | None = None) -> Deviation:
    """Deviation of one case under an accounting, and its file's convention unless one is given.

    Raises:
        ValueError: If the accounting is unknown.
    """
    if accounting not in ACCOUNTINGS:
        known = ", ".join(ACCOUNTINGS)
        raise ValueError(f"accounting must be one of {known}, got {accounting!r}")
    case = replace(case, stationarity=stationarity or case.stationarity)
    if case.schema != SPARSELOOP:
        return _compare_accelforge(case)
    if accounting == "sparseloop":
        return _compare_reference(case)
    return _compare_codec(case)


def relative(value: float, expected: float, noise: float = 0.0) -> float:
    """|value - expected| / expected; 0 within the noise; inf where only the expected one is 0."""
    if abs(value - expected) <= noise:
        return 0.0
    return abs(value - expected) / abs(expected) if expected else float("inf")


def dense_deviation(case: GoldenCase) -> float:
    """Largest relative deviation of the dense counts."""
    counts = access_counts(case.operator, case.hardware, case.mapping, case.stationarity)
    words = counts.words[0]
    names = [tensor.name for tensor in case.operator.tensors]
    worst = 0.0
    for level, tensor, quantity, expected in expected_dense_counts(case):
        row = words[names.index(tensor), case.hardware.level_names.index(level)]
        value = float(sum(row[kind] for kind in _QUANTITIES[case.schema][quantity]))
        worst = max(worst, relative(value / instances_of(case, level), expected))
    return worst


_READ = (Access.READ, Access.REFETCH_READ, Access.ACCUMULATE_READ)
_WRITE = (Access.DRAIN_WRITE, Access.ACCUMULATE_WRITE)
_QUANTITIES = {
    "sparseloop": {"reads": _READ, "fills": (Access.FILL,), "updates": _WRITE},
    "accelforge": {"read": (*_READ, Access.DRAIN_READ), "write": (Access.FILL, *_WRITE)},
}


def _compare_accelforge(case: GoldenCase) -> Deviation:
    bits = int(case.hardware.levels[0].access_bits)
    model = SparseAccelerator(
        case.operator,
        case.hardware,
        precision=Precision(bits, bits, bits, bits),
        technology=_NO_LEAKAGE,
        stationarity=case.stationarity,
    )
    metrics = model.evaluate(case.mapping).metrics
    return Deviation(
        case.name,
        dense_deviation(case),
        float("nan"),
        float("nan"),
        relative(float(metrics["latency_cycles"][0]), case.expected["latency_cycles"]),
        relative(float(metrics["energy_pj"][0]), case.expected["energy_pJ"]),
    )


def expected_energy_pj(case: GoldenCase) -> float:
    """Total energy of a Sparseloop case: all levels, tensors and the computes [pJ]."""
    levels = case.expected["levels"].values()
    storage = sum(
        entry["energy_pj_total"]
        for level in levels
        for entry in level.get("tensors", level).values()
    )
    return float(storage + case.expected["mac"]["energy_pj"])


# --- the reference's accounting -----------------------------------------------------------------


def _compare_reference(case: GoldenCase) -> Deviation:
    result = evaluate_reference(
        case.operator,
        case.hardware,
        case.mapping,
        ReferenceInput(case.densities, reference_formats(case), reference_optimization(case)),
        case.stationarity,
    )
    data, metadata = 0.0, 0.0
    for accesses, entry in _paired(case, result):
        for field in ("actual", "gated", "skipped"):
            data = max(data, relative(getattr(accesses, field), entry[field], NOISE_UNITS))
        metadata = max(metadata, _metadata_deviation(accesses, entry))
    return Deviation(
        case.name,
        dense_deviation(case),
        data,
        metadata,
        relative(result.cycles, case.expected["cycles"]),
        relative(sum(result.energy_pj.values()), expected_energy_pj(case)),
        case.flags,
    )


def _paired(case: GoldenCase, result: ReferenceResult) -> Iterator[tuple[Accesses, dict[str, Any]]]:
    for level, tensors in case.expected["levels"].items():
        for tensor, entry in tensors.get("tensors", tensors).items():
            for kind in KINDS:
                yield result.accesses[level, tensor, kind], entry[kind]


def _metadata_deviation(accesses: Accesses, entry: dict[str, Any]) -> float:
    units = entry.get("format_units_per_rank_inner_is_0", {})
    units = units.get("actual", units)
    worst = 0.0
    for index, rank in enumerate(accesses.ranks):
        expected = units.get(f"rank{len(units) - 1 - index}", {"metadata": 0, "payload": 0})
        for name, count in expected.items():
            worst = max(worst, relative(getattr(rank, name), count, NOISE_UNITS))
    return worst


# --- the codec's accounting ---------------------------------------------------------------------


def _compare_codec(case: GoldenCase) -> Deviation:
    formats, format_id = codec_formats(case)
    bits = int(case.raw["levels"][0]["word_bits"])
    model = SparseAccelerator(
        case.operator,
        case.hardware,
        densities=case.densities,
        formats=formats,
        precision=Precision(bits, bits, bits, bits),
        technology=_NO_LEAKAGE,
        optimization=reference_optimization(case),
        stationarity=case.stationarity,
        drain_read=False,
    )
    mapping = replace(case.mapping, format_id=format_id)
    breakdown = model.explain(mapping)
    data, metadata = 0.0, 0.0
    for level, tensors in case.expected["levels"].items():
        for tensor, entry in tensors.get("tensors", tensors).items():
            ours = breakdown["levels"][level]["tensors"][tensor]
            scale = entry.get("instances", 1.0)
            words = sum(entry[kind]["actual"] for kind in KINDS) * scale
            moved = (ours["data_read_bits"] + ours["data_written_bits"]) / bits
            data = max(data, relative(moved, words, NOISE_UNITS * scale))
            stored = ours["metadata_read_bits"] + ours["metadata_written_bits"]
            expected = _reference_metadata_bits(case, (tensor, level), entry) * scale
            metadata = max(metadata, relative(stored, expected, NOISE_UNITS * scale * bits))
    totals = breakdown["totals"]
    return Deviation(
        case.name,
        dense_deviation(case),
        data,
        metadata,
        relative(totals["latency_cycles"], case.expected["cycles"]),
        relative(totals["energy_pj"], expected_energy_pj(case)),
        case.flags,
    )


def _reference_metadata_bits(
    case: GoldenCase, place: tuple[str, str], entry: dict[str, Any]
) -> float:
    ranks = reference_formats(case).get(place, [])
    total = 0.0
    for kind in KINDS:
        units = entry[kind].get("format_units_per_rank_inner_is_0", {})
        units = units.get("actual", units)
        for index, rank in enumerate(ranks):
            counts = units.get(f"rank{len(units) - 1 - index}", {"metadata": 0, "payload": 0})
            total += counts["metadata"] * rank.metadata_bits
            total += counts["payload"] * rank.payload_bits
    return total
