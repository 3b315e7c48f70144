"""Certificates: what they state, and that the independent checker finds false ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.check_certificate import build_evaluator, check, objective
from strategies.exact.certificate import certificate, write_certificate
from strategies.exact.exact_search import exact_search
from tests.strategies.mapping_attack import as_batch

HARDWARE = str(Path(__file__).parents[3] / "conf" / "hardware" / "edge.yaml")
PROBLEM: dict[str, Any] = {
    "sizes": {"M": 16, "K": 32, "N": 24},
    "hardware": HARDWARE,
    "densities": {"W": ["bernoulli", 0.4]},
    "formats": {"W": ["B(K,N)"]},
}
Statement = dict[str, Any]


def written(folder: Path, problem: Statement, stationarity: str, **given: Any) -> Statement:
    """The certificate of a search, through its file."""
    terms = build_evaluator(problem, stationarity).cost_terms()
    mapspace = given.get("mapspace", "uneven")
    found = exact_search(terms, "edp", **given)
    write_certificate(folder / "c.json", certificate(terms, found, mapspace, problem))
    read: Statement = json.loads((folder / "c.json").read_text())
    return read


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    return written(tmp_path_factory.mktemp("certificate"), PROBLEM, "explicit")


def test_a_true_certificate_passes(statement: Statement) -> None:
    assert statement["certified"]
    assert statement["gap"] == 0.0
    assert int(statement["space"]["mappings"]) > 10**9
    faults, method = check(statement, samples=3000)
    assert faults == []
    assert method.startswith("attacked with")


def test_a_small_space_is_enumerated(tmp_path: Path) -> None:
    small = {**PROBLEM, "sizes": {"M": 1, "K": 2, "N": 2}, "densities": {}, "formats": {}}
    true = written(tmp_path, small, "implicit", mapspace="uneven_runs")
    assert true["certified"]
    faults, method = check(true, samples=0)
    assert faults == []
    assert method.startswith("proved by enumeration of")
    false = {**true, "lower_bound": true["value"] * 2, "value": true["value"] * 2}
    assert any("below the bound" in fault for fault in check(false, samples=0)[0])


def test_padding_and_mapspace_are_part_of_the_statement(tmp_path: Path) -> None:
    given: Any = {"mapspace": "even", "padding": [[], [], [25, 27]]}
    padded = written(tmp_path, PROBLEM, "implicit", **given)
    assert padded["space"]["sizes"]["N"] == [24, 25, 27]
    assert check(padded, samples=1000)[0] == []


def test_a_search_cut_short_states_its_gap(tmp_path: Path) -> None:
    cut = written(tmp_path, PROBLEM, "explicit", time_limit=0.0)
    assert not cut["certified"]


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
    evaluator = build_evaluator(statement["problem"], statement["stationarity"])
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
    statement["problem"]["densities"]["W"][1] = 0.5


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
        (worse_mapping, "below the bound"),
    ],
)
def test_a_false_certificate_is_rejected(
    statement: Statement, change: Callable[[Statement], None], message: str
) -> None:
    faults, _ = check(altered(change)(statement), samples=6000)
    assert any(re.search(message, fault) for fault in faults), faults
