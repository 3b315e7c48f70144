"""Format studies: savings, shared formats and maps agree with what can be worked out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from evaluators.accelerator.sparse_model import SparseModel
from evaluators.accelerator.technology import Technology
from evaluators.formats.format_cases import entropy_bits_per_element, structured_matrix
from evaluators.formats.format_members import FormatMembers, ModelUse
from spaces.formats.offered_formats import FormatOffer
from spaces.hardware import ComputeUnit, Hardware, Level
from spaces.sparsity.sparsity import SparsityProfile, block, unstructured
from spaces.workloads.workload import Workload, matmul
from strategies.exact.exact_search import exact_search
from strategies.formats.format_map_study import FormatMapStudy
from strategies.formats.format_savings import FormatSavings
from strategies.formats.shared_format_study import SharedFormatStudy
from strategies.reporting.heat_map import HeatMap, heat_map_figure

NO_LEAKAGE = Technology("test", {"leakage_mw_per_mm2": 0.0})
HARDWARE = Hardware(
    name="test",
    levels=(
        Level("DRAM", "dram"),
        Level("buffer", "sram", capacity_bits=2**17),
        Level("register", "register_file", capacity_bits=256, access_bits=8),
    ),
    compute=ComputeUnit(),
)


def columns(*rows: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}


def workload(name: str, K: int = 256, N: int = 256) -> Workload:
    return Workload(name, (matmul("product", {"M": 4, "K": K, "N": N}),))


@pytest.fixture(scope="module")
def savings() -> FormatSavings:
    offer = FormatOffer(("bitmap", "B(*)-B(last:16)", "B(*)-None(*:16)"))
    model = partial(
        SparseModel, hardware=HARDWARE, technology=NO_LEAKAGE, offered={"weight": offer}
    )
    return FormatSavings(
        workloads={"small": workload("small")},
        profiles={
            "random": SparsityProfile("random", weight=unstructured(0.5)),
            "blocks": SparsityProfile("blocks", weight=block(0.25)),
        },
        model=model,
        search=exact_search,
        stated=["bitmap", "coo"],
        published_percent=18.24,
    )


def weight_share(bitmap_bits: float, chosen_bits: float) -> float:
    """Off-chip saving when all cross once: 256 x 256 weights, 2 x 4 x 256 others of 8 bits."""
    others = 2 * 4 * 256 * 8 / 256**2
    return (bitmap_bits - chosen_bits) / (bitmap_bits + others)


def test_no_format_beats_a_bitmap_at_half_density(savings: FormatSavings) -> None:
    """5 bits are the entropy bound there; coordinates take more bits than a bitmap of any tile."""
    metrics = savings.evaluate(columns({"scenario": "small random"})).metrics
    assert metrics["saving over bitmap"][0] == pytest.approx(0.0, abs=1e-9)
    assert metrics["off-chip saving over none"][0] == pytest.approx(weight_share(8.0, 5.0))
    assert metrics["saving over coo"][0] > 0.0
    mean = (metrics["saving over bitmap"][0] + metrics["saving over coo"][0]) / 2
    assert metrics["mean saving"][0] == pytest.approx(mean)


def test_blocks_save_what_their_positions_cost_less(savings: FormatSavings) -> None:
    """One bit per 16 x 16 block, not one per element: off chip that is all that changes.

    Of all levels the saving over the best tuned single-level format is above 0, because each of
    these spends more than 1/256 bit per element, and at most that over the bitmap, one of them.
    """
    metrics = savings.evaluate(columns({"scenario": "small blocks"})).metrics
    expected = weight_share(1.0 + 2.0, 1 / 256 + 2.0)
    assert metrics["off-chip saving over bitmap"][0] == pytest.approx(expected)
    stored = metrics["stored saving over bitmap"][0]
    assert stored == pytest.approx(1 - (1 / 256 + 2.0) / 3.0)  # whole tensors, weights alone
    single = metrics["saving over best tuned single-level"][0]
    assert 0.0 < single <= metrics["saving over bitmap"][0] <= expected
    assert all(v[0] > 0 for name, v in metrics.items() if "saving over" in name)


def test_survey_means_are_over_the_scenarios(savings: FormatSavings) -> None:
    scenarios = columns(*({"scenario": f"small {z}"} for z in ("random", "blocks")))
    metrics = savings.evaluate(scenarios).metrics
    survey = savings.survey(scenarios)
    _, memory, off_chip, stored, zeros = survey["tables"].values()
    named = ((memory, ""), (off_chip, "off-chip "), (stored, "stored "), (zeros, ""))
    for table, prefix in named:
        row = next(row for row in table if "all" in row.values())
        assert row["mean saving"] == f"{100 * metrics[f'{prefix}mean saving'].mean():+.2f} %"
        assert row["scenarios"] == "2"
    assert memory[-1]["mean saving"] == off_chip[-1]["mean saving"] == "+18.24 %"
    assert heat_map_figure(HeatMap(**survey["heat_maps"]["format_savings"])).axes


@pytest.fixture(scope="module")
def sharing() -> SharedFormatStudy:
    models = {
        "random": ModelUse(workload("a", 512), SparsityProfile("r", weight=unstructured(0.5))),
        "blocks": ModelUse(workload("b"), SparsityProfile("b", weight=block(0.25))),
    }
    return SharedFormatStudy(
        source=FormatMembers(models, HARDWARE, NO_LEAKAGE, tile_edge=128),
        offers={"two": FormatOffer(("bitmap", "B(*)-None(*:16)"))},
        priorities={"random": 1.0, "blocks": 3.0},
    )


def test_two_formats_leave_no_regret(sharing: SharedFormatStudy) -> None:
    rows = ({"formats": k, "importance": "traffic", "offer": "two"} for k in (1, 2))
    metrics = sharing.evaluate(columns(*rows)).metrics
    assert metrics["worst_regret"][0] > 0.1
    assert metrics["worst_regret"][1] == pytest.approx(0.0)
    assert metrics["score"][1] == pytest.approx(1.0)


def test_importance_decides_who_regrets(sharing: SharedFormatStudy) -> None:
    one = {"formats": 1, "offer": "two"}
    metrics = sharing.evaluate(
        columns(*({**one, "importance": kind} for kind in ("traffic", "given")))
    ).metrics
    assert metrics["regret random"][1] >= metrics["regret random"][0]
    costs = sharing.source.costs(("bitmap", "B(*)-None(*:16)"))
    given = (np.array([1.0, 3.0])[:, None] * costs / costs.min(axis=1, keepdims=True)).sum(axis=0)
    assert metrics["score"][1] == pytest.approx(given.min() / 4.0)


def test_members_move_whole_tensors_in_tiles(sharing: SharedFormatStudy) -> None:
    source = sharing.source
    assert isinstance(source, FormatMembers)
    first = source.members[0]
    (use,) = first.cost.uses
    assert (use.extents, use.moves) == ((128, 128), 4 * 2)
    assert first.traffic_bits == 512 * 256 * 8


def test_an_unknown_importance_is_named(sharing: SharedFormatStudy) -> None:
    with pytest.raises(ValueError, match="importance"):
        sharing.evaluate(columns({"formats": 1, "importance": "luck", "offer": "two"}))


def test_map_cells_stay_above_their_bound_and_below_flat() -> None:
    study = FormatMapStudy({"K": 128, "N": 128}, structured_matrix, entropy_bits_per_element, 2)
    rows = columns(
        *(
            {"structure": s, "density": d, "word_bits": 8}
            for s in ("random", "n_m", "block_16")
            for d in (0.125, 0.5)
        )
    )
    metrics = study.evaluate(rows).metrics
    assert np.all(metrics["bits_per_element"] >= metrics["bound_bits_per_element"] * (1 - 1e-9))
    assert np.all(metrics["saving_unpenalised"] >= metrics["saving"] - 1e-12)
    assert metrics["saving"][1] == pytest.approx(0.0)  # random, half: a flat bitmap
    assert metrics["saving"][4] > 0.3  # blocks at 1/8: 1 + 1/256 bits against about 1.7
    assert len(study.survey(rows)["heat_maps"]["format_map"]["rows"]) == 6


def test_a_heat_map_has_one_rectangle_per_cell() -> None:
    rows = [
        {"x": x, "y": y, "case": c, "v": x * 0.1} for x in (1, 2) for y in "ab" for c in ("p", "q")
    ]
    figure = heat_map_figure(HeatMap(rows, "x", "y", "v", "v", "case"))
    assert [len(axis.patches) for axis in figure.axes] == [4, 4]


def test_many_panels_stand_in_rows_without_empty_ones() -> None:
    rows = [{"x": 1, "y": "a", "case": str(case), "v": 0.1 * case} for case in range(5)]
    figure = heat_map_figure(HeatMap(rows, "x", "y", "v", "v", "case"))
    grid = [axis.get_subplotspec() for axis in figure.axes]
    places = [(spec.rowspan.start, spec.colspan.start) for spec in grid if spec is not None]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
