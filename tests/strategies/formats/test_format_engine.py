"""The engine: pruned search equals exhaustive search, penalties, Pareto sets."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.formats.format_cost import FormatCost, TileUse
from spaces.formats.format_space import FormatSpace
from spaces.sparsity.sparsity import DensitySpec
from strategies.formats.format_engine import (
    open_runs,
    pareto_formats,
    penalised,
    rank_formats,
    search_formats,
)


def random_case(seed: int) -> tuple[FormatSpace, FormatCost]:
    """A small tensor with random sizes, zeros, word bits, tiles in use and candidates."""
    rng = np.random.default_rng(seed)
    sizes = {"K": int(rng.choice([4, 6, 8, 12, 16])), "N": int(rng.choice([1, 2, 3, 6, 8, 9]))}
    density = float(rng.choice([0.02, 0.1, 0.25, 0.5, 0.9]))
    spec = [
        DensitySpec("bernoulli", density),
        DensitySpec("hypergeometric", density),
        DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
        DensitySpec("block", density, {"block": {"K": 2, "N": 2}}),
        DensitySpec("dead_columns", density / 2, {"dimension": "K", "dead": 0.5}),
    ][seed % 5]
    uses = tuple(
        TileUse(
            f"L{place}",
            tuple(int(rng.integers(1, size + 1)) for size in sizes.values()),
            float(rng.integers(1, 50)),
            float(rng.uniform(0.1, 9.0)),
        )
        for place in range(int(rng.integers(0, 3)))
    )
    levels = int(rng.integers(2, 5)) if sizes["K"] * sizes["N"] <= 48 else 3
    runs = tuple(sorted({int(bits) for bits in rng.integers(1, 6, 2)}))
    cost = FormatCost(sizes, spec, float(rng.choice([2, 8, 16])), uses, run_bits=runs)
    return FormatSpace(sizes, levels, run_bits=runs), cost


@pytest.mark.parametrize("seed", range(200))
def test_pruned_search_finds_the_exhaustive_optimum(seed: int) -> None:
    space, cost = random_case(seed)
    penalty = [0.0, 0.05, 0.3][seed % 3]
    everything = rank_formats(open_runs(space), cost, keep=3, penalty=penalty)
    pruned = search_formats(space, cost, keep=3, penalty=penalty)
    np.testing.assert_allclose(pruned.scores, everything.scores, rtol=1e-12)


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_open_runs_lose_nothing(seed: int) -> None:
    space, cost = random_case(seed)
    listed = rank_formats(space, cost, keep=1)
    assert listed.scores[0] == pytest.approx(search_formats(space, cost).scores[0], rel=1e-12)
    assert listed.considered == space.size


def test_no_penalty_is_exhaustive_search_by_energy() -> None:
    space, cost = random_case(1)
    ranked = rank_formats(space, cost, keep=5)
    energies = np.concatenate([cost.evaluate(b).metrics["energy_pj"] for b in space.batches()])
    np.testing.assert_allclose(ranked.scores, np.sort(energies)[:5])


def test_a_deeper_pattern_must_pay() -> None:
    sizes = {"K": 4096, "N": 16}
    cost = FormatCost(sizes, DensitySpec("bernoulli", 0.2), 8)
    bitmaps = FormatSpace(sizes, 2, primitives=("None", "B"))
    assert rank_formats(bitmaps, cost, 1).formats.depth[0] == 2
    kept = rank_formats(bitmaps, cost, 1, penalty=0.05)
    assert kept.formats.depth[0] == 2  # it saves 6.1 %
    flat = rank_formats(bitmaps, cost, 1, penalty=0.07)
    assert flat.formats.depth[0] == 1
    assert flat.scores[0] == pytest.approx(2.6 * 4096 * 16)


def test_penalty_counts_levels_after_the_first() -> None:
    space = FormatSpace({"K": 8}, 2, primitives=("None", "B"))
    batch = space.from_json(["None", "B(K)", "B(K:4)-B(K:2)"])
    cost = FormatCost(space.sizes, DensitySpec("bernoulli", 0.5))
    evaluation = cost.evaluate(batch)
    ratio = penalised(evaluation, batch, 0.1) / evaluation.metrics["energy_pj"]
    np.testing.assert_allclose(ratio, [1.0, 1.0, 1.1])


def test_pareto_set_against_all_pairs() -> None:
    sizes = {"K": 16, "N": 8}
    uses = (TileUse("DRAM", (16, 8), 1, 9.0, 1), TileUse("GLB", (4, 2), 30, 0.1, 4))
    cost = FormatCost(sizes, DensitySpec("block", 0.2, {"block": {"K": 4, "N": 2}}), 8, uses)
    space = FormatSpace(sizes, 2)
    names = ["energy_pj", "resident_bits/DRAM", "words_moved/GLB"]
    front = pareto_formats(space, cost, names)
    rows = np.concatenate(
        [np.column_stack([cost.evaluate(b).metrics[n] for n in names]) for b in space.batches()]
    )
    chosen = np.column_stack([front.evaluation.metrics[name] for name in names])
    for row in chosen:
        assert not ((rows <= row).all(axis=1) & (rows < row).any(axis=1)).any()
    for row in rows:
        assert (chosen <= row + 1e-9).all(axis=1).any()
    assert front.considered == space.size


@pytest.mark.parametrize(
    ("keep", "penalty", "message"),
    [(0, 0.0, "keep must be >= 1, got 0"), (1, -0.1, "penalty must be >= 0, got -0.1")],
)
def test_errors_name_the_field(keep: int, penalty: float, message: str) -> None:
    space, cost = random_case(0)
    with pytest.raises(ValueError, match=message):
        rank_formats(space, cost, keep, penalty)
    with pytest.raises(ValueError, match=message):
        search_formats(space, cost, keep, penalty)


def test_an_unknown_metric_is_named() -> None:
    space, cost = random_case(0)
    with pytest.raises(ValueError, match="no metric 'watts', there are energy_pj"):
        pareto_formats(space, cost, ["watts"])
