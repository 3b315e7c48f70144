"""Certificates: what they state, and that the independent checker finds false ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from benchmarks.check_certificate import build_evaluator, check, objective
from evaluators.accelerator.priced_design import problem_of
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.formats.compression_format import UNCOMPRESSED
from spaces.formats.format_grammar import parse_format
from spaces.hardware_config import build_hardware
from spaces.sparsity.sparsity import DensitySpec
from spaces.workloads.workload import matmul
from strategies.exact.certificate import certificate, certificate_json
from strategies.exact.exact_search import exact_search
from strategies.tasks import study
from strategies.tasks.notebook import compose
from tests.strategies.mapping_attack import as_batch

HARDWARE = Path(__file__).parents[3] / "conf" / "hardware"
Statement = dict[str, Any]


def accelerator(
    stationarity: str,
    sizes: Mapping[str, int] = MappingProxyType({"M": 16, "K": 32, "N": 24}),
    sparse: bool = True,
    hardware: str = "edge",
) -> SparseAccelerator:
    """A matrix product, its weights with zeros in a bitmap or not, if sparse."""
    config: Any = OmegaConf.to_container(OmegaConf.load(HARDWARE / f"{hardware}.yaml"))
    config.pop("_target_")
    return SparseAccelerator(
        matmul("certified", dict(sizes)),
        build_hardware(**config),
        densities={"W": DensitySpec("bernoulli", 0.4)} if sparse else {},
        formats={"W": (UNCOMPRESSED, parse_format("B(K,N)", ["K", "N"]))} if sparse else {},
        stationarity=stationarity,
    )


def written(folder: Path, part: SparseAccelerator, **given: Any) -> Statement:
    """The certificate of a search, through its file."""
    terms = part.cost_terms()
    mapspace = given.get("mapspace", "uneven")
    found = exact_search(terms, "edp", **given)
    any_mapping = found.mapping or exact_search(terms, "edp").mapping
    assert any_mapping is not None
    problem = problem_of(part, terms, any_mapping)
    (folder / "c.json").write_text(certificate_json(certificate(terms, found, mapspace, problem)))
    read: Statement = json.loads((folder / "c.json").read_text())
    return read


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    return written(tmp_path_factory.mktemp("certificate"), accelerator("explicit"))


def test_a_true_certificate_passes(statement: Statement) -> None:
    assert statement["certified"]
    assert statement["gap"] == 0.0
    assert int(statement["space"]["mappings"]) > 10**9
    faults, method = check(statement, samples=3000)
    assert faults == []
    assert method.startswith("attacked with")


def test_a_small_space_is_enumerated(tmp_path: Path) -> None:
    small = accelerator("implicit", {"M": 1, "K": 2, "N": 2}, sparse=False)
    true = written(tmp_path, small, mapspace="uneven_runs")
    assert true["certified"]
    faults, method = check(true, samples=0)
    assert faults == []
    assert method.startswith("proved by enumeration of")
    false = {**true, "lower_bound": true["value"] * 2, "value": true["value"] * 2}
    assert any("below the bound" in fault for fault in check(false, samples=0)[0])


def test_padding_and_mapspace_are_part_of_the_statement(tmp_path: Path) -> None:
    given: Any = {"mapspace": "even", "padding": [[], [], [25, 27]]}
    padded = written(tmp_path, accelerator("implicit"), **given)
    assert padded["space"]["sizes"]["N"] == [24, 25, 27]
    assert check(padded, samples=1000)[0] == []


def test_a_search_cut_short_states_its_gap(tmp_path: Path) -> None:
    cut = written(tmp_path, accelerator("explicit"), time_limit=0.0)
    assert not cut["certified"]


def test_four_levels_are_certified(tmp_path: Path) -> None:
    part = accelerator("explicit", hardware="tensor_core")
    true = written(tmp_path, part)
    assert true["certified"]
    assert check(true, samples=3000)[0] == []


def test_a_study_leaves_a_certificate_that_the_checker_accepts(tmp_path: Path) -> None:
    words = ["+experiment=operator_mapping", "strategy=exact", "tracking=none", "quiet=true"]
    study.run(compose([*words, f"out_dir={tmp_path}", "name=s"]))
    artifacts = tmp_path / "s" / "artifacts"
    statement = json.loads((artifacts / "designs" / "certificate.json").read_text())
    assert statement["certified"]
    assert statement["space"]["mapspace"] == "uneven_runs"
    assert check(statement, samples=2000)[0] == []
    assert "is the optimum: no mapping of the space" in (artifacts / "report.html").read_text()


def altered(change: Callable[[Statement], None]) -> Callable[[Statement], Statement]:
    """A copy of a certificate with something made false."""

    def alter(statement: Statement) -> Statement:
        false = deepcopy(statement)
        change(false)
        return false

    return alter


def worse_mapping(statement: Statement) -> None:
    """A dearer mapping, priced truly, with a bound that is its value."""
    statement["mapping"]["format_id"][1] = [0, 0, 0]
    evaluator = build_evaluator(statement["problem"])
    priced = evaluator.evaluate(as_batch(statement["mapping"]))
    value = float(objective("edp", priced)[0])
    assert np.isfinite(value)
    assert value > statement["value"]
    statement["value"] = statement["lower_bound"] = value
    for name in ("energy_pj", "latency_cycles"):
        statement[name] = float(priced.metrics[name][0])


def lower_value(statement: Statement) -> None:
    for name in ("value", "lower_bound"):
        statement[name] *= 0.99


def other_density(statement: Statement) -> None:
    statement["problem"]["design"]["densities"]["W"] = 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lower_value, "value is .* the certificate says"),
        (lambda s: s.update(energy_pj=s["energy_pj"] * 1.01), "energy_pj is"),
        (lambda s: s.update(lower_bound=s["lower_bound"] * 0.9), "bound below its value"),
        (lambda s: s.update(lower_bound=s["lower_bound"] * 1.1), "bound is above its value"),
        (lambda s: s.update(gap=0.01), "its gap is"),
        (lambda s: s.update(objective="energy"), "value is"),
        (lambda s: s.update(model_version="0"), "it is of model 0"),
        (lambda s: s["space"].update(mappings="12"), "mappings, the certificate says 12"),
        (lambda s: s["space"].update(sizes={"M": [17], "K": [32], "N": [24]}), "outside the"),
        (other_density, "energy_pj is"),
        (lambda s: s.update(stationarity="implicit"), "its problem is of explicit stationarity"),
        (lambda s: s["problem"]["offered"]["W"].update(DRAM=[0]), "is not feasible"),
        (worse_mapping, "below the bound"),
    ],
)
def test_a_false_certificate_is_rejected(
    statement: Statement, change: Callable[[Statement], None], message: str
) -> None:
    faults, _ = check(altered(change)(statement), samples=6000)
    assert any(re.search(message, fault) for fault in faults), faults
