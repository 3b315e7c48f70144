"""A model as the sum of its operators: equal problems once, formats by decision, designs."""

import numpy as np
import pytest
import yaml

from evaluators.accelerator.priced_design import price_design
from evaluators.accelerator.sparse_model import BASELINES, BEST_SINGLE, SparseModel
from spaces.formats.offered_formats import listed_offer
from spaces.hardware import Hardware, Level
from spaces.mappings.mapping_space import MappingSpace
from spaces.sparsity.sparsity import DensityRule, SparsityProfile, n_m, unstructured
from spaces.workloads.workload import TensorClass, Workload, matmul

HARDWARE = Hardware(
    "small",
    (
        Level("DRAM", kind="dram", read_bits_per_cycle=64, shared_port=True),
        Level("GLB", capacity_bits=1 << 16, fan_out={"X": 4}),
        Level("RF", kind="register_file", capacity_bits=1 << 10, access_bits=16),
    ),
)
SIZES = {"M": 1, "K": 32, "N": 16}
DECISIONS = {"weight_format_1": "bitmap", "weight_format_2": "csr", "mapping_goal": "edp"}


def make_model(**changes: object) -> SparseModel:
    workload = Workload(
        "three",
        (
            matmul("q_proj", SIZES, count=2),
            matmul("o_proj", SIZES, count=3),
            matmul("scores", SIZES, (TensorClass.ACTIVATION, TensorClass.KV), count=1),
        ),
        tokens=2,
    )
    sparsity = SparsityProfile("p", weight=unstructured(0.3))
    arguments = {"offered": {"weight": listed_offer(["bitmap", "csr"])}} | changes
    return SparseModel(workload, sparsity, HARDWARE, **arguments)


def one_mapping(model: SparseModel, part: int):
    space = MappingSpace(model.operators[part], HARDWARE)
    sampled = space.decode(space.sample(400, np.random.default_rng(part)))
    feasible = np.flatnonzero(model.parts[part].evaluate(sampled).feasible)
    return sampled.take(feasible[:1])


def test_equal_problems_share_an_evaluator() -> None:
    model = make_model()
    assert model.problems[0] == model.problems[1] != model.problems[2]
    assert model.parts[0] is model.parts[1]
    assert model.parts[0] is not model.parts[2]


def test_alternatives_store_a_tensor_in_one_of_the_offered_formats_or_decode_it() -> None:
    model = make_model()
    names = model.names["weight"]
    decisions = DECISIONS | {"weight_format_2": "none"}
    weights = [alternative[1] for alternative in model.alternatives(decisions, 0)]
    ids = sorted((names.index("bitmap"), names.index("none")))
    assert weights == [((i,), *[tuple(sorted({0, i}))] * 2) for i in ids]
    dense = ((0,), (0,), (0,))
    assert {alternative[0] for alternative in model.alternatives(DECISIONS, 0)} == {dense}
    assert model.alternatives(DECISIONS, 2) == ((dense, dense, dense),)  # no zeros in the cache


def test_a_format_beaten_for_every_tile_is_no_alternative() -> None:
    """At 30 % coordinates take more bits than a bitmap of the same tile, whatever it is."""
    model = make_model()
    bitmap = model.names["weight"].index("bitmap")
    assert [alternative[1][0] for alternative in model.alternatives(DECISIONS, 0)] == [(bitmap,)]


def test_totals_add_up_over_runs() -> None:
    model = make_model()
    costs = [
        dict.fromkeys(("energy_pj", "memory_energy_pj", "latency_cycles", "latency_s"), v)
        for v in (1.0, 10.0, 100.0)
    ]
    total = model.total(costs)
    assert total["energy_pj"] == 2 * 1 + 3 * 10 + 100
    assert total["tokens_per_s"] == 2 / 132.0
    assert total["edp_j_s"] == pytest.approx(132e-12 * 132)


def test_comparisons_price_each_format_alone_and_the_tuned_single_level() -> None:
    first, strip = make_model().comparisons(DECISIONS).values()
    assert set(BASELINES) < set(first)
    assert first[BEST_SINGLE][1]["weight_format_6"] == "RLE(*,r=3)"
    labels = {name.split(":")[0] for name in strip if not name.startswith("2:4")}
    assert {"density 0.5", "density 0.1"} <= labels


def test_written_designs_price_to_the_same_numbers(tmp_path) -> None:
    model = make_model()
    found = [one_mapping(model, part) for part in range(3)]
    found[0].format_id[0, 1, 0] = model.names["weight"].index("csr")
    explained = model.explain_parts(found)
    for part, operator in enumerate(model.operators):
        path = tmp_path / f"{operator.name}.yaml"
        path.write_text(explained["files"][path.name])
        priced = price_design(path)
        metrics = model.parts[part].evaluate(found[part]).metrics
        for name, value in priced["totals"].items():
            assert value == pytest.approx(float(metrics[name][0]), rel=1e-12)
    assert yaml.safe_load(explained["files"]["q_proj.yaml"])["formats"] == {
        "W": {"DRAM": "UOP(K)-CP(N)"}
    }


def test_the_breakdown_sums_to_the_energy() -> None:
    model = make_model()
    found = [one_mapping(model, part) for part in range(3)]
    parts = model.explain_parts(found)["energy_breakdown_pj"]
    costs = [
        {name: float(v[0]) for name, v in part.evaluate(mapping).metrics.items()}
        for part, mapping in zip(model.parts, found, strict=True)
    ]
    total = model.total(costs)["energy_pj"]
    assert sum(sum(group.values()) for group in parts.values()) == pytest.approx(total, rel=1e-9)


def test_rows_stand_beside_their_bounds() -> None:
    model = make_model()
    rows = model.explain_parts([one_mapping(model, part) for part in range(3)])["tables"][
        "Operators"
    ]
    for row in rows:
        assert row["energy / bound"] >= 1
        assert row["latency / bound"] >= 1 - 1e-12
        assert row["bits/element"] >= row["entropy bound"] - 1e-12


def test_rules_rest_where_an_operator_lacks_their_tensors() -> None:
    from evaluators.accelerator.intersection import build_optimization

    rule = {"level": "innermost", "target": "A", "leaders": ["W"]}
    absent = {"level": "innermost", "target": "A", "leaders": ["V"]}
    model = make_model(optimization=build_optimization([rule, absent]))
    assert [r.level for r in model.parts[0].optimization.rules] == ["RF"]


def test_layer_wise_densities_split_operators() -> None:
    workload = Workload("w", (matmul("up", SIZES, count=4),))
    rules = {"late": DensityRule(operators="up", layers="2-3", spec=n_m(2, 4))}
    from dataclasses import replace

    operator = replace(workload.operators[0], layers=(0, 1, 2, 3))
    model = SparseModel(
        replace(workload, operators=(operator,)),
        SparsityProfile("p", weight=unstructured(0.3), rules=rules),
        HARDWARE,
        {"weight": listed_offer(["bitmap"])},
    )
    assert [o.count for o in model.operators] == [2, 2]
    assert len(set(model.problems)) == 2
