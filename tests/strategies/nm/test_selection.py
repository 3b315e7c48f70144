"""N:M selection: optimality against enumeration, targets, budgets, the methods' meaning."""

from itertools import product
from time import perf_counter

import numpy as np
import pytest

from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern, candidate_patterns
from spaces.sparsity.nm_statistics import Granularity, NMStatistics
from strategies.nm.integer_program import (
    Budget,
    ImpossibleSelection,
    NMProgram,
    NMSelection,
    smallest_tolerance,
    solve,
)
from strategies.nm.selection import METHODS, SelectionTask, select


def synthetic(
    layers: int, seed: int = 0, group_sizes: tuple[int, ...] = (2, 4, 8, 16)
) -> NMStatistics:
    """Statistics with the laws of real ones: retained parts grow concavely with density and M."""
    rng = np.random.default_rng(seed)
    patterns = candidate_patterns(group_sizes)
    density = np.array([p.density for p in patterns])
    bonus = np.array([0.0 if p.is_dense else 1 - 1 / p.m for p in patterns])
    power = rng.uniform(0.3, 0.6, (layers, 1)) - 0.1 * bonus
    parameters = rng.choice([1.0e5, 4.0e5], layers)
    saliency = parameters * rng.uniform(1, 2, layers)
    kept = density[None, :] ** power
    outliers = parameters * rng.uniform(0.001, 0.05, layers)
    windows = parameters / 8
    squares = outliers * rng.uniform(1.0, 3.0, layers)
    names = tuple(f"h.{i // 2}.{'qv'[i % 2]}" for i in range(layers))
    blocks = tuple(f"h.{i // 2}" for i in range(layers))
    return NMStatistics(
        model="synthetic",
        layers=names,
        blocks=blocks,
        patterns=patterns,
        parameters=parameters,
        saliency=saliency,
        retained_saliency=saliency[:, None] * kept,
        energy=saliency,
        retained_energy=saliency[:, None] * kept**0.5,
        outliers=outliers,
        retained_outliers=outliers[:, None] * kept**0.3,
        windows=np.stack([windows, outliers, squares], axis=1),
        window=8,
        thresholds=(3.0, 5.0),
        exceeding=np.stack([2.0 * outliers[::-1], outliers], axis=1),
        released_presence={b: float(rng.uniform(50, 60)) for b in blocks},
        released_distribution={b: float(rng.uniform(1e-4, 3e-4)) for b in blocks},
    )


def enumerated(program: NMProgram) -> float:
    """Least cost over every assignment."""
    sparsity = np.array([p.sparsity for p in program.patterns])
    best = np.inf
    for choice in product(range(len(program.patterns)), repeat=len(program.layers)):
        rows = np.arange(len(choice))
        reached = program.share @ sparsity[list(choice)]
        fits = abs(reached - program.target_sparsity) <= program.tolerance + 1e-12
        forced = all(
            program.patterns[k].is_dense or name not in program.forced_dense
            for name, k in zip(program.layers, choice, strict=True)
        )
        within = all(b.cost[rows, list(choice)].sum() <= b.limit for b in program.budgets.values())
        if fits and forced and within:
            best = min(best, float(program.cost[rows, list(choice)].sum()))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_solutions_equal_the_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patterns = candidate_patterns((2, 4))
    cost, latency = rng.random((5, 5)), rng.random((5, 5))
    program = NMProgram(
        layers=("a", "b", "c", "d", "e"),
        patterns=patterns,
        cost=cost,
        weight=rng.random(5) + 0.5,
        target_sparsity=0.4,
        tolerance=0.05,
        forced_dense=frozenset({"c"}) if seed % 2 else frozenset(),
        budgets={"latency": Budget(latency, 2.5)} if seed > 2 else {},
    )
    found = solve(program)
    assert found.certified
    assert found.objective == pytest.approx(enumerated(program), rel=1e-9)
    assert abs(found.sparsity - 0.4) <= 0.05 + 1e-9


def test_eighty_layers_are_proven_optimal_within_a_second() -> None:
    statistics = synthetic(80)
    ends = frozenset({statistics.layers[0], statistics.layers[-1]})
    select("retained_saliency", SelectionTask(synthetic(4), 0.5, 0.05))
    for target in (0.5, 0.6, 0.7, 0.8):
        start = perf_counter()
        found = select("retained_saliency", SelectionTask(statistics, target, 0.001, ends))
        assert perf_counter() - start < 5.0  # the bar is 1 s; the machine may be loaded
        assert found.certified
        assert abs(found.sparsity - target) <= 0.001 + 1e-9
        assert found.assignment[statistics.layers[0]] == DENSE_PATTERN


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("flow_released", "owl_tuned")])
@pytest.mark.parametrize("granularity", list(Granularity))
def test_every_method_meets_the_weighted_target(method: str, granularity: Granularity) -> None:
    statistics = synthetic(24).merged(granularity)
    found = select(method, SelectionTask(statistics, 0.6, tolerance=0.05))
    share = statistics.parameters / statistics.parameters.sum()
    sparsity = [found.assignment[name].sparsity for name in statistics.layers]
    assert abs(float(share @ np.array(sparsity)) - 0.6) <= 0.05
    assert found.sparsity == pytest.approx(float(share @ np.array(sparsity)))
    assert found.certified


def test_forced_dense_layers_count_in_the_target() -> None:
    statistics = synthetic(24)
    forced = frozenset(statistics.layers[:4])
    for method in ("retained_saliency", "flow_corrected", "owl", "uniform"):
        found = select(method, SelectionTask(statistics, 0.6, 0.01, forced))
        assert abs(found.sparsity - 0.6) <= 0.01 + 1e-9, method
        assert all(found.assignment[name].is_dense for name in forced)


def test_methods_order_layers_as_they_should() -> None:
    """Presence raises the density, clustering raises M."""
    statistics = synthetic(24)
    presence, dispersion = statistics.presence, statistics.dispersion
    corrected = select("flow_corrected", SelectionTask(statistics, 0.5, 0.02)).assignment
    density = np.array([corrected[name].density for name in statistics.layers])
    sizes = np.array([corrected[name].m for name in statistics.layers])
    assert np.corrcoef(presence, density)[0, 1] > 0.5
    assert np.corrcoef(dispersion, sizes)[0, 1] > 0.5
    owl = select("owl", SelectionTask(statistics, 0.5, 0.02)).assignment
    assert {pattern.m for pattern in owl.values()} <= {8, 1}
    kept = np.array([owl[name].density for name in statistics.layers])
    assert np.corrcoef(presence, kept)[0, 1] > 0.5
    uniform = select("uniform", SelectionTask(statistics, 0.5)).assignment
    assert set(uniform.values()) == {NMPattern(4, 8)}


def test_retained_saliency_retains_most() -> None:
    statistics = synthetic(24)
    share = statistics.parameters / statistics.parameters.sum()
    fraction = statistics.retained_fraction("saliency")
    kept = {}
    for method in ("retained_saliency", "owl", "uniform", "flow_corrected"):
        found = select(method, SelectionTask(statistics, 0.6, 0.005))
        columns = [statistics.patterns.index(found.assignment[n]) for n in statistics.layers]
        kept[method] = float(share @ fraction[np.arange(24), columns])
    assert max(kept, key=lambda name: kept[name]) == "retained_saliency"


def test_released_solver_has_its_defects_and_says_what_was_relaxed() -> None:
    """0.7 x 32 blocks is 22.4, the nearest quarters are 22.25 and 22.5; dense ends come on top."""
    blocks = synthetic(64).merged(Granularity.BLOCK)
    found = select("flow_released", SelectionTask(blocks, 0.7))
    assert found.certified
    assert found.tolerance == pytest.approx(22.5 / 32 - 0.7)
    assert "equality infeasible, relaxed by" in found.note
    assert found.assignment[blocks.layers[0]] == found.assignment[blocks.layers[-1]]
    assert found.assignment[blocks.layers[0]].is_dense
    assert found.sparsity < 0.7
    exact = select("flow_released", SelectionTask(blocks, 0.5))
    assert "relaxed" not in exact.note
    assert exact.tolerance == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="set granularity=block"):
        select("flow_released", SelectionTask(synthetic(8), 0.5))


def test_released_cost_sends_clustered_blocks_to_the_small_group() -> None:
    """The sign defect: the corrected method does the opposite."""
    blocks = synthetic(24).merged(Granularity.BLOCK)
    found = select("flow_released", SelectionTask(blocks, 0.5)).assignment
    spread = np.array([blocks.released_distribution[b] for b in blocks.layers])[1:-1]
    sizes = np.array([found[b].m for b in blocks.layers])[1:-1]
    assert np.corrcoef(spread, sizes)[0, 1] < 0


def test_smallest_tolerance_by_hand() -> None:
    program = NMProgram(
        layers=("a", "b"),
        patterns=(NMPattern(2, 4), NMPattern(4, 4)),
        cost=np.zeros((2, 2)),
        weight=np.ones(2),
        target_sparsity=0.3,
        tolerance=0.0,
    )
    assert smallest_tolerance(program) == pytest.approx(0.05)
    with pytest.raises(ImpossibleSelection, match=r"the nearest assignment is 0\.05 away"):
        solve(program)


def test_budgets_bind_and_impossible_ones_are_explained() -> None:
    statistics = synthetic(12)
    cost = np.tile([p.density for p in statistics.patterns], (12, 1)) * (1 + np.arange(12))[:, None]
    free = select("retained_saliency", SelectionTask(statistics, 0.5, 0.02))
    columns = [statistics.patterns.index(free.assignment[n]) for n in statistics.layers]
    used = float(cost[np.arange(12), columns].sum())
    budget = {"latency": Budget(cost, 0.9 * used)}
    task = SelectionTask(statistics, 0.5, 0.02, budgets=budget)
    bound = select("retained_saliency", task)
    columns = [statistics.patterns.index(bound.assignment[n]) for n in statistics.layers]
    assert float(cost[np.arange(12), columns].sum()) <= 0.9 * used + 1e-9
    assert bound.objective > free.objective
    tiny = SelectionTask(statistics, 0.5, 0.02, budgets={"latency": Budget(cost, 0.5)})
    with pytest.raises(
        ImpossibleSelection, match=r"budget latency = 0\.5 cannot be met: the least"
    ):
        select("retained_saliency", tiny)


@pytest.mark.parametrize("target", [0.55, 0.6, 0.7, 0.8])
def test_uniform_uses_two_neighbouring_numbers_only(target: float) -> None:
    found = select("uniform", SelectionTask(synthetic(36), target, 0.002))
    kept = sorted({pattern.n for pattern in found.assignment.values()})
    assert {pattern.m for pattern in found.assignment.values()} == {8}
    assert kept == [int(8 * (1 - target)), int(8 * (1 - target)) + 1]
    assert abs(found.sparsity - target) <= 0.002 + 1e-9


def test_uniform_draws_the_layers_that_round_down_fairly() -> None:
    """One draw per seed; over many, every layer rounds down about equally often."""
    statistics = synthetic(36)
    drawn = [
        select("uniform", SelectionTask(statistics, 0.8, 0.005, seed=seed)).choice
        for seed in range(40)
    ]
    again = select("uniform", SelectionTask(statistics, 0.8, 0.005, seed=3)).choice
    np.testing.assert_array_equal(drawn[3], again)
    lower = np.array(drawn) == np.min(drawn)
    often = lower.mean(axis=0)  # 0.4 of the weights have 1:8; 40 draws deviate by 0.08
    assert 0.1 < often.min() < often.max() < 0.7
    large = statistics.parameters > statistics.parameters.mean()
    assert often[large].mean() == pytest.approx(often[~large].mean(), abs=0.1)


def test_uniform_keeps_budgets_and_the_released_solver_refuses_them() -> None:
    statistics = synthetic(12)
    cost = np.tile([p.density for p in statistics.patterns], (12, 1)) * (1 + np.arange(12))[:, None]
    free = select("uniform", SelectionTask(statistics, 0.55, 0.02))
    used = spent(cost, free)
    bound = select(
        "uniform", SelectionTask(statistics, 0.55, 0.02, budgets={"t": Budget(cost, 0.97 * used)})
    )
    assert spent(cost, bound) <= 0.97 * used + 1e-9
    assert {pattern.m for pattern in bound.assignment.values()} <= {1, 8}
    with pytest.raises(ValueError, match="flow_released: the released solver knows no budgets"):
        select(
            "flow_released",
            SelectionTask(
                synthetic(12).merged(Granularity.BLOCK), 0.5, budgets={"t": Budget(cost[:6], 9.0)}
            ),
        )


def spent(cost: np.ndarray, found: NMSelection) -> float:
    """Total of a per-layer cost."""
    return float(cost[np.arange(len(found.choice)), found.choice].sum())


def test_layers_that_m_does_not_divide_take_other_patterns() -> None:
    statistics = synthetic(6)
    for index, pattern in enumerate(statistics.patterns):
        if pattern.m == 16:
            statistics.retained_saliency[0, index] = np.nan
    found = select("retained_saliency", SelectionTask(statistics, 0.5, 0.05))
    assert found.assignment[statistics.layers[0]].m != 16


@pytest.mark.parametrize(
    ("target", "message"),
    [(1.0, "target_sparsity must be at least 0 and below 1"), (0.97, "cannot be met: the nearest")],
)
def test_impossible_targets(target: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select("retained_saliency", SelectionTask(synthetic(6), target))


def test_unknown_names() -> None:
    statistics = synthetic(4)
    with pytest.raises(ValueError, match="method must be one of retained_saliency"):
        select("magic", SelectionTask(statistics, 0.5))
    with pytest.raises(ValueError, match="forced_dense names unknown layers: x"):
        select("retained_saliency", SelectionTask(statistics, 0.5, 0.1, frozenset({"x"})))
    with pytest.raises(ValueError, match="measure must be saliency, energy or outliers"):
        statistics.retained_fraction("speed")
    with pytest.raises(ValueError, match="patterns 1:32 were not tabulated"):
        statistics.offering([NMPattern(1, 32)])
    fewer = statistics.offering([NMPattern(1, 2), DENSE_PATTERN])
    with pytest.raises(ValueError, match="owl_tuned: chooses its settings by measuring"):
        select("owl_tuned", SelectionTask(statistics, 0.5))
    with pytest.raises(ValueError, match="forced_dense names every layer"):
        SelectionTask(statistics, 0.5, forced_dense=frozenset(statistics.layers))
    with pytest.raises(ValueError, match="no candidate pattern has M = 8"):
        select("owl", SelectionTask(fewer, 0.3, 0.1))


def test_merging_keeps_sums_and_dispersion() -> None:
    statistics = synthetic(8)
    blocks = statistics.merged(Granularity.BLOCK)
    projections = statistics.merged(Granularity.PROJECTION)
    assert (len(blocks.layers), projections.layers) == (4, ("q", "v"))
    for merged in (blocks, projections):
        assert merged.parameters.sum() == statistics.parameters.sum()
        assert merged.retained_energy.sum() == pytest.approx(statistics.retained_energy.sum())
