"""Certificates: what they state, and that the independent checker finds false ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.check_certificate import build_evaluator, check
from strategies.exact.certificate import certificate, write_certificate
from strategies.exact.exact_search import exact_search

HARDWARE = str(Path(__file__).parents[3] / "conf" / "hardware" / "edge.yaml")
PROBLEM: dict[str, Any] = {
    "sizes": {"M": 16, "K": 32, "N": 24},
    "hardware": HARDWARE,
    "densities": {"W": ["bernoulli", 0.4]},
    "formats": {"W": ["B(K,N)"]},
}


@pytest.fixture
def statement(tmp_path: Path) -> dict[str, Any]:
    terms = build_evaluator(PROBLEM, "explicit").cost_terms()
    found = exact_search(terms, "edp")
    write_certificate(tmp_path / "c.json", certificate(terms, found, "uneven", PROBLEM))
    read: dict[str, Any] = json.loads((tmp_path / "c.json").read_text())
    return read


def test_a_true_certificate_passes(statement: dict[str, Any]) -> None:
    assert statement["certified"]
    assert statement["gap"] == 0.0
    assert int(statement["space"]["mappings"]) > 10**9
    assert check(statement, samples=300) == []


def test_a_wrong_value_is_found(statement: dict[str, Any]) -> None:
    statement["value"] *= 0.99
    assert any("the certificate says" in fault for fault in check(statement, samples=0))


def test_a_bound_above_reachable_values_is_found(statement: dict[str, Any]) -> None:
    best = statement["value"]
    worse = dict(statement, mapping=dict(statement["mapping"]))
    keep = [list(row) for row in worse["mapping"]["keep_at"]]
    keep[0][2] = -1
    worse["mapping"]["keep_at"] = keep
    evaluator = build_evaluator(PROBLEM, "explicit")
    from benchmarks.check_certificate import as_batch, objective

    value = float(objective("edp", evaluator.evaluate(as_batch(worse["mapping"])))[0])
    assert value > best
    worse["value"] = worse["lower_bound"] = value
    assert any("below the bound" in fault for fault in check(worse, samples=2000))
