"""The structure of Timeloop v0.4 input files, as its documentation describes it.

Source of keys and types: timeloop.csail.mit.edu/v4, input formats (architecture, problem, mapping,
sparse optimisations, ERT); only what our export may write is allowed.
"""

from typing import Any

import jsonschema
import yaml

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "minLength": 1}
SIZE: Schema = {"type": "integer", "minimum": 1}
AMOUNT: Schema = {"type": "number", "minimum": 0}
NAMES: Schema = {"type": "array", "items": NAME}


def closed(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


ATTRIBUTES = closed(
    {},
    {
        "technology": NAME,
        "global_cycle_seconds": AMOUNT,
        **dict.fromkeys(("datawidth", "block_size", "width"), SIZE),
        "metadata_storage_width": {"type": "integer", "minimum": 0},
        "depth": AMOUNT,
        **dict.fromkeys(("read_bandwidth", "write_bandwidth", "shared_bandwidth"), AMOUNT),
    },
)
MESH = closed({}, {"meshX": SIZE, "meshY": SIZE})
CONTAINER = closed(
    {"tag": {"const": "!Container"}, "name": NAME}, {"attributes": ATTRIBUTES, "spatial": MESH}
)
COMPONENT = closed(
    {
        "tag": {"const": "!Component"},
        "name": NAME,
        "class": {"enum": ["DRAM", "SRAM", "regfile", "intmac"]},
        "attributes": ATTRIBUTES,
    }
)
PROJECTION = list_of(list_of(list_of(NAME)))
DENSITY = closed(
    {
        "distribution": {"enum": ["hypergeometric", "fixed_structured", "banded"]},
        "density": {"type": "number", "minimum": 0, "maximum": 1},
    },
    {"band_width": SIZE},
)
SHAPE = closed(
    {
        "name": NAME,
        "dimensions": NAMES,
        "data_spaces": list_of(
            closed({"name": NAME, "projection": PROJECTION}, {"read_write": {"const": True}})
        ),
    },
    {"coefficients": list_of(closed({"name": NAME, "default": SIZE}))},
)
INSTANCE: Schema = {
    "type": "object",
    "properties": {"densities": {"type": "object", "additionalProperties": DENSITY}},
    "additionalProperties": SIZE,
}
LOOPS = {
    "target": NAME,
    "factors": list_of({"type": "string", "pattern": r"^\w+=\d+$"}),
    "permutation": NAMES,
}
DIRECTIVE: Schema = {
    "oneOf": [
        closed({"type": {"const": "temporal"}, **LOOPS}),
        closed({"type": {"const": "spatial"}, **LOOPS}, {"split": {"type": "integer"}}),
        closed({"type": {"const": "dataspace"}, "target": NAME}, {"keep": NAMES, "bypass": NAMES}),
    ]
}
RANK = closed(
    {"format": {"enum": ["UB", "B", "CP", "RLE", "UOP"]}},
    {"flattened_rankIDs": list_of(NAMES), "metadata_word_bits": SIZE, "payload_word_bits": SIZE},
)
ACTION = closed(
    {
        "type": {"enum": ["gating", "skipping"]},
        "options": list_of(closed({"target": NAME, "condition_on": NAMES})),
    }
)
TARGET = closed(
    {"target": NAME},
    {
        "representation_format": closed(
            {"data_spaces": list_of(closed({"name": NAME, "ranks": list_of(RANK)}))}
        ),
        "action_optimization": list_of(ACTION),
        "compute_optimization": list_of(closed({"type": {"enum": ["gating", "skipping"]}})),
    },
)
TABLE = closed(
    {
        "name": NAME,
        "actions": list_of(
            closed({"name": NAME, "arguments": {"type": "object"}, "energy": AMOUNT})
        ),
    }
)
VERSION: Schema = {"const": "0.4"}
SECTIONS: dict[str, Schema] = {
    "architecture": closed(
        {"version": VERSION, "nodes": list_of({"oneOf": [CONTAINER, COMPONENT]})}
    ),
    "problem": closed({"version": VERSION, "shape": SHAPE, "instance": INSTANCE}),
    "mapping": list_of(DIRECTIVE),
    "sparse_optimizations": closed({"version": VERSION, "targets": list_of(TARGET)}),
    "ERT": closed({"version": VERSION, "tables": list_of(TABLE)}),
}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SECTIONS.items()}


class _Loader(yaml.SafeLoader):
    """YAML whose tags become a key, so that a schema can speak of them."""


def _tagged(loader: _Loader, suffix: str, node: yaml.MappingNode) -> dict[str, Any]:
    return {"tag": f"!{suffix}", **loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


def check_section(section: str, text: str) -> None:
    """Raise `jsonschema.ValidationError` unless a file holds this section and nothing else."""
    document = yaml.load(text, _Loader)
    assert list(document) == [section]
    VALIDATORS[section].validate(document[section])
