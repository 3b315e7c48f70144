"""JSON Schemas of our files: what readers check, and what `docs/schemas` offers to editors.

The number in a schema's name is the version of the layout. A schema says which keys there are and
what their values look like; what needs more than one key to judge is left to who builds the object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spaces.hardware import LEVEL_KINDS
from spaces.hardware_config import COMPUTE_KEYS, LEVEL_KEYS, PORTS
from spaces.sparsity.sparsity import MODELS
from spaces.validation import FieldError, nearest
from spaces.workloads.workload import TensorClass

if TYPE_CHECKING:
    from jsonschema import ValidationError

Schema = dict[str, Any]

CURRENT = {"design": 1, "hardware": 1, "workload": 2, "dataflow": 1}
"""Kind of file -> version of its layout that is written."""

CONVENTIONS = {"stationarity": ("implicit", "explicit"), "accounting": ("codec", "sparseloop")}
"""Conventions of a design and their values, the default first."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"
QUANTITY: Schema = {"type": ["string", "number"], "description": "a number, or one with its unit"}
NAME: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 1}
CLASS: Schema = {"enum": [role.value for role in TensorClass]}
CLASSES: Schema = {"type": ["array", "null"], "items": CLASS}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
NAMES: Schema = {"type": "array", "items": NAME}

_LEVEL_SPECIAL: Mapping[str, Schema] = {
    "kind": {"enum": list(LEVEL_KINDS)},
    "port": {"enum": list(PORTS)},
    "fan_out": {"type": ["object", "null"], "additionalProperties": COUNT},
    "may_keep": CLASSES,
    "must_keep": CLASSES,
}
"""Level keys that are no quantities."""


def schema_name(kind: str, version: int | None = None) -> str:
    """What the key `schema` of a file says; the current version unless told.

    >>> schema_name("design", 1)
    'cosearch.design/1'
    """
    return f"cosearch.{kind}/{CURRENT[kind] if version is None else version}"


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
    """An operator, as design and workload files state it."""
    dimension: Schema = {"type": "string", "description": "K, or an affine 2*P+R"}
    sides = {
        "dimensions": {"type": "array", "items": dimension},
        "class": CLASS,
        "resident": {"type": "boolean", "description": "made and used on chip"},
    }
    tensor = closed(sides, ("dimensions", "class"))
    operands_and_result = {"minProperties": 2, "description": "operands and, last, the result"}
    fields: dict[str, Schema] = {
        "name": NAME,
        "ranks": map_of(COUNT) | {"minProperties": 1},
        "tensors": map_of(tensor) | operands_and_result,
        "count": COUNT,
        "layers": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "tags": map_of({"type": "string"}),
    }
    return closed(fields, ("name", "ranks", "tensors"))


def hardware_schema() -> Schema:
    """Hardware, as files of its own, design files and `conf/hardware` state it."""
    optional = {"anyOf": [QUANTITY, {"type": "null"}]}
    level = closed({key: _LEVEL_SPECIAL.get(key, optional) for key in LEVEL_KEYS})
    level["type"] = ["object", "null"]
    fields: dict[str, Schema] = {
        "schema": {"const": schema_name("hardware")},
        "name": NAME,
        "levels": map_of(level) | {"minProperties": 1},
        "compute": closed(dict.fromkeys(COMPUTE_KEYS, optional)),
        "clock": QUANTITY,
        "technology_node": QUANTITY,
    }
    return closed(fields, ("name", "levels"))


def _density_schema() -> Schema:
    fields: dict[str, Schema] = {
        "model": {"enum": list(MODELS)},
        "density": FRACTION,
        "parameters": {"type": "object"},
        "source": {"type": "string"},
    }
    either = {"type": ["number", "object"], "description": "a number: zeros without structure"}
    return closed(fields) | FRACTION | either


def design_schema() -> Schema:
    """A design file."""
    width = {"type": "integer", "minimum": 1, "maximum": 64}
    text: Schema = {"type": ["string", "null"], "description": "for example B(K,N) or csr"}
    item = {"type": ["string", "object"], "additionalProperties": {"type": "string"}}
    fields: dict[str, Schema] = {
        "schema": {"const": schema_name("design")},
        "operator": operator_schema(),
        "hardware": hardware_schema(),
        "nest": {"type": "array", "items": item},
        "formats": map_of(map_of(text)),
        "densities": map_of(_density_schema()),
        "bits": closed(dict.fromkeys(("weight", "activation", "kv", "psum"), width)),
        "conventions": closed({key: {"enum": list(v)} for key, v in CONVENTIONS.items()}),
        "evaluator": {"type": "object"},
    }
    return closed(fields, ("schema", "operator", "hardware", "nest"))


def workload_schema() -> Schema:
    """A workload file: operators, and what of the model is none."""
    operations = map_of({"type": "integer", "minimum": 0})
    fields: dict[str, Schema] = {
        "schema": {"const": schema_name("workload")},
        "name": NAME,
        "tokens": COUNT | {"description": "that one run of all operators stands for"},
        "operators": {"type": "array", "items": operator_schema(), "minItems": 1},
        "left_out": operations | {"description": "operations that are no products, by kind"},
    }
    return closed(fields, ("schema", "operators"))


def dataflow_schema() -> Schema:
    """A dataflow file: the fields of `spaces.mappings.dataflow.Dataflow`."""
    limits = map_of(map_of(COUNT))
    fields: dict[str, Schema] = {
        "schema": {"const": schema_name("dataflow")},
        "name": NAME,
        **dict.fromkeys(("spatial", "order", "keep", "bypass"), map_of(NAMES)),
        "stationary": map_of(NAME),
        "minimum_utilisation": FRACTION,
        "maximum_trip": limits,
        "minimum_tile": limits,
    }
    return closed(fields, ("schema",))


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "design": design_schema,
    "hardware": hardware_schema,
    "workload": workload_schema,
    "dataflow": dataflow_schema,
}
"""Kind of file -> what makes the schema of its current layout."""


def check_data(kind: str, data: Mapping[str, Any]) -> None:
    """Check plain data against the schema of its kind.

    Raises:
        FieldError: The most telling broken rule: field, rule, value, nearest valid key.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    errors = list(Draft202012Validator(SCHEMAS[kind]()).iter_errors(data))
    misspelt = [error for error in errors if error.validator == "additionalProperties"]
    error = best_match(misspelt or errors)
    if error is not None:
        raise _field_error(kind, error)


def _field_error(kind: str, error: ValidationError) -> FieldError:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    field, value, limit = path or kind, error.instance, error.validator_value
    if error.validator == "additionalProperties":
        names = list(error.schema["properties"])
        key = next(key for key in value if key not in names)
        inner = f"{path}.{key}" if path else str(key)
        return FieldError(f"{field}: unknown key {key!r}{nearest(key, names)}", inner)
    if error.validator == "required":
        key = next(key for key in limit if key not in value)
        return FieldError(f"{field}: key {key!r} is missing{nearest(key, value)}", path)
    if error.validator == "enum":
        names = [str(item) for item in limit]
        hint = nearest(value, names)
        close = hint if hint.startswith("; did") else ""
        rule = f"must be one of {', '.join(names)}, got {value!r}{close}"
        return FieldError(f"{field}: {rule}", path)
    return FieldError(f"{field}: {_rule(error)}, got {value!r}{_number_hint(value)}", path)


def _rule(error: ValidationError) -> str:
    limit = error.validator_value
    if error.validator in ("minimum", "maximum") and {"minimum", "maximum"} <= set(error.schema):
        return f"must be between {error.schema['minimum']} and {error.schema['maximum']}"
    if error.validator == "type":
        words = limit if isinstance(limit, list) else [limit]
        return f"must be {' or '.join(TYPE_WORDS[word] for word in words if word != 'null')}"
    rules = {
        "const": f"must be {limit}",
        "minimum": f"must be >= {limit}",
        "maximum": f"must be <= {limit}",
        "minLength": "must not be empty",
        "minItems": f"must have at least {limit}",
        "minProperties": f"must have at least {limit}: {error.schema.get('description', 'none')}",
    }
    return rules[str(error.validator)].removesuffix(": none")


TYPE_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
"""JSON's types in our messages."""


def _number_hint(value: object) -> str:
    """YAML reads `1e-2` as a text."""
    return "; write 1.0e-2, not 1e-2" if isinstance(value, str) and "e-" in value else ""


def schema_text(kind: str) -> str:
    """The schema of a kind's current layout as the text of its file."""
    name = f"{kind}-{CURRENT[kind]}"
    head = {"$schema": DRAFT, "$id": f"cosearch/{name}.json", "title": name}
    return json.dumps(head | SCHEMAS[kind](), indent=1) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, version in CURRENT.items():
        path = folder / f"{kind}-{version}.json"
        path.write_text(schema_text(kind), encoding="utf-8")
        written.append(path)
    return written
