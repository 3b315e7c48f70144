"""JSON Schemas of our files, made from the same tables of keys that the readers check.

`docs/schemas` holds them for editors (`# yaml-language-server: $schema=FILE`). The number in
a schema's name is the version of the layout; a reader refuses versions it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spaces.hardware import LEVEL_KINDS
from spaces.hardware_config import COMPUTE_KEYS, LEVEL_KEYS, PORTS
from spaces.mappings.design_fields import DENSITY_KEYS, HARDWARE_KEYS, OPERATOR_KEYS, TENSOR_KEYS
from spaces.mappings.design_file import CONVENTIONS, DESIGN_KEYS, SCHEMA
from spaces.sparsity.sparsity import MODELS
from spaces.workloads.workload import TensorClass

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
QUANTITY: Schema = {"type": ["string", "number"], "description": "a number, or one with its unit"}
NAME: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 1}
CLASS: Schema = {"enum": [role.value for role in TensorClass]}
CLASSES: Schema = {"type": ["array", "null"], "items": CLASS}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}

_SPECIAL: Mapping[str, Schema] = {
    "kind": {"enum": list(LEVEL_KINDS)},
    "port": {"enum": list(PORTS)},
    "fan_out": {"type": ["object", "null"], "additionalProperties": COUNT},
    "may_keep": CLASSES,
    "must_keep": CLASSES,
}
"""Level keys that are no quantities."""


def closed(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def map_of(value: Schema) -> Schema:
    """An object with names of the user's as keys."""
    return {"type": "object", "additionalProperties": value}


def operator_schema() -> Schema:
    """An operator, as design files and imported workloads state it."""
    dimension: Schema = {"type": "string", "description": "K, or an affine 2*P+R"}
    sides = {"dimensions": {"type": "array", "items": dimension}, "class": CLASS}
    tensor = closed({key: sides[key] for key in TENSOR_KEYS}, TENSOR_KEYS)
    fields: dict[str, Schema] = {
        "name": NAME,
        "ranks": map_of(COUNT) | {"minProperties": 1},
        "tensors": map_of(tensor) | {"minProperties": 2},
        "count": COUNT,
        "layers": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "tags": map_of({"type": "string"}),
    }
    return closed({key: fields[key] for key in OPERATOR_KEYS}, OPERATOR_KEYS[:3])


def hardware_schema() -> Schema:
    """Hardware, as design files and `conf/hardware` state it."""
    optional = {"anyOf": [QUANTITY, {"type": "null"}]}
    level = closed({key: _SPECIAL.get(key, optional) for key in LEVEL_KEYS})
    fields: dict[str, Schema] = {
        "name": NAME,
        "levels": map_of({"anyOf": [level, {"type": "null"}]}) | {"minProperties": 1},
        "compute": closed(dict.fromkeys(COMPUTE_KEYS, optional)),
        "clock": QUANTITY,
        "technology_node": QUANTITY,
    }
    return closed({key: fields[key] for key in HARDWARE_KEYS}, HARDWARE_KEYS[:2])


def _density_schema() -> Schema:
    fields: dict[str, Schema] = {
        "model": {"enum": list(MODELS)},
        "density": FRACTION,
        "parameters": {"type": "object"},
        "source": {"type": "string"},
    }
    return {"anyOf": [FRACTION, closed({key: fields[key] for key in DENSITY_KEYS})]}


def design_schema() -> Schema:
    """A design file."""
    width = {"type": "integer", "minimum": 1, "maximum": 64}
    item: Schema = {"anyOf": [{"type": "string"}, map_of({"type": "string"})]}
    text: Schema = {"type": ["string", "null"], "description": "for example B(K,N) or csr"}
    fields: dict[str, Schema] = {
        "schema": {"const": SCHEMA},
        "operator": operator_schema(),
        "hardware": hardware_schema(),
        "nest": {"type": "array", "items": item},
        "formats": map_of(map_of(text)),
        "densities": map_of(_density_schema()),
        "bits": closed(dict.fromkeys(("weight", "activation", "kv", "psum"), width)),
        "conventions": closed({key: {"enum": list(v)} for key, v in CONVENTIONS.items()}),
        "evaluator": {"type": "object"},
    }
    return closed({key: fields[key] for key in DESIGN_KEYS}, DESIGN_KEYS[:4])


def workload_schema() -> Schema:
    """A workload file: one operator, as an import writes it."""
    return closed({"operator": operator_schema()}, ["operator"])


SCHEMAS = {
    "design-1": design_schema,
    "hardware-1": hardware_schema,
    "workload-1": workload_schema,
}
"""Name and version -> what makes the schema."""


def schema_text(name: str) -> str:
    """A schema as the text of its file."""
    head = {"$schema": DRAFT, "$id": f"cosearch/{name}.json", "title": name}
    return json.dumps(head | SCHEMAS[name](), indent=1) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in SCHEMAS:
        path = folder / f"{name}.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    return written
