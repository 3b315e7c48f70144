"""ZigZag's YAML files: an accelerator as hardware, or a workload as operators.

A workload is a list of layers, each one einsum:

::

    - id: 0
      operator_type: Conv
      equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
      dimension_relations: [ix=1*ox+1*fx, iy=1*oy+1*fy]
      loop_dims: [B, K, C, OY, OX, FY, FX]
      loop_sizes: [1, 64, 3, 112, 112, 7, 7]

Precisions are noted, not taken over: a study sets word widths per role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spaces.hardware import Hardware
from spaces.interchange.timeloop_yaml import Node, Notes, TimeloopError, demand, fail, read_yaml
from spaces.interchange.zigzag_hardware import zigzag_hardware
from spaces.validation import nearest
from spaces.workloads.workload import Dimension, Operator, Tensor, TensorClass

USED = ("id", "name", "operator_type", "equation", "dimension_relations", "loop_dims", "loop_sizes")
"""Keys of a layer with a meaning here; others are noted."""

_EQUATION = re.compile(r"(\w+)((?:\[\w+\])+)\+?=(\w+)((?:\[\w+\])+)\*(\w+)((?:\[\w+\])+)")
_RELATION = re.compile(r"(\w+)=(?:(\d+)\*)?(\w+)\+(?:(\d+)\*)?(\w+)")


def import_zigzag(path: str | Path, notes: Notes) -> Hardware | list[Operator]:
    """What a file holds: the hardware of an accelerator, or the layers of a workload.

    Raises:
        TimeloopError: One line with file, line, key, rule and the nearest valid key.
    """
    document = read_yaml(Path(path), notes)
    if isinstance(document, Node):
        return zigzag_hardware(document, notes)
    return zigzag_operators(path, document, notes)


def zigzag_operators(path: str | Path, layers: Any, notes: Notes) -> list[Operator]:
    """The layers of a workload file, in order."""
    if not isinstance(layers, list) or not all(isinstance(item, Node) for item in layers):
        raise TimeloopError(f"{Path(path).name}:1: must be a list of layers, or an accelerator")
    return [_layer(layer, number, notes) for number, layer in enumerate(layers)]


def _layer(layer: Node, number: int, notes: Notes) -> Operator:
    for key in layer:
        if key not in USED:
            notes.add(f"{layer.place(key)}: key {key!r} is not used")
    names = [str(name).upper() for name in demand(layer, "loop_dims")]
    sizes = demand(layer, "loop_sizes")
    if len(names) != len(sizes):
        raise fail(layer, "loop_sizes", f"must have {len(names)} sizes, got {len(sizes)}")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise fail(layer, "loop_sizes", f"must be whole numbers >= 1, got {size!r}")
    text = str(demand(layer, "equation")).replace(" ", "")
    match = _EQUATION.fullmatch(text)
    if match is None:
        raise fail(layer, "equation", f"must read like O[b][k]+=W[k][c]*I[b][c], got {text!r}")
    relations = _relations(layer)
    ranks = dict(zip(names, (int(size) for size in sizes), strict=True))
    result, *operands = [
        (
            match[i],
            [_dimension(layer, n, ranks, relations) for n in re.findall(r"\w+", match[i + 1])],
        )
        for i in (1, 3, 5)
    ]
    tensors = [Tensor(name, tuple(dims), _role(name)) for name, dims in operands]
    tensors.sort(key=lambda tensor: tensor.tensor_class is TensorClass.WEIGHT)
    output = Tensor(result[0], tuple(result[1]), TensorClass.OUTPUT)
    kind = str(layer.get("operator_type", "layer")).lower()
    label = str(layer.get("name") or f"{kind}_{layer.get('id', number)}")
    return Operator(label, ranks, (*tensors, output))


def _relations(layer: Node) -> Mapping[str, Dimension]:
    relations: dict[str, Dimension] = {}
    for text in layer.get("dimension_relations") or ():
        match = _RELATION.fullmatch(str(text).replace(" ", ""))
        if match is None:
            raise fail(layer, "dimension_relations", f"must read like ix=1*ox+1*fx, got {text!r}")
        terms = ((match[3].upper(), int(match[2] or 1)), (match[5].upper(), int(match[4] or 1)))
        relations[match[1].upper()] = Dimension(terms)
    return relations


def _dimension(
    layer: Node, name: str, ranks: Mapping[str, Any], relations: Mapping[str, Dimension]
) -> Dimension:
    upper = name.upper()
    if upper in relations:
        return relations[upper]
    if upper not in ranks:
        hint = nearest(upper, [*ranks, *relations])
        raise fail(layer, "equation", f"no loop dimension {upper!r}{hint}")
    return Dimension(((upper, 1),))


def _role(name: str) -> TensorClass:
    return TensorClass.WEIGHT if name.upper().startswith("W") else TensorClass.ACTIVATION
