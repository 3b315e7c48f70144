"""Timeloop's `problem`: shape, instance, densities <-> our operator and density specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.interchange.timeloop_yaml import Notes, demand, fail, known_keys
from spaces.sparsity.sparsity import DensitySpec, unstructured
from spaces.validation import nearest
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass

DISTRIBUTIONS = ("hypergeometric", "fixed_structured", "banded")
"""Distributions that both tools know; banded needs a band width."""


def problem_to_data(operator: Operator, densities: Mapping[str, DensitySpec]) -> dict[str, Any]:
    """The `problem` section of version 0.4."""
    coefficients = {
        f"{rank}coefficient{value}": value
        for tensor in operator.tensors
        for dimension in tensor.dimensions
        for rank, value in dimension.terms
        if value != 1
    }
    instance: dict[str, Any] = dict(operator.ranks) | coefficients
    stated = {
        tensor.name: _density_to_data(densities[tensor.name])
        for tensor in operator.tensors
        if tensor.name in densities and densities[tensor.name].model != "dense"
    }
    if stated:
        instance["densities"] = stated
    shape: dict[str, Any] = {
        "name": operator.name,
        "dimensions": list(operator.ranks),
        "data_spaces": [_tensor_to_data(operator, tensor) for tensor in operator.tensors],
    }
    if coefficients:
        shape["coefficients"] = [{"name": name, "default": 1} for name in coefficients]
    return {"version": "0.4", "shape": shape, "instance": instance}


def _density_to_data(spec: DensitySpec) -> dict[str, Any]:
    """The nearest distribution; what it leaves out is in what the export could not say."""
    structured = spec.model in ("fixed_structured", "n_m", "block", "dead_columns")
    data: dict[str, Any] = {
        "distribution": "fixed_structured" if structured else "hypergeometric",
        "density": float(spec.density),
    }
    if spec.model == "banded" and "half_bandwidth" in spec.parameters:
        data = {"distribution": "banded", "density": data["density"]}
        data["band_width"] = int(spec.parameters["half_bandwidth"])
    return data


def _tensor_to_data(operator: Operator, tensor: Tensor) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": tensor.name,
        "projection": [
            [[rank] if c == 1 else [rank, f"{rank}coefficient{c}"] for rank, c in dimension.terms]
            for dimension in tensor.dimensions
        ],
    }
    if tensor is operator.output:
        data["read_write"] = True
    return data


def read_problem(
    problem: Mapping[str, Any], notes: Notes
) -> tuple[Operator, dict[str, DensitySpec]]:
    """The operator and the densities of a `problem` section.

    Raises:
        TimeloopError: Names the file, the line, the key and the rule.
    """
    known_keys(problem, ("version", "shape", "instance"))
    shape, instance = demand(problem, "shape"), demand(problem, "instance")
    if not isinstance(shape, Mapping):
        raise fail(problem, "shape", f"must be a mapping, named shapes are not read: {shape!r}")
    known_keys(shape, ("name", "dimensions", "data_spaces", "coefficients"))
    ranks = {str(name): _size(instance, str(name)) for name in demand(shape, "dimensions")}
    factors = {
        str(entry["name"]): int(instance.get(entry["name"], entry.get("default", 1)))
        for entry in shape.get("coefficients") or ()
    }
    read = [_tensor(entry, ranks, factors) for entry in demand(shape, "data_spaces")]
    outputs = [tensor for tensor, written in read if written]
    if len(outputs) != 1:
        raise fail(shape, "data_spaces", f"one must be read_write, got {len(outputs)}")
    operands = _classified([tensor for tensor, written in read if not written])
    operator = Operator(str(shape.get("name") or "problem"), ranks, (*operands, *outputs))
    return operator, _densities(instance, operator, notes)


def _size(instance: Mapping[str, Any], rank: str) -> int:
    value = demand(instance, rank)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise fail(instance, rank, f"must be a whole number >= 1, got {value!r}")
    return value


def _tensor(
    entry: Mapping[str, Any], ranks: Mapping[str, int], factors: Mapping[str, int]
) -> tuple[Tensor, bool]:
    known_keys(entry, ("name", "projection", "read_write"))
    dimensions = []
    for projected in demand(entry, "projection"):
        terms = []
        for term in projected if isinstance(projected, list) else [[projected]]:
            rank, *scale = term if isinstance(term, list) else [term]
            if rank not in ranks or any(name not in factors for name in scale):
                wrong = rank if rank not in ranks else scale[0]
                raise fail(
                    entry,
                    "projection",
                    f"no dimension {wrong!r}{nearest(wrong, [*ranks, *factors])}",
                )
            terms.append((str(rank), factors[scale[0]] if scale else 1))
        dimensions.append(Dimension(tuple(terms)))
    written = bool(entry.get("read_write", False))
    role = TensorClass.OUTPUT if written else TensorClass.ACTIVATION
    return Tensor(str(demand(entry, "name")), tuple(dimensions), role), written


def _classified(operands: list[Tensor]) -> list[Tensor]:
    """Timeloop knows no roles: weights are called so, or are the second operand."""
    named = [i for i, tensor in enumerate(operands) if tensor.name.lower().startswith("w")]
    weight = named[0] if named else min(1, len(operands) - 1)
    return [
        Tensor(t.name, t.dimensions, TensorClass.WEIGHT if i == weight else t.tensor_class)
        for i, t in enumerate(operands)
    ]


def _densities(
    instance: Mapping[str, Any], operator: Operator, notes: Notes
) -> dict[str, DensitySpec]:
    names = [tensor.name for tensor in operator.tensors]
    densities = {}
    for name, entry in (instance.get("densities") or {}).items():
        if name not in names:
            raise fail(
                instance["densities"], name, f"no data space of this name{nearest(name, names)}"
            )
        densities[name] = _density(instance["densities"], name, entry, notes)
    return densities


def _density(parent: Mapping[str, Any], name: str, entry: Any, notes: Notes) -> DensitySpec:
    source = "Timeloop problem file"
    if not isinstance(entry, Mapping):
        return unstructured(_fraction(parent, name, entry), source=source)
    word = str(entry.get("distribution", "hypergeometric")).replace("-", "_")
    if word not in DISTRIBUTIONS:
        raise fail(entry, "distribution", f"unknown {word!r}{nearest(word, DISTRIBUTIONS)}")
    density = _fraction(entry, "density", demand(entry, "density"))
    if word == "banded":
        return DensitySpec(
            "banded", density, {"half_bandwidth": int(demand(entry, "band_width"))}, source=source
        )
    return DensitySpec(word, density, source=source)


def _fraction(node: Mapping[str, Any], key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise fail(node, key, f"must be between 0 and 1, got {value!r}")
    return float(value)
