"""The machine computes y = Mx, and does exactly the work that is priced, for every mapping."""

from dataclasses import astuple
from itertools import product
from typing import Any

import numpy as np
import pytest

from evaluators.accuracy.monarch import MonarchMatrix
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.commands import CommandStream, Opcode, count_commands
from evaluators.analog.crossbar_simulator import Weights, program, simulate
from evaluators.analog.execution import counted_work, execute
from evaluators.analog.technology import technology
from spaces.cim.legality import check_legal
from spaces.cim.mapping import MAPPINGS, PACKINGS, RULES, CimChoices, CimDesigns, one_design
from spaces.cim.model import CimModel, ProjectionSite
from spaces.cim.monarch_shape import MonarchShape
from spaces.cim.placement import Placement

SITES = [(64, 64, 3, 3), (64, 256, 1, 2), (256, 64, 1, 2), (48, 40, 2, 1)]
"""in, out, parallel, layers."""

CASES = [
    (site, mapping, rule, packing, size)
    for site, mapping, rule, packing, size in product(SITES, MAPPINGS, RULES, PACKINGS, [32, 64])
    if mapping != "linear" or (rule == "padded" and packing == "spread")
]


def one_site(case: tuple[Any, ...], **more: Any) -> CimDesigns:
    (inputs, outputs, parallel, layers), mapping, rule, packing, size = case
    model = CimModel("one", (ProjectionSite("a", inputs, outputs, parallel, layers),))
    choices = CimChoices(
        mapping=(mapping,), rule=(rule,), packing=(packing,), array_size=(size,), **more
    )
    return one_design(model, choices)


def random_weights(placement: Placement, rng: np.random.Generator) -> Weights:
    weights: dict[tuple[int, int, int], Any] = {}
    for position, site in enumerate(placement.model.sites):
        shape = placement.shapes[position]
        for layer, matrix in product(range(site.layers), range(site.parallel)):
            if shape is None:
                dense = rng.standard_normal((site.out_features, site.in_features))
                weights[position, layer, matrix] = dense
            else:
                weights[position, layer, matrix] = random_monarch(shape, rng)
    return weights


def random_inputs(placement: Placement, batch: int, rng: np.random.Generator) -> dict[Any, Any]:
    return {
        (position, layer): rng.standard_normal((batch, site.in_features))
        for position, site in enumerate(placement.model.sites)
        for layer in range(site.layers)
    }


def random_monarch(shape: MonarchShape, rng: np.random.Generator) -> MonarchMatrix:
    """Full factors, padding included."""
    grid = (shape.out_tiles, shape.in_tiles)
    sizes = [(*grid, f.blocks, f.columns, f.rows) for f in shape.factors]
    return MonarchMatrix(shape, rng.standard_normal(sizes[0]), rng.standard_normal(sizes[1]))


def worst_error(placement: Placement, stream: CommandStream, batch: int = 3) -> float:
    """Largest relative error of all matrices against plain arithmetic."""
    rng = np.random.default_rng(3)
    weights, inputs = random_weights(placement, rng), random_inputs(placement, batch, rng)
    outputs = simulate(placement, stream, weights, inputs)
    assert outputs.keys() == weights.keys()
    errors = []
    for key, y in outputs.items():
        weight = weights[key]
        x = inputs[key[:2]]
        expected = weight.apply(x) if isinstance(weight, MonarchMatrix) else x @ weight.T
        errors.append(np.linalg.norm(y - expected) / np.linalg.norm(expected))
    return float(max(errors))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_exact_product_legal_placement_and_equal_counts(case: tuple[Any, ...]) -> None:
    design = one_site(case)
    evaluator = AnalogCim(technology("reram"), overlap="token")
    placement, stream = execute(evaluator, design)
    check_legal(placement)
    assert worst_error(placement, stream) < 1e-12
    cells = placement.table["row_count"] * placement.table["column_count"]
    assert astuple(count_commands(stream, cells)) == astuple(counted_work(evaluator, design))
    metrics = evaluator.evaluate(design).metrics
    planes = evaluator.technology.precision.planes
    assert placement.arrays * planes == metrics["arrays"][0]
    assert cells.sum() * 8 == metrics["weight_memory_bits"][0]
    assert stream.makespan_ns == pytest.approx(metrics["token_latency_ns"][0], rel=1e-12)
    assert placement.utilisation == pytest.approx(metrics["utilisation"][0])


@pytest.mark.parametrize("mapping", ["dense_a", "shared_a"])
@pytest.mark.parametrize("sub_steps", [2, 3, 4])
def test_rows_per_step_keep_the_product(mapping: str, sub_steps: int) -> None:
    design = one_site(((64, 64, 3, 2), mapping, "padded", "spread", 32), sub_steps=(sub_steps,))
    evaluator = AnalogCim(technology("pcm"))
    placement, stream = execute(evaluator, design)
    check_legal(placement)
    assert worst_error(placement, stream) < 1e-12
    cells = placement.table["row_count"] * placement.table["column_count"]
    assert count_commands(stream, cells) == counted_work(evaluator, design)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("block", [8, 16, 32])
def test_coarse_blocks_with_explicit_permutation(mapping: str, block: int) -> None:
    case = ((64, 64, 2, 2), mapping, "padded", "spread", 64)
    evaluator = AnalogCim(technology("pcm"), overlap="token", explicit_permutation=True)
    design = one_site(case, block=(block,))
    placement, stream = execute(evaluator, design)
    assert worst_error(placement, stream) < 1e-12
    cells = placement.table["row_count"] * placement.table["column_count"]
    work = counted_work(evaluator, design)
    assert count_commands(stream, cells) == work
    assert (work.permuted > 0) == (mapping != "linear")
    assert stream.makespan_ns == pytest.approx(
        evaluator.evaluate(design).metrics["token_latency_ns"][0]
    )


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("sizes", [(1024, 1024), (1024, 4096), (4096, 1024)])
def test_model_shapes_are_exact(mapping: str, sizes: tuple[int, int]) -> None:
    design = one_site(((*sizes, 1, 1), mapping, "padded", "spread", 256))
    placement, stream = execute(AnalogCim(technology("pcm")), design)
    assert worst_error(placement, stream, batch=2) < 1e-12


def test_mixed_mappings_of_a_layer() -> None:
    sites = (
        ProjectionSite("qkv", 64, 64, 3, 2, 0, (("attention", 4096),)),
        ProjectionSite("o", 64, 64, 1, 2, 1, (("add", 64), ("layernorm", 64))),
        ProjectionSite("up", 64, 256, 1, 2, 2, (("activation", 256),)),
        ProjectionSite("down", 256, 64, 1, 2, 3, (("add", 64), ("layernorm", 64))),
    )
    model = CimModel("layer", sites)
    choices = CimChoices(array_size=(64,), packing=("spread",))
    design = one_design(model, choices, ("shared_a", "linear", "sparse", "dense_b"))
    evaluator = AnalogCim(technology("pcm"), overlap="token")
    placement, stream = execute(evaluator, design)
    assert worst_error(placement, stream) < 1e-12
    assert len(stream.where(Opcode.MHA)) == 2
    assert len(stream.where(Opcode.DPU)) == 2 * 5
    assert stream.makespan_ns == pytest.approx(
        evaluator.evaluate(design).metrics["token_latency_ns"][0]
    )


class TestCommandStream:
    @pytest.fixture
    def executed(self) -> tuple[Placement, CommandStream]:
        design = one_site(((64, 64, 3, 1), "shared_a", "padded", "per_factor", 32))
        return execute(AnalogCim(technology("pcm")), design)

    def test_arrays_are_serial(self, executed: tuple[Placement, CommandStream]) -> None:
        columns = executed[1].columns
        for array in range(executed[0].arrays):
            chosen = (columns["array"] == array) & (columns["opcode"] == Opcode.MVM)
            start, end = columns["start_ns"][chosen], columns["duration_ns"][chosen]
            assert (np.diff(start) >= end[:-1]).all()

    def test_json_brings_it_back(self, executed: tuple[Placement, CommandStream]) -> None:
        placement, stream = executed
        again = CommandStream.from_json(stream.to_json())
        assert worst_error(placement, again) < 1e-12
        assert again.listing() == stream.listing()

    def test_json_without_a_column(self, executed: tuple[Placement, CommandStream]) -> None:
        record = executed[1].to_json()
        del record["columns"]["bits"]
        with pytest.raises(ValueError, match="column 'bits' is missing"):
            CommandStream.from_json(record)

    def test_listing_names_what_happens(self, executed: tuple[Placement, CommandStream]) -> None:
        text = executed[1].listing(0, 8)
        assert "LOAD_IN   array 0" in text
        assert "8 values at 0 +8 each" in text
        assert "24 columns, 3 bits" in executed[1].listing(0, 60)
        assert "more commands" in text
        assert len(list(executed[1].records())) == len(executed[1])

    def test_one_drive_serves_all_matrices(self, executed: tuple[Placement, CommandStream]) -> None:
        stream = executed[1]
        first = stream.columns["factor"][stream.where(Opcode.LOAD_IN)] == 0
        assert stream.columns["count"][stream.where(Opcode.LOAD_IN)][first].sum() == 64


class TestWrongMachinesAreCaught:
    """The checks above can fail: a wrong address, cell or order gives a wrong product."""

    def test_wrong_store_address(self) -> None:
        placement, stream = execute(
            AnalogCim(technology("pcm")),
            one_site(((64, 64, 1, 1), "dense_a", "padded", "spread", 32)),
        )
        stores = stream.where(Opcode.STORE)
        stream.columns["base"][stores[0]] += 1
        assert worst_error(placement, stream) > 1e-3

    def test_wrong_diagonal(self) -> None:
        design = one_site(((64, 64, 3, 1), "dense_a", "padded", "per_factor", 32))
        placement, _ = execute(AnalogCim(technology("pcm")), design)
        placement.table["column_start"][:4] = placement.table["column_start"][4:8]
        with pytest.raises(ValueError, match="overlap"):
            check_legal(placement)


def test_missing_weights_and_inputs() -> None:
    design = one_site(((64, 64, 1, 1), "sparse", "padded", "spread", 32))
    placement, stream = execute(AnalogCim(technology("pcm")), design)
    with pytest.raises(ValueError, match=r"matrix \(0, 0, 0\) .* is missing"):
        program(placement, {})
    with pytest.raises(ValueError, match="site 'a': weights must be dense when linear"):
        program(placement, {(0, 0, 0): np.zeros((64, 64))})
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"inputs: \(0, 0\) .* is missing"):
        simulate(placement, stream, random_weights(placement, rng), {(9, 9): np.zeros((1, 64))})


def test_block_larger_than_the_array() -> None:
    design = one_site(((1024, 1024, 1, 1), "dense_a", "padded", "spread", 16))
    with pytest.raises(ValueError, match="a block of 32 x 32 must fit the array of 16 x 16"):
        execute(AnalogCim(technology("pcm")), design)
