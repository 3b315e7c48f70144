"""Chips against literal sums, capacities, conventions, and every design and mapping there is."""

from __future__ import annotations

import json
from dataclasses import replace
from math import pi
from typing import Any

import numpy as np
import pytest

from evaluators.analog.adc import ADC_LAWS
from evaluators.analog.analog_cim import AnalogCim
from evaluators.codesign.chip import ChipModel
from evaluators.codesign.chip_evaluator import ChipEvaluator
from evaluators.codesign.fidelity_proxy import SyntheticLoss, gaussian_pruning_loss
from evaluators.codesign.variants import with_analog, with_boundary, with_pair_select
from evaluators.digital.digital_cim import DigitalCimEvaluator, GemmLayer
from evaluators.digital.gemm_cost import CimOptions, Residency
from spaces.cim.digital_cim import CimBatch, machine_batch
from spaces.cim.mapping import CimChoices, one_design
from spaces.cim.model import CimModel, ProjectionSite
from spaces.codesign.chip_space import ChipBatch, ChipSpace
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart
from spaces.sparsity.nm_sparsity import NMBatch, NMPattern
from tests.evaluators.codesign.small_chip import small_chip
from tests.strategies.mapping_oracle import every_mapping, own_sizes

BITS_PER_NS = 32.0
"""4 GB/s."""


def every_chip(space: ChipSpace) -> ChipBatch:
    batches = [space.decode(columns) for columns in space.enumerate()]
    return ChipBatch(
        np.concatenate([batch.placement for batch in batches]),
        {m: np.concatenate([batch.knobs[m] for batch in batches]) for m in space.knob_machines},
    )


@pytest.fixture(scope="module")
def chip() -> ChipEvaluator:
    return small_chip()


@pytest.fixture(scope="module")
def chips(chip: ChipEvaluator) -> ChipBatch:
    return every_chip(chip.space)


def record(up: str, down: str, **knobs: Any) -> dict[str, Any]:
    return {"placement": {"up_proj[0-2]": up, "down_proj[0-2]": down}, **knobs}


def metrics(chip: ChipModel, *records: dict[str, Any]) -> dict[str, list[float]]:
    evaluation = chip.evaluate(chip.space.from_json(list(records)))
    return {name: values.tolist() for name, values in evaluation.metrics.items()}


class TestEnumeration:
    """Latency of every design of the small problem, from the machines' own models."""

    @pytest.fixture(scope="class")
    def fast(self) -> ChipEvaluator:
        """Mappings minimise latency, so that their literal minimum is the answer."""
        chip = small_chip()
        return replace(chip, spatial={**chip.spatial, "goal": "latency"})

    def test_the_joint_optimum_equals_every_design_and_mapping(self, fast: ChipEvaluator) -> None:
        chips = every_chip(fast.space)
        found = fast.evaluate(chips).metrics["latency_ms"]
        records = fast.space.to_json(chips)
        memory: dict[str, tuple[float, float, float, float]] = {}
        literal = np.array([self.latency_ns(fast, r, memory) for r in records]) * 1e-6
        np.testing.assert_allclose(found, literal, rtol=1e-9)
        assert found.min() == pytest.approx(literal.min(), rel=1e-12)
        assert len(np.unique(found.round(12))) > 50

    def latency_ns(
        self, fast: ChipEvaluator, chip: dict[str, Any], memory: dict[str, Any]
    ) -> float:
        """Sum over parts, each machine asked on its own."""
        total, needed = 0.0, dict.fromkeys(("spatial", "digital", "analog"), 0.0)
        rows = []
        for part in fast.space.parts:
            placement = next(
                p for p in fast.space.placements if str(p) == chip["placement"][part.name]
            )
            knobs = chip[placement.machine]
            key = f"{part.kind} {placement} {knobs}"
            if key not in memory:
                memory[key] = getattr(self, placement.machine)(fast, part, placement, knobs)
            needed[placement.machine] += part.layers * memory[key][2]
            rows.append((part, placement, memory[key]))
        for part, placement, (resident, streamed, _, capacity) in rows:
            stays = needed[placement.machine] <= capacity
            total += part.layers * (resident if stays else streamed)
            if placement.machine != "spatial":
                values = part.reduction + part.parallel * part.outputs
                total += part.layers * (values * 8 / 256 + 2 * 10)
        return total

    def spatial(
        self, fast: ChipEvaluator, part: ProjectionPart, placement: Placement, knobs: Any
    ) -> tuple[float, float, float, float]:
        kinds = [p.kind for p in fast.space.parts]
        spatial = [p for p in fast.space.placements if p.machine == "spatial"]
        where = fast.space.grid("spatial").index(knobs), kinds.index(part.kind)
        at = (*where, spatial.index(placement))
        times = [self.every_latency(fast, at, stays) for stays in (True, False)]
        monarch = 2 * 2 * 4  # two factors of two 2 x 2 blocks: the matrix padded to 4 x 4
        weights = monarch if placement.rule else part.reduction * part.outputs
        return times[0], times[1], part.parallel * weights * 8.0, 2048.0

    @staticmethod
    def every_latency(fast: ChipEvaluator, at: tuple[int, int, int], resident: bool) -> float:
        """Least latency over every mapping there is, weights uncompressed."""
        total = 0.0
        for part in fast.core.mapped_part(*at, resident):
            best, accelerator = np.inf, fast.core.accelerator(part)
            for batch in every_mapping(accelerator, own_sizes(accelerator)):
                evaluation = accelerator.evaluate(batch)
                cycles = evaluation.metrics["latency_cycles"][evaluation.feasible]
                best = min(best, cycles.min(initial=np.inf))
            total += part.count * best
        return total

    def digital(
        self, fast: ChipEvaluator, part: ProjectionPart, placement: Placement, knobs: Any
    ) -> tuple[float, float, float, float]:
        machine = {**fast.digital["fixed"], **knobs}
        layer = GemmLayer("x", 1, part.reduction, part.outputs, "x")
        nm = NMBatch(("x",), (placement.pattern,), np.zeros((1, 1), dtype=np.int64))
        found = [
            DigitalCimEvaluator((layer,), CimOptions(residency=residency)).evaluate(
                CimBatch(machine_batch([machine]), nm)
            )
            for residency in (Residency.MACRO, Residency.DOUBLE_BUFFER)
        ]
        times = [part.parallel * float(e.metrics["latency_ns"][0]) for e in found]
        bits = part.parallel * float(found[1].metrics["storage_bits"][0])
        macros = float(knobs["macros"])
        tiles = part.parallel * (float(found[0].violations["cim_capacity"][0]) + 1) * macros
        return times[0], max(times[1], bits / BITS_PER_NS), round(tiles), macros

    def analog(
        self, fast: ChipEvaluator, part: ProjectionPart, placement: Placement, knobs: Any
    ) -> tuple[float, float, float, float]:
        shape = (placement.rule or "padded",), (placement.block,)
        choices = CimChoices(
            (placement.mapping,), *shape, (4,), (knobs["adcs_per_array"],), packing=("per_factor",)
        )
        site = ProjectionSite("x", part.reduction, part.outputs, part.parallel)
        technology = fast.analog["technology"]
        found = AnalogCim(technology).evaluate(one_design(CimModel("x", (site,)), choices)).metrics
        time, arrays = float(found["token_latency_ns"][0]), float(found["arrays"][0])
        waves = -(-arrays // knobs["arrays"])
        bits = float(found["weight_memory_bits"][0])
        streamed = max(waves * (4 * 100 + time), bits / BITS_PER_NS)
        return time, streamed, arrays, float(knobs["arrays"])


class TestCapacity:
    def test_weights_stay_only_where_all_of_a_machines_fit(self, chip: ChipEvaluator) -> None:
        few, many = {"adcs_per_array": 4, "arrays": 4}, {"adcs_per_array": 4, "arrays": 256}
        linear = "analog linear"
        found = metrics(
            chip, record(linear, linear, analog=few), record(linear, linear, analog=many)
        )
        assert found["resident_share"] == [0.0, 1.0]
        assert found["offchip_gb"][0] == pytest.approx(3 * (16 + 2 * 8) / 1e9)
        assert found["offchip_gb"][1] == 0.0

    def test_assuming_residence_changes_the_result(
        self, chip: ChipEvaluator, chips: ChipBatch
    ) -> None:
        always = with_boundary(chip, residency="always").evaluate(chips).metrics
        by_capacity = chip.evaluate(chips).metrics
        assert (always["resident_share"] == 1.0).all()
        assert (always["offchip_gb"] == 0.0).all()
        streamed = by_capacity["resident_share"] < 1
        assert streamed.any()
        assert not streamed.all()
        np.testing.assert_array_less(
            always["latency_ms"][streamed], by_capacity["latency_ms"][streamed]
        )
        fits = ~streamed
        np.testing.assert_allclose(always["latency_ms"][fits], by_capacity["latency_ms"][fits])

    def test_streaming_takes_at_least_what_off_chip_memory_needs(
        self, chip: ChipEvaluator, chips: ChipBatch
    ) -> None:
        costs = chip.part_costs(chips)
        assert (costs.ns >= costs.memory_ns * (1 - 1e-12)).all()
        assert (costs.streamed_bits[costs.resident] == 0).all()
        memory_pj = costs.streamed_bits * chip.boundary.memory_pj_per_bit
        assert (costs.pj >= memory_pj * (1 - 1e-12)).all()


class TestConventions:
    def test_the_area_is_that_of_the_machines_in_use(self, chip: ChipEvaluator) -> None:
        core = metrics(chip, record("spatial dense", "spatial dense"))["area_mm2"][0]
        one = metrics(chip, record("digital dense", "spatial dense"))["area_mm2"][0]
        both = metrics(chip, record("digital dense", "analog linear"))["area_mm2"][0]
        assert core < one < both
        assert one - core == pytest.approx(chip.machines["digital"].area_mm2[0])

    def test_only_in_memory_machines_pay_for_links(self, chip: ChipEvaluator) -> None:
        costs = chip.part_costs(chip.space.from_json([record("spatial dense", "digital dense")]))
        assert costs.link_pj[0, 0] == 0.0
        assert costs.link_pj[0, 1] == pytest.approx(3 * (4 + 2 * 2) * 8 * 0.5)

    def test_the_pair_select_mode_changes_cost_and_loss(self, chip: ChipEvaluator) -> None:
        design = record("digital 2:4", "digital 2:4", digital={"columns": 4, "macros": 8})
        ideal = metrics(chip, design)
        serial = metrics(with_pair_select(chip, "flexcim_serial"), design)
        shared = metrics(with_pair_select(chip, "flexcim_shared"), design)
        assert serial["latency_ms"][0] > ideal["latency_ms"][0]
        assert serial["fidelity_proxy_loss"] == ideal["fidelity_proxy_loss"]
        assert shared["fidelity_proxy_loss"][0] > ideal["fidelity_proxy_loss"][0]
        assert shared["latency_ms"] == ideal["latency_ms"]

    def test_the_adc_law_changes_the_result(self, chip: ChipEvaluator) -> None:
        design = record("analog linear", "analog linear")
        sar = metrics(chip, design)
        ramp = metrics(with_analog(chip, adc=ADC_LAWS["survey_ramp"]), design)
        assert sar["latency_ms"] != ramp["latency_ms"]
        assert sar["energy_mj_per_token"] != ramp["energy_mj_per_token"]

    def test_repriced_mappings_cost_the_same_under_the_same_constants(
        self, chip: ChipEvaluator, chips: ChipBatch
    ) -> None:
        same = with_boundary(chip, node_nm=chip.boundary.node_nm).evaluate(chips).metrics
        for name, values in chip.evaluate(chips).metrics.items():
            np.testing.assert_allclose(same[name], values, rtol=1e-12, err_msg=name)

    def test_off_chip_energy_scales_its_own_share(self, chip: ChipEvaluator) -> None:
        design = record("digital dense", "digital 2:4", digital={"columns": 2, "macros": 1})
        pj = chip.boundary.memory_pj_per_bit
        doubled = with_boundary(chip, memory_pj_per_bit=2 * pj)
        before, after = metrics(chip, design), metrics(doubled, design)
        added = after["energy_mj_per_token"][0] - before["energy_mj_per_token"][0]
        assert added == pytest.approx(before["offchip_gb"][0] * 8e9 * pj * 1e-9)
        assert after["latency_ms"] == before["latency_ms"]


class TestProxy:
    def test_one_of_two_loses_the_smaller_half_of_a_gaussian(self) -> None:
        assert gaussian_pruning_loss(NMPattern(1, 2)) == pytest.approx(0.5 - 1 / pi, abs=2e-3)

    def test_larger_groups_and_freedom_lose_less(self) -> None:
        loss = {text: gaussian_pruning_loss(NMPattern.parse(text)) for text in ("1:2", "2:4")}
        assert loss["2:4"] < loss["1:2"]
        assert gaussian_pruning_loss(NMPattern(2, 4), 32) > loss["2:4"]

    def test_analog_products_add_their_error(self) -> None:
        part = ProjectionPart("q", "q", 1, 1, 1, 64, 64)
        dense = SyntheticLoss(analog_error=0.1).lost(part, Placement("analog", mapping="linear"), 0)
        assert dense == pytest.approx(0.01)
        monarch = Placement("spatial", rule="padded")
        assert 0.5 < SyntheticLoss().lost(part, monarch, 0) < 1.0


class TestExplanation:
    def test_the_breakdown_sums_to_the_energy(self, chip: ChipEvaluator) -> None:
        design = chip.space.from_json([record("analog linear", "digital 2:4")])
        explained = chip.explain(design)
        json.dumps(explained)
        groups = explained["energy_breakdown_pj"]
        total = sum(value for group in groups.values() for value in group.values())
        assert total * 1e-9 == pytest.approx(explained["metrics"]["energy_mj_per_token"])
        rows = explained["tables"]["Where the projections went, and what binds them"]
        assert sum(row["latency_ms"] for row in rows) == pytest.approx(
            explained["metrics"]["latency_ms"]
        )

    def test_the_binding_resource_is_named(self, chip: ChipEvaluator) -> None:
        title = "Where the projections went, and what binds them"
        digital = {"columns": 2, "macros": 1}
        slow = small_chip(memory_bandwidth="1MB/s")
        bound = [
            [row["bound by"] for row in slow.explain(design)["tables"][title]]
            for design in (
                chip.space.from_json([record("spatial dense", "digital dense", digital=digital)]),
                chip.space.from_json([record("analog linear", "spatial dense")]),
            )
        ]
        assert bound == [
            ["units of the core", "off-chip bandwidth"],
            ["off-chip bandwidth", "units of the core"],
        ]

    def test_baselines_are_designs_of_the_space(self, chip: ChipEvaluator) -> None:
        baselines = chip.baselines(chip.space.parameters)
        chip.space.from_json(list(baselines.values()))
        names = {next(iter(set(b["placement"].values()))) for b in baselines.values()}
        assert names == {str(placement) for placement in chip.space.placements}
