"""The published density sweep and tensor-core ratios, reproduced by the shipped designs.

Values: tests/golden/published_fig1.json, published_dstc.json (Sparseloop, MICRO 2022, artifact).
Tolerances above 8 % are explained in docs/fidelity.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published import dstc_rows, fig1_rows, main, tensor_core
from evaluators.accelerator.intersection import packed_share
from evaluators.reference.published_designs import dstc_design, fig1_design

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def sweep():
    return fig1_rows()


def worst(rows, quantity, text=""):
    return max(abs(r["deviation"]) for r in rows if r["quantity"] == quantity and text in r["case"])


def test_fig1_cycles_within_one_percent(sweep):
    assert worst(sweep, "cycles") < 0.01


def test_fig1_energy_within_seven_percent_for_the_coordinate_list(sweep):
    assert worst(sweep, "energy_pj", "coordinate_list") < 0.07


def test_fig1_bitmask_energy_pays_for_masks_and_gated_computes(sweep):
    """Published: the mask of W is free at the buffer, gated mask reads and gated MACs cost nothing.

    Ours charges them: 2,097,152 x 0.7383 / 28 pJ for each mask and 0.03642 pJ per gated MAC.
    """
    for label in (0.01, 0.1, 0.8):
        row = next(
            r for r in sweep if r["case"] == f"fig1 bitmask d={label}" and "pj" in r["quantity"]
        )
        density = {0.01: 0.01171875, 0.1: 0.1015625}.get(label, label)
        masks = 2097152 * 0.7383 / 28 * (2 - density)
        computes = 2097152 * (1 - density**2) * 0.03642
        assert row["ours"] - masks - computes == pytest.approx(row["published"], rel=0.01)


def test_fig1_crossovers_are_where_the_figure_has_them():
    def ratio(label, quantity):
        masked, listed = (fig1_design(name, label) for name in ("bitmask", "coordinate_list"))
        return getattr(masked, quantity) / getattr(listed, quantity)

    assert ratio(0.04, "energy_pj") > 1 > ratio(0.08, "energy_pj")
    assert ratio(0.4, "cycles") > 1 > ratio(0.8, "cycles")


def test_dstc_ratios():
    rows = dstc_rows()
    assert worst(rows, "ratio, model") < 0.085
    assert worst(rows, "ratio, hardware") < 0.15
    assert np.mean([abs(r["deviation"]) for r in rows if r["quantity"] == "ratio, hardware"]) < 0.05


def test_dstc_dense_is_bound_by_the_accumulation_buffer():
    """4096^3 / 116 words per cycle, slower than 128 multipliers."""
    design = dstc_design(tensor_core(), 1.0, 1.0)
    assert design.cycles == pytest.approx(4096**3 / 116)
    assert design.model.explain(design.mapping)["bottleneck"] == "Buffer"


@pytest.mark.parametrize(
    ("positions", "width", "density"), [(32, 8, 0.3), (32, 16, 0.4), (100, 7, 0.05)]
)
def test_packed_passes_equal_sampling(positions, width, density):
    rng = np.random.default_rng(0)
    counts = rng.binomial(positions, density, 200_000)
    sampled = np.ceil(counts / width).mean() / (positions / width)
    assert packed_share(positions, width, density) == pytest.approx(sampled, rel=0.01)


def test_long_lines_take_the_limit():
    assert packed_share(513, 8, 0.5) == pytest.approx(packed_share(512, 8, 0.5), rel=0.01)


def test_script_prints_every_point(capsys):
    assert main() == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["rows"] == 51


def test_unknown_design_is_named():
    with pytest.raises(
        ValueError, match="design must be one of bitmask, coordinate_list, got 'csr'"
    ):
        fig1_design("csr", 0.1)
