"""Prices of batches of formats against the tile-by-tile closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluators.accelerator.decoder import Decoder
from evaluators.formats.compression import code_formats, tile_bits
from evaluators.formats.format_cost import FormatCost, TileUse
from spaces.formats.format_grammar import parse_format
from spaces.formats.format_space import FormatSpace
from spaces.sparsity.sparsity import DensitySpec

SIZES = {"K": 48, "N": 40}
USES = (
    TileUse("DRAM", (48, 40), 3.0, 10.0, 1.0),
    TileUse("GLB", (12, 10), 40.0, 0.5, 2.0),
    TileUse("RF", (5, 7), 100.0, 0.1, 0.0),
)
SPECS = [
    DensitySpec("bernoulli", 0.1),
    DensitySpec("hypergeometric", 0.3),
    DensitySpec("n_m", 0.25, {"n": 2, "m": 8, "dimension": "N"}),
    DensitySpec("block", 0.2, {"block": {"K": 4, "N": 4}}),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.model)
def test_energy_is_the_sum_over_the_tiles_in_use(spec: DensitySpec) -> None:
    space = FormatSpace(SIZES, 4)
    batch = space.decode(space.sample(300, np.random.default_rng(0)))
    cost = FormatCost(SIZES, spec, 8, USES)
    metrics = cost.evaluate(batch).metrics
    table = code_formats([batch.format(i) for i in range(len(batch))], tuple(SIZES))
    energy, held = np.zeros(len(batch)), np.zeros(len(batch))
    for use in USES:
        extents = np.tile(use.extents, (len(batch), 1))
        bits = sum(tile_bits(table, np.arange(len(batch)), extents, cost.model.code, 8))
        energy += bits * use.moves * use.energy_pj_per_bit
        held += bits * use.resident
        np.testing.assert_allclose(metrics[f"words_moved/{use.level}"], bits * use.moves / 8)
    np.testing.assert_allclose(metrics["energy_pj"], energy, rtol=1e-12)
    np.testing.assert_allclose(metrics["bits"], held, rtol=1e-12)


def test_open_run_bits_take_the_best_of_the_candidates() -> None:
    space = FormatSpace({"K": 16, "N": 12}, 2, primitives=("None", "RLE"), run_bits=(1, 2, 4))
    cost = FormatCost(
        space.sizes, SPECS[0], 8, (TileUse("a", (16, 12), 1, 2.0), TileUse("b", (8, 4), 6, 1.0)),
        run_bits=(1, 2, 4),
    )  # fmt: skip
    best: dict[str, float] = {}
    for batch in space.batches():
        energies = cost.evaluate(batch).metrics["energy_pj"]
        for index, energy in enumerate(energies):
            pattern = str(replace_runs(batch.format(index)))
            best[pattern] = min(energy, best.get(pattern, np.inf))
    for batch in replace(space, run_bits=(0,)).batches():
        chosen = cost.settled(batch)
        found = cost.evaluate(batch).metrics["energy_pj"]
        np.testing.assert_allclose(found, cost.evaluate(chosen).metrics["energy_pj"])
        for index, energy in enumerate(found):
            assert energy == pytest.approx(best[str(batch.format(index))], rel=1e-12)


def replace_runs(fmt: object) -> object:
    levels = tuple(replace(lvl, width_bits=None) for lvl in fmt.levels)
    return replace(fmt, levels=levels)


def test_explain_adds_up_and_is_json() -> None:
    import json

    cost = FormatCost(SIZES, SPECS[1], 8, USES)
    batch = FormatSpace(SIZES, 3).from_json(["UOP(K:4)-CP(N)-B(K:12)"])
    account = json.loads(json.dumps(cost.explain(batch)))
    total = sum(tile["energy_pj"] for tile in account["tiles"])
    assert total == pytest.approx(cost.evaluate(batch).metrics["energy_pj"][0])
    for tile in account["tiles"]:
        parts = sum(level["metadata_bits"] for level in tile["levels"])
        assert parts == pytest.approx(tile["metadata_bits"])


def test_decoder_energy_enters_when_asked() -> None:
    decoder = Decoder({"B": 0.5, "CP": 2.0}, source="test")
    plain, priced = FormatCost(SIZES, SPECS[0]), FormatCost(SIZES, SPECS[0], decoder=decoder)
    formats = [parse_format(text, tuple(SIZES)) for text in ("none", "bitmap", "dcsr")]
    extra = (
        priced.evaluate_formats(formats).metrics["energy_pj"]
        - plain.evaluate_formats(formats).metrics["energy_pj"]
    )
    np.testing.assert_allclose(extra, [0.0, 0.5 * 1920, 4.0 * 1920])


def test_a_format_without_zeros_to_save_meets_the_bound() -> None:
    cost = FormatCost({"K": 64, "N": 64}, DensitySpec("bernoulli", 0.5))
    metrics = cost.evaluate_formats([parse_format("bitmap", ("K", "N"))]).metrics
    assert metrics["bits_per_element"][0] == pytest.approx(5.0)
    assert metrics["entropy_gap"][0] == pytest.approx(0.0)


def test_errors_name_the_field() -> None:
    with pytest.raises(ValueError, match="word_bits must be > 0, got 0"):
        FormatCost(SIZES, SPECS[0], 0)
    with pytest.raises(ValueError, match="a tile of GLB has 1 extents"):
        FormatCost(SIZES, SPECS[0], 8, (TileUse("GLB", (4,)),))
