"""Check a certificate without the search that wrote it.

    python benchmarks/check_certificate.py CERTIFICATE [MAPPINGS]

Builds the problem anew, prices the certified mapping with the evaluator, recomputes the size of
the space, compares value, bound and gap, and then tries to refute the bound: small spaces are
enumerated literally, which is a proof; larger ones are attacked by descents through neighbouring
mappings, from the certified one and from random ones, MAPPINGS of them in all. No mapping may be
valid, inside the space and cheaper than the bound. No code is shared with the search. A study with
`strategy=exact` writes its certificate to `artifacts/designs/certificate.json`; the problem stands
in it whole (see `evaluators.accelerator.priced_design.problem_of`). The exit status is 1 if
anything is wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import comb, factorial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluators.accelerator.priced_design import accelerator_of
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.evaluation import MODEL_VERSION, CostTerms, Evaluation
from spaces.formats.format_grammar import parse_format
from spaces.mappings.design_file import design_from_data
from spaces.mappings.loop_nest import BYPASS, MappingBatch
from tests.strategies.mapping_attack import Attack, as_batch
from tests.strategies.mapping_oracle import all_costs, size_of_enumeration

TOLERANCE = 1e-9
ENUMERATED = 2e6
"""Spaces up to this many mappings are enumerated."""


@dataclass(frozen=True)
class CertifiedProblem(SparseAccelerator):
    """The evaluator of a certificate's problem; formats that are not offered are not feasible.

    Attributes:
        offered: Tensor -> level -> format ids.
        one_format: Tensors with one format on all levels that keep them.
    """

    offered: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    one_format: Sequence[str] = ()

    def evaluate(self, designs: MappingBatch) -> Evaluation:
        found = super().evaluate(designs)
        good = np.ones(len(designs), dtype=bool)
        for t, tensor in enumerate(self.operator.tensors):
            ids, kept = designs.format_id[:, t], designs.keep_at[:, t] != BYPASS
            for level, name in enumerate(self.hardware.level_names):
                allowed = self.offered[tensor.name][name]
                good &= np.isin(ids[:, level], allowed) | ~kept[:, level]
            if tensor.name in self.one_format:
                good &= ((ids == ids[:, :1]) | ~kept).all(axis=1)
        broken = {**found.violations, "not_offered": np.where(good, 0.0, 1.0)}
        return replace(found, violations=broken)

    def cost_terms(self) -> CostTerms:
        offered = (self.offered[tensor.name] for tensor in self.operator.tensors)
        levels = self.hardware.level_names
        choices = tuple(tuple(tuple(row[name]) for name in levels) for row in offered)
        return replace(super().cost_terms(), format_choices=choices)


def build_evaluator(problem: dict[str, Any]) -> CertifiedProblem:
    """The evaluator that a certificate's problem describes."""
    part = accelerator_of(design_from_data(problem["design"]))
    dimensions = {t.name: [d.name for d in t.dimensions] for t in part.operator.tensors}
    formats = {
        tensor: tuple(parse_format(text, dimensions[tensor]) for text in texts)
        for tensor, texts in problem["formats"].items()
    }
    settings = {name: getattr(part, name) for name in part.__dataclass_fields__}
    return CertifiedProblem(
        **{**settings, "formats": formats},
        offered=problem["offered"],
        one_format=problem["one_format"],
    )


def objective(name: str, found: Evaluation) -> NDArray[np.float64]:
    """Energy, latency or their product of every design; inf where it is not feasible."""
    energy, cycles = found.metrics["energy_pj"], found.metrics["latency_cycles"]
    value = {"energy": energy, "latency": cycles}.get(name, energy * cycles)
    return np.where(found.feasible, value, np.inf)


def count_mappings(evaluator: CertifiedProblem, space: dict[str, Any]) -> int:
    """Tilings x loop orders x places x formats of the stated space, counted from the hardware."""
    hardware, ranks = evaluator.hardware, evaluator.operator.ranks
    levels, slots = len(hardware.levels), len(hardware.levels) + len(hardware.axes)
    total = factorial(len(ranks)) ** levels
    for name in ranks:
        total *= sum(_factorisations(size, slots) for size in space["sizes"][name])
    for tensor in evaluator.operator.tensors:
        for ids in evaluator.offered[tensor.name].values():
            total *= len(ids)
        for level in hardware.levels[1:]:
            may = level.may_keep is None or tensor.tensor_class in level.may_keep
            places = (len(ranks) + 1) * may + (tensor.tensor_class not in level.must_keep)
            total *= max(1, places) if space["mapspace"] != "even" else 1
    return int(total)


def _factorisations(size: int, slots: int) -> int:
    """Ways to write a size as a product of `slots` ordered factors."""
    ways, prime = 1, 2
    while size > 1:
        power = 0
        while size % prime == 0:
            size //= prime
            power += 1
        ways *= comb(power + slots - 1, power)
        prime += 1
    return ways


def check_statement(evaluator: CertifiedProblem, statement: dict[str, Any]) -> list[str]:
    """What contradicts itself or the evaluator."""
    value, bound = statement["value"], statement["lower_bound"]
    priced = evaluator.evaluate(as_batch(statement["mapping"]))
    faults = []
    if statement["stationarity"] != evaluator.stationarity:
        faults.append(f"its problem is of {evaluator.stationarity} stationarity")
    if statement["model_version"] != MODEL_VERSION:
        faults.append(f"it is of model {statement['model_version']}, this is {MODEL_VERSION}")
    if not priced.feasible[0]:
        faults.append("the certified mapping is not feasible")
    costs = {name: float(priced.metrics[name][0]) for name in ("energy_pj", "latency_cycles")}
    costs["value"] = float(objective(statement["objective"], priced)[0])
    for name, cost in costs.items():
        if not abs(cost - statement[name]) <= TOLERANCE * abs(statement[name]):
            faults.append(f"{name} is {cost!r}, the certificate says {statement[name]!r}")
    if statement["certified"] and bound < value * (1 - TOLERANCE):
        faults.append("it claims optimality with a bound below its value")
    if bound > value * (1 + TOLERANCE):
        faults.append("its bound is above its value")
    if abs(statement["gap"] - max(0.0, 1.0 - bound / value)) > TOLERANCE:
        faults.append(f"its gap is {max(0.0, 1 - bound / value):g}, it says {statement['gap']:g}")
    count = count_mappings(evaluator, statement["space"])
    if statement["space"]["mappings"] != str(count):
        said = statement["space"]["mappings"]
        faults.append(f"the space has {count} mappings, the certificate says {said}")
    if not inside(evaluator, statement):
        faults.append("the certified mapping is outside the stated space")
    return faults


def inside(evaluator: SparseAccelerator, statement: dict[str, Any]) -> bool:
    """Whether the certified mapping has one of the listed sizes and, if even, equal places."""
    mapping, space = statement["mapping"], statement["space"]
    product = dict.fromkeys(evaluator.operator.ranks, 1)
    names = list(product)
    for rank, trip in zip(mapping["loop_rank"], mapping["loop_trip"], strict=True):
        product[names[rank]] *= trip
    if any(product[name] not in space["sizes"][name] for name in names):
        return False
    places = np.array(mapping["keep_at"])
    return space["mapspace"] != "even" or bool((places >= 0).all() and (places == places[:1]).all())


def refute(
    evaluator: SparseAccelerator, statement: dict[str, Any], samples: int
) -> tuple[float, int, bool]:
    """The cheapest mapping found, mappings priced, and whether these were all there are."""
    sizes = [statement["space"]["sizes"][name] for name in evaluator.operator.rank_names]
    even = statement["space"]["mapspace"] == "even"
    if size_of_enumeration(evaluator, sizes) <= ENUMERATED and not even:
        energy, cycles = all_costs(evaluator, sizes)
        value = {"energy": energy, "latency": cycles}.get(statement["objective"], energy * cycles)
        return float(value.min()), len(value), True
    attack = Attack(evaluator, lambda found: objective(statement["objective"], found), even)
    return *attack.run(statement["mapping"], samples), False


def check(statement: dict[str, Any], samples: int) -> tuple[list[str], str]:
    """What is wrong with a certificate (empty = nothing found), and how it was checked."""
    evaluator = build_evaluator(statement["problem"])
    faults = check_statement(evaluator, statement)
    best, tried, all_of_them = refute(evaluator, statement, samples)
    if best < statement["lower_bound"] * (1 - TOLERANCE):
        faults.append(f"one of {tried} other mappings costs {best!r}, below the bound")
    if all_of_them and statement["certified"] and best > statement["value"] * (1 + TOLERANCE):
        faults.append(f"no mapping is as cheap as it says: the best costs {best!r}")
    method = "proved by enumeration of" if all_of_them else "attacked with"
    return faults, f"{method} {tried} mappings"


def main(path: Path, samples: int) -> int:
    statement = json.loads(path.read_text())
    space = statement["space"]
    print(f"space: {space['mapspace']}, {space['mappings']} mappings, sizes {space['sizes']}")
    for line in space["covers"]:
        print(f"  covers: {line}")
    for line in space["excludes"]:
        print(f"  excludes: {line}")
    faults, method = check(statement, samples)
    print(f"value {statement['value']!r}, bound {statement['lower_bound']!r}, {method}")
    for fault in faults:
        print(f"FAULT: {fault}")
    summary = {"benchmark": "check_certificate", "file": path.name, "method": method}
    print(json.dumps({**summary, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
