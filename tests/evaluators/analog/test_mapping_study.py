"""Reports: tables beside published numbers, sensitivities, pictures and commands of a design."""

import json
from typing import Any

import numpy as np
import pytest

from evaluators.analog.adc_sweep import AdcSweep
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.commands import CommandStream
from evaluators.analog.execution import execute
from evaluators.analog.figures import gantt_figure, tornado_figure
from evaluators.analog.mapping_comparison import CimComparison
from evaluators.analog.mapping_study import CimStudy
from evaluators.analog.published_ratios import compare_published
from evaluators.analog.sensitivity import tornado
from evaluators.analog.technology import PCM, RERAM, technology
from spaces.cim.legality import occupancy
from spaces.cim.mapping import CimChoices, CimDesigns, one_design
from spaces.cim.model import CimModel, ProjectionSite, cim_model
from spaces.workloads.transformer import TransformerShape

BERT = cim_model(TransformerShape("bert_large", 1024, 16, 4096, 30522, encoder_layers=24), 512)


@pytest.fixture(scope="module")
def comparison() -> CimComparison:
    return CimComparison({"bert_large": BERT}, AnalogCim(technology("pcm"), overlap="token"))


def small_design(mapping: str = "shared_a") -> CimDesigns:
    sites = (ProjectionSite("qkv", 64, 64, 3, 2, 0), ProjectionSite("o", 64, 64, 1, 2, 1))
    choices = CimChoices(mapping=(mapping,), array_size=(32,), packing=("per_factor",))
    return one_design(CimModel("small", sites), choices)


def column(**values: Any) -> dict[str, Any]:
    return {name: np.array([value], dtype=object) for name, value in values.items()}


class TestComparison:
    def test_ratios_are_to_the_linear_mapping(self, comparison: CimComparison) -> None:
        sparse = comparison.evaluate(column(mapping="sparse")).metrics
        linear = comparison.evaluate(column(mapping="linear")).metrics
        for ratio, metric in (("latency_speedup", "latency_ns"), ("array_saving", "arrays")):
            assert linear[ratio][0] == 1.0
            assert sparse[ratio][0] == linear[metric][0] / sparse[metric][0]
        assert linear["gaussian_residual"][0] == 0.0
        assert sparse["gaussian_residual"][0] == pytest.approx(0.936, abs=0.01)

    def test_published_numbers_that_follow_from_shapes(self, comparison: CimComparison) -> None:
        rows = {row["quantity"]: row for row in map(comparison.published_row, compare_published())}
        assert rows["arrays saved, DenseMap"]["ours"] == 0.875
        assert rows["utilisation, DenseMap"]["ours"] == pytest.approx(0.788, abs=0.05)
        assert rows["FLOPs"]["ours"] == pytest.approx(5.7, abs=0.1)
        assert rows["speed-up, SparseMap"]["derivable"].startswith("no")

    def test_sensitivities_bracket_the_base(self, comparison: CimComparison) -> None:
        swings = tornado(comparison.evaluator.technology, comparison.mean_ratios)
        assert len(swings) == 4
        for found in swings.values():
            spans = [swing.span for swing in found]
            assert spans == sorted(spans, reverse=True)
            for swing in found:
                low, high = sorted((swing.at_low, swing.at_high))
                assert low <= swing.base * (1 + 1e-9)
                assert high >= swing.base * (1 - 1e-9)

    def test_base_of_the_sensitivity_is_the_table_s_ratio(self, comparison: CimComparison) -> None:
        base = comparison.mean_ratios(comparison.evaluator.technology)
        table = comparison.evaluate(column(mapping="dense_b")).metrics
        assert base["speed-up of DenseMap B"] == pytest.approx(table["latency_speedup"][0])

    def test_unknown_columns_and_models(self, comparison: CimComparison) -> None:
        with pytest.raises(ValueError, match="design: unknown key 'mappings'"):
            comparison.evaluate(column(mappings="sparse"))
        with pytest.raises(ValueError, match="model: unknown key 'bert'"):
            comparison.evaluate(column(model="bert"))
        with pytest.raises(ValueError, match="models must name at least one model"):
            CimComparison({}, AnalogCim(technology("pcm")))


def test_adc_sweep_names_the_crossover(comparison: CimComparison) -> None:
    rows = AdcSweep(comparison, laws=("survey_ramp",)).table()
    by_reading = {row["reading"]: row for row in rows}
    assert by_reading["A"]["SparseMap wins from"] == "4 ADCs"
    assert by_reading["A, 3 bits assumed"]["SparseMap wins from"] == "never"
    assert by_reading["B"]["4 ADCs"] > 1 > by_reading["B"]["32 ADCs"]


class TestStudy:
    def test_explains_with_tables_commands_and_pictures(self) -> None:
        explained = CimStudy(AnalogCim(technology("pcm"))).explain(small_design())
        json.dumps(explained)
        rows = explained["tables"]["Projections"]
        assert [row["mapping"] for row in rows] == ["shared_a", "shared_a"]
        assert rows[0]["blocks"] == "8 of 8 x 8 + 8 of 8 x 8"
        assert "LOAD_IN" in explained["texts"]["First commands of one token"]
        assert "LOAD_IN" in explained["files"]["commands.txt"]
        stream = CommandStream.from_json(json.loads(explained["files"]["commands.json"]))
        assert len(stream) == json.loads(explained["files"]["commands.json"])["commands"]
        groups = explained["energy_breakdown_pj"]
        total = sum(sum(parts.values()) for parts in groups.values())
        assert total == pytest.approx(explained["metrics"]["energy_pj"])

    def test_an_infeasible_design_has_numbers_but_no_pictures(self) -> None:
        model = CimModel("one", (ProjectionSite("a", 64, 64),))
        design = one_design(model, CimChoices(mapping=("sparse",), array_size=(4,)))
        explained = CimStudy(AnalogCim(technology("pcm"))).explain(design)
        assert explained["violations"]["fits_array"] == 1.0
        assert "files" not in explained
        assert CimStudy(AnalogCim(technology("pcm"))).pictures(design) == {}


def test_a_huge_design_is_priced_but_not_listed() -> None:
    llama = TransformerShape("llama", 4096, 32, 11008, 32000, decoder_layers=32, gated=True)
    design = one_design(cim_model(llama, 1, 2048), CimChoices(mapping=("dense_b",)))
    explained = CimStudy(AnalogCim(technology("pcm"))).explain(design)
    assert "too many to list" in explained["texts"]["Commands"]
    assert explained["metrics"]["arrays"] > 0


class TestPictures:
    def test_occupancy_shows_every_programmed_cell(self) -> None:
        placement, _ = execute(AnalogCim(technology("pcm")), small_design())
        cells = sum(int((occupancy(placement, a) >= 0).sum()) for a in range(placement.arrays))
        assert cells == (placement.table["row_count"] * placement.table["column_count"]).sum()

    def test_occupancy_is_drawn_per_site_and_zoomed_where_diagonals_are_many(self) -> None:
        pictures = CimStudy(AnalogCim(technology("pcm"))).pictures(small_design("dense_b"))
        titles = [axis.get_title() for axis in pictures["occupancy"]().axes]
        assert titles[0].startswith("array 0 (qkv, stage 1)")
        assert not any("first" in title for title in titles)
        model = CimModel("two", (ProjectionSite("a", 1024, 1024, 2),))
        wide = one_design(model, CimChoices(mapping=("dense_b",), packing=("spread",)))
        drawn = CimStudy(AnalogCim(technology("pcm"))).pictures(wide)["occupancy"]().axes[0]
        assert "first 64 x 64 cells" in drawn.get_title()

    def test_schedule_has_lines_of_every_stage_and_of_the_digital_units(self) -> None:
        _, stream = execute(AnalogCim(technology("pcm")), small_design())
        axis = gantt_figure(stream, arrays_per_stage=1).axes[0]
        labels = [text.get_text().partition(",")[0] for text in axis.get_yticklabels()]
        assert labels == [
            "qkv stage 1",
            "qkv stage 2",
            "o stage 1",
            "o stage 2",
            "digital units",
        ]
        assert axis.get_xlim()[1] == pytest.approx(stream.makespan_ns)

    def test_tornado_has_two_bars_per_assumption(self, comparison: CimComparison) -> None:
        swings = tornado(comparison.evaluator.technology, comparison.mean_ratios)
        name, found = next(iter(swings.items()))
        axis = tornado_figure(found, name).axes[0]
        assert len(axis.patches) == 2 * min(len(found), 14)
        assert f"{found[0].base:.2f}" in axis.get_title(loc="left")
        assert set(comparison.pictures({})) == {"occupancy"} | {
            f"tornado_{name.replace(' ', '_')}" for name in swings
        }


@pytest.mark.parametrize("quantities", [PCM, RERAM])
def test_every_constant_has_a_unit_a_range_and_a_source(quantities: dict[str, Any]) -> None:
    for name, quantity in quantities.items():
        assert quantity.low <= quantity.value <= quantity.high, name
        assert quantity.unit, name
        assert len(quantity.source) > 4, name
