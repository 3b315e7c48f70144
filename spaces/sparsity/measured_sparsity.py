"""Sparsity profiles from measurements: a table of densities, or the zeros of stored weights.

The table is a JSON file::

    {"source": "Wanda, 50 %, WikiText-2, 128 samples",
     "densities": [{"operator": "down_proj", "layers": "0-3", "density": 0.47},
                   {"operator": "down_proj", "layers": 4, "density": 0.04,
                    "tensor_class": "activation", "model": "bernoulli", "parameters": {}}]}

`tensor_class` is weight, `model` hypergeometric and `parameters` empty unless given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from spaces.sparsity.sparsity import (
    DensityRule,
    DensitySpec,
    SparsityProfile,
    format_layers,
    parse_layers,
)
from spaces.sparsity.stored_weights import read_tensor
from spaces.validation import check_keys

ROW_KEYS = ("operator", "layers", "density", "tensor_class", "model", "parameters")
"""Keys of one row of the table."""


def measured_densities(path: str, groups: int = 0) -> SparsityProfile:
    """Profile from a table of measured densities; tensors it does not name are dense.

    Args:
        path: The JSON file.
        groups: Layers of one operator are gathered by density into this many groups of about equal
            size, each with its mean density, so that the model total is kept and a study prices
            `groups` operators instead of one per layer; 0 keeps every density apart.

    Raises:
        ValueError: If the file is missing or malformed; the message names file, row and key.
    """
    file = Path(path).expanduser()
    table = _read_object(file)
    source = str(table.get("source", file.name))
    series: dict[tuple[str, str, str, str], dict[int | None, float]] = {}
    for number, row in enumerate(table["densities"]):
        key, densities = _read_row(f"{file}: densities[{number}]", row)
        series.setdefault(key, {}).update(densities)
    rules: dict[str, DensityRule] = {}
    for key, densities in series.items():
        rules |= _series_rules(key, densities, groups, source)
    return SparsityProfile("measured", rules=rules)


def _read_object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"sparsity.path must be a file, got {file}")
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(table, dict) or not isinstance(table.get("densities"), list):
        raise ValueError(f"{file}: needs an object with a list 'densities'")
    return table


def _read_row(where: str, row: Any) -> tuple[tuple[str, str, str, str], dict[int | None, float]]:
    """Key (operator, class, model, parameters as JSON) and density per layer of one row."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be an object, got {row!r}")
    check_keys(where, row, ROW_KEYS)
    for needed in ("operator", "density"):
        if needed not in row:
            raise ValueError(f"{where}: key {needed!r} is missing")
    density = row["density"]
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 <= density <= 1:
        raise ValueError(f"{where}: density must be between 0 and 1, got {density!r}")
    key = (
        str(row["operator"]),
        str(row.get("tensor_class", "weight")),
        str(row.get("model", "hypergeometric")),
        json.dumps(row.get("parameters", {}), sort_keys=True),
    )
    layers: list[int | None] = [*sorted(parse_layers(row.get("layers", "")))]
    return key, dict.fromkeys(layers or [None], float(density))


def _series_rules(
    key: tuple[str, str, str, str],
    densities: Mapping[int | None, float],
    groups: int,
    source: str,
) -> dict[str, DensityRule]:
    """One rule per group of layers; a density without layers comes first, as the default."""
    operator, tensor_class, model, parameters = key
    rules: dict[str, DensityRule] = {}
    for layers, density in _grouped(densities, groups):
        spec = DensitySpec(model, density, json.loads(parameters), source)
        rule = DensityRule(operator, layers, tensor_class, spec=spec)
        rules[f"{operator} {tensor_class} {layers or 'all'}"] = rule
    return rules


def _grouped(densities: Mapping[int | None, float], groups: int) -> list[tuple[str, float]]:
    """(layers, density) pairs: the layerless one first, then layers gathered by density."""
    default = [("", value) for layer, value in densities.items() if layer is None]
    ordered = sorted((value, layer) for layer, value in densities.items() if layer is not None)
    parts = min(groups, len(ordered)) or len(ordered)
    edges = [len(ordered) * part // parts for part in range(parts + 1)] if ordered else []
    chunks = [ordered[a:b] for a, b in pairwise(edges)]
    return default + [
        (format_layers(tuple(layer for _, layer in chunk)), fmean(value for value, _ in chunk))
        for chunk in chunks
    ]


@dataclass(frozen=True)
class StoredTensor:
    """A weight in a safetensors file.

    Attributes:
        file: Path of the file.
        tensor: Name of the tensor.
        transpose: The file holds [N,K] (torch's linear layers) instead of [K,N].
    """

    file: str
    tensor: str
    transpose: bool = True

    def spec(self) -> DensitySpec:
        """Its zeros as a mask; `ValueError` when the file, or the tensor in it, is missing."""
        parameters = {"file": self.file, "tensor": self.tensor, "transpose": self.transpose}
        source = f"zeros of {self.tensor} in {Path(self.file).name}"
        return DensitySpec("mask", self._density(), parameters, source)

    def _density(self) -> float:
        values = read_tensor(self.file, self.tensor)
        return float(np.count_nonzero(values) / values.size)


def measured_masks(
    path: str, tensors: Mapping[str, str], layers: str = "", transpose: bool = True
) -> SparsityProfile:
    """Profile from the zeros of real weights; operators that are not named are dense.

    Args:
        path: A safetensors file.
        tensors: Operator -> tensor name, with `{layer}` where the layer's number stands.
        layers: Layers to read, such as `0-31`; empty for operators without layers. Every layer has
            its own mask, so each becomes an operator of its own.
        transpose: The file holds [N,K] (torch's linear layers) instead of [K,N].

    Raises:
        ValueError: If the file or a tensor is missing.
    """
    rules: dict[str, DensityRule] = {}
    numbers: list[int | None] = [*sorted(parse_layers(layers))]
    for operator, template in tensors.items():
        for layer in numbers or [None]:
            name = template.format(layer=layer)
            spec = StoredTensor(path, name, transpose).spec()
            rules[name] = DensityRule(operator, "" if layer is None else layer, spec=spec)
    return SparsityProfile("measured_masks", rules=rules)
