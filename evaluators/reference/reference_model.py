"""The `sparseloop` accounting: the reference tool's own rules, kept for comparison with it.

Formulas of the reference notes, section 4 (from NVlabs/timeloop 4cf6d4cd). Per level and tensor,
on the tensor's own tile, ranks outermost to innermost (S = fiber shape, F_max = product of the
outer shapes, T_cur and T_next = elements under this rank's fiber and under one coordinate)::

    F = F_max * (1 - P0(T_cur))                  non-empty fibers
    n = ceil(S * (1 - P0(T_next)))               non-empty coordinates of each
    CP  F*n coordinates and F*n payloads         B   F*S bits and F*n payloads
    RLE F*S*(1 - P0(T_next)) of both             UB  F_max*S of both       UOP  F*(S+1) payloads

The units of a tile are the mean over its occupancy k, with the density conditioned on k. Accesses
of a rank = ceil(units * dense accesses / tile elements); compressed data accesses = dense accesses
x density. The innermost rank's payload is the data itself. It is *not* the default accounting:
ceilings per fiber overstate small fibers, products of expectations understate large ones, run
fields never overflow, and gating saves cycles as skipping does. docs/fidelity.md explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.intersection import SparseOptimization
from evaluators.accelerator.technology import Technology, compute_energy_pj, level_cost
from evaluators.accelerator.traffic import Access, AccessCounts, access_counts
from evaluators.reference.reference_occupancy import (
    FiberRank,
    effective_density,
    empty_probability,
    tile_units,
    whole,
)
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from spaces.sparsity.sparsity import DENSE, DensitySpec
from spaces.workloads.workload import Operator, Tensor

FloatArray = NDArray[np.float64]

FormatChoice = Mapping[tuple[str, str], Sequence[FiberRank]]
"""(tensor, level) -> ranks, outermost first; absent = uncompressed."""


@dataclass(frozen=True)
class RankAccesses:
    """Accesses of one rank: metadata units and payload units."""

    metadata: float
    payload: float


@dataclass(frozen=True)
class Accesses:
    """Accesses of one kind at one level, per instance, in words or in units of a rank.

    Attributes:
        dense, actual, gated, skipped: Data words.
        ranks, gated_ranks: Format units, outermost rank first.
    """

    dense: float
    actual: float
    gated: float = 0.0
    skipped: float = 0.0
    ranks: tuple[RankAccesses, ...] = ()
    gated_ranks: tuple[RankAccesses, ...] = ()


@dataclass(frozen=True)
class ReferenceInput:
    """What the reference is told beside operator, hardware and mapping.

    Attributes:
        densities: By tensor; absent = dense.
        formats: By (tensor, level); absent = uncompressed.
        optimization: Gating and skipping.
        word_bits: By tensor; absent = the access width of the level, one word per access.
        technology: Prices what the levels do not state.
    """

    densities: Mapping[str, DensitySpec]
    formats: FormatChoice
    optimization: SparseOptimization
    word_bits: Mapping[str, float] = field(default_factory=dict)
    technology: Technology = field(default_factory=Technology)


@dataclass(frozen=True)
class ReferenceResult:
    """What the reference reports for one mapping.

    Attributes:
        accesses: (level, tensor, kind) -> accesses; kinds are reads, fills and updates.
        macs_actual, macs_gated: All instances.
        cycles: Of the compute units.
        energy_pj: By component: level name or "MAC".
    """

    accesses: Mapping[tuple[str, str, str], Accesses]
    macs_actual: float
    macs_gated: float
    cycles: float
    energy_pj: Mapping[str, float]


def evaluate_reference(
    operator: Operator,
    hardware: Hardware,
    mapping: MappingBatch,
    given: ReferenceInput,
    stationarity: str = "implicit",
) -> ReferenceResult:
    """Evaluate one mapping by the reference's rules.

    Args:
        operator, hardware: The design.
        mapping: A batch of one.
        given: Densities, formats, gating and skipping, widths and prices.
        stationarity: The reference's own convention is "implicit".
    """
    counts = access_counts(operator, hardware, mapping, stationarity)
    return _ReferenceEvaluation(operator, hardware, mapping, given, counts).run()


# --- one mapping --------------------------------------------------------------------------------


class _ReferenceEvaluation:
    def __init__(
        self,
        operator: Operator,
        hardware: Hardware,
        mapping: MappingBatch,
        given: ReferenceInput,
        counts: AccessCounts,
    ) -> None:
        self.operator = operator
        self.hardware = hardware
        self.keep_at = mapping.keep_at[0]
        self.given = given
        self.specs, self.formats = given.densities, given.formats
        self.optimization = given.optimization
        self.counts = counts
        self.density = {
            tensor.name: effective_density(
                self._spec(tensor.name), operator.tensor_elements(tensor.name)
            )
            for tensor in operator.tensors
        }

    def _spec(self, tensor: str) -> DensitySpec:
        return self.specs.get(tensor, DENSE)

    def run(self) -> ReferenceResult:
        """Every count and energy of the mapping."""
        accesses: dict[tuple[str, str, str], Accesses] = {}
        for t, tensor in enumerate(self.operator.tensors):
            for index, level in enumerate(self.hardware.levels):
                if self.keep_at[t, index] != BYPASS:
                    for kind, words in self._dense(t, index).items():
                        key = (level.name, tensor.name, kind)
                        accesses[key] = self._sparse(tensor, (t, index), kind, words)
        actual, gated = self._computes()
        instances = float(self.counts.macs[0] / self.counts.compute_cycles[0])
        energy = self._energy(accesses)
        active_pj, gated_pj = self._compute_pj()
        energy["MAC"] = actual * active_pj + gated * gated_pj
        cycles = whole((actual + gated) / instances)
        return ReferenceResult(accesses, actual, gated, cycles, energy)

    def _dense(self, t: int, index: int) -> dict[str, float]:
        words = self.counts.words[0, t, index] / self.counts.reuse[0, t, index, 3]
        read = words[Access.READ] + words[Access.REFETCH_READ] + words[Access.ACCUMULATE_READ]
        return {
            "reads": float(read),
            "fills": float(words[Access.FILL]),
            "updates": float(words[Access.DRAIN_WRITE] + words[Access.ACCUMULATE_WRITE]),
        }

    def _innermost(self, t: int) -> int:
        return int(np.flatnonzero(self.keep_at[t] != BYPASS)[-1])

    def _compressed(self, tensor: str, index: int) -> bool:
        return bool(self.formats.get((tensor, self.hardware.levels[index].name), ()))

    def _filled_share(self, t: int, index: int) -> float:
        """Share of a level's instances that receive a non-empty tile: a compressed parent does not
        send empty ones to the instances of a fan-out.
        """
        tensor = self.operator.tensors[t]
        kept = [int(level) for level in np.flatnonzero(self.keep_at[t] != BYPASS)]
        parent = kept[kept.index(index) - 1] if index in kept[1:] else None
        above = self.counts.reuse[0, t, :, 3]
        if parent is None or above[index] == above[parent]:
            return 1.0
        if not self._compressed(tensor.name, parent):
            return 1.0
        elements = self.operator.tensor_elements(tensor.name)
        tile = int(self.counts.reuse[0, t, index, 0])
        nonzeros = np.array([self.density[tensor.name] * elements])
        empty = empty_probability(self._spec(tensor.name), elements, nonzeros, tile)
        return float(1.0 - empty[0])

    def _sparse(self, tensor: Tensor, place: tuple[int, int], kind: str, dense: float) -> Accesses:
        t, index = place
        level = self.hardware.levels[index].name
        ranks = self.formats.get((tensor.name, level), ())
        filled = self._filled_share(t, index)
        words = whole(dense * self.density[tensor.name] / filled) if ranks else dense
        share, rule_kind = 1.0, "skipping"
        if index == self._innermost(t) and kind != "fills":
            share, rule_kind = self._surviving(level, tensor.name)
        left = words * share
        actual = float(round(left)) if tensor is self.operator.output else whole(left)
        tile = prod(rank.shape for rank in ranks)
        units = [
            (metadata / tile / filled, payload / tile / filled)
            for metadata, payload in tile_units(
                self._spec(tensor.name), self.operator.tensor_elements(tensor.name), ranks
            )
        ]
        if kind == "reads" and self._skipped_outside(tensor.name, level):
            units = []
        gating = rule_kind == "gating"
        return Accesses(
            dense,
            actual,
            gated=words - actual if gating else 0.0,
            skipped=0.0 if gating else words - actual,
            ranks=_rank_accesses(units, dense * share),
            gated_ranks=_rank_accesses(units, dense * (1.0 - share)) if gating else (),
        )

    def _skipped_outside(self, tensor: str, level: str) -> bool:
        """True below a nested skip, where the reference loses the metadata reads."""
        targeted = [rule.level for rule in self.optimization.rules if rule.target == tensor]
        names = self.hardware.level_names
        return level in targeted and any(names.index(one) < names.index(level) for one in targeted)

    def _surviving(self, level: str, tensor: str) -> tuple[float, str]:
        """Fraction of the accesses by the computes that a level's rules leave, and their kind."""
        share, kind = 1.0, "skipping"
        for rule in self.optimization.rules:
            if rule.level == level and rule.target == tensor:
                kind = rule.kind
                for leader in rule.leaders:
                    share *= self.density[leader]
        return share, kind

    def _computes(self) -> tuple[float, float]:
        """(actual, gated) computes of all instances.

        Operands whose zeros a rule has tested arrive non-zero; of the others, two absent operands
        never reach the unit. The reference rounds savings down, in floats that fall just short.
        """
        tested = self._tested_leaders()
        operands = self.operator.tensors[:-1]
        total = float(self.counts.macs[0]) * prod(self.density[name] for name in tested)
        rest = [tensor.name for tensor in operands if tensor.name not in tested]
        both = prod(self.density[name] for name in rest)
        if self.optimization.compute == "none" or not rest:
            return whole(total), 0.0
        absent = all(self._leaf_compressed(tensor.name) for tensor in operands)
        if not absent:
            return whole(total * both), float(round(total * (1.0 - both)))
        missing = prod(1.0 - self.density[name] for name in rest)
        saved = float(np.floor(total * (1.0 - both - missing) * (1.0 - 1e-12)))
        actual = total - saved - round(total * missing)
        return actual, saved if self.optimization.compute == "gating" else 0.0

    def _tested_leaders(self) -> set[str]:
        return {
            leader
            for rule in self.optimization.rules
            if rule.target != self.operator.output.name
            and rule.level == self._leaf_level(rule.target)
            for leader in rule.leaders
        }

    def _leaf_level(self, tensor: str) -> str:
        names = [t.name for t in self.operator.tensors]
        return self.hardware.levels[self._innermost(names.index(tensor))].name

    def _leaf_compressed(self, tensor: str) -> bool:
        return bool(self.formats.get((tensor, self._leaf_level(tensor)), ()))

    def _compute_pj(self) -> tuple[float, float]:
        names = [tensor.name for tensor in self.operator.tensors]
        widths = [int(self.given.word_bits.get(name, 8)) for name in names]
        operands = sorted(widths[:-1], reverse=True)[:2]
        pair = (operands[0], operands[-1])
        return compute_energy_pj(self.given.technology, self.hardware, pair, widths[-1])

    def _energy(self, accesses: Mapping[tuple[str, str, str], Accesses]) -> dict[str, float]:
        energy: dict[str, float] = {level.name: 0.0 for level in self.hardware.levels}
        names = [tensor.name for tensor in self.operator.tensors]
        for (level_name, tensor, kind), entry in accesses.items():
            index = self.hardware.level_names.index(level_name)
            level = self.hardware.levels[index]
            cost = level_cost(self.given.technology, level, self.hardware.technology_nm)
            write = kind != "reads"
            share = self.given.word_bits.get(tensor, level.access_bits) / level.access_bits
            total = entry.actual * (cost.write_pj if write else cost.read_pj) * share
            total += entry.gated * cost.gated_pj * share
            ranks = self.formats.get((tensor, level_name), ())
            words = _metadata_words(ranks, entry.ranks, cost.metadata_access_bits)
            gated = _metadata_words(ranks, entry.gated_ranks, cost.metadata_access_bits)
            total += words * (cost.metadata_write_pj if write else cost.metadata_read_pj)
            total += gated * cost.gated_pj
            t = names.index(tensor)
            used = self.counts.reuse[0, t, index, 3] * self._filled_share(t, index)
            energy[level_name] += total * used
        return energy


def _rank_accesses(units: Sequence[tuple[float, float]], dense: float) -> tuple[RankAccesses, ...]:
    return tuple(
        RankAccesses(whole(metadata * dense), whole(payload * dense)) for metadata, payload in units
    )


def _metadata_words(
    ranks: Sequence[FiberRank], accesses: Sequence[RankAccesses], width: int
) -> float:
    bits = sum(
        entry.metadata * rank.metadata_bits + entry.payload * rank.payload_bits
        for rank, entry in zip(ranks, accesses, strict=False)
    )
    return whole(bits / width)
