"""The cost terms of a sparse accelerator: its model as the structure an exact search exploits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.accelerator.accelerator_model import AcceleratorModel
from evaluators.accelerator.intersection import SKIP
from evaluators.accelerator.stream_kernel import COMPUTE_GATING, COMPUTE_SKIPPING
from evaluators.evaluation import CostTerms, FloatArray, LeafRule, LeafTerms, TileBits
from evaluators.formats.compression import tile_bits
from evaluators.sparsity.density_core import box_empty
from spaces.mappings.residency import HOME
from spaces.workloads.workload import Tensor

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def accelerator_cost_terms(accelerator: AcceleratorModel) -> CostTerms:
    """The `CostTerms` whose value of every mapping is `accelerator.evaluate` of it.

    Raises:
        ValueError: For packing, decoders that take time, capacity at a quantile, and for gating or
            skipping whose leader tiles depend on the mapping: rules above the innermost level, or
            where lanes below it share a read.
    """
    _check_expressible(accelerator)
    operator, hardware = accelerator.operator, accelerator.hardware
    _check_rules(accelerator)
    tensors, levels = operator.tensors, hardware.levels
    prices, _, static = accelerator.price_tables
    _, coding, _, implicit, drain_read = accelerator.model_tables
    bandwidth, shared, limits, _, _ = accelerator.machine_tables
    offered = tuple(
        (tuple(range(len(accelerator.formats_of(tensor.name)))),) * len(levels)
        for tensor in tensors
    )
    capacity, reserved = limits[0].copy(), limits[4]
    capacity[HOME:][:1] -= reserved.sum()
    ranks = operator.rank_names
    elements = np.array([operator.tensor_elements(t.name) for t in tensors], dtype=np.float64)
    return CostTerms(
        rank_names=ranks,
        rank_sizes=np.array([operator.ranks[rank] for rank in ranks], dtype=np.int64),
        tensor_names=tuple(tensor.name for tensor in tensors),
        level_names=tuple(level.name for level in levels),
        relevant=operator.relevance,
        output=len(tensors) - 1,
        home=np.where(reserved > 0.0, HOME, 0),
        elements=elements,
        nonzeros=elements * np.array([model.density for model in accelerator.density_models]),
        word_bits=accelerator.word_bits,
        final_bits=accelerator.final_bits,
        tile_bits=_tile_bits(accelerator),
        format_choices=offered,
        one_format=np.zeros(len(tensors), dtype=np.bool_),
        read_pj_per_bit=prices[:, 0],
        write_pj_per_bit=prices[:, 1],
        metadata_read_pj_per_bit=prices[:, 2],
        metadata_write_pj_per_bit=prices[:, 3],
        gated_pj_per_bit=prices[:, 4],
        decode_pj=coding[4],
        leaf=_leaf_rule(accelerator),
        transfer_fraction=None,
        child_drain_read=drain_read,
        read_bits_per_cycle=bandwidth[:, 0],
        write_bits_per_cycle=bandwidth[:, 1],
        shared_port=shared,
        capacity_bits=capacity,
        fan_out=tuple(tuple(level.fan_out.values()) for level in levels),
        may_keep=limits[2],
        must_keep=limits[3],
        static_pj_per_cycle=static,
        stationarity="implicit" if implicit else "explicit",
    )


def _check_expressible(accelerator: AcceleratorModel) -> None:
    """Refuse by name what sums over tensors and levels cannot say."""
    inexact = "an exact search cannot express it, search the mapping space with another strategy"
    if accelerator.optimization.packing:
        raise ValueError(f"skipping.packing depends on the mapping: {inexact}")
    if np.isfinite(accelerator.decoder.elements_per_cycle):
        speed = accelerator.decoder.elements_per_cycle
        raise ValueError(f"decoder.elements_per_cycle must be unbounded, got {speed}: {inexact}")
    if accelerator.capacity_confidence > 0.5:
        confidence = accelerator.capacity_confidence
        raise ValueError(f"capacity_confidence must be 0.5, got {confidence}: {inexact}")


def _check_rules(accelerator: AcceleratorModel) -> None:
    """Refuse rules whose leader tiles depend on the mapping."""
    levels = accelerator.hardware.levels
    for rule in accelerator.optimization.rules:
        if rule.level != levels[-1].name or levels[-1].fan_out:
            raise ValueError(
                f"skipping rule on {rule.target} at {rule.level}: its leader tile depends on the "
                "mapping, cost terms express rules at an innermost level without fan-out only"
            )


def _tile_bits(accelerator: AcceleratorModel) -> TileBits:
    """Bits of tiles, the same at every level; with a memory, for searches ask more than once."""
    operator = accelerator.operator
    (_, coding, _, _, _) = accelerator.model_tables
    names = operator.rank_names
    sizes = np.array([operator.ranks[name] for name in names], dtype=np.int64)
    reach = [_reach(tensor, names) for tensor in operator.tensors]

    known: dict[tuple[int, bytes], dict[int, FloatArray]] = {}

    def bits(t: int, _: int, formats: IntArray, extents: IntArray) -> FloatArray:
        rows = known.setdefault((t, extents.tobytes()), {})
        new = [code for code in formats.tolist() if code not in rows]
        if new:
            box = (np.minimum(extents, sizes) - 1) @ reach[t] + 1
            rows.update(zip(new, encoded(t, new, box), strict=True))
        return np.stack([rows[code] for code in formats.tolist()])

    def encoded(t: int, codes: list[int], box: IntArray) -> FloatArray:
        ids, word = np.repeat(codes, len(box)), float(accelerator.word_bits[t])
        boxes = np.tile(box, (len(codes), 1))
        pair = tile_bits(coding[0][t], ids, boxes, coding[1][t], word)
        out = np.stack(pair, axis=-1).reshape(len(codes), len(box), 2)
        plain = np.array(codes) == 0
        out[plain, :, 0], out[plain, :, 1] = 0.0, box.prod(axis=1) * word
        return out

    return bits


def _reach(tensor: Tensor, names: Sequence[str]) -> IntArray:
    """Elements that a step along each rank moves in each dimension of a tensor, shape (R, dims)."""
    steps = [
        [sum(step for rank, step in dimension.terms if rank == name) for name in names]
        for dimension in tensor.dimensions
    ]
    return np.array(steps, dtype=np.int64).T


def _leaf_rule(accelerator: AcceleratorModel) -> LeafRule:
    (_, _, (rules, density, compute_rule, _, leads), _, _) = accelerator.model_tables
    (active_pj, gated_pj), rate = accelerator.price_tables[1], accelerator.machine_tables[4][0]
    one = (1, 1, 1, 1)
    present = np.array([1.0 - box_empty(m.code, one, one) for m in accelerator.density_models])

    def leaf(keep: BoolArray, compressed: BoolArray) -> LeafTerms:
        operands = len(keep) - 1
        made, ungated = _tests(rules, keep, present)
        output_made, output_active = np.ones(operands), np.ones(operands)
        cycles, real = 1.0, 1.0
        for s in range(operands):
            reached, kept = made[:operands, s].min(), ungated[:operands, s].min()
            if compute_rule == COMPUTE_GATING:
                kept = min(kept, density[s])
            if compute_rule == COMPUTE_SKIPPING and compressed[s]:
                reached = min(reached, density[s])
            left = min(reached, density[s]) / reached if reached > 0.0 else 0.0
            output_made[s] = left if made[operands, s] < 1.0 else 1.0
            output_active[s] = left if min(made[operands, s], ungated[operands, s]) < 1.0 else 1.0
            cycles *= reached
            real *= min(reached, kept)
        accesses = np.append(made[:operands].prod(axis=1), cycles * output_made.prod())
        innermost = leads.shape[1] - 1 - np.argmax(keep[:, ::-1], axis=1)
        leading = leads[np.arange(len(keep)), innermost]
        return LeafTerms(
            compute_pj=float(real * active_pj + (cycles - real) * gated_pj),
            compute_cycles=float(cycles / rate),
            made=accesses,
            active=np.append(
                np.minimum(made, ungated)[:operands].prod(axis=1), cycles * output_active.prod()
            ),
            looked_up=np.where(leading, 1.0, accesses),
        )

    return leaf


def _tests(rules: IntArray, keep: BoolArray, present: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fractions left by skipping, and by any test, of target t on leader s; shape (T, T).

    Rules rest at levels that do not keep their target; the output's count at its innermost keeper.
    """
    made, ungated = np.ones((len(keep), len(keep))), np.ones((len(keep), len(keep)))
    for level, target, leader, kind in rules:
        innermost = int(np.flatnonzero(keep[target]).max())
        if not keep[target, level] or (target == len(keep) - 1 and level != innermost):
            continue
        if kind == SKIP:
            made[target, leader] = present[leader]
        ungated[target, leader] = present[leader]
    return made, ungated
