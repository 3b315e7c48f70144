"""A literal execution of a loop nest over real sparse arrays, counting every access.

No formula of the model is used: tiles are sets of elements, a fetch happens when the resident set
changes, a transfer is skipped when the leader elements that the computes would meet are all zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np

from evaluators.accelerator.intersection import SparseOptimization
from evaluators.formats.codec import encode
from spaces.formats.compression_format import Format
from spaces.hardware import Hardware
from spaces.mappings.loop_nest import MappingBatch
from spaces.workloads.workload import Operator


@dataclass
class Visit:
    """One tile in one instance, from its fetch until another tile takes its place."""

    tensor: int
    level: int
    instance: tuple[int, ...]
    tile: tuple[int, ...]
    time: int
    first: bool
    macs: list[int] = field(default_factory=list)
    parent: int = -1
    group: tuple[object, ...] = ()


class NestOracle:
    """Executes one mapping; dense counts by `words`, sparse streams by `streams`."""

    def __init__(
        self, operator: Operator, hardware: Hardware, mapping: MappingBatch, stationarity: str
    ) -> None:
        self.operator, self.hardware, self.stationarity = operator, hardware, stationarity
        names = operator.rank_names
        self.loops = [
            (names[rank], int(trip), int(kind))
            for rank, trip, kind in zip(
                mapping.loop_rank[0], mapping.loop_trip[0], mapping.loop_kind[0], strict=True
            )
        ]
        self.keep = mapping.keep_at[0]
        self.temporal = [p for p, loop in enumerate(self.loops) if loop[2] == 0]
        self.spatial = [p for p, loop in enumerate(self.loops) if loop[2] != 0]
        self.chains = [
            [level for level in range(self.keep.shape[1]) if self.keep[t, level] >= 0]
            for t in range(len(operator.tensors))
        ]
        self._run()

    def _run(self) -> None:
        """Record every MAC, and every visit of every tile."""
        self.macs: list[tuple[int, dict[int, int], dict[str, int]]] = []
        self.visits: list[Visit] = []
        resident: dict[tuple[int, int, tuple[int, ...]], tuple[object, int]] = {}
        seen: set[tuple[object, ...]] = set()
        spatial_points = list(product(*(range(self.loops[p][1]) for p in self.spatial)))
        for time, step in enumerate(product(*(range(self.loops[p][1]) for p in self.temporal))):
            for place in spatial_points:
                index = dict(zip(self.temporal, step, strict=True))
                index.update(zip(self.spatial, place, strict=True))
                mac = len(self.macs)
                self.macs.append((time, index, self._ranks(index)))
                for t, chain in enumerate(self.chains):
                    parent = -1
                    for level in chain:
                        parent = self._visit(t, level, index, time, mac, parent, resident, seen)

    def _ranks(self, index: dict[int, int]) -> dict[str, int]:
        value = dict.fromkeys(self.operator.rank_names, 0)
        for p, (rank, trip, _) in enumerate(self.loops):
            value[rank] = value[rank] * trip + index[p]
        return value

    def _instance(self, index: dict[int, int], position: int) -> tuple[int, ...]:
        return tuple(index[p] for p in self.spatial if p < position)

    def _visit(self, t, level, index, time, mac, parent, resident, seen) -> int:  # type: ignore[no-untyped-def]
        position = self.keep[t, level]
        relevant = self.operator.tensors[t].ranks
        instance = self._instance(index, position)
        tile = tuple(index[p] for p in range(position) if self.loops[p][0] in relevant)
        moment = tuple(index[p] for p in self.temporal if p < position)
        key = tile if self.stationarity == "implicit" else (tile, moment)
        held = resident.get((t, level, instance))
        if held is None or held[0] != key:
            first = (t, level, instance, tile) not in seen
            seen.add((t, level, instance, tile))
            visit = Visit(t, level, instance, tile, time, first, parent=parent)
            if parent >= 0:
                visit.group = (self.visits[parent].instance, time, tile)
            resident[t, level, instance] = (key, len(self.visits))
            self.visits.append(visit)
        number = resident[t, level, instance][1]
        self.visits[number].macs.append(mac)
        return number

    def element(self, t: int, mac: int) -> tuple[int, ...]:
        """Element of tensor t that a MAC uses (all its dimensions are plain)."""
        ranks = self.macs[mac][2]
        return tuple(ranks[rank] for rank in self.operator.tensors[t].ranks)

    def elements(self, visit: Visit) -> list[tuple[int, ...]]:
        """Elements of a visit's tile."""
        return sorted({self.element(visit.tensor, mac) for mac in visit.macs})

    def by_boundary(self, t: int, level: int) -> dict[tuple[object, ...], list[Visit]]:
        """Visits of a child level by the parent's one transfer that serves them (multicast)."""
        groups: dict[tuple[object, ...], list[Visit]] = defaultdict(list)
        for visit in self.visits:
            if visit.tensor == t and visit.level == level:
                groups[visit.group].append(visit)
        return groups

    def leaf_groups(self, t: int) -> list[tuple[int, list[int]]]:
        """Accesses of the computes to a tensor's innermost copy: (visit, MACs served at once)."""
        leaf = self.chains[t][-1]
        groups: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
        for number, visit in enumerate(self.visits):
            if visit.tensor == t and visit.level == leaf:
                for mac in visit.macs:
                    groups[number, self.macs[mac][0], self.element(t, mac)].append(mac)
        return [(number, macs) for (number, _, _), macs in groups.items()]

    # --- dense ----------------------------------------------------------------------------------

    def words(self) -> np.ndarray:
        """Dense words, shape (T, L, 7), kinds as in `evaluators.accelerator.traffic.Access`."""
        tensors, levels = self.keep.shape
        words = np.zeros((tensors, levels, 7))
        for t, chain in enumerate(self.chains):
            output = t == tensors - 1
            for parent, child in pairwise(chain):
                for visits in self.by_boundary(t, child).values():
                    size = len(self.elements(visits[0]))
                    again = any(not visit.first for visit in visits)
                    if output:
                        words[t, parent, 2] += size
                        words[t, parent, 3] += size * again
                        words[t, child, 1] += size * sum(not visit.first for visit in visits)
                        words[t, child, 4] += size * len(visits)
                    else:
                        words[t, parent, 0] += size
                        words[t, child, 1] += size * len(visits)
            groups = self.leaf_groups(t)
            if output:
                touched: set[tuple[object, ...]] = set()
                for number, macs in groups:
                    visit = self.visits[number]
                    key = (visit.instance, visit.tile, self.element(t, macs[0]))
                    words[t, chain[-1], 5] += key in touched
                    touched.add(key)
                    words[t, chain[-1], 6] += 1
            else:
                words[t, chain[-1], 0] += len(groups)
        return words

    # --- sparse ---------------------------------------------------------------------------------

    def sparse(
        self,
        masks: list[np.ndarray],
        optimization: SparseOptimization,
        formats: Mapping[tuple[int, int], Format],
    ) -> dict[tuple[str, int, int], np.ndarray]:
        """Words by stream for every sample of the operands' masks.

        Args:
            masks: Per operand, non-zero flags of shape (samples, *dimensions).
            optimization: Rules and what the compute units do; no packing.
            formats: (tensor, level) -> format of that copy; absent = uncompressed. Tiles are
                encoded bit by bit by the codec.

        Returns: (stream, tensor, level) -> shape (samples,); streams data_read, data_write and
            gated in words, metadata_read and metadata_write in bits; and computes as
            ("made", -1, -1), ("real", -1, -1).
        """
        run = _SparseRun(self, masks, optimization, formats)
        return run.execute()


class _SparseRun:
    def __init__(self, oracle, masks, optimization, formats) -> None:  # type: ignore[no-untyped-def]
        self.o, self.masks, self.formats = oracle, masks, formats
        self.compute = optimization.compute
        self.known: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = {}
        self.samples = len(masks[0])
        names = [tensor.name for tensor in oracle.operator.tensors]
        levels = oracle.hardware.level_names
        self.rules = [
            (levels.index(r.level), names.index(r.target), names.index(s), r.kind)
            for r in optimization.rules
            for s in r.leaders
        ]
        self.out: dict[tuple[str, int, int], np.ndarray] = defaultdict(
            lambda: np.zeros(self.samples)
        )
        self.values = [
            np.stack(
                [
                    masks[t][(slice(None), *oracle.element(t, mac))]
                    for mac in range(len(oracle.macs))
                ]
            )
            for t in range(len(masks))
        ]

    def tests(self, level: int, t: int, macs: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """(made, ungated) flags of a transfer that serves these MACs, shape (samples,)."""
        made = np.ones(self.samples, dtype=bool)
        ungated = made.copy()
        for rule_level, target, leader, kind in self.rules:
            if (rule_level, target) == (level, t):
                present = self.values[leader][macs].any(axis=0)
                ungated &= present
                if kind == "skipping":
                    made &= present
        return made, ungated

    def child_extents(self, t: int, level: int) -> tuple[int, ...]:
        """Extents of the tiles that a level's copy is made of: its child's, or its own."""
        chain = self.o.chains[t]
        inner = chain[min(chain.index(level) + 1, len(chain) - 1)]
        elements = self.o.elements(
            next(v for v in self.o.visits if (v.tensor, v.level) == (t, inner))
        )
        return tuple(len({element[d] for element in elements}) for d in range(len(elements[0])))

    def encoded(
        self, t: int, level: int, elements: list[tuple[int, ...]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(payload words, metadata bits) of a box of elements as a level stores it, per sample.

        The box is cut into child tiles, each of which is encoded on its own.
        """
        fmt = self.formats.get((t, level))
        first = tuple(min(element[d] for element in elements) for d in range(len(elements[0])))
        last = tuple(max(element[d] for element in elements) for d in range(len(elements[0])))
        if fmt is None:
            return np.full(self.samples, float(len(elements))), np.zeros(self.samples)
        key = (t, level, first, last)
        if key not in self.known:
            box = self.masks[t][
                (slice(None), *(slice(a, b + 1) for a, b in zip(first, last, strict=True)))
            ]
            self.known[key] = self.encode_box(box, self.child_extents(t, level), fmt, t)
        return self.known[key]

    def encode_box(self, box, extents, fmt, t):  # type: ignore[no-untyped-def]
        names = [dimension.name for dimension in self.o.operator.tensors[t].dimensions]
        words, metadata = np.zeros(self.samples), np.zeros(self.samples)
        starts = product(*(range(0, n, e) for n, e in zip(box.shape[1:], extents, strict=True)))
        for start in starts:
            place = tuple(slice(s, s + e) for s, e in zip(start, extents, strict=True))
            tiles = box[(slice(None), *place)].astype(np.uint64)
            patterns, which = np.unique(tiles.reshape(len(tiles), -1), axis=0, return_inverse=True)
            sizes = np.array(
                [
                    (encoded.payload_bits, encoded.metadata_bits)
                    for pattern in patterns
                    for encoded in [encode(pattern.reshape(1, *extents), fmt, names, 1)]
                ]
            )
            words += sizes[which.ravel(), 0]
            metadata += sizes[which.ravel(), 1]
        return words, metadata

    def execute(self) -> dict[tuple[str, int, int], np.ndarray]:
        made: dict[int, np.ndarray] = {}
        lively: dict[int, np.ndarray] = {}
        everything = np.ones(self.samples, dtype=bool)
        for number, visit in enumerate(self.o.visits):
            if visit.parent < 0:
                made[number], lively[number] = everything, everything
        numbers = {id(visit): number for number, visit in enumerate(self.o.visits)}
        for t in range(len(self.masks)):
            chain = self.o.chains[t]
            for parent, child in pairwise(chain):
                for visits in self.o.by_boundary(t, child).values():
                    macs = [mac for visit in visits for mac in visit.macs]
                    above = visits[0].parent
                    passed, ungated = self.tests(parent, t, macs)
                    passed = passed & made[above]
                    ungated = ungated & lively[above] & passed
                    elements = self.o.elements(visits[0])
                    words, metadata = self.encoded(t, parent, elements)
                    self.out["data_read", t, parent] += words * ungated
                    self.out["gated", t, parent] += words * (passed & ~ungated)
                    self.out["metadata_read", t, parent] += metadata * passed
                    words, metadata = self.encoded(t, child, elements)
                    for visit in visits:
                        made[numbers[id(visit)]], lively[numbers[id(visit)]] = passed, ungated
                        self.out["data_write", t, child] += words * ungated
                        self.out["gated", t, child] += words * (passed & ~ungated)
                        self.out["metadata_write", t, child] += metadata * passed
        self.computes(made, lively)
        return dict(self.out)

    def computes(self, made, lively) -> None:  # type: ignore[no-untyped-def]
        count = len(self.o.macs)
        executed = np.ones((count, self.samples), dtype=bool)
        real = executed.copy()
        for t in range(len(self.masks)):
            leaf = self.o.chains[t][-1]
            leads = any((rule[0], rule[2]) == (leaf, t) for rule in self.rules)
            for number, macs in self.o.leaf_groups(t):
                passed, ungated = self.tests(leaf, t, macs)
                passed = passed & made[number]
                ungated = ungated & lively[number] & passed
                # a read takes its element's share of the innermost tile, which is encoded whole
                elements = self.o.elements(self.o.visits[number])
                words, metadata = (part / len(elements) for part in self.encoded(t, leaf, elements))
                self.out["data_read", t, leaf] += words * ungated
                self.out["gated", t, leaf] += words * (passed & ~ungated)
                looked_up = made[number] if leads else passed
                self.out["metadata_read", t, leaf] += metadata * looked_up
                executed[macs] &= passed
                real[macs] &= ungated
            if self.compute == "skipping" and (t, leaf) in self.formats:
                executed &= self.values[t]
            if self.compute == "gating":
                real &= self.values[t]
        self.out["made", -1, -1] = executed.sum(axis=0).astype(float)
        self.out["real", -1, -1] = (executed & real).sum(axis=0).astype(float)
        self.accumulations(executed)

    def accumulations(self, executed: np.ndarray) -> None:
        t = len(self.masks)
        leaf = self.o.chains[t][-1]
        skips = np.ones_like(executed)
        gates = np.ones_like(executed)
        for rule_level, target, leader, kind in self.rules:
            if (rule_level, target) == (leaf, t):
                gates &= self.values[leader]
                if kind == "skipping":
                    skips &= self.values[leader]
        for _, macs in self.o.leaf_groups(t):
            passed = (executed[macs] & skips[macs]).any(axis=0)
            ungated = (executed[macs] & gates[macs]).any(axis=0)
            self.out["accumulate_write", t, leaf] += passed & ungated
            self.out["accumulate_gated", t, leaf] += passed & ~ungated
